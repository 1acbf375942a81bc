"""A place for authorities in memory, with switches to fail and to lose races."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentid.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MemoryAuthorityStore"]


@dataclass(frozen=True, slots=True)
class _Stored:
    files: Mapping[str, bytes] = field(repr=False)
    version: str


class MemoryAuthorityStore:
    """An `AuthorityStore` in memory.

    Attributes:
        data: What is stored.
        calls: `read`, `create` and `replace` in the order in which they came.
        fail_read: `read` raises UnavailableError.
        fail_before_write: Writes raise it and have stored nothing.
        fail_after_write: Writes raise it and have stored everything.
        rivals: Files that somebody else stores just before the next write, one per call.
        vanishing: Whatever is found stored at `create` is deleted again right after.
    """

    def __init__(self, data: Mapping[str, bytes] | None = None) -> None:
        """Begin with these files, or with none."""
        self.data: dict[str, bytes] | None = None if data is None else dict(data)
        self.calls: list[str] = []
        self.fail_read = False
        self.fail_before_write = False
        self.fail_after_write = False
        self.rivals: list[Mapping[str, bytes]] = []
        self.vanishing = False
        self._version = 0

    async def read(self) -> _Stored | None:
        """The files, unless switched to fail."""
        self.calls.append("read")
        await asyncio.sleep(0)
        if self.fail_read:
            message = "the store is away"
            raise UnavailableError(message)
        return None if self.data is None else _Stored(dict(self.data), str(self._version))

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Store the files if there are none, unless switched to fail."""
        await self._begin("create")
        if self.data is not None:
            if self.vanishing:
                self.data = None
            return False
        return self._store(data)

    async def replace(self, data: Mapping[str, bytes], version: str) -> bool:
        """Store the files in place of those of a version, unless switched to fail."""
        await self._begin("replace")
        if self.data is None or version != str(self._version):
            return False
        return self._store(data)

    async def _begin(self, call: str) -> None:
        self.calls.append(call)
        await asyncio.sleep(0)
        if self.fail_before_write:
            message = "the store did not answer"
            raise UnavailableError(message)
        if self.rivals:
            self._put(self.rivals.pop(0))

    def _store(self, data: Mapping[str, bytes]) -> bool:
        self._put(data)
        if self.fail_after_write:
            message = "the answer of the store was lost"
            raise UnavailableError(message)
        return True

    def _put(self, data: Mapping[str, bytes]) -> None:
        self.data = dict(data)
        self._version += 1

    def __repr__(self) -> str:
        """The names of the files; their contents may be private keys."""
        names = "nothing" if self.data is None else ", ".join(sorted(self.data))
        return f"MemoryAuthorityStore({names})"
