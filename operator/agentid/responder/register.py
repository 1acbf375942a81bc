"""What the responder asks of the ledger.

It reads the ledger, and never writes to it. What stands in damaged segments counts as
`agentid.ledger.intake` says: a revocation always, a certificate as issued.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from agentid.ledger import Durable, LedgerState, Revoked

__all__ = ["GOOD", "UNKNOWN", "LedgerSource", "Register", "Standing"]


class LedgerSource(Protocol):
    """A ledger that is followed; `agentid.ledger.LedgerView` is one."""

    @property
    def state(self) -> LedgerState:
        """What is on record."""
        ...

    @property
    def lag(self) -> timedelta | None:
        """How long ago everything was known to be known; None before the first time."""
        ...

    @property
    def later_format(self) -> str | None:
        """What is to be said of a segment that a later release wrote; None where there is none."""
        ...

    def subscribe(self, listener: Callable[[Durable], None]) -> Callable[[], None]:
        """Be told about all records that become durable from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger says about a serial number of one authority.

    Attributes:
        known: Whether it is on record.
        revoked: Its revocation, None if there is none.
    """

    known: bool
    revoked: Revoked | None = None


GOOD: Final = Standing(known=True)
UNKNOWN: Final = Standing(known=False)


class Register:
    """Looks serial numbers up.

    Args:
        ledger: The ledger.
        stale_after: How old what is known may be.
    """

    def __init__(self, ledger: LedgerSource, stale_after: timedelta) -> None:
        self._ledger = ledger
        self._stale_after = stale_after

    @property
    def age(self) -> float:
        """How many seconds ago everything was known to be known; infinite before it ever was."""
        lag = self._ledger.lag
        return float("inf") if lag is None else lag.total_seconds()

    @property
    def is_read(self) -> bool:
        """Whether the ledger was read at all."""
        return self._ledger.lag is not None

    @property
    def is_fresh(self) -> bool:
        """Whether what is known is young enough to call a certificate good."""
        lag = self._ledger.lag
        return lag is not None and lag <= self._stale_after

    @property
    def is_whole(self) -> bool:
        """Whether all that is on record can be read: what is not known is on no record then."""
        return self._ledger.later_format is None

    def standing(self, authority: str, serial: int) -> Standing:
        """What is to be said about a serial number.

        A certificate is good only if it is on record as signed by this very authority (RFC 6960
        §2.2 lets `good` mean less; here it does not). A revocation whose certificate is on no
        record counts for every authority: serial numbers are 127 random bits.
        """
        state = self._ledger.state
        entry = state.by_value(serial)
        if entry is None:
            revoked = state.revocation_of(serial)
            return UNKNOWN if revoked is None else Standing(known=True, revoked=revoked)
        if entry.issued.authority != authority:
            return UNKNOWN
        return GOOD if entry.revoked is None else Standing(known=True, revoked=entry.revoked)
