"""Authorities are exchanged under two agents that talk all the time, and neither notices.

What makes it hard: each reads its files some time after they changed, and not both at once. The
operator is killed in the middle of each exchange.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.pki.crl import crl_pem
from e2e.install import start_operator
from tests.support.api import until
from tests.support.manifests import agent_class, identity, issuer
from tests.support.mounted import Mounted, write_together
from tests.support.peer import Files, call
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.install import Operator
    from tests.support.api import Api

pytestmark = pytest.mark.integration

ISSUER: Final = f"rotating-{secrets.token_hex(3)}"
"""Another one in each session: where a cluster goes on, so do its authorities."""
CLASS: Final = ISSUER
DELAYS: Final = {"left": 0.5, "right": 2.5}
"""Seconds from a change of its Secret to the files of an agent."""
PROPAGATION: Final = "5s"
GRACE: Final = "5s"

Json = dict[str, Any]


@dataclass
class Timeline:
    """Every state of the authorities that the status of the issuer told, in order."""

    api: Api
    seen: list[tuple[tuple[str, str, str], ...]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Look from now on."""
        self._thread = threading.Thread(target=self.keep, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self.ended.set()
        self._thread.join()

    def keep(self) -> None:
        """Look until the end."""
        while not self.ended.wait(0.1):
            now = tuple((a["role"], a["id"], a["state"]) for a in authorities(self.api))
            if now and (not self.seen or self.seen[-1] != now):
                self.seen.append(now)

    def states(self, name: str) -> list[str]:
        """What one authority went through; "gone" if it is not told of any more."""
        found: list[str] = []
        for told in self.seen:
            state = next((state for _, each, state in told if each == name), "gone")
            if (found or state != "gone") and (not found or found[-1] != state):
                found.append(state)
        return found


@dataclass
class Agent:
    """One of the two that talk."""

    name: str
    folder: Path
    log: Path
    port: int
    mounted: Mounted

    def calls(self) -> list[Json]:
        """What came of each call that it made."""
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True)
                if line.endswith("\n")]  # fmt: skip

    def failed(self) -> list[Json]:
        """Those that did not succeed."""
        return [each for each in self.calls() if not each["ok"]]


class Scene:
    """The issuer, the two agents, and an operator that may be killed."""

    def __init__(self, api: Api, namespace: str, folder: Path) -> None:
        self.api = api
        self.namespace = namespace
        self.timeline = Timeline(api)
        self.operators = 0
        self.operator = self.start()
        free = ports(2)
        self.agents = {
            name: Agent(
                name, folder / name, folder / f"{name}.jsonl", port,
                Mounted(folder / name, self.source(name), DELAYS[name]),
            )
            for name, port in zip(DELAYS, free, strict=True)
        }  # fmt: skip

    def source(self, name: str) -> Callable[[], dict[str, bytes] | None]:
        """What lies in the volume of an agent: its Secret, and the CRLs."""

        def read() -> dict[str, bytes] | None:
            files = self.api.files(self.namespace, f"{name}-agentid")
            if not files or not files.get("tls.crt"):
                return None
            lists = self.api.crls(ISSUER)
            return {**files, "crl.pem": b"".join(crl_pem(lists[each]) for each in sorted(lists))}

        return read

    def start(self) -> Operator:
        """Start an operator; the Lease of one that was killed does not keep it waiting."""
        self.api.free_lease()
        self.operators += 1
        return start_operator(self.api.cluster, f"rotating-{self.operators}")

    def kill(self) -> None:
        """SIGKILL, and another one."""
        assert self.operator.process.poll() is None, self.operator.log.read_text()[-3000:]
        self.operator.process.kill()
        self.operator.process.wait()
        self.operator = self.start()

    def end(self) -> None:
        """Have the identities go, and the operator."""
        for name in self.agents:
            if self.api.identity(self.namespace, name) is not None:
                self.api.delete("agentidentities", name, self.namespace)
        try:
            until(
                "the end of the identities",
                lambda: not any(self.api.identity(self.namespace, name) for name in self.agents),
            )
        finally:
            self.operator.stop()

    def ask(self, annotation: str) -> None:
        """Ask for a rotation, now."""
        time.sleep(1.1)  # times are whole seconds, and what was made in this one is not older
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.api.patch(
            "agentissuers",
            ISSUER,
            {"metadata": {"annotations": {f"agentid.dev/{annotation}": now}}},
        )

    def renew(self, name: str) -> str:
        """Have an agent's certificate renewed, and return the new serial."""
        before = self.api.serial(self.namespace, name)
        time.sleep(1.1)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.api.patch(
            "agentidentities", name,
            {"metadata": {"annotations": {"agentid.dev/renew-requested": now}}}, self.namespace,
        )  # fmt: skip
        until("the renewal", lambda: self.api.serial(self.namespace, name) != before)
        return self.api.serial(self.namespace, name)

    def talked(self, *, calls: int = 10) -> None:
        """Wait until both have the files that are there now, and have talked with them."""
        agents = self.agents.values()
        until("files", lambda: all(self.current(each) for each in agents))
        counts = {each.name: len(each.calls()) for each in agents}
        until("talk", lambda: all(len(a.calls()) >= counts[a.name] + calls for a in agents))
        self.check()

    def current(self, agent: Agent) -> bool:
        """Whether the files of an agent are those of its Secret."""
        files = self.source(agent.name)()
        return files is not None and all(
            (agent.folder / "..data" / name).read_bytes() == content
            for name, content in files.items()
        )

    def check(self) -> None:
        """Not one call has failed so far."""
        for agent in self.agents.values():
            assert agent.mounted.faults == []
            assert agent.failed() == [], self.story()

    def story(self) -> str:
        """What happened, for whoever has to find out why."""
        return "\n".join(map(str, self.timeline.seen)) + self.operator.log.read_text()[-6000:]


def authorities(api: Api) -> list[Json]:
    """The authorities, as the status tells them."""
    body = api.object("agentissuers", ISSUER) or {}
    found: list[Json] = (body.get("status") or {}).get("authorities") or []
    return found


def at(api: Api, role: str, state: str) -> list[str]:
    """Ids of the authorities of a role and a state."""
    return [a["id"] for a in authorities(api) if (a["role"], a["state"]) == (role, state)]


@pytest.fixture
def scene(api: Api, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    """Two agents that talk with each other ten times a second in each direction."""
    spec = {"rotation": {"propagationTime": PROPAGATION}, "responder": {"shards": 2}}
    revocation = {"gracePeriod": GRACE, "ephemeralLifetime": "0s"}
    sort = agent_class(CLASS, issuerName=ISSUER, lifetime="4m", revocation=revocation)
    with ExitStack() as ending:
        api.create("agentissuers", issuer(ISSUER, trustDomain="rotating.test", **spec))
        ending.callback(api.delete, "agentissuers", ISSUER)
        api.create("agentclasses", sort)
        ending.callback(api.delete, "agentclasses", CLASS)
        made = Scene(api, namespace, tmp_path)
        ending.callback(made.end)
        for name in made.agents:
            api.create("agentidentities", identity(name, CLASS), namespace)
        for name in made.agents:
            api.until_ready(namespace, name)
        until("the CRLs", lambda: len(api.crls(ISSUER)) == 3)
        made.timeline.start()
        ending.callback(made.timeline.stop)
        for agent in made.agents.values():
            agent.mounted.start()
            ending.callback(agent.mounted.stop)
        for own, other in (("left", "right"), ("right", "left")):
            process = peer(made, own, other)
            ending.callback(process.wait)
            ending.callback(process.kill)
        until("the first calls", lambda: all(a.log.exists() for a in made.agents.values()))
        yield made


def peer(scene: Scene, own: str, other: str) -> subprocess.Popen[bytes]:
    """Start an agent that talks."""
    us, them = scene.agents[own], scene.agents[other]
    command = [sys.executable, "-m", "tests.support.peer", str(us.folder)]
    command += ["--listen", str(us.port), "--dial", str(them.port), "--log", str(us.log)]
    command += ["--expect", f"spiffe://rotating.test/ns/{scene.namespace}/agent/{other}"]
    return subprocess.Popen(command)


def test_agents_talk_through_every_exchange(scene: Scene, tmp_path: Path) -> None:
    """No handshake fails while intermediate and root are rotated and the old root is distrusted."""
    api = scene.api
    (root,), (first,) = at(api, "Root", "Signing"), at(api, "Issuing", "Signing")
    scene.talked()

    # The intermediate, with the operator killed while the successor is staged.
    scene.ask("rotate-requested")
    until("a successor", lambda: at(api, "Issuing", "Staged"))
    (second,) = at(api, "Issuing", "Staged")
    scene.kill()
    until("the change", lambda: at(api, "Issuing", "Signing") == [second])
    assert at(api, "Issuing", "Retired") == [first]
    scene.talked()
    scene.renew("left")
    scene.talked()

    # The root, killed while it is staged, and once more when its intermediate has begun to sign.
    scene.ask("rotate-root-requested")
    until("a root", lambda: at(api, "Root", "Staged"))
    (new_root,), (third,) = at(api, "Root", "Staged"), at(api, "Issuing", "Staged")
    scene.kill()
    until("the change", lambda: at(api, "Issuing", "Signing") == [third], 60)
    scene.kill()
    assert at(api, "Root", "Signing") == [new_root]
    assert at(api, "Root", "Retired") == [root]
    scene.talked()
    scene.renew("right")
    scene.talked()
    before = dict(scene.source("left")() or {})

    # The old root is distrusted.
    told = {a["id"]: a["fingerprint"] for a in authorities(api)}
    api.patch("agentissuers", ISSUER, {"spec": {"distrust": [told[root]]}})
    until("the distrust", lambda: at(api, "Root", "Distrusted") == [root])
    scene.kill()
    until("the end of its intermediates", lambda: len(at(api, "Issuing", "Distrusted")) == 0, 60)
    scene.kill()
    until("the end of the root", lambda: root not in {a["id"] for a in authorities(api)})
    until("bundles without it", lambda: all(fingerprints(scene, n) == {told[new_root]}
                                            for n in scene.agents))  # fmt: skip
    scene.talked(calls=30)

    # Who still has what was good then is refused, by the agent that is slower to learn.
    write_together(tmp_path / "old", before)
    us = f"spiffe://rotating.test/ns/{scene.namespace}/agent/right"
    refused = call(Files(tmp_path / "old"), scene.agents["right"].port, us)
    assert not refused["ok"], refused

    states = scene.timeline.states
    assert states(first) == ["Signing", "Retired", "Distrusted", "gone"]
    assert states(second) == ["Staged", "Signing", "Retired", "Distrusted", "gone"]
    assert states(third) == ["Staged", "Signing"]
    assert states(root) == ["Signing", "Retired", "Distrusted", "gone"]
    assert states(new_root) == ["Staged", "Signing"]
    total = sum(len(each.calls()) for each in scene.agents.values())
    print(f"{total} handshakes, none failed")  # noqa: T201 - shown with -s
    assert total > 500


def fingerprints(scene: Scene, name: str) -> set[str]:
    """The roots in the bundle beside an agent's certificate."""
    files = scene.api.files(scene.namespace, f"{name}-agentid") or {}
    found = x509.load_pem_x509_certificates(files["ca.crt"])
    return {sha256(each.public_bytes(Encoding.DER)).hexdigest() for each in found}
