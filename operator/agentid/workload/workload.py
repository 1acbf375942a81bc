"""The workload that this process is: its files, followed as they change."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentid.clock import Clock, SystemClock
from agentid.errors import InputError
from agentid.workload.context import WorkloadContext
from agentid.workload.credentials import Credentials, Identity, read_credentials
from agentid.workload.errors import OwnIdentityError
from agentid.workload.files import Directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.workload.files import Mark
    from agentid.workload.peers import Peers

__all__ = ["DEFAULT_DIRECTORY", "Reload", "Workload"]

DEFAULT_DIRECTORY: Final = "/var/run/agentid"
"""Where a pod finds its identity; AGENTID_DIR names another place."""

_AGAIN: Final = 1.0
"""Seconds after which files that could not be used are read again, though they look the same: what
writes them in place may be between two writes within one tick of the file system's clock."""

_log = logging.getLogger("agentid.workload")


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of files that had changed.

    Attributes:
        identity: The one in force from now on.
        problem: Why the new files cannot be used, so that those before stay in force; else None.
    """

    identity: Identity
    problem: str | None = None


class Workload:
    """Who this process is, by the files of `/var/run/agentid`. Any number of threads may use it.

    The files are looked at when a connection begins, by one stat, and read when they have changed.
    Files that cannot be used (half written, a key of another certificate) change nothing: the last
    good ones stay in force, and a warning of the logger `agentid.workload` and `on_reload` tell.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        clock: Clock | None = None,
        on_reload: Callable[[Reload], None] | None = None,
    ) -> None:
        """Read the files for the first time.

        Args:
            directory: Where they are; by default `$AGENTID_DIR`, or else `/var/run/agentid`.
            clock: Tells whether the certificate has expired.
            on_reload: Called after files have changed, by whoever begins a connection then.

        Raises:
            OwnIdentityError: There are none, or they cannot be used.
        """
        place = directory or os.environ.get("AGENTID_DIR") or DEFAULT_DIRECTORY
        self._directory = Directory(Path(place))
        self._clock = clock or SystemClock()
        self._on_reload = on_reload
        self._lock = threading.Lock()
        self._failed: Mark | None = None
        self._failed_at: float | None = None
        self._told: dict[int, str] = {}
        try:
            self._seen, files = self._directory.read()
            self._credentials = read_credentials(files)
        except InputError as error:
            raise OwnIdentityError(str(error)) from error

    @property
    def identity(self) -> Identity:
        """Who it is, by the files that are there now; it may have expired."""
        return self.present().identity

    def client_context(
        self, peers: Peers, *, minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> WorkloadContext:
        """A context to call others with.

        Args:
            peers: Whom it may reach; with the empty set every handshake fails.
            minimum_version: `ssl.TLSVersion.TLSv1_2` for a peer that knows no better.
        """
        return WorkloadContext(ssl.PROTOCOL_TLS_CLIENT, self, peers, minimum_version)

    def server_context(
        self, peers: Peers, *, minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> WorkloadContext:
        """A context to be called with; callers have to show a certificate.

        Args:
            peers: Who may call; with the empty set every handshake fails.
            minimum_version: `ssl.TLSVersion.TLSv1_2` for a caller that knows no better.
        """
        return WorkloadContext(ssl.PROTOCOL_TLS_SERVER, self, peers, minimum_version)

    def require_valid(self, own: Identity) -> None:
        """Refuse to begin a connection with a certificate that no peer would accept.

        Raises:
            OwnIdentityError: It has expired.
        """
        if self._clock.now() > own.not_after:
            msg = (
                f"the certificate of {own.spiffe_id} expired at {own.not_after:%FT%TZ}, and "
                f"{self._directory.path} holds no newer one; look at the conditions of the "
                "AgentIdentity and at the Events of the pod"
            )
            self._tell_once(logging.ERROR, msg)
            raise OwnIdentityError(msg)

    def present(self) -> Credentials:
        """The newest files that can be used; reads them if they have changed."""
        mark = self._directory.mark()
        if mark == self._seen and self._failed_at is None:
            return self._credentials
        with self._lock:
            reload = self._look(mark)
        if reload is not None and self._on_reload is not None:
            self._on_reload(reload)
        return self._credentials

    def __repr__(self) -> str:
        """Who it is, and by which files."""
        return f"Workload({str(self._directory.path)!r}, {self._credentials.identity.spiffe_id})"

    def _look(self, mark: Mark | None) -> Reload | None:
        """Read the files again if there is a reason to."""
        now = self._clock.monotonic()
        if self._failed_at is None:
            if mark == self._seen:
                return None
        elif mark == self._failed and now - self._failed_at < _AGAIN:
            return None
        try:
            seen, files = self._directory.read()
            fresh = read_credentials(files)
        except InputError as error:
            problem = f"{error}; the certificate of before stays in use"
            is_new = self._failed_at is None or mark != self._failed
            self._failed, self._failed_at = mark, now
            self._tell_once(logging.WARNING, problem)
            return Reload(self._credentials.identity, problem) if is_new else None
        # Both at once for whoever reads them without the lock: the files first.
        self._credentials = fresh
        self._seen, self._failed, self._failed_at = seen, None, None
        self._told = {}
        identity = fresh.identity
        _log.info(
            "identity renewed: %s, serial %s, until %s",
            identity.spiffe_id, identity.serial, identity.not_after.isoformat(),
        )  # fmt: skip
        return Reload(identity)

    def _tell_once(self, level: int, message: str) -> None:
        if message != self._told.get(level):
            self._told[level] = message
            _log.log(level, message)
