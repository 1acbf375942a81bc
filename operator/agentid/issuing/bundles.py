"""What node plugins are told to trust: bundles and CRLs, as the leader published them.

Every replica follows the ConfigMaps that the leader writes, so all of them tell the same.
"""

from __future__ import annotations

import base64
import binascii
import random
import re
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from agentid.constants import LABEL_ISSUER, LABEL_PUBLICATION
from agentid.errors import AgentIdError, ForbiddenError, InputError
from agentid.identity import TrustDomain
from agentid.kube.objects import metadata_of
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import CONFIG_MAPS, Selector
from agentid.pki.spiffe_bundle import decode_spiffe_bundle
from agentid.services.bundle_documents import BUNDLE_DATA, TRUST_DOMAIN_DATA
from agentid.services.crl_objects import CRL_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject

__all__ = ["Bundles", "BundlesDocument"]

_log = structlog.stdlib.get_logger(__name__)

_PUBLISHED: Final = Selector(labels=LABEL_PUBLICATION)
_FEDERATED: Final = re.compile(r"federated\.(?P<name>.+)\.json", re.ASCII)
_AGAIN: Final = 10.0


@dataclass(frozen=True, slots=True)
class BundlesDocument:
    """All of it, as it is told.

    Attributes:
        version: Another one whenever anything of it is.
        body: JSON: by trust domain the SPIFFE bundle document, the CRLs of its issuer in DER by
            Base64, and the foreign trust domains that go with it.
    """

    version: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Published:
    trust_domain: str
    document: str
    foreign: Mapping[str, str]


class Bundles:
    """Follows what is published.

    Args:
        client: The API server.
        namespace: Where it is published.
        clock: For waits.
        on_change: Told when the document is another one.
    """

    def __init__(
        self, client: Client, namespace: str, *, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._on_change = on_change
        self._bundles: dict[str, _Published] = {}
        self._crls: dict[str, dict[str, str]] = {}
        self._issuer_of: dict[str, str] = {}
        self._document: BundlesDocument | None = None
        self.synced = False

    @property
    def document(self) -> BundlesDocument:
        """What is told now."""
        if self._document is None:
            self._document = self._make()
        return self._document

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            try:
                await self._follow()
            except ForbiddenError as error:
                _log.warning("publications_not_watched", error=str(error), again_in=_AGAIN)
            await self._clock.sleep(_AGAIN)

    async def _follow(self) -> None:
        changes = reflect(
            self._client,
            CONFIG_MAPS,
            self._namespace,
            clock=self._clock,
            random=random.random,
            selector=_PUBLISHED,
            on_outage=_outage,
        )
        async with aclosing(changes):
            async for change in changes:
                match change.type:
                    case ChangeType.ADDED | ChangeType.MODIFIED:
                        self._take(change.object)
                    case ChangeType.DELETED if change.key is not None:
                        self._drop(change.key.name)
                    case ChangeType.SYNCED:
                        self.synced = True
                        self._changed()
                    case _:
                        pass

    def _take(self, body: JsonObject) -> None:
        metadata = metadata_of(body)
        labels, name = metadata.get("labels"), str(metadata.get("name"))
        named = labels if isinstance(labels, dict) else {}
        issuer = str(named.get(LABEL_ISSUER) or "")
        try:
            match named.get(LABEL_PUBLICATION):
                case "bundle":
                    self._bundles[issuer] = _read_bundle(body.get("data"))
                case "crl":
                    self._crls.setdefault(issuer, {})[name] = _read_crl(body.get("binaryData"))
                case _:
                    return
        except InputError as error:
            # What was told before still is.
            _log.warning("publication_refused", name=name, error=str(error))
            return
        self._issuer_of[name] = issuer
        self._changed()

    def _drop(self, name: str) -> None:
        issuer = self._issuer_of.pop(name, "")
        if self._crls.get(issuer, {}).pop(name, None) is None:
            self._bundles.pop(issuer, None)
        self._changed()

    def _changed(self) -> None:
        before, self._document = self._document, None
        # Until all is read, what is there is a part, and nobody is to act on it.
        if self.synced and (before is None or before.version != self.document.version):
            self._on_change()

    def _make(self) -> BundlesDocument:
        bundles: dict[str, dict[str, object]] = {}
        for issuer, published in sorted(self._bundles.items()):
            for name, document in published.foreign.items():
                bundles.setdefault(name, {"document": document, "crls": None, "federatesWith": []})
            crls = [crl for _, crl in sorted(self._crls.get(issuer, {}).items())]
            # What is our own is told by its owner, whoever else federates with it.
            bundles[published.trust_domain] = {
                "document": published.document,
                "crls": crls or None,
                "federatesWith": sorted(published.foreign),
            }
        told = orjson.dumps(bundles, option=orjson.OPT_SORT_KEYS)
        version = sha256(told).hexdigest()[:32]
        return BundlesDocument(version, b'{"version":"%b","bundles":%b}' % (version.encode(), told))


def _read_bundle(data: object) -> _Published:
    """What an issuer published, once its documents were read strictly.

    Raises:
        InputError: A part is missing or malformed.
    """
    found = data if isinstance(data, dict) else {}
    texts = {str(name): text for name, text in found.items() if isinstance(text, str)}
    trust_domain = TrustDomain.parse(texts.get(TRUST_DOMAIN_DATA))
    document = texts.get(BUNDLE_DATA, "")
    decode_spiffe_bundle(document.encode(), trust_domain)
    foreign: dict[str, str] = {}
    for name, text in texts.items():
        if (named := _FEDERATED.fullmatch(name)) is not None:
            other = TrustDomain.parse(named["name"])
            decode_spiffe_bundle(text.encode(), other)
            foreign[other.name] = text
    return _Published(trust_domain.name, document, foreign)


def _read_crl(data: object) -> str:
    text = data.get(CRL_DATA) if isinstance(data, dict) else None
    try:
        base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        msg = f"binaryData has no {CRL_DATA}"
        raise InputError(msg) from error
    return str(text)


def _outage(error: AgentIdError, seconds: float) -> None:
    _log.warning("publication_watch_interrupted", error=str(error), seconds=round(seconds, 1))
