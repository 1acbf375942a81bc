"""The stage on which pages are walked through: a cluster with an operator and a responder."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from e2e.install import install, operator, port_in_log, responder
from e2e.providers import provider
from tests.support.walking import Walk, make_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of somebody who can reach agentid, while it runs in a cluster of its own.

    Pages leave behind what they make, as a reader would; no other test shall meet it.
    """
    chosen = provider(tmp_path_factory.mktemp("stage"))
    with ExitStack() as stack:
        stack.callback(chosen.down)
        cluster = chosen.up()
        install(cluster)
        programs = make_programs(cluster.directory / "programs", cluster)
        running = stack.enter_context(operator(cluster, "docs"))
        # HTTPS begins once an issuer has a certificate for it, so no log tells its port now.
        https = _free_port()
        serving = stack.enter_context(
            responder(cluster, "docs-responder", "--https-port", str(https))
        )
        yield {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(cluster.kubeconfig),
            "RESPONDER": f"http://127.0.0.1:{port_in_log(serving.log, 'http_serving')}",
            "RESPONDER_HTTPS": f"https://127.0.0.1:{https}",
        }
        assert running.process.poll() is None, running.log.read_text()[-4000:]


@pytest.fixture
def walk(stage: dict[str, str], tmp_path: Path) -> Callable[[Path], None]:
    """Walks through a page on the stage."""
    return Walk(tmp_path, stage, {}).through
