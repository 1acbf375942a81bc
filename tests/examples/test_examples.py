"""The examples as people run them: processes that talk mTLS, refuse strangers, and rotate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentid import __version__
from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from tests.support.api import until
from tests.support.probing import ports
from tests.support.workloads import TRUST_DOMAIN, Domain

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
AGENTS = f"spiffe://{TRUST_DOMAIN}/ns/finance/agent/"
START = 60.0
"""Seconds for an interpreter that imports mcp, where others take the cores."""


@dataclass(frozen=True, slots=True)
class Example:
    """A pair of programs, and the agents that they are."""

    server: str
    client: str
    names: tuple[str, str]
    path: str


TWO_AGENTS = Example("two_agents.archive", "two_agents.clerk", ("archive", "clerk"), "")
MCP = Example("mcp.tools", "mcp.assistant", ("tools", "assistant"), "/mcp")


class Agent:
    """A program of an example that runs.

    Attributes:
        lines: What it printed so far.
    """

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", f"examples.{module}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(iter(self._process.stdout.readline, ""))

    @property
    def told(self) -> list[dict[str, Any]]:
        """Its lines of JSON."""
        return [json.loads(line) for line in list(self.lines) if line.startswith('{"serial"')]

    def wait(self, calls: int) -> None:
        """Let it make so many calls altogether, whatever comes of them."""
        until(f"{calls} calls", lambda: len(self.told) >= calls, START)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Stage:
    """Servers and clients of one example in one trust domain."""

    def __init__(self, example: Example, domain: Domain, exit_with: ExitStack) -> None:
        self.example, self.domain = example, domain
        self._exit_with = exit_with
        (self._port,) = ports(1)

    def _start(self, module: str, name: str, **environment: str) -> Agent:
        folder = self.domain.folder / name
        if not folder.exists():
            self.domain.agent(name)
        agent = Agent(module, {"AGENTID_DIR": str(folder), **environment})
        self._exit_with.callback(agent.stop)
        return agent

    def serve(self) -> Agent:
        """The server, which knows the client of the example."""
        server, client = self.example.names
        agent = self._start(
            self.example.server, server, AGENT_PORT=str(self._port),
            AGENT_CALLERS=f"{AGENTS}{client} {AGENTS}reader", AGENT_APPROVERS=AGENTS + client,
        )  # fmt: skip
        until("the server", lambda: "Uvicorn running" in "".join(agent.lines), START)
        return agent

    def call(self, name: str | None = None, *, server: str | None = None) -> Agent:
        """A client, by default the one that the server knows, which looks for that server."""
        return self._start(
            self.example.client, name or self.example.names[1],
            AGENT_URL=f"https://127.0.0.1:{self._port}{self.example.path}",
            AGENT_SERVERS=AGENTS + (server or self.example.names[0]), AGENT_EVERY="0.02",
        )  # fmt: skip


@contextmanager
def staged(example: Example, folder: Path) -> Iterator[Stage]:
    """A stage whose programs end with it."""
    with ExitStack() as stack:
        yield Stage(example, Domain(folder), stack)


def test_two_agents(tmp_path: Path) -> None:
    """They know each other; a stranger gets no answer, and the clerk asks only the archive."""
    with staged(TWO_AGENTS, tmp_path) as stage:
        archive = stage.serve()
        clerk, stranger, misled = (
            stage.call(), stage.call("stranger"), stage.call(server="somebody-else")
        )  # fmt: skip
        for each in (clerk, stranger, misled):
            each.wait(3)
        assert clerk.told[0] | {"serial": ""} == {
            "serial": "",
            "ok": True,
            "peer": f"{AGENTS}archive",
            "answer": {"invoice": 1, "for": f"{AGENTS}clerk"},
        }
        assert {each["ok"] for each in clerk.told} == {True}
        assert {each["ok"] for each in stranger.told} == {False}
        assert f"handshake refused: the peer {AGENTS}stranger" in "".join(archive.lines)
        assert {each["ok"] for each in misled.told} == {False}
        assert f"the peer {AGENTS}archive is not one of those" in misled.told[0]["why"]


def test_mcp(tmp_path: Path) -> None:
    """A tool knows who calls; one that may not approve is told so, a stranger sees no tools."""
    with staged(MCP, tmp_path) as stage:
        tools = stage.serve()
        assistant, reader = stage.call(), stage.call("reader")
        stranger, misled = stage.call("stranger"), stage.call(server="somebody-else")
        for each in (assistant, reader, stranger, misled):
            each.wait(2)
        assert assistant.told[0] | {"serial": ""} == {
            "serial": "",
            "ok": True,
            "tools": ["read_invoice", "approve_invoice"],
            "read": f"invoice 1, read by {AGENTS}assistant",
            "approved": f"invoice 1, approved by {AGENTS}assistant",
        }
        assert reader.told[0]["read"] == f"invoice 1, read by {AGENTS}reader"
        assert f"{AGENTS}reader may not approve" in reader.told[0]["approved"]
        assert {each["ok"] for each in (*assistant.told, *reader.told)} == {True}
        assert {each["ok"] for each in (*stranger.told, *misled.told)} == {False}
        # mcp breaks lines of logs to the width of a terminal.
        assert "handshake" in "".join(tools.lines)
        assert f"the peer {AGENTS}tools is not one of those" in misled.told[0]["why"]


@pytest.mark.parametrize("example", [TWO_AGENTS, MCP], ids=["two-agents", "mcp"])
def test_no_request_fails_under_rotation(example: Example, tmp_path: Path) -> None:
    """Promise 5: keys, certificates and the root are exchanged under processes that talk."""
    with staged(example, tmp_path) as stage:
        stage.serve()
        client = stage.call()
        domain = stage.domain
        client.wait(2)

        def renew(times: int = 3) -> None:
            """Exchange the files of both, and let calls with them end."""
            for _ in range(times):
                begun = len(client.told)
                for name in example.names:
                    domain.agent(name)
                client.wait(begun + 3)

        for number in range(3):
            before, fresh = domain.roots[-1], domain.authority(f"root {number}")
            for roots in ([fresh, before], [before, fresh], [fresh]):
                domain.roots = roots
                renew()
        told = client.told
        print(f"{len(told)} calls, {len({each['serial'] for each in told})} certificates")  # noqa: T201
        assert [each for each in told if not each["ok"]] == []
        assert len({each["serial"] for each in told}) > 20


KINDS: dict[str, type[AgentClass | AgentIdentity | AgentIssuer]] = {
    "AgentClass": AgentClass,
    "AgentIdentity": AgentIdentity,
    "AgentIssuer": AgentIssuer,
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/kubernetes.yaml")), ids=str)
def test_manifests_are_what_the_programs_need(path: Path) -> None:
    """Ours parse; each labelled pod has its identity and ServiceAccount, and runs restricted."""
    objects = list(yaml.safe_load_all(path.read_text()))
    ours = [KINDS[each["kind"]].parse(each) for each in objects if each["kind"] in KINDS]
    assert {type(each) for each in ours} == set(KINDS.values())
    identities = {
        each["metadata"]["name"]: each for each in objects if each["kind"] == "AgentIdentity"
    }
    accounts = {each["metadata"]["name"] for each in objects if each["kind"] == "ServiceAccount"}
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    assert len(deployments) == len(identities) == 3
    for each in deployments:
        template = each["spec"]["template"]
        pod, labels = template["spec"], template["metadata"]["labels"]
        identity = identities[labels["agentid.dev/identity"]]
        assert identity["spec"]["subject"]["serviceAccountName"] == pod["serviceAccountName"]
        assert pod["serviceAccountName"] in accounts
        (container,) = pod["containers"]
        assert container["image"] == f"localhost/agentid-example:{__version__}"
        (module,) = container["args"]
        assert (ROOT / f"{module.replace('.', '/')}.py").exists()
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["securityContext"]["runAsNonRoot"] is True
