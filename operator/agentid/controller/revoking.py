"""What deleted and suspended identities held is revoked at once, ahead of the rest of their passes.

```
 deletion ─► waiting ─► one commit for all that wait ─► queue ─► finalizer, Secret, status
```

A pass writes to the API server, each a matter of milliseconds and of its load; behind some hundred
of them the last of a flood of deletions would wait for seconds. The ledger takes them together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.kube.objects import ObjectKey
    from agentid.services.identities import IdentityService

__all__ = ["RevocationLoop"]

_log = structlog.stdlib.get_logger(__name__)

_AT_ONCE: Final = 4
"""Commits under way: a deletion does not wait for the commit of the one before it to come back."""


class RevocationLoop:
    """Keeps who is to be revoked, and has the leader do it."""

    def __init__(self, identities: IdentityService, look_at: Callable[[ObjectKey], None]) -> None:
        """Take the parts; nothing runs yet.

        Args:
            identities: Knows what is to be revoked.
            look_at: Has an identity looked at as a whole, which also does again what failed here.
        """
        self._identities = identities
        self._look_at = look_at
        self._waiting: dict[ObjectKey, None] = {}
        self._news = asyncio.Event()
        self._running = False

    def add(self, key: ObjectKey) -> None:
        """Something may have to be taken away from an identity.

        Where nobody runs this, on a replica that does not lead, it is left to the passes.
        """
        if not self._running:
            self._look_at(key)
            return
        self._waiting[key] = None
        self._news.set()

    async def run(self) -> None:
        """Revoke, as the leader does, until cancelled."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._work())
        finally:
            self._running = False
            for key in self._waiting:
                self._look_at(key)
            self._waiting = {}

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            keys, self._waiting = self._waiting, {}
            try:
                await self._identities.revoke_due(keys)
            except Exception as error:  # noqa: BLE001 - the passes meet it again, each by itself
                _log.warning("revocations_interrupted", identities=len(keys), error=str(error))
            finally:
                for key in keys:
                    self._look_at(key)
