"""What an agent's image needs: cryptography, and nothing else of what agentid depends on."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import agentid

if TYPE_CHECKING:
    from tests.support.workloads import Domain

ROOT = Path(__file__).parents[2]

ALONE = """
import importlib.metadata, sys

class Only:
    allowed = {"cryptography", "cffi", "_cffi_backend", "pycparser", "agentid"} | set(
        sys.stdlib_module_names
    )
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Only())
"""
"""An interpreter in which nothing can be imported but what `pip install agentid` brings."""


def alone(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code there."""
    package = str(Path(agentid.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", f"{ALONE}\nsys.path.insert(0, {package!r})\n{code}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_workload_needs_cryptography_alone(domain: Domain) -> None:
    """Both sides of a handshake, where no framework, model or HTTP library can be imported."""
    code = (
        "import ssl\n"
        "from agentid.workload import Workload, any_of, peer_of\n"
        "workload, peers = Workload(sys.argv[1]), any_of(sys.argv[2])\n"
        "a, b = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
        "sides = (workload.client_context(peers).wrap_bio(a, b),\n"
        "         workload.server_context(peers).wrap_bio(b, a, server_side=True))\n"
        "for side in sides * 3:\n"
        "    try: side.do_handshake()\n"
        "    except ssl.SSLWantReadError: pass\n"
        "print(*map(peer_of, sides))\n"
    )
    done = alone(code, str(domain.agent("reader")), domain.trust_domain)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == 2 * [domain.spiffe_id("reader")]


def test_adapters_ask_for_their_library() -> None:
    """By its name, as Python says it."""
    for name in ("httpx", "aiohttp", "uvicorn"):
        done = alone(f"import agentid.workload.{name}")
        assert f"No module named '{name}" in done.stderr


@pytest.mark.parametrize("how", ["main", "complete"])
def test_the_command_says_what_it_lacks(how: str) -> None:
    """In one sentence, with what to install, and without a traceback."""
    done = alone(f"import agentid.__main__ as command; command.{how}()", "version")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("agentid: the command needs ")
    assert "pip install 'agentid[operator]'" in done.stderr


def test_a_defect_of_ours_is_no_missing_extra() -> None:
    """A module of agentid itself that is missing is told with all there is to find it."""
    done = alone("import agentid.__main__ as command\nOnly.allowed -= {'agentid'}\ncommand.main()")
    assert "Traceback" in done.stderr
    assert "No module named 'agentid.cli" in done.stderr


def test_what_is_declared() -> None:
    """`pip install agentid` brings cryptography, the extra `workload` nothing more."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [each.partition(">")[0] for each in project["dependencies"]] == ["cryptography"]
    assert project["optional-dependencies"]["workload"] == []
    assert "kopf>=1.45,<2" in project["optional-dependencies"]["operator"]


def test_scripts_lead_to_the_command_that_can_say_so() -> None:
    """All three names of it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {each.partition(":")[0] for each in scripts.values()} == {"agentid.__main__"}
