"""What one node plugin, and all of them together, can make this process do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_BODY", "MAX_ITEMS", "MAX_PATH", "Limits", "Work"]

MAX_PATH: Final = 256
"""Characters of a path with its query."""

MAX_ITEMS: Final = 32
"""Certificates that are asked for in one request: a quarter of the pods of a node."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request: 32 items, each a CSR of 12 KiB in Base64 and a token of 8 KiB, make 768 KiB;
the rest is for white space."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers.

    Attributes:
        items: Certificates and tokens in work at a time. At 1.5 ms each, the last one of so many
            waits for three quarters of a second.
        node_items: Of these for one node.
        pod_tokens: JWT-SVIDs of one pod a second. Each serves for minutes, to one audience.
        pod_token_burst: Of these at once after a silence, such as at a start.
        connections: At a time; a plugin has two.
        client_connections: Of these from one address. A proxy may stand before many nodes.
        idle_seconds: For the head of a request, and between two.
        body_seconds: For the body of a request.
        write_seconds: How long a plugin may take no octet of what waits for it.
        heartbeat: Seconds between two signs of life of a stream.
        drain: Seconds for requests in work at the end.
    """

    items: int = 512
    node_items: int = 128
    pod_tokens: float = 10
    pod_token_burst: float = 100
    connections: int = 8192
    client_connections: int = 512
    idle_seconds: float = 75
    body_seconds: float = 5
    write_seconds: float = 10
    heartbeat: float = 10
    drain: float = 2


class Work:
    """Counts what is in work; what does not fit is to come again, and is not kept waiting here."""

    def __init__(self, limits: Limits) -> None:
        """Nothing is in work."""
        self._limits = limits
        self._all = 0
        self._nodes: dict[str, int] = {}

    def begin(self, node: str, items: int) -> bool:
        """Whether so many may be begun for a node; if so, `end` has to follow."""
        mine = self._nodes.get(node, 0) + items
        if self._all + items > self._limits.items or mine > self._limits.node_items:
            return False
        self._all += items
        self._nodes[node] = mine
        return True

    def end(self, node: str, items: int) -> None:
        """So many have come to their end."""
        self._all -= items
        self._nodes[node] -= items
        if not self._nodes[node]:
            del self._nodes[node]

    @property
    def idle(self) -> bool:
        """Whether nothing is in work."""
        return not self._all
