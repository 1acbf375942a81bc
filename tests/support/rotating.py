"""Two agents that talk, an operator that may be killed, and the authorities that are exchanged."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.pki.crl import crl_pem
from e2e.install import start_operator
from e2e.toolchain import goverify
from tests.support.api import until
from tests.support.manifests import agent_class, identity, issuer
from tests.support.mounted import Mounted
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from e2e.install import Operator
    from tests.support.api import Api

__all__ = ["Scene", "authorities", "playing"]

DELAYS: Final = {"left": 0.5, "right": 4.0}
"""Seconds from a change of its Secret to the files of an agent."""
PROPAGATION: Final = 7
GRACE: Final = 7
"""Seconds; both are longer than any delay, as whoever sets them has to see to."""

LISTED: Final = {"gracePeriod": f"{GRACE}s", "ephemeralLifetime": "0s"}
CLASSES: Final[dict[str, dict[str, Any]]] = {
    "talking": {"lifetime": "4m", "revocation": LISTED},
    "ephemeral": {"lifetime": "4m", "keyAlgorithm": "ED25519"},
    "clerk": {
        "lifetime": "2h",
        "keyAlgorithm": "RSA3072",
        "revocation": LISTED,
        "certificatePolicy": {"cpsURI": "https://pki.example.org/cps"},
        "permissions": {
            "systems": ["erp.*"],
            "operations": ["read"],
            "schedule": {
                "timeZone": "Europe/Berlin",
                "windows": [{"days": ["Mon", "Fri"], "start": "06:00", "end": "22:00"}],
            },
            "compliance": ["gdpr"],
        },
    },
    "curve": {"lifetime": "2h", "keyAlgorithm": "ECDSAP384"},
}
"""Besides the class of those that talk, some whose certificates look otherwise."""

IDENTITIES: Final = {
    "left": "talking", "right": "talking", "ephemeral": "ephemeral", "clerk": "clerk",
    "curve": "curve",
}  # fmt: skip
"""Agents, by the class of each."""

Json = dict[str, Any]


@dataclass
class Timeline:
    """Every state of the authorities that the status of the issuer told, in order."""

    api: Api
    issuer: str
    seen: list[tuple[tuple[str, str, str], ...]] = field(default_factory=list)

    def look(self) -> None:
        """Note the states of this moment."""
        told = authorities(self.api, self.issuer)
        now = tuple((a["role"], a["id"], a["state"]) for a in told)
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
    """One of the two that talk.

    Attributes:
        name: Of its AgentIdentity.
        folder: Where its files are.
        log: What came of its calls.
        port: Where it answers.
        mounted: What keeps the folder.
    """

    name: str
    folder: Path
    log: Path
    port: int
    mounted: Mounted

    def calls(self) -> list[Json]:
        """What came of each call that it made."""
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


class Scene:
    """The issuer, the two agents, and an operator."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.folder = folder
        # Another issuer in each session: where a cluster goes on, so do authorities.
        self.name = f"rotating-{secrets.token_hex(3)}"
        self.timeline = Timeline(api, self.name)
        self.operators = 0
        self.operator = self.start()
        free = ports(len(DELAYS))
        self.agents = {
            name: Agent(
                name, folder / name, folder / f"{name}.jsonl", port,
                Mounted(folder / name, self.source(name), delay),
            )
            for (name, delay), port in zip(DELAYS.items(), free, strict=True)
        }  # fmt: skip

    # What is there

    def source(self, name: str) -> Callable[[], dict[str, bytes] | None]:
        """What lies in the volume of an agent: its Secret, and the CRLs."""

        def read() -> dict[str, bytes] | None:
            files = self.api.files(self.name, f"{name}-agentid")
            if not files or not files.get("tls.crt"):
                return None
            lists = self.api.crls(self.name)
            return {**files, "crl.pem": b"".join(crl_pem(lists[each]) for each in sorted(lists))}

        return read

    def at(self, role: str, state: str) -> list[str]:
        """Ids of the authorities of a role and a state."""
        told = authorities(self.api, self.name)
        return [a["id"] for a in told if (a["role"], a["state"]) == (role, state)]

    def the(self, role: str, state: str, seconds: float = 30.0) -> str:
        """The one authority of a role and a state, which may be about to come."""
        until(f"{role} {state}", lambda: len(self.at(role, state)) == 1, seconds)
        return self.at(role, state)[0]

    def fingerprint(self, name: str) -> str:
        """The fingerprint of an authority."""
        told = authorities(self.api, self.name)
        return next(str(a["fingerprint"]) for a in told if a["id"] == name)

    def bundles(self) -> set[frozenset[str]]:
        """The fingerprints of the roots beside each certificate."""
        found = set()
        for name in IDENTITIES:
            files = self.api.files(self.name, f"{name}-agentid") or {}
            roots = x509.load_pem_x509_certificates(files["ca.crt"])
            found.add(frozenset(map(fingerprint_of, roots)))
        return found

    # What is done

    def start(
        self, module: str = "agentid", environment: Mapping[str, str] | None = None
    ) -> Operator:
        """Start an operator; the Lease of one that was killed does not keep it waiting."""
        self.api.free_lease()
        self.operators += 1
        name = f"{self.name}-{self.operators}"
        return start_operator(self.api.cluster, name, module=module, environment=environment)

    def kill(self) -> None:
        """SIGKILL, and another one."""
        assert self.operator.process.poll() is None, self.operator.log.read_text()[-3000:]
        self.operator.process.kill()
        self.operator.process.wait()
        self.operator = self.start()

    def swap_for_one_that_dies(self) -> None:
        """In place of the operator, one that kills itself right after its first write."""
        self.operator.stop()
        count = self.folder / "writes"
        variables = {"CRASH_AT": "1", "CRASH": "after", "CRASH_COUNT": str(count)}
        self.operator = self.start("tests.support.crashing", variables)

    def ask(self, annotation: str) -> None:
        """Ask for a rotation, now."""
        time.sleep(1.1)  # times are whole seconds: an authority made in this one is not older
        self.api.patch("agentissuers", self.name, asked(annotation))

    def renew(self) -> None:
        """Have both renew their certificates, and wait for nothing.

        Right after a change this is what the other side is least ready for.
        """
        for name in self.agents:
            self.api.patch("agentidentities", name, asked("renew-requested"), self.name)

    def distrust(self, name: str) -> None:
        """Distrust an authority."""
        body = self.api.object("agentissuers", self.name) or {}
        gone = [*body["spec"].get("distrust", ()), self.fingerprint(name)]
        self.api.patch("agentissuers", self.name, {"spec": {"distrust": gone}})

    def calls(self, count: int = 10) -> None:
        """Wait for so many calls of each, and see that none has failed so far."""
        before = {each.name: len(each.calls()) for each in self.agents.values()}
        until(
            "calls",
            lambda: all(len(a.calls()) >= before[a.name] + count for a in self.agents.values()),
        )
        self.check()

    def settled(self) -> None:
        """Wait until both have the files that are there now, and have talked with them."""
        until("files", lambda: all(self.is_current(each) for each in self.agents.values()))
        self.calls()

    def is_current(self, agent: Agent) -> bool:
        """Whether the files of an agent are those of its Secret."""
        files = self.source(agent.name)()
        return files is not None and all(
            (agent.folder / "..data" / name).read_bytes() == content
            for name, content in files.items()
        )

    def check(self) -> None:
        """Not one call has failed so far, and nobody has been looking the other way."""
        for agent in self.agents.values():
            assert agent.mounted.faults == []
            assert [each for each in agent.calls() if not each["ok"]] == [], self.story()

    def story(self) -> str:
        """What happened, for whoever has to find out why."""
        return "\n".join(map(str, self.timeline.seen)) + self.operator.log.read_text()[-6000:]

    def end(self) -> None:
        """Have everything go, and the operator last: CRLs go with the issuer, by its hand."""
        for name in IDENTITIES:
            if self.api.identity(self.name, name) is not None:
                self.api.delete("agentidentities", name, self.name)
        until(
            "the end of the identities",
            lambda: not any(self.api.identity(self.name, name) for name in IDENTITIES),
        )
        for name in CLASSES:
            self.api.delete("agentclasses", f"{self.name}-{name}")
        self.api.delete("agentissuers", self.name)
        until("the end of the CRLs", lambda: not self.api.crls(self.name), 60)
        self.operator.stop()


def authorities(api: Api, name: str) -> list[Json]:
    """The authorities of an issuer, as the status tells them."""
    body = api.object("agentissuers", name) or {}
    found: list[Json] = (body.get("status") or {}).get("authorities") or []
    return found


def asked(annotation: str) -> Json:
    """What asks for something now; whatever was made in an earlier second is older."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": {"annotations": {f"agentid.dev/{annotation}": now}}}


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER."""
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


@contextmanager
def playing(api: Api, folder: Path) -> Iterator[Scene]:
    """Have two agents talk, ten times a second in each direction; one is Python, one is Go."""
    scene = Scene(api, folder)
    processes: list[subprocess.Popen[bytes]] = []
    ended = threading.Event()
    watching = threading.Thread(target=watch, args=(scene.timeline, ended), daemon=True)
    try:
        prepare(scene)
        watching.start()
        for agent in scene.agents.values():
            agent.mounted.start()
        python = [sys.executable, "-m", "tests.support.peer"]
        processes.append(peer(scene, python, "left", "right"))
        processes.append(peer(scene, [str(goverify()), "peer"], "right", "left"))
        until("the first calls", lambda: all(a.log.exists() for a in scene.agents.values()))
        yield scene
        assert all(each.poll() is None for each in processes), "both talk to the end"
    finally:
        for process in processes:
            process.kill()
            process.wait()
        ended.set()
        for agent in scene.agents.values():
            agent.mounted.stop()
        try:
            scene.end()
        finally:
            scene.operator.stop()
            api.cluster.kubectl("delete", "namespace", "--wait=false", scene.name)


def watch(timeline: Timeline, ended: threading.Event) -> None:
    """Look until the end."""
    while not ended.wait(0.1):
        timeline.look()


def prepare(scene: Scene) -> None:
    """Create issuer, classes and identities, and wait until all have what they need."""
    api, name = scene.api, scene.name
    api.cluster.kubectl("create", "namespace", name)
    spec = {"rotation": {"propagationTime": f"{PROPAGATION}s"}, "responder": {"shards": 2}}
    api.create("agentissuers", issuer(name, trustDomain="rotating.test", **spec))
    for sort, fields in CLASSES.items():
        api.create("agentclasses", agent_class(f"{name}-{sort}", issuerName=name, **fields))
    for each, sort in IDENTITIES.items():
        wanted = {key: value for key, value in CLASSES[sort].items() if key == "permissions"}
        api.create("agentidentities", identity(each, f"{name}-{sort}", **wanted), name)
    for each in IDENTITIES:
        api.until_ready(name, each)
    until("the CRLs", lambda: len(api.crls(name)) == 3)


def peer(scene: Scene, command: list[str], own: str, other: str) -> subprocess.Popen[bytes]:
    """Start an agent that talks."""
    us, them = scene.agents[own], scene.agents[other]
    arguments = ["--listen", str(us.port), "--dial", str(them.port), "--log", str(us.log)]
    arguments += ["--expect", f"spiffe://rotating.test/ns/{scene.name}/agent/{other}"]
    return subprocess.Popen([*command, *arguments, str(us.folder)])
