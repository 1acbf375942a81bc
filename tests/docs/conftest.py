"""The stage on which pages are walked through: a cluster with an operator and a responder."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from e2e.install import operator, port_in_log, responder
from tests.support.walking import Walk, make_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.providers import Cluster


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def stage(installed: Cluster) -> Iterator[dict[str, str]]:
    """Variables of somebody who can reach agentid, while it runs."""
    programs = make_programs(installed.directory / "programs", installed)
    # HTTPS begins once an issuer has a certificate for it, so its port cannot be read off the log.
    https = _free_port()
    serving_at = responder(installed, "docs-responder", "--https-port", str(https))
    with operator(installed, "docs") as running, serving_at as serving:
        yield {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "KUBECONFIG": str(installed.kubeconfig),
            "RESPONDER": f"http://127.0.0.1:{port_in_log(serving.log, 'http_serving')}",
            "RESPONDER_HTTPS": f"https://127.0.0.1:{https}",
        }
        assert running.process.poll() is None, running.log.read_text()[-4000:]


@pytest.fixture
def walk(stage: dict[str, str], tmp_path: Path) -> Callable[[Path], None]:
    """Walks through a page on the stage."""
    return Walk(tmp_path, stage, {}).through
