"""The operator's processes, each with a proxy between it and the API server."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.chaos.proxy import Proxy

__all__ = ["Replica", "own_environment"]

_MODULE: Final = "tests.support.skewed"
"""The operator as it ships, by a clock that can be set wrong."""


def own_environment(
    variables: Mapping[str, str], directory: Path, port: int, ca: str
) -> dict[str, str]:
    """The environment of a pod, whose API server is a proxy of ours.

    Args:
        variables: As `operator_environment` makes them.
        directory: Where to put what a pod's ServiceAccount has.
        port: Of the proxy.
        ca: What to trust, PEM.
    """
    source, own = Path(variables["AGENTID_SERVICEACCOUNT_DIR"]), directory / "serviceaccount"
    own.mkdir(parents=True, exist_ok=True)
    kept = {name: (source / name).read_text() for name in ("token", "namespace")}
    for name, content in {**kept, "ca.crt": ca}.items():
        path = own / name
        path.touch(mode=0o600)
        path.write_text(content, encoding="utf-8")
    return {
        **variables,
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(port),
        "AGENTID_SERVICEACCOUNT_DIR": str(own),
        "CLOCK_SKEW": str(directory / "skew"),
    }


class Replica:
    """One replica: it is started, killed, frozen, and its clock is set."""

    def __init__(
        self, name: str, directory: Path, proxy: Proxy, variables: Mapping[str, str]
    ) -> None:
        self.name = name
        self.proxy = proxy
        self.log = directory / f"{name}.log"
        self._skew = directory / "skew"
        self._variables = dict(variables)
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self.died = 0
        """How often it ended by itself, which no fault explains."""

    @property
    def runs(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs; count it if it ended by itself."""
        if self.runs:
            return
        self._count()
        command = [sys.executable, "-m", _MODULE, "operator", "--process", self.name]
        command += ["--probe-host", "127.0.0.1", "--probe-port", "0", "--issuer-port", "0"]
        if not self._skew.exists():
            self._skew.write_text("0")
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                command, env=self._variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self._frozen = False

    def kill(self) -> None:
        """End it by SIGKILL; count it if it ended by itself before."""
        self._count()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _count(self) -> None:
        """Note an end that nobody brought about, once."""
        if self._process is not None and not self.runs:
            self.died += 1
            self._process = None

    def freeze(self) -> None:
        """Let it stand still."""
        if self._process is not None and self.runs:
            self._process.send_signal(signal.SIGSTOP)
            self._frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None and self._frozen:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
            self._frozen = False

    def set_clock(self, ahead: str) -> None:
        """Set its clock ahead of the right time by so many seconds, or behind."""
        fresh = self._skew.with_suffix(".new")
        fresh.write_text(ahead)
        fresh.replace(self._skew)
