"""`agentid responder`: what is wrong with its settings is told before anything is served."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tls-cert", "x"], "--tls-cert and --tls-key belong together"),
        (["--ocsp-validity", "60"], "twice the window"),
        (["--heartbeat", "0"], "heartbeat is 0 s"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options: list[str], message: str) -> None:
    """One line and exit code 2."""
    command = [sys.executable, "-m", "agentid", "responder", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("agentid: ")
    assert message in done.stderr
