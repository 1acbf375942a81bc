"""What runs beside the controller in the same process: other doors, on the same caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.factory import Parts
    from agentid.kube.objects import ObjectKey

__all__ = ["Companion", "MakeCompanion"]


class Companion(Protocol):
    """Runs in every replica, whoever leads."""

    async def run(self) -> None:
        """Work until cancelled; an exception ends the process."""
        ...

    async def drain(self) -> None:
        """Begin nothing more, and return once what was begun has come to its end."""
        ...

    def changed(self, identity: ObjectKey | None) -> None:
        """An identity has changed, or something that many depend on; None for the latter."""
        ...


MakeCompanion: TypeAlias = "Callable[[Parts, Callable[[ObjectKey], None]], Companion]"
"""Makes one from the parts of the operator, and from what has an identity looked at soon."""
