"""The files in a pod's mount, exchanged all at once.

```
tls.crt -> ..data/tls.crt        ..data -> ..x3f9        ..x3f9/tls.crt, tls.key, …
```

`..data` is replaced by rename(2), so whoever resolves it once reads files that belong together, as
with the volumes of Kubernetes itself. `credentials.pem` holds key and chain in one file, for those
who open files one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from agentid.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DATA", "clear", "read", "write"]

DATA: Final = "..data"
_NEW: Final = "..data_new"


def write(folder: Path, files: Mapping[str, bytes], group: int | None) -> None:
    """Exchange all files for these.

    Args:
        folder: The root of the pod's mount.
        files: By name.
        group: Who may read, as the pod's fsGroup; None lets everybody who sees the mount, which
            are the pod's containers, whichever user they run as.

    Raises:
        UnavailableError: They do not fit; the files that were there still are.
    """
    try:
        tidy(folder)
        fresh = _made(folder, files, group)
        (folder / _NEW).symlink_to(fresh.name)
        # Names before what they lead to: all that takes room is done before the exchange.
        for name in files:
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"{DATA}/{name}")
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder itself may be gone
            tidy(folder)
        msg = f"the files do not fit into the pod's volume: {error.strerror}"
        raise UnavailableError(msg) from error
    old = current(folder)
    (folder / _NEW).replace(folder / DATA)
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name not in {DATA, *files}:
            entry.unlink()
    if old is not None:
        shutil.rmtree(old)


def clear(folder: Path) -> None:
    """Take all files away; they are gone for every reader once the first step is done."""
    (folder / DATA).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_symlink():
            entry.unlink()
    tidy(folder)


def read(folder: Path) -> dict[str, bytes]:
    """The files that are there, by name; none where there are none."""
    data = current(folder)
    if data is None:
        return {}
    return {entry.name: entry.read_bytes() for entry in data.iterdir()}


def current(folder: Path) -> Path | None:
    """The folder that is shown now, or None."""
    with contextlib.suppress(OSError):
        name = (folder / DATA).readlink()
        if (folder / name).is_dir():
            return folder / name
    return None


def tidy(folder: Path) -> None:
    """Take away what a process left that ended between two steps."""
    (folder / _NEW).unlink(missing_ok=True)
    shown = current(folder)
    for entry in folder.iterdir():
        if entry.name.startswith("..") and entry.name != DATA and entry != shown:
            shutil.rmtree(entry)
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.exists():
            entry.unlink()  # a name without a file, or all of them, where nothing is shown


def _made(folder: Path, files: Mapping[str, bytes], group: int | None) -> Path:
    fresh = folder / tempfile.mkdtemp(prefix="..", dir=folder)
    for name, content in files.items():
        with (fresh / name).open("xb", buffering=0) as file:
            written = file.write(content)
            if written != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _own(file.fileno(), 0o444, group)
    entered = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _own(entered, 0o555, group)
    finally:
        os.close(entered)
    return fresh


def _own(descriptor: int, mode: int, group: int | None) -> None:
    if group is not None:
        os.fchown(descriptor, -1, group)
        mode &= ~0o007
    os.fchmod(descriptor, mode)
