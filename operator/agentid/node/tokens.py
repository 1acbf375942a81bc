"""JWT-SVIDs of one pod, kept for as long as they are fresh."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentid.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentid.node.issuer import JwtGrant

__all__ = ["TokenCache"]

_MOST: Final = 64
"""Audiences of one pod that are kept; beyond, the one that was asked for least lately goes."""

_FRESH: Final = 0.5
"""Part of a token's life in which it is handed out again: whoever gets it has the other half."""

_LAST: Final = 10.0
"""Seconds of life that a token has at least which is handed out while the issuer is away."""


@dataclass(slots=True)
class TokenCache:
    """Tokens by audience; times are seconds of the clock that does not go back."""

    _kept: dict[tuple[str, ...], tuple[JwtGrant, float]] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def fresh(self, audience: tuple[str, ...], now: float) -> JwtGrant | None:
        """One that is kept for this audience and fresh still."""
        kept = self._kept.get(audience)
        if kept is None:
            return None
        grant, since = kept
        life = (grant.not_after - grant.issued_at).total_seconds()
        if now - since >= life * _FRESH:
            return None
        self._kept[audience] = self._kept.pop(audience)  # the latest
        return grant

    async def get(
        self,
        audience: tuple[str, ...],
        now: Callable[[], float],
        mint: Callable[[], Awaitable[JwtGrant]],
    ) -> JwtGrant:
        """One for this audience: kept, or minted and kept.

        Raises:
            UnavailableError: It has to be minted, and cannot be, and none with some life is kept.
            AgentIdError: As `mint` raises it.
        """
        began = now()
        if (found := self.fresh(audience, began)) is not None:
            return found
        try:
            minted = await mint()
        except UnavailableError:
            kept = self._kept.get(audience)
            if kept is None or _left(*kept, now()) < _LAST:
                raise
            return kept[0]
        self._kept.pop(audience, None)
        self._kept[audience] = (minted, began)
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        return minted


def _left(grant: JwtGrant, since: float, now: float) -> float:
    return since + (grant.not_after - grant.issued_at).total_seconds() - now
