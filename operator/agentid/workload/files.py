"""The directory that a pod is given: what is in it, all from one moment.

A kubelet writes a directory of its own for each version of the files and then moves the link
`..data` onto it, so a program that opens two of them one after the other may get a key and another
key's certificate. Here the directory behind the link is opened once, and everything is read in it.
In a directory without that link, files are read until none has changed meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES, MAX_CHAIN_PEM_BYTES, MAX_KEY_PEM_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BUNDLE", "CHAIN", "CREDENTIALS", "KEY", "Directory", "Files", "Mark"]

CREDENTIALS: Final = "credentials.pem"
"""Key and chain in one file, as a kubelet writes it for a podCertificate volume."""

KEY: Final = "tls.key"
CHAIN: Final = "tls.crt"
"""Where there is no `credentials.pem`: in a Secret."""

BUNDLE: Final = "ca.crt"

_LIMITS: Final = {
    CREDENTIALS: MAX_KEY_PEM_BYTES + MAX_CHAIN_PEM_BYTES,
    KEY: MAX_KEY_PEM_BYTES,
    CHAIN: MAX_CHAIN_PEM_BYTES,
    BUNDLE: MAX_BUNDLE_PEM_BYTES,
}
_TRIES: Final = 10
"""Files that change while they are read are read again; ten times in a row is not a renewal."""

Mark = tuple[tuple[int, int, int, int], ...]
"""Differs between two versions of the files."""


@dataclass(frozen=True, slots=True, repr=False)
class Files:
    """One version of the files, unread; `repr` shows none of it, since it holds a private key.

    Attributes:
        source: Which file, or files, key and chain are from, for messages.
        key_and_chain: PEM: a private key, and certificates with the leaf first.
        bundle: PEM: the authorities of the trust domain.
    """

    source: str
    key_and_chain: bytes
    bundle: bytes


class Directory:
    """A directory whose files are exchanged now and then."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is looked at yet."""
        self.path = path
        self._data = path / "..data"

    def mark(self) -> Mark | None:
        """What tells one version from another, by a single stat where a kubelet writes the files.

        Returns:
            None where there are no files at all.
        """
        try:
            return (_mark(os.stat(self._data)),)  # noqa: PTH116 - in the way of each connection
        except FileNotFoundError:
            return tuple(self._each()) or None
        except OSError:
            return None

    def read(self) -> tuple[Mark | None, Files]:
        """Read a version of the files, all of it from one moment, and tell which one it is.

        Raises:
            InputError: A file is missing, cannot be read, or is longer than any good one.
        """
        for _ in range(_TRIES):
            before = self.mark()
            try:
                files = self._read_once()
            except OSError as error:
                if self.mark() == before:
                    raise self._unreadable(error) from error
                continue
            if self.mark() == before:
                return before, files
        msg = f"{self.path}: the files change faster than they can be read; exchange them together"
        raise InputError(msg)

    def _each(self) -> Iterator[tuple[int, int, int, int]]:
        for name in _LIMITS:
            try:
                yield _mark(os.stat(self.path / name))  # noqa: PTH116 - as above
            except OSError:
                continue

    def _read_once(self) -> Files:
        try:
            folder = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                source, found = CREDENTIALS, _content(folder, CREDENTIALS)
            except FileNotFoundError:
                source = f"{KEY} and {CHAIN}"
                found = _content(folder, KEY) + b"\n" + _content(folder, CHAIN)
            return Files(source, found, _content(folder, BUNDLE))
        finally:
            os.close(folder)

    def _unreadable(self, error: OSError) -> InputError:
        if not isinstance(error, FileNotFoundError):
            return InputError(f"{self.path}: {error}")
        return InputError(
            f"{self.path}: no {CREDENTIALS}, nor {KEY} with {CHAIN}, beside {BUNDLE}, so there is "
            f"no identity ({error.strerror}: {error.filename}); has the pod the label "
            "agentid.dev/identity, and this container the mount? AGENTID_DIR names another place"
        )


def _mark(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _content(folder: int, name: str) -> bytes:
    limit = _LIMITS[name]
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
        content = file.read(limit + 1)
    if len(content) > limit:
        msg = f"{name} has more than {limit} bytes; give an ordinary one"
        raise InputError(msg)
    return content
