"""A real Prometheus: its programs, and one that runs while it is needed.

The programs are taken from PATH, else out of Debian's package `prometheus`, which is unpacked into
the cache directory and not installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "Prometheus", "free_port", "program", "prometheus"]

_PATIENCE: Final = 60.0


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`.

    Raises:
        SystemExit: There is none, and Debian's package is not to be had.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    directory = Path(home) / "agentid" / "prometheus"
    unpacked = directory / "usr/bin" / name
    if not unpacked.exists():
        if shutil.which("apt-get") is None:
            sys.exit(f"{name} is not on PATH; install Prometheus")
        directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "--quiet", "prometheus"], cwd=directory, check=True)
        for package in directory.glob("prometheus_*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, directory], check=True)
            package.unlink()
    return str(unpacked)


@dataclass(frozen=True, slots=True)
class Answer:
    """One time series that a query found.

    Attributes:
        labels: Without its name.
        points: Seconds since 1970 and value; a value may be NaN.
    """

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs.

    Attributes:
        base: Its URL.
    """

    base: str

    def range(self, expr: str, start: float, end: float, step: float) -> list[Answer]:
        """What a query gives from start to end, each `step` seconds.

        Raises:
            E2EError: Prometheus refuses the query.
        """
        form = {"query": expr, "start": start, "end": end, "step": step}
        url = f"{self.base}/api/v1/query_range?{urllib.parse.urlencode(form)}"
        try:
            with urllib.request.urlopen(url) as answer:  # noqa: S310 - http, ours
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            msg = f"Prometheus refuses {expr}: {error.read().decode(errors='replace')}"
            raise E2EError(msg) from error
        return [
            Answer(
                {name: value for name, value in each["metric"].items() if name != "__name__"},
                tuple((float(at), float(value)) for at, value in each["values"]),
            )
            for each in told["data"]["result"]
        ]


@contextlib.contextmanager
def prometheus(targets: Mapping[str, int], period: int) -> Iterator[Prometheus]:
    """Run one on loopback while the context is open.

    Args:
        targets: Ports of this machine that serve /metrics, by what `instance` shall say.
        period: Seconds between two scrapes.

    Raises:
        E2EError: It does not get ready.
    """
    jobs = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
        for name, port in targets.items()
    ]
    told = {
        "global": {"scrape_interval": f"{period}s"},
        "scrape_configs": [{"job_name": "agentid", "static_configs": jobs}],
    }
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        settings = Path(scratch) / "prometheus.yaml"
        settings.write_text(yaml.safe_dump(told))
        port = free_port()
        process = subprocess.Popen(
            [program("prometheus"), f"--config.file={settings}", f"--storage.tsdb.path={scratch}/d",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            base = f"http://127.0.0.1:{port}"
            _until_ready(process, base)
            yield Prometheus(base)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _until_ready(process: subprocess.Popen[bytes], base: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{base}/-/ready"),  # noqa: S310 - http, ours
        ):
            return
        time.sleep(0.1)
    msg = f"Prometheus is not ready after {_PATIENCE:.0f} s; it ended with {process.poll()}"
    raise E2EError(msg)
