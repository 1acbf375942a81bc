"""The authorities of an issuer: made once, kept together, and exchanged step by step.

    read ──► there ───────────────────────────────► verify ──► AuthoritySet ──► step ──► replace
      │                                                ▲                                   │
      └──► absent ──► make ──► verify ──► create ──────┤ stored by us                      │
                                            │          └───────────────────────────────────┘
                                            └─ somebody else was first: read theirs

Whoever comes second throws its own away, so replicas that start together end with one root. What is
stored is only replaced by what goes on from it: the root is what every verifier trusts, and a fault
in it is for a person to judge.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from agentid.errors import AuthorityError, UnavailableError
from agentid.issuers.authority_set import AuthoritySet, load_set
from agentid.issuers.making import first_set, taken_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.clock import Clock
    from agentid.issuers.builtin import Random
    from agentid.issuers.making import AuthoritySettings, GivenAuthority

__all__ = ["AuthorityStore", "Kept", "Stored", "ensure_authorities"]

# Reading, losing a race and finding the winner's deleted again: once is bad luck, three times means
# that something deletes what others create.
_ATTEMPTS: Final = 3
_RETRY_AFTER: Final = timedelta(seconds=5)


class Stored(Protocol):
    """Files as they were read."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """By name."""
        ...

    @property
    def version(self) -> str:
        """To be named by who replaces them, so that no change is lost."""
        ...


class AuthorityStore(Protocol):
    """Keeps the files of one issuer's authorities together; in a cluster, one Secret."""

    async def read(self) -> Stored | None:
        """The files, or None if nothing is stored.

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

    async def replace(self, data: Mapping[str, bytes], version: str) -> bool:
        """Store other files in place of those of a version, all or none.

        Returns:
            False when they are not of that version any more; then nothing was written.

        Raises:
            UnavailableError: The store is away, and whether it wrote is unknown.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """Authorities, and the version of the files they were read from.

    Attributes:
        authorities: Verified.
        version: None if they were just created: read them again before they are replaced.
    """

    authorities: AuthoritySet
    version: str | None


async def ensure_authorities(
    store: AuthorityStore,
    settings: AuthoritySettings,
    clock: Clock,
    random: Random,
    *,
    given: GivenAuthority | None = None,
    known_root: str | None = None,
) -> Kept:
    """The stored authorities, made first if there were none; the same for everybody who asks.

    Keys are made and verified in a thread. If `create` fails after it wrote, calling again reads
    what it wrote.

    Args:
        store: Where authorities are kept.
        settings: How they are made.
        clock: For their validity.
        random: Gives unpredictable octets.
        given: To be taken up instead of making any.
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
            found = await asyncio.to_thread(load_set, stored.files, settings.trust_domain)
            return Kept(found, stored.version)
        if known_root is not None and given is None:
            fault = (
                f"it is missing, and this issuer has signed before, below the root {known_root}; "
                "restore it from a backup, or delete the AgentIssuer and create it again, to begin "
                "with new authorities that nobody trusts yet"
            )
            raise AuthorityError((fault,))
        now = clock.now()
        if given is None:
            made = await asyncio.to_thread(first_set, settings, now, random)
        else:
            made = await asyncio.to_thread(taken_up, None, given, settings, now, hurry=False)
        if await store.create(made.files):
            return Kept(made, None)
    msg = (
        "authorities: each time somebody else stored theirs first, and they were gone when read; "
        "find out what deletes the Secret"
    )
    raise UnavailableError(msg, retry_after=_RETRY_AFTER)
