"""ClusterTrustBundles: what pods mount by a projected volume, where the cluster serves them."""

from __future__ import annotations

import hashlib
import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import (
    LABEL_FEDERATED_BY,
    LABEL_ISSUER,
    LABEL_MANAGED,
    LABEL_TRUST_DOMAIN,
    SIGNER_NAME,
    cluster_trust_bundle_name,
)
from agentid.errors import (
    AgentIdError,
    InvalidError,
    NotFoundError,
)
from agentid.kube.objects import ObjectKey, metadata_of, resource_version_of
from agentid.kube.resources import CLUSTER_TRUST_BUNDLES, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.services.bundle_documents import Publication

__all__ = ["TrustBundles", "trust_bundle_name"]

_log = structlog.stdlib.get_logger(__name__)

_LOOK_AGAIN: Final = 600.0
"""Seconds until the kind is looked for again in a cluster that does not serve it: whoever upgrades
the cluster restarts its API server, and nobody here needs to know at once."""

_NAME: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
_LABEL_LENGTH: Final = 63
_HASH_DIGITS: Final = 16


def trust_bundle_name(issuer: str, trust_domain: str = "") -> str:
    """The name of the ClusterTrustBundle of an issuer, or of a foreign trust domain beside it."""
    name = cluster_trust_bundle_name(issuer)
    return f"{name}.{_short(trust_domain)}" if trust_domain else name


def _short(trust_domain: str) -> str:
    """The trust domain where it can be part of a name and a label value, else a hash of it."""
    if len(trust_domain) <= _LABEL_LENGTH and _NAME.fullmatch(trust_domain):
        return trust_domain
    return f"sha256-{hashlib.sha256(trust_domain.encode()).hexdigest()[:_HASH_DIGITS]}"


@dataclass(frozen=True, slots=True)
class _Stored:
    pem: str
    labels: Mapping[str, str]
    version: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of writing the ClusterTrustBundles of an issuer.

    Attributes:
        done: Whether all is as it is wanted, or cannot be in this cluster.
        problems: Why a foreign one is not there, by trust domain.
    """

    done: bool
    problems: Mapping[str, str]


class TrustBundles:
    """Writes them where they differ from what is wanted."""

    def __init__(self, client: Client, clock: Clock) -> None:
        """Touch nothing yet."""
        self._client = client
        self._clock = clock
        self._stored: dict[str, _Stored] | None = None
        self._absent_until = float("-inf")

    def forget(self) -> None:
        """Look at what is stored before the next write."""
        self._stored = None

    async def apply(self, publication: Publication) -> Applied:
        """Make those of an issuer what is published.

        Raises:
            AgentIdError: They cannot be listed.
        """
        stored = await self._look()
        if stored is None:
            return Applied(done=True, problems={})
        issuer, done = publication.issuer, True
        problems: dict[str, str] = {}
        wanted = {name: (each, pem) for name, each, pem in _wanted(publication)}
        for name, (trust_domain, pem) in wanted.items():
            labels = _labels(issuer, trust_domain)
            if trust_domain and _is_of_another(stored.get(name), labels):
                problems[trust_domain] = (
                    f"the ClusterTrustBundle {name} is that of another trust domain; rename one of "
                    "the AgentIssuers"
                )
                continue
            try:
                await self._put(stored, name, pem, labels)
            except AgentIdError as error:
                # What breaks a rule of the API server stays refused until it is another bundle.
                done = done and isinstance(error, InvalidError)
                self.forget()
                _log.warning("trust_bundle_not_written", name=name, error=str(error))
                if trust_domain:
                    problems[trust_domain] = f"its ClusterTrustBundle is not written: {error}"
        gone = [name for name, each in stored.items() if _owner(each) == issuer]
        for name in gone:
            if name not in wanted:
                done &= await self._remove(stored, name)
        return Applied(done, problems)

    async def withdraw(self, issuer: str) -> bool:
        """Remove those of an issuer that is gone; True if none is left.

        Raises:
            AgentIdError: They cannot be listed.
        """
        stored = await self._look()
        if stored is None:
            return True
        gone = [name for name, each in stored.items() if _owner(each) == issuer]
        return all([await self._remove(stored, name) for name in gone])

    async def issuers(self) -> frozenset[str]:
        """The issuers of which there are any.

        Raises:
            AgentIdError: They cannot be listed.
        """
        stored = await self._look() or {}
        return frozenset(owner for each in stored.values() if (owner := _owner(each)))

    async def _look(self) -> dict[str, _Stored] | None:
        """What is stored of ours; None if the cluster does not serve the kind."""
        if self._clock.monotonic() < self._absent_until:
            return None
        if self._stored is None:
            found: dict[str, _Stored] = {}
            selector = Selector(labels=f"{LABEL_MANAGED}=true")
            try:
                async with aclosing(
                    self._client.list(CLUSTER_TRUST_BUNDLES, selector=selector)
                ) as bodies:
                    async for body in bodies:
                        found[ObjectKey.of(body).name] = _read(body)
            except NotFoundError:
                _log.info("trust_bundles_not_served", looked_for_again_in=_LOOK_AGAIN)
                self._absent_until = self._clock.monotonic() + _LOOK_AGAIN
                return None
            self._stored = found
        return self._stored

    async def _put(
        self, stored: dict[str, _Stored], name: str, pem: str, labels: Mapping[str, str]
    ) -> None:
        there = stored.get(name)
        if there is not None and (there.pem, there.labels) == (pem, labels):
            return
        version = {} if there is None else {"resourceVersion": there.version}
        body: JsonObject = {
            "apiVersion": CLUSTER_TRUST_BUNDLES.api_version,
            "kind": CLUSTER_TRUST_BUNDLES.kind,
            "metadata": {"name": name, "labels": dict(labels), **version},
            "spec": {"signerName": SIGNER_NAME, "trustBundle": pem},
        }
        if there is None:
            written = await self._client.create(CLUSTER_TRUST_BUNDLES, body)
        else:
            written = await self._client.replace(CLUSTER_TRUST_BUNDLES, body)
        stored[name] = _read(written)
        _log.info("trust_bundle_written", name=name)

    async def _remove(self, stored: dict[str, _Stored], name: str) -> bool:
        try:
            await self._client.delete(CLUSTER_TRUST_BUNDLES, name)
        except NotFoundError:
            pass
        except AgentIdError as error:
            _log.warning("trust_bundle_not_removed", name=name, error=str(error))
            return False
        stored.pop(name, None)
        _log.info("trust_bundle_removed", name=name)
        return True


def _is_of_another(stored: _Stored | None, labels: Mapping[str, str]) -> bool:
    """Whether a foreign one has the name of something else.

    An issuer `a` beside which `b.c` stands, and an issuer `a.b` beside which `c` does, or an issuer
    `a.b.c`, come to one name; two trust domains must not take turns there. An issuer's own goes
    first, then whichever came first.
    """
    return stored is not None and stored.labels != labels


def _wanted(publication: Publication) -> Iterator[tuple[str, str, str]]:
    """Name, trust domain if it is foreign, and PEM. The API server refuses one without roots."""
    if publication.roots_pem:
        yield trust_bundle_name(publication.issuer), "", publication.roots_pem
    for trust_domain, pem in publication.foreign.items():
        if pem:
            yield trust_bundle_name(publication.issuer, trust_domain), trust_domain, pem


def _labels(issuer: str, trust_domain: str) -> Mapping[str, str]:
    if not trust_domain:
        return {LABEL_MANAGED: "true", LABEL_ISSUER: issuer}
    return {
        LABEL_MANAGED: "true",
        LABEL_TRUST_DOMAIN: _short(trust_domain),
        LABEL_FEDERATED_BY: issuer,
    }


def _owner(stored: _Stored) -> str:
    return stored.labels.get(LABEL_ISSUER) or stored.labels.get(LABEL_FEDERATED_BY, "")


def _read(body: JsonObject) -> _Stored:
    labels, spec = metadata_of(body).get("labels"), body.get("spec")
    return _Stored(
        str(spec.get("trustBundle") or "") if isinstance(spec, dict) else "",
        dict(labels) if isinstance(labels, dict) else {},
        resource_version_of(body),
    )
