"""py-spiffe, go-spiffe and Envoy, unmodified, in pods that the installed chart gives identities."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from e2e.image import CLIENTS_IMAGE, clients_image, load
from tests.support.api import until
from tests.support.envoy import agent_socket, backend, bootstrap, downstream, listener, upstream
from tests.support.node_plane import BRISK, MOUNT, NodePlane
from tests.support.opted_in import pod
from tests.support.release import AGENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

Json = dict[str, Any]

PROGRAMS: Final = {
    "py-spiffe": ("python3", "/opt/programs/py_spiffe.py"),
    "go-spiffe": ("gospiffe",),
}
DOOR: Final = 8443
WAY_OUT: Final = 9001
MISTAKEN: Final = 9002
GO_DOOR: Final = 8444
ROTATIONS: Final = 3


def spiffe_id(name: str) -> str:
    """The SPIFFE ID of an agent of these tests."""
    return f"spiffe://agents.example.com/ns/{AGENTS}/agent/{name}"


def clients_pod(name: str, envoy: Json) -> Json:
    """A pod of an Envoy, in whose one container the other clients are started.

    The node copies an image's files for each container.
    """
    body = pod(name, name, initContainers=[])
    (main,) = body["spec"]["containers"]
    options = ["--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    command = ["envoy", *options, "--config-yaml", json.dumps(envoy)]
    main |= {"image": CLIENTS_IMAGE, "command": command}
    return body


def server_envoy() -> Json:
    """It answers `hello` to `caller` and to nobody else, and tells whom it answered."""
    asks = downstream("ROOTCA", spiffe_id("caller"))
    hello = {"direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
    told = {"x-caller": "%DOWNSTREAM_PEER_URI_SAN%", "x-caller-serial": "%DOWNSTREAM_PEER_SERIAL%"}
    door = listener(DOOR, hello, told, host="0.0.0.0", transport_socket=asks)
    return bootstrap("server", door, agent_socket(f"{MOUNT}/workload.sock"))


def caller_envoy(name: str, server: str) -> Json:
    """It passes on to the server at an address; by its second port it expects somebody else."""
    resources = [agent_socket(f"{MOUNT}/workload.sock")]
    told = {"x-server-since": "%UPSTREAM_PEER_CERT_V_START%"}
    for port, expected in ((WAY_OUT, "server"), (MISTAKEN, "stranger")):
        trusts = upstream("ROOTCA", spiffe_id(expected))
        resources += [
            backend(expected, server, DOOR, trusts),
            listener(port, {"route": {"cluster": expected}}, told),
        ]
    return bootstrap(name, *resources)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodePlane]:
    """The chart, and three agents with a pod each: a server, who may call it, and who may not."""
    made = NodePlane(tmp_path_factory.mktemp("clients"))
    try:
        load(clients_image(), made.directory)
        made.install()
        for name in ("server", "caller", "stranger"):
            made.settle(name, *BRISK)
        made.release.apply(clients_pod("server", server_envoy()))
        made.running("server", 180)
        address = made.pod("server")["status"]["podIP"]
        callers = ("caller", "stranger")
        made.release.apply(*(clients_pod(each, caller_envoy(each, address)) for each in callers))
        for name in callers:
            made.running(name, 180)
        yield made
    finally:
        made.end()


@contextmanager
def client(plane: NodePlane, name: str, *program: str) -> Iterator[Callable[[str], Json]]:
    """A client that runs in a pod, to ask."""
    cluster = plane.release.cluster
    inside = ("exec", "-i", name, "-n", AGENTS, "-c", "main", "--", *program)
    process = subprocess.Popen(
        [*cluster.kubectl_command, *inside],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answers = process.stdin, process.stdout

    def ask(words: str) -> Json:
        # Whoever does not answer is ended, which ends the reading.
        limit = threading.Timer(60, process.kill)
        limit.start()
        try:
            asking.write(f"{words}\n")
            asking.flush()
            line = answers.readline()
        finally:
            limit.cancel()
        assert line, f"{program[0]} in {name}: no answer to {words!r}"
        told: Json = json.loads(line)
        return told

    try:
        yield ask
        asking.close()
        assert process.wait(30) == 0, f"{program[0]} in {name} failed at its end"
    finally:
        process.kill()
        process.wait()
        answers.close()


def http(plane: NodePlane, name: str, port: int) -> tuple[int, str]:
    """One request from a pod to its own Envoy: status and text."""
    script = (
        "import http.client as h, json\n"
        f"c = h.HTTPConnection('127.0.0.1', {port}, timeout=10)\n"
        "c.request('GET', '/'); a = c.getresponse()\n"
        "print(json.dumps([a.status, a.read().decode()]))"
    )
    status, text = json.loads(plane.inside(name, f'python3 -c "{script}"'))
    return status, text


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_library_finds_its_identity_and_follows_it(plane: NodePlane, kind: str) -> None:
    """With nothing but what a pod's environment says: X.509, JWTs that are valid, renewals."""
    uid = plane.uid("caller")
    with client(plane, "caller", *PROGRAMS[kind]) as ask:
        held = ask("svid")["ok"]
        assert held["id"] == spiffe_id("caller")
        assert ask("fresh") == {"ok": spiffe_id("caller")}
        assert ask("jwt") == {"ok": {"id": spiffe_id("caller"), "audience": ["erp"]}}
        until("a renewal", lambda: ask("svid")["ok"]["serial"] != held["serial"], 60)
        until("that of the files", lambda: ask("svid")["ok"]["serial"] == plane.serial(uid))
        assert ask("svid")["ok"]["id"] == spiffe_id("caller")
        assert ask("jwt")["ok"]["id"] == spiffe_id("caller")


def test_go_spiffe_talks_from_pod_to_pod(plane: NodePlane) -> None:
    """By mutual TLS, before and after a renewal; whoever is not expected is refused by either."""
    address = f"{plane.pod('server')['status']['podIP']}:{GO_DOOR}"
    server, caller = spiffe_id("server"), spiffe_id("caller")
    with (
        client(plane, "server", "gospiffe") as serving,
        client(plane, "caller", "gospiffe") as calling,
        client(plane, "stranger", "gospiffe") as intruding,
    ):
        assert "ok" in serving(f"listen 0.0.0.0:{GO_DOOR} {caller}")
        before = [ask("svid")["ok"]["serial"] for ask in (serving, calling)]
        expected = {"ok": {"peer": server, "taken for": caller}}
        assert calling(f"dial {address} {server}") == expected

        def both_renewed() -> bool:
            now = [ask("svid")["ok"]["serial"] for ask in (serving, calling)]
            return all(one != other for one, other in zip(before, now, strict=True))

        until("renewals of both", both_renewed, 60)
        assert calling(f"dial {address} {server}") == expected
        assert "bad certificate" in intruding(f"dial {address} {server}")["error"]
        assert "unexpected ID" in calling(f"dial {address} {spiffe_id('stranger')}")["error"]


def test_two_envoys_lose_no_request_while_both_are_renewed(plane: NodePlane) -> None:
    """Under load, through three renewals of either side; who is not on the list is refused."""
    with client(plane, "caller", "python3", "/opt/programs/load.py", str(WAY_OUT)) as ask:

        def renewed() -> bool:
            told = ask("told")["ok"]
            assert told["failures"] == {}
            renewals = (len(told[each]) - 1 for each in ("x-caller-serial", "x-server-since"))
            return min(renewals) >= ROTATIONS

        until("renewals of both", renewed, 120)
        # Amid the load: a stranger, and a server that is not who was expected.
        for name, port in (("stranger", WAY_OUT), ("caller", MISTAKEN)):
            status, text = http(plane, name, port)
            assert status == 503
            assert "upstream connect error" in text
        told = ask("told")["ok"]
    assert told["failures"] == {}
    assert set(told["x-caller"]) == {spiffe_id("caller")}
    assert sum(told["x-caller"].values()) > 500
