"""The bundles of foreign trust domains, as they were fetched last.

They are kept in the ConfigMap that our own bundle is published in, so that an endpoint that is away
takes nothing from anybody, whichever replica leads. Each stands by itself: bundles of two trust
domains are never merged (SPIFFE Federation §4.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from agentid.api.fields import format_time, parse_time
from agentid.errors import InputError
from agentid.identity import TrustDomain
from agentid.pki.spiffe_bundle import decode_spiffe_bundle, encode_spiffe_bundle
from agentid.services.waking import Bell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from agentid.clock import Clock
    from agentid.pki import X509Bundle

__all__ = ["ForeignBundle", "ForeignBundles", "federated_data", "notes_of"]

_log = structlog.stdlib.get_logger(__name__)

_DATA: Final = re.compile(r"federated\.(.+)\.json", re.ASCII)


def federated_data(trust_domain: str) -> str:
    """Where in a ConfigMap the document of a foreign trust domain stands."""
    return f"federated.{trust_domain}.json"


@dataclass(frozen=True, slots=True)
class ForeignBundle:
    """A bundle as it was fetched.

    Attributes:
        bundle: Its X.509 authorities.
        document: The whole SPIFFE bundle document.
        sequence: Its number, None if it gives none.
        refresh_hint: How often to look for another, None if it does not say.
        fetched_at: When it was seen first.
        first: SHA-256 of the first bundle in the spec by which it was come to, in hexadecimal.
    """

    bundle: X509Bundle
    document: str = field(repr=False)
    sequence: int | None
    refresh_hint: timedelta | None
    fetched_at: datetime
    first: str

    @classmethod
    def read(
        cls, trust_domain: TrustDomain, document: bytes, *, fetched_at: datetime, first: str
    ) -> ForeignBundle:
        """Read a document.

        Raises:
            InputError: It is no SPIFFE bundle.
        """
        read = decode_spiffe_bundle(document, trust_domain)
        return cls(
            bundle=read.x509,
            # As we would write it, without what nobody understands: it stands in many ConfigMaps.
            document=encode_spiffe_bundle(read).decode("ascii"),
            sequence=read.sequence,
            refresh_hint=read.refresh_hint,
            fetched_at=fetched_at,
            first=first,
        )


class ForeignBundles:
    """Those of all issuers; filled from what is published, then by what is fetched.

    Attributes:
        bell: Rung when it is known what is published of an issuer, and when one is refused.
    """

    def __init__(self, clock: Clock) -> None:
        self.bell = Bell(clock)
        self._bundles: dict[str, dict[str, ForeignBundle]] = {}
        self._refused: dict[tuple[str, str], str] = {}

    def clear(self) -> None:
        """Forget everything: another replica may have fetched since."""
        self._bundles.clear()
        self._refused.clear()

    def is_known(self, issuer: str) -> bool:
        """Whether it was found out what is published beside the bundle of an issuer."""
        return issuer in self._bundles

    def restore(self, issuer: str, data: Mapping[str, str], notes: str, now: datetime) -> None:
        """Go on from what is published; what cannot be read is fetched anew.

        Args:
            issuer: Beside whose bundle.
            data: Of the ConfigMap.
            notes: As `notes_of` made them.
            now: The present, for bundles without notes.
        """
        noted = _read_notes(notes)
        found = self._bundles[issuer] = {}
        self.bell.ring()
        for key, document in data.items():
            if (match := _DATA.fullmatch(key)) is None:
                continue
            try:
                name = TrustDomain.parse(match[1])
                at, first = noted.get(name.name, (format_time(now), ""))
                found[name.name] = ForeignBundle.read(
                    name, document.encode(), fetched_at=parse_time(at), first=first
                )
            except InputError as error:
                _log.warning(
                    "foreign_bundle_unreadable",
                    issuer=issuer, trust_domain=match[1], error=str(error),
                )  # fmt: skip

    def get(self, issuer: str, trust_domain: str) -> ForeignBundle | None:
        """The bundle of a trust domain beside that of an issuer."""
        return self._bundles.get(issuer, {}).get(trust_domain)

    def of(self, issuer: str, trust_domains: Iterable[str]) -> tuple[ForeignBundle, ...]:
        """Those of these trust domains, in their order, as far as there are any."""
        found = (self.get(issuer, each) for each in trust_domains)
        return tuple(each for each in found if each is not None)

    def put(self, issuer: str, bundle: ForeignBundle) -> None:
        """Take in one that was fetched."""
        self._bundles.setdefault(issuer, {})[bundle.bundle.trust_domain.name] = bundle

    def keep(self, issuer: str, trust_domains: frozenset[str]) -> None:
        """Forget those of other trust domains."""
        bundles = self._bundles.get(issuer, {})
        for name in bundles.keys() - trust_domains:
            del bundles[name]

    def drop(self, issuer: str) -> None:
        """Forget an issuer that is gone."""
        self._bundles.pop(issuer, None)

    # Why one is not published though it was fetched

    def refuse(self, issuer: str, problems: Mapping[str, str]) -> None:
        """Note what of an issuer's cannot be published, and why, by trust domain."""
        now = {(issuer, name): problem for name, problem in problems.items()}
        before = {key: problem for key, problem in self._refused.items() if key[0] == issuer}
        for key in before:
            del self._refused[key]
        self._refused |= now
        if now != before:
            self.bell.ring()

    def refusal(self, issuer: str, trust_domain: str) -> str | None:
        """Why one is not published; None if it is."""
        return self._refused.get((issuer, trust_domain))


def notes_of(bundles: Iterable[ForeignBundle]) -> str:
    """What the documents do not say, to stand beside them."""
    noted = {
        each.bundle.trust_domain.name: [format_time(each.fetched_at), each.first]
        for each in bundles
    }
    return orjson.dumps(noted, option=orjson.OPT_SORT_KEYS).decode()


def _read_notes(notes: str) -> dict[str, tuple[str, str]]:
    try:
        read = orjson.loads(notes or "{}")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(read, dict):
        return {}
    return {
        name: (str(each[0]), str(each[1]))
        for name, each in read.items()
        if isinstance(each, list) and len(each) == 2  # noqa: PLR2004 - as `notes_of` writes them
    }
