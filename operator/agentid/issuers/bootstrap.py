"""The authorities of the built-in issuer, made once and then only read.

    read ──► there ──────────────────────────────► verify ──► Authority
      │                                              ▲
      └──► absent ──► make ──► verify ──► create ────┤ created by us
                                            │        │
                                            └────────┘ somebody else was first: read theirs

Whoever comes second throws its own away, so replicas that start together end with one root. What is
stored is never overwritten: the root is what every verifier trusts, and a fault in it is for a
person to judge.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from agentid.errors import AuthorityError, UnavailableError
from agentid.identity import SerialNumber, Validity
from agentid.issuers.builtin import BACKDATE
from agentid.pki import generate, make_intermediate, make_root
from agentid.pki.load import (
    ISSUING_CERTIFICATE,
    ISSUING_KEY,
    ROOT_CERTIFICATE,
    ROOT_KEY,
    load_authority,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.identity import TrustDomain
    from agentid.issuers.builtin import Random
    from agentid.pki import Authority, KeyAlgorithm

__all__ = ["AuthoritySettings", "AuthorityStore", "ensure_authorities"]

# Reading, losing a race and finding the winner's deleted again: once is bad luck, three times means
# that something deletes what others create.
_ATTEMPTS: Final = 3
_RETRY_AFTER: Final = timedelta(seconds=5)
_SERIAL_OCTETS: Final = 16


class AuthorityStore(Protocol):
    """Keeps the files of one issuer's authorities together; in a cluster, one Secret."""

    async def read(self) -> Mapping[str, bytes] | None:
        """The files by name, or None if nothing is stored.

        Raises:
            UnavailableError: The store is away.
        """
        ...

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Store the files if nothing is stored yet, all or none.

        Returns:
            False when somebody else stored theirs first; then nothing was written.

        Raises:
            UnavailableError: The store is away, and whether it wrote is unknown.
        """
        ...


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """How authorities are made, when they are made; those that exist stay as they are.

    Attributes:
        trust_domain: Whose identities they sign; it must be a host name.
        root_algorithm: The key of the root.
        root_lifetime: How long the root serves.
        intermediate_algorithm: The key of the issuing intermediate.
        intermediate_lifetime: How long the intermediate serves; at most as long as the root.
    """

    trust_domain: TrustDomain
    root_algorithm: KeyAlgorithm
    root_lifetime: timedelta
    intermediate_algorithm: KeyAlgorithm
    intermediate_lifetime: timedelta


async def ensure_authorities(
    store: AuthorityStore,
    settings: AuthoritySettings,
    clock: Clock,
    random: Random,
    *,
    known_root: str | None = None,
) -> Authority:
    """The stored authority, made first if there was none; the same one for everybody who asks.

    Keys are made and verified in a thread. If `create` fails after it wrote, calling again reads
    what it wrote.

    Args:
        store: Where authorities are kept.
        settings: How they are made.
        clock: For their validity.
        random: Gives unpredictable octets.
        known_root: Fingerprint of the root that was told of before; if it is lost it is not
            exchanged for another one, which nobody trusts.

    Raises:
        InputError: The settings cannot be met, such as an intermediate that outlives its root.
        AuthorityError: What is stored is faulty; every fault is listed and nothing is changed.
        UnavailableError: The store is away, or what others store keeps disappearing.
    """
    for _ in range(_ATTEMPTS):
        stored = await store.read()
        if stored is not None:
            return await asyncio.to_thread(_load, stored, settings.trust_domain, clock.now())
        if known_root is not None:
            fault = (
                f"it is missing, and this issuer has signed before, below the root {known_root}; "
                "restore it from a backup, or delete the AgentIssuer and create it again, to begin "
                "with new authorities that nobody trusts yet"
            )
            raise AuthorityError((fault,))
        now = clock.now()
        files, authority = await asyncio.to_thread(_make, settings, now, random)
        if await store.create(files):
            return authority
    msg = (
        "authorities: each time somebody else stored theirs first, and they were gone when read; "
        "find out what deletes the Secret"
    )
    raise UnavailableError(msg, retry_after=_RETRY_AFTER)


def _load(stored: Mapping[str, bytes], trust_domain: TrustDomain, now: datetime) -> Authority:
    return load_authority(
        chain_pem=stored.get(ISSUING_CERTIFICATE),
        key_pem=stored.get(ISSUING_KEY),
        root_pem=stored.get(ROOT_CERTIFICATE),
        root_key_pem=stored.get(ROOT_KEY),
        trust_domain=trust_domain,
        now=now,
    )


def _make(
    settings: AuthoritySettings, now: datetime, random: Random
) -> tuple[Mapping[str, bytes], Authority]:
    """Root and intermediate as files, and the authority as it loads from them."""
    root = make_root(
        settings.trust_domain,
        generate(settings.root_algorithm),
        Validity.of(now, settings.root_lifetime, BACKDATE),
        SerialNumber.from_random(random(_SERIAL_OCTETS)),
    )
    intermediate = make_intermediate(
        root,
        settings.trust_domain,
        generate(settings.intermediate_algorithm),
        Validity.of(now, settings.intermediate_lifetime, BACKDATE),
        SerialNumber.from_random(random(_SERIAL_OCTETS)),
    )
    files = {
        ROOT_CERTIFICATE: root.certificate_pem,
        ROOT_KEY: root.private_key_pem,
        ISSUING_CERTIFICATE: intermediate.certificate_pem,
        ISSUING_KEY: intermediate.private_key_pem,
    }
    return files, _load(files, settings.trust_domain, now)
