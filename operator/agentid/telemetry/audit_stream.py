"""Writes audit events where nobody mixes them up with logs, and holds up nobody while it does.

```
 event loop ─► line ─► waiting (bounded) ─► a thread ─► standard output, or a file
                          │ full: the line is lost, counted, and its number is missing
                          └ a write fails: tried again each second, from where it broke off
```

The operator goes on in any case: the ledger, not this stream, is what must hold before a
certificate is used, and running agents must not lose theirs to a full disk.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AuditStream"]

_log = structlog.stdlib.get_logger(__name__)

WAITING: Final = 8 * 1024 * 1024
"""Bytes that may wait: some ten thousand events, for a disk that stands still for a moment."""

_AGAIN: Final = 1.0
"""Seconds between two tries of a write that failed."""

_BATCH: Final = 256 * 1024
"""Bytes in one write."""

_MODE: Final = 0o640

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""Not to block: opening a pipe would wait for a reader."""


class AuditStream:
    """One destination; made and closed by the composition root, written to by the event loop."""

    def __init__(self, path: Path | None = None, *, waiting: int = WAITING) -> None:
        """Open the destination, and begin.

        Args:
            path: The file to append to; it is opened anew when somebody has moved it away. None is
                standard output.
            waiting: Bytes that may wait to be written.

        Raises:
            InputError: The file cannot be opened.
        """
        self._path = path
        self._limit = waiting
        self._lines: list[bytes] = []
        self._size = 0
        self._closing = False
        self._news = threading.Condition()
        self.failure = ""
        """Why the last write failed; empty if it did not."""
        try:
            self._file = self._open()
        except OSError as error:
            message = (
                f"the audit stream cannot be opened: {path}: {error.strerror}; name a file in a "
                "folder that agentid may write to, or stdout"
            )
            raise InputError(message) from error
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, line: bytes, last_room: bool = True) -> bool:  # noqa: FBT001, FBT002 - see below
        """Take a line that ends in a newline; False if there is no room, and it is lost.

        Never waits for the destination.

        Args:
            line: It.
            last_room: Whether it may take more than half of the room. What agents bring about as
                often as they like may not, so that it never has another decision's event lost.
        """
        with self._news:
            limit = self._limit if last_room else self._limit // 2
            if self._closing or self._size + len(line) > limit:
                return False
            self._lines.append(line)
            self._size += len(line)
            self._news.notify()
        return True

    def close(self, seconds: float) -> int:
        """Write what waits, for so long at most, and stop.

        Returns:
            How many bytes were lost.
        """
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(seconds)
        return self._size

    # In the thread

    def _run(self) -> None:
        while lines := self._take():
            for batch in _batches(lines):
                if not self._put(batch):
                    return
                with self._news:
                    self._size -= len(batch)
        if self._path is not None:
            os.close(self._file)

    def _take(self) -> list[bytes]:
        with self._news:
            while not self._lines and not self._closing:
                self._news.wait()
            lines, self._lines = self._lines, []
        return lines

    def _put(self, batch: bytes) -> bool:
        """Write all of it, however long it takes; False if there is no time left to try again."""
        written = 0
        while written < len(batch):
            try:
                if self._moved():
                    # What was begun in the file that is gone is whole in the new one.
                    written = batch.rfind(b"\n", 0, written) + 1
                    opened = self._open()
                    os.close(self._file)
                    self._file = opened
                written += os.write(self._file, memoryview(batch)[written:])
                if self.failure:
                    self.failure = ""
                    _log.info("audit_stream_mended")
            except OSError as error:
                if not self.failure:
                    _log.error("audit_stream_broken", error=str(error))
                self.failure = str(error)
                if self._closing:
                    return False
                time.sleep(_AGAIN)
        return True

    def _open(self) -> int:
        if self._path is None:
            return sys.stdout.fileno()
        return os.open(self._path, _FLAGS, _MODE)

    def _moved(self) -> bool:
        """Whether the path names another file by now, as after a rotation by somebody else."""
        if self._path is None:
            return False
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._file))


def _batches(lines: list[bytes]) -> list[bytes]:
    """The lines in a few writes, none of them cut."""
    batches: list[bytes] = []
    batch, size = [], 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size >= _BATCH:
            batches.append(b"".join(batch))
            batch, size = [], 0
    return [*batches, b"".join(batch)] if batch else batches
