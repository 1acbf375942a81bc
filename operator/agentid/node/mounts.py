"""Mounts, by system calls: the image has no programs, and each call costs microseconds."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentid.errors import InternalError

__all__ = ["Mount", "Tmpfs", "bind_read_only", "mounts", "shown", "unmount"]

_libc: Final = ctypes.CDLL(None, use_errno=True)

# mount(2), <sys/mount.h>
_RDONLY: Final = 1
_NOSUID: Final = 2
_NODEV: Final = 4
_NOEXEC: Final = 8
_REMOUNT: Final = 32
_BIND: Final = 4096
_DETACH: Final = 2
_NOFOLLOW: Final = 8
_SAFE: Final = _NOSUID | _NODEV | _NOEXEC

_MOUNTINFO: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo, proc_pid_mountinfo(5).

    Attributes:
        path: Where it is.
        device: `major:minor` of the file system.
        kind: Of the file system, such as `tmpfs`.
        read_only: Whether it is, through this mount.
    """

    path: Path
    device: str
    kind: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A file system in memory.

    Attributes:
        bytes_: The most that it holds.
        inodes: Files, folders, links and sockets that it holds at most.
        mode: Of its root.
    """

    bytes_: int
    inodes: int
    mode: int = 0o755

    def mount(self, path: Path) -> None:
        """Mount it there. It is never swapped out where the kernel can promise that (6.3)."""
        options = f"size={self.bytes_},nr_inodes={self.inodes},mode={self.mode:o}"
        try:
            _mount("agentid", path, "tmpfs", _SAFE, f"{options},noswap")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _mount("agentid", path, "tmpfs", _SAFE, options)


def mounts() -> list[Mount]:
    """All mounts that this process sees, in the order in which they were made."""
    found = []
    for line in _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split(" ")
        found.append(
            Mount(
                path=Path(_unescaped(parts[4])),
                device=parts[2],
                kind=rest.split(" ", 1)[0],
                read_only="ro" in parts[5].split(","),
            )
        )
    return found


def bind_read_only(source: Path, target: Path) -> None:
    """Show one folder at another place, where nobody can write: here, and wherever it is handed on.

    A remount makes this one mount read-only and none of those that the node and its pods have of
    it, mount(2); but a bind takes the flags of its source, and hands them on. So it is made
    read-only beside the source first, and is shown from there.

    Raises:
        OSError: The kernel refuses; nothing is mounted then.
    """
    beside = source.with_name(f"{source.name}.shown")
    beside.mkdir(mode=0o700, exist_ok=True)
    try:
        _mount(str(source), beside, "", _BIND, "")
        _mount("", beside, "", _BIND | _REMOUNT | _RDONLY | _SAFE, "")
        _mount(str(beside), target, "", _BIND, "")
    finally:
        unmount(beside)
        beside.rmdir()


def shown(source: Path, target: Path) -> bool:
    """Whether the file system of one folder is what is seen at another place, read-only.

    By two system calls, where the list of all mounts of a node has hundreds of lines.
    """
    try:
        same = target.lstat().st_dev == source.stat().st_dev
        return same and bool(os.statvfs(target).f_flag & os.ST_RDONLY)
    except FileNotFoundError:
        return False


def unmount(path: Path) -> None:
    """Take every mount at this place away; nothing where there is none. Who has it open keeps it.

    A link is not followed: what it leads to is none of ours.

    Raises:
        InternalError: The kernel refuses.
    """
    for _ in range(_MAX_LAYERS):
        if _libc.umount2(os.fsencode(path), _DETACH | _NOFOLLOW) != 0:
            number = ctypes.get_errno()
            if number in {errno.EINVAL, errno.ENOENT}:  # not a mount; not there
                return
            msg = f"{path} cannot be unmounted: {os.strerror(number)}"
            raise InternalError(msg)
    msg = f"{path} has more than {_MAX_LAYERS} mounts on top of one another"
    raise InternalError(msg)


_MAX_LAYERS: Final = 64


def _mount(source: str, target: Path, kind: str, flags: int, data: str) -> None:
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags),
        data.encode(),
    )  # fmt: skip
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _unescaped(text: str) -> str:
    """Blanks and their like stand as three octal digits."""
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, plain)
    return text
