"""The identities of a run as a watch tells of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.load import Watcher

if TYPE_CHECKING:
    from agentid.kube.objects import JsonObject

__all__ = ["Agents"]


class Agents(Watcher):
    """What was seen last, and how late each certificate was replaced.

    Attributes:
        serials: Of the certificate in each status, by name.
        changed_at: When the serial of each was first seen, by name.
        lateness: Seconds from the time at which a renewal was due until another serial was seen.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.serials: dict[str, str] = {}
        self.changed_at: dict[str, datetime] = {}
        self.lateness: list[float] = []
        self._due: dict[str, datetime] = {}

    def see(self, name: str, body: JsonObject | None) -> None:
        """Note an identity's certificate as well."""
        super().see(name, body)
        match None if body is None else body.get("status"):
            case {"certificate": {"serial": str(serial), "renewalTime": str(due)}}:
                self._certificate(name, serial, datetime.fromisoformat(due))
            case _:
                self.serials.pop(name, None)

    def _certificate(self, name: str, serial: str, due: datetime) -> None:
        if self.serials.get(name) == serial:
            return
        now = datetime.now(UTC)
        if name in self.serials and self._due[name] <= now:
            self.lateness.append((now - self._due[name]).total_seconds())
        self.serials[name], self._due[name], self.changed_at[name] = serial, due, now
