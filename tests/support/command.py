"""`agentid` as people run it: a process of its own, at a terminal or away from one."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from e2e.providers import Cluster

__all__ = ["Command", "Done", "kubeconfig_of"]

_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    def fails_in_one_line(self, *words: str) -> None:
        """It could not be done: one line with these words, and no traceback."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        (line,) = self.err.strip().splitlines()
        assert "Traceback" not in line
        for word in words:
            assert word in line, line


@dataclass(frozen=True, slots=True)
class Command:
    """The command line, for somebody.

    Attributes:
        kubeconfig: What KUBECONFIG says.
        module: What to run in place of agentid itself, for tests of faults.
    """

    kubeconfig: str
    module: str = "agentid"

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> Done:
        """Run it away from any terminal."""
        done = subprocess.run(
            [sys.executable, "-m", self.module, *arguments], env=self._environment(**variables),
            input=stdin, capture_output=True, text=True, check=False, timeout=_SECONDS,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def at_terminal(
        self,
        *arguments: str,
        answers: Sequence[tuple[str, str]] = (),
        into: Path | None = None,
        **variables: str,
    ) -> tuple[int, str]:
        """Run it at a terminal, and answer: each prompt with what is typed at it.

        Args:
            arguments: Of the command.
            answers: Prompts, each with its answer.
            into: A file that gets standard output, in place of the terminal.
            variables: Of the environment.

        Returns:
            Exit code, and all that the terminal showed.
        """
        pid, terminal = pty.fork()
        if pid == 0:
            if into is not None:
                os.dup2(os.open(into, os.O_WRONLY | os.O_CREAT), 1)
            os.execve(
                sys.executable,
                [sys.executable, "-m", self.module, *arguments],
                self._environment(**variables),
            )
        shown, waiting = "", list(answers)
        deadline = time.monotonic() + _SECONDS
        with contextlib.suppress(OSError):  # the end of the terminal, on Linux
            while time.monotonic() < deadline:
                if not select.select([terminal], [], [], 1.0)[0]:
                    continue
                if not (read := os.read(terminal, 4096)):
                    break
                shown += read.decode()
                if waiting and waiting[0][0] in shown[shown.rfind("\r\n") + 1 :]:
                    os.write(terminal, f"{waiting.pop(0)[1]}\n".encode())
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        assert not waiting, f"never asked: {waiting}; shown: {shown}"
        return os.waitstatus_to_exitcode(status), shown

    def _environment(self, **variables: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KUBERNETES_", "AGENTID_"))
        }
        return {
            **kept, "KUBECONFIG": self.kubeconfig, "COLUMNS": "200", "TERM": "xterm", **variables,
        }  # fmt: skip


def kubeconfig_of(cluster: Cluster, path: Path, *, token: str = "", server: str = "") -> Command:
    """The command line of somebody with a token, perhaps at another address."""
    view = yaml.safe_load(
        cluster.kubectl("config", "view", "--raw", "--minify", "--flatten").stdout
    )
    if token:
        view["users"][0]["user"] = {"token": token}
    if server:
        view["clusters"][0]["cluster"]["server"] = server
    path.write_text(yaml.safe_dump(view), encoding="utf-8")
    return Command(str(path))
