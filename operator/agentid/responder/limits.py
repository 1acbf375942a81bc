"""What keeps one client, and all of them together, from taking this process over.

Requests are counted in token buckets: one for all, one for each client address. Connections are for
`agentid.serving.bounded`, and how long a body may take for who reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.serving.token_bucket import TokenBucket, TokenBuckets

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.responder.settings import Limits

__all__ = ["Throttle"]

_CLIENTS: Final = 16_384
"""Client addresses that are remembered. Who is forgotten begins with a full bucket, and 16,384
addresses at work at once are for the bucket of all to deal with; 200 bytes each make 3 MB."""


class Throttle:
    """Says whether a request may be answered.

    Args:
        limits: What is allowed.
        monotonic: Seconds from an arbitrary start.
    """

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._all = TokenBucket(limits.rate, limits.burst, monotonic())
        self._clients = TokenBuckets(limits.client_rate, limits.client_burst, _CLIENTS)

    def wait(self, client: str) -> float:
        """Count a request of this client.

        Returns:
            0 if it may be answered, else the seconds until another one may.
        """
        now = self._monotonic()
        return self._clients.take(client, now) or self._all.take(now)
