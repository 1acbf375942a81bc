"""Files in a folder as a kubelet keeps them: exchanged together, some time after they changed."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Mounted", "write_together"]

_numbers = itertools.count(1)


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files where `..data` points, all at once, as the kubelet's AtomicWriter does."""
    folder.mkdir(exist_ok=True)
    target = folder / f"..{next(_numbers)}"
    target.mkdir()
    for name, content in files.items():
        (target / name).write_bytes(content)
    link, before = folder / "..data", None
    if link.is_symlink():
        before = link.resolve()
    fresh = folder / "..data_tmp"
    fresh.symlink_to(target.name)
    fresh.replace(link)
    # What is in use by a reader that has just looked stays for a while.
    for old in sorted(folder.glob("..[0-9]*"), key=lambda each: int(each.name[2:]))[:-10]:
        if old not in (before, target):
            shutil.rmtree(old)


class Mounted:
    """Keeps a folder as some source of files says, always a little late.

    Attributes:
        faults: What went wrong while it looked; a test asserts that this is empty.
        history: Everything that was ever there.
    """

    def __init__(
        self, folder: Path, read: Callable[[], Mapping[str, bytes] | None], delay: float
    ) -> None:
        """Take the parts; `start` writes the files for the first time.

        Args:
            folder: Where the files go.
            read: Gives what they are to be; None while there are none.
            delay: Seconds from a change to the file.
        """
        self.folder = folder
        self.faults: list[str] = []
        self.history: list[Mapping[str, bytes]] = []
        self._read = read
        self._delay = delay
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Write what there is, and follow it from then on."""
        files = self._read()
        assert files is not None, f"there is nothing to mount in {self.folder}"
        self._write(files)
        self._thread.start()

    def stop(self) -> None:
        """Follow it no longer."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        waiting: list[tuple[float, Mapping[str, bytes]]] = []
        newest = self.history[-1]
        while not self._ended.wait(0.1):
            try:
                files = self._read()
            except Exception as error:  # noqa: BLE001 - told by the test
                self.faults.append(repr(error))
                continue
            if files is not None and files != newest:
                newest = files
                waiting.append((time.monotonic() + self._delay, files))
            while waiting and waiting[0][0] <= time.monotonic():
                self._write(waiting.pop(0)[1])

    def _write(self, files: Mapping[str, bytes]) -> None:
        self.history.append(files)
        write_together(self.folder, files)
