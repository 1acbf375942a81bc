"""What the node plugin has to know of a volume after a restart, in a file beside its mount.

It says which version of this form it is of. What a later plugin wrote is left as it is, with the
files and the mount that it is about: the pod keeps what it holds, and gets nothing new before a
plugin runs that reads it.

The files lie on a file system in memory that only root of the node enters: they hold the pod's
token, and end with the node's boot as the mounts and keys do.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError, UnavailableError, UnknownVersionError
from agentid.formats import later_version
from agentid.node.issuer import PodProof

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Held", "StateFolder", "Unread", "VolumeState", "volume_key"]

_VERSION: Final = 1
"""Raised when a release writes what an earlier one would misread. An earlier one wrote none: 1."""

_SUFFIX: Final = ".json"
MAX_STATE: Final = 8 * 1024 * 1024
"""Octets: the bundles of every federated trust domain stand in it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What goes with the files, and is not in them.

    Attributes:
        spiffe_id: In the leaf.
        key_algorithm: Of the next key.
        renew_at: On the clock of the boot, in seconds.
        ends_at: When the leaf expires, on the same clock.
        federated: Roots in PEM, by trust domain.
        jwks: JWK Sets, by trust domain.
    """

    spiffe_id: str
    key_algorithm: str
    renew_at: float
    ends_at: float
    federated: Mapping[str, str]
    jwks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VolumeState:
    """A volume that is published, or that somebody began to publish.

    Attributes:
        volume_id: The kubelet's name.
        target: Where it appears.
        group: The pod's fsGroup.
        pod: For whom.
        held: What it holds; None before the first certificate, and once it was taken away.
        ended: Reason and message, once it was taken away.
    """

    volume_id: str
    target: str
    group: int | None
    pod: PodProof
    held: Held | None = field(default=None, repr=False)
    ended: tuple[str, str] | None = None

    @property
    def key(self) -> str:
        """The name of its files."""
        return volume_key(self.volume_id)

    @property
    def begun(self) -> bool:
        """Whether its first publication has begun, and not come to its end."""
        return self.held is None and self.ended is None


@dataclass(frozen=True, slots=True)
class Unread:
    """A volume that a later release of the plugin published.

    Attributes:
        key: The name of its files.
        why: Which version it is of, and what to do.
    """

    key: str
    why: str


def volume_key(volume_id: str) -> str:
    """A name for the file system, whatever is in the kubelet's."""
    return hashlib.sha256(volume_id.encode()).hexdigest()[:32]


class StateFolder:
    """The files, one for each volume."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: VolumeState) -> None:
        """Write it; whoever reads sees the old or the new one.

        Raises:
            UnavailableError: There is no room; the old one is still there.
        """
        path = self._folder / f"{state.key}{_SUFFIX}"
        fresh = path.with_suffix(".new")
        try:
            fresh.write_bytes(_written(state))
            fresh.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            msg = f"the state of a volume cannot be kept in {self._folder}: {error.strerror}"
            raise UnavailableError(msg) from error

    def forget(self, key: str) -> None:
        """Remove it."""
        (self._folder / f"{key}{_SUFFIX}").unlink(missing_ok=True)

    def load(self) -> Iterator[VolumeState | Unread]:
        """All of them; one that does not parse is removed and passed over."""
        for path in sorted(self._folder.glob("*.new")):
            path.unlink()
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                state = read_state(path.read_bytes())
            except UnknownVersionError as error:
                yield Unread(path.stem, str(error))
                continue
            except InputError:
                path.unlink()
                continue
            yield state


def _written(state: VolumeState) -> bytes:
    return orjson.dumps({"version": _VERSION, **orjson.loads(orjson.dumps(state))})


def read_state(data: bytes) -> VolumeState:
    """Read one file.

    Raises:
        UnknownVersionError: A later release wrote it.
        InputError: It is none of ours.
    """
    try:
        if len(data) > MAX_STATE:
            raise ValueError  # noqa: TRY301 - the same message
        found = orjson.loads(data)
        if (later := later_version(found, "version", _VERSION)) is not None:
            raise UnknownVersionError(later)
        if found.pop("version", _VERSION) != _VERSION:
            raise ValueError  # noqa: TRY301 - the same message
        held = found.pop("held")
        ended = found.pop("ended")
        return VolumeState(
            pod=PodProof(**found.pop("pod")),
            held=None if held is None else Held(**held),
            ended=None if ended is None else (str(ended[0]), str(ended[1])),
            **found,
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        msg = "the state of a volume does not parse; the kubelet publishes it anew"
        raise InputError(msg) from error
