"""Identities of minutes, by the node plugin that the chart installs, on a real kubelet."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from e2e.image import IMAGE
from tests.support.api import Api, until
from tests.support.node_plane import BRISK, MOUNT, NodePlane, leaf_of
from tests.support.opted_in import live_by_pod, on_record, pod, told
from tests.support.release import AGENTS, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

Json = dict[str, Any]

FILES = {"agent.json", "ca.crt", "credentials.pem", "tls.crt", "tls.key", "workload.sock"}

STREAM = """
import grpc, json
from cryptography import x509
from agentid.node.proto import workload_pb2 as api
channel = grpc.insecure_channel("unix:///var/run/agentid/workload.sock")
watch = channel.unary_stream(
    "/SpiffeWorkloadAPI/FetchX509SVID",
    request_serializer=api.X509SVIDRequest.SerializeToString,
    response_deserializer=api.X509SVIDResponse.FromString,
)
while True:
    try:
        call = watch(
            api.X509SVIDRequest(), metadata=[("workload.spiffe.io", "true")], wait_for_ready=True
        )
        for answer in call:
            (svid,) = answer.svids
            chain = svid.x509_svid  # leaf first, one DER after the other
            length = 4 + int.from_bytes(chain[2:4])
            leaf = x509.load_der_x509_certificate(chain[:length])
            told = {"id": svid.spiffe_id, "serial": f"{leaf.serial_number:x}"}
            print(json.dumps(told), flush=True)
    except grpc.RpcError as error:
        print(json.dumps({"error": error.code().name}), flush=True)
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:
            break
"""
"""A client that follows its identity, and ends when it may have none."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodePlane]:
    """The chart, installed once for all of these."""
    made = NodePlane(tmp_path_factory.mktemp("csi"))
    try:
        made.install()
        yield made
    finally:
        made.end()


def streaming(name: str) -> Json:
    """A pod that follows its identity by the Workload API, and does nothing else."""
    body = pod(name, name, initContainers=[])
    (container,) = body["spec"]["containers"]
    container |= {"image": IMAGE, "command": ["/usr/bin/python3", "-c", STREAM]}
    return body


def answers(plane: NodePlane, name: str) -> list[Json]:
    """What that pod was told, one after the other."""
    lines = plane.kubectl("logs", name, "-n", AGENTS, "-c", "main").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def revoked(plane: NodePlane, name: str) -> bool:
    """Whether there is a record of every certificate of an identity, and none is in force."""
    states = {each["state"] for each in on_record(plane.release, name).values()}
    return bool(states) and "live" not in states


def test_a_pod_with_the_label_and_nothing_else_has_its_identity(plane: NodePlane) -> None:
    """At lifetimes of five minutes: all files, in init and main container, and none left after."""
    plane.settle("minutes", "5m")
    plane.start("minutes", "minutes")
    for container in ("first", "main"):
        found, chain = told(plane.release, "minutes", container)
        spiffe_id = f"spiffe://agents.example.com/ns/{AGENTS}/agent/minutes"
        assert found == {"id": spiffe_id, "who": "1000"}
        leaf = leaf_of(chain.encode())
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert timedelta(minutes=5) <= lifetime <= timedelta(minutes=7)
    assert set(plane.inside("minutes", f"ls {MOUNT}").split()) == FILES
    assert json.loads(plane.inside("minutes", f"cat {MOUNT}/agent.json"))
    assert live_by_pod(plane.release, "minutes").keys() == {"minutes"}
    secrets = {each["metadata"]["name"] for each in plane.release.get("secrets", AGENTS)}
    assert not any("minutes" in each for each in secrets)
    plane.delete("minutes")
    until("the revocation", lambda: revoked(plane, "minutes"))


def test_a_class_that_publishes_revocations_brings_its_list(plane: NodePlane) -> None:
    """`crl.pem` is there where the class has one."""
    plane.settle("listed", "10m", revocation={"ephemeralLifetime": "0s"})
    plane.start("listed", "listed")
    assert set(plane.inside("listed", f"ls {MOUNT}").split()) == {*FILES, "crl.pem"}
    assert plane.inside("listed", f"cat {MOUNT}/crl.pem").startswith("-----BEGIN X509 CRL-----")
    plane.delete("listed")


def test_nobody_in_a_pod_or_on_its_node_changes_what_is_mounted(plane: NodePlane) -> None:
    """It is read-only in itself: what a container's mount says does not matter."""
    plane.settle("greedy", "5m")
    plane.start("greedy", "greedy")
    for command in (f"touch {MOUNT}/more", f"rm {MOUNT}/tls.key", f"mv {MOUNT}/..data {MOUNT}/x"):
        assert "Read-only file system" in plane.inside("greedy", f"{command} 2>&1 || true")
    volume = plane.volume(plane.uid("greedy"))
    for change in ((volume / "more").touch, (volume / "tls.key").unlink):
        with pytest.raises(OSError, match="Read-only file system"):
            change()
    assert {each.name for each in volume.iterdir() if not each.name.startswith("..")} == FILES
    plane.delete("greedy")


def test_files_and_stream_are_renewed_every_few_seconds(plane: NodePlane) -> None:
    """Each is another certificate for another key, told to who follows; no reader sees a seam."""
    plane.settle("brisk", *BRISK)
    plane.release.apply(streaming("brisk"))
    plane.running("brisk")
    with plane.watched(plane.uid("brisk")) as seen:
        until("three renewals", lambda: seen.renewals >= 3, 90)
    until("the stream", lambda: len(answers(plane, "brisk")) >= 4)
    streamed = answers(plane, "brisk")
    assert {each["id"] for each in streamed} == {
        f"spiffe://agents.example.com/ns/{AGENTS}/agent/brisk"
    }
    assert {each["serial"] for each in streamed} >= set(seen.serials)
    plane.delete("brisk")


@pytest.fixture
def steady(plane: NodePlane) -> Iterator[str]:
    """The UID of a pod that is renewed every few seconds; it has to be the same at the end."""
    plane.settle("steady", *BRISK)
    plane.start("steady", "steady")
    uid = plane.uid("steady")
    yield uid
    body = plane.pod("steady")
    assert body["metadata"]["uid"] == uid
    assert [each["restartCount"] for each in body["status"]["containerStatuses"]] == [0]
    plane.delete("steady")
    until("the revocation", lambda: revoked(plane, "steady"))


def shown_once(plane: NodePlane, uid: str) -> bool:
    """Whether the volume of a pod is mounted, and not one over the other."""
    return len([each for each in plane.mounts() if uid in each]) == 1


def test_goes_on_when_the_plugin_is_killed(plane: NodePlane, steady: str) -> None:
    """By the kernel; the mount stays, and its successor takes it up."""
    with plane.watched(steady) as seen:
        for _ in range(2):
            plane.kill_plugin()
            seen.renewed()
    assert shown_once(plane, steady)


def test_goes_on_when_the_plugin_is_upgraded(plane: NodePlane, steady: str) -> None:
    """Another pod of the DaemonSet takes over what the former one mounted."""
    (before,) = plane.plugins()
    with plane.watched(steady) as seen:
        plane.patch_plugin(
            {"spec": {"template": {"metadata": {"annotations": {"upgraded": str(time.time())}}}}}
        )
        (after,) = plane.plugins()
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        seen.renewed()
    assert shown_once(plane, steady)
    assert MOUNT in plane.inside("steady", "cat /proc/mounts")


def test_goes_on_when_the_kubelet_is_killed(plane: NodePlane, steady: str) -> None:
    """Renewals do not depend on it, and the one after it finds everything as it should be."""
    with plane.watched(steady) as seen:
        plane.devcluster.run("stop", "kubelet", "--kill")
        count = seen.renewals
        until("renewals without a kubelet", lambda: seen.renewals > count + 1, 60)
        plane.devcluster.run("start", "kubelet")
        plane.running("steady")
        seen.renewed()
    assert shown_once(plane, steady)


def test_goes_on_while_no_issuer_is_there(plane: NodePlane) -> None:
    """For longer than from one renewal to the next; what is valid stays, and pods wait."""
    plane.settle("outage", "2m", "88s")
    plane.start("outage", "outage")
    uid = plane.uid("outage")
    with plane.watched(uid) as seen:
        until("a renewal", lambda: seen.renewals >= 1, 90)
        plane.scale_controllers(0)
        count, began = seen.renewals, time.monotonic()
        plane.release.apply(pod("patient", "outage"))
        until("longer than a window", lambda: time.monotonic() - began > 45, 60)
        assert seen.renewals <= count + 1, "somebody issues"
        assert plane.pod("patient")["status"]["phase"] == "Pending"
        plane.scale_controllers(2)
        plane.running("patient", 120)
        until("a renewal", lambda: seen.renewals > count + 1, 60)
    for name in ("outage", "patient"):
        plane.delete(name)
    until("the revocation", lambda: revoked(plane, "outage"))


def test_goes_on_while_no_plugin_is_there(plane: NodePlane) -> None:
    """For less than the certificate has left; pods that end meanwhile leave nothing either."""
    plane.settle("alone", "2m", "60s")
    plane.start("alone", "alone")
    plane.start("gone", "alone")
    uid, gone = plane.uid("alone"), plane.uid("gone")
    nowhere = {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "true"}}}}}
    somewhere = {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": None}}}}}
    with plane.watched(uid) as seen:
        seen.renewed(120)
        plane.patch_plugin(nowhere)
        until("no plugin", lambda: plane.plugins() == [], 60)
        plane.kubectl("delete", "pod", "gone", "-n", AGENTS, "--wait=false")
        count, began = seen.renewals, time.monotonic()
        until("some time", lambda: time.monotonic() - began > 30, 60)
        assert seen.renewals == count
        plane.patch_plugin(somewhere)
        until("the plugin", plane.plugin_ready, 60)
        until("a renewal", lambda: seen.renewals > count, 90)
    plane.kubectl("wait", "--for=delete", "pod/gone", "-n", AGENTS, "--timeout=90s")
    plane.until_nothing_is_left(gone)
    plane.delete("alone")
    until("the revocation", lambda: revoked(plane, "alone"))


def test_suspending_takes_files_and_stream_away_within_a_second(plane: NodePlane) -> None:
    """The pod runs on, and has nothing; resuming gives it an identity again."""
    plane.settle("halted", "5m")
    plane.release.apply(streaming("halted"))
    plane.running("halted")
    until("the stream", lambda: answers(plane, "halted"))
    volume, api = plane.volume(plane.uid("halted")), Api(plane.release.cluster)
    api.patch("agentidentities", "halted", {"spec": {"suspend": True}}, AGENTS)
    began = time.monotonic()
    until("no files", lambda: not (volume / "..data").is_symlink(), 5)
    assert time.monotonic() - began < 1
    until("the end of the stream", lambda: "error" in answers(plane, "halted")[-1], 5)
    assert answers(plane, "halted")[-1] == {"error": "PERMISSION_DENIED"}
    until("the revocation", lambda: revoked(plane, "halted"))
    assert {each.name for each in volume.iterdir()} == {"workload.sock"}
    api.patch("agentidentities", "halted", {"spec": {"suspend": False}}, AGENTS)
    until("files", (volume / "tls.crt").exists, 60)
    plane.delete("halted")


def test_what_must_not_have_an_identity_is_told_on_the_pod(plane: NodePlane) -> None:
    """A pod whose identity is suspended after it was let in waits, and an Event says for what."""
    plane.settle("barred", "5m")
    plane.scale_controllers(0)
    plane.release.apply(pod("barred", "barred"))
    Api(plane.release.cluster).patch(
        "agentidentities", "barred", {"spec": {"suspend": True}}, AGENTS
    )
    plane.scale_controllers(2)

    def said() -> bool:
        selector = "--field-selector=involvedObject.name=barred"
        return "suspend" in plane.kubectl("get", "events", "-n", AGENTS, selector).lower()

    until("the event", said, 120)
    assert plane.pod("barred")["status"]["phase"] == "Pending"
    plane.delete("barred")


def test_a_job_of_seconds_leaves_a_record_and_no_garbage(plane: NodePlane) -> None:
    """It has its identity before its first instruction, and loses it when it is done."""
    plane.settle("errand", "5m")
    template = pod("errand", "errand", restartPolicy="Never", initContainers=[])
    (container,) = template["spec"]["containers"]
    container["command"][-1] = container["command"][-1].replace("exec sleep 86400", "sleep 20")
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "errand", "namespace": AGENTS},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": template["metadata"]["labels"]},
                "spec": template["spec"],
            },
        },
    }
    plane.release.apply(job)
    plane.kubectl("wait", "job/errand", "-n", AGENTS, "--for=condition=Complete", "--timeout=120s")
    log = plane.kubectl("logs", "job/errand", "-n", AGENTS)
    serial = f"{leaf_of(log.split(chr(10), 1)[1].encode()).serial_number:x}"
    until("the revocation", lambda: revoked(plane, "errand"))
    record = {each.lstrip("0"): body for each, body in on_record(plane.release, "errand").items()}
    assert record[serial]["revocation"]["reason"] == "cessationOfOperation"
    (done,) = [
        each["metadata"]["uid"]
        for each in plane.release.get("pods", AGENTS)
        if each["metadata"]["labels"].get("app") == "errand"
    ]
    until("no volume", lambda: not any(done in each for each in plane.mounts()), 90)
    plane.kubectl("delete", "job", "errand", "-n", AGENTS)
    plane.until_nothing_is_left(done)


def test_the_plugin_may_do_what_it_needs_and_no_more(plane: NodePlane) -> None:
    """Privileged in its mounts alone: not in the node's network or processes, and no key in it."""
    (found,) = plane.plugins()
    spec = found["spec"]
    assert not any(spec.get(each) for each in ("hostNetwork", "hostPID", "hostIPC"))
    paths = {each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
    kubelet = "/var/lib/kubelet"
    assert paths == {f"{kubelet}/plugins/csi.agentid.dev", f"{kubelet}/pods",
                     f"{kubelet}/plugins_registry"}  # fmt: skip
    assert not any("secret" in each for each in spec["volumes"])
    look = (
        "import os, json; from pathlib import Path; "
        "print(json.dumps([os.listdir('/var/run/agentid-node'), "
        "sum(b'PRIVATE KEY' in p.read_bytes() for p in Path('/var/run/agentid-node').iterdir()"
        " if p.is_file())]))"
    )
    name = found["metadata"]["name"]
    told = plane.kubectl("exec", name, "-n", NAMESPACE, "--", "/usr/bin/python3", "-c", look)
    names, keys = json.loads(told)
    assert {each for each in names if not each.startswith("..")} == {"ca.crt", "token"}
    assert keys == 0
