"""What an earlier release stored, on a real API server, and today's operator started beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from agentid.ledger import verify_segments
from agentid.ledger.configmaps import segment_of
from e2e.install import install, start_operator
from e2e.providers import DevCluster
from tests.support.api import Api, condition, until
from tests.upgrade.corpus import CORPORA, Corpus
from tests.upgrade.moving import moved_segments
from tests.upgrade.services import LOOKED_AFTER, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

Json = dict[str, Any]

OURS = "agentid.dev/"
each_corpus = pytest.mark.parametrize("corpus", CORPORA, ids=str)


def bare(body: Json, **changes: object) -> Json:
    """An object as it is created: without what an API server adds."""
    kept = {
        key: each
        for key, each in body["metadata"].items()
        if key not in {"uid", "resourceVersion", "generation"}
    }
    without = {key: each for key, each in body.items() if key != "status"}
    return {**without, "metadata": kept, **changes}


def create(cluster: Cluster, *bodies: Json) -> list[Json]:
    """Create objects, and return them as stored."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    told = cluster.kubectl("create", "-o", "json", "-f", "-", stdin=listed).stdout
    found: list[Json] = []
    while told := told.lstrip():  # one document after the other, and no list
        body, end = json.JSONDecoder().raw_decode(told)
        found.append(body)
        told = told[end:]
    return found


def resources(corpus: Corpus) -> list[Json]:
    """Everything of our kinds."""
    bodies = corpus.objects.values()
    return [each for each in bodies if each.get("apiVersion", "").startswith(OURS)]


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of this test's own, with nothing installed."""
    chosen = DevCluster(tmp_path / "cluster")
    try:
        yield chosen.up()
    finally:
        chosen.down()


def store(cluster: Cluster, corpus: Corpus) -> None:
    """Have the cluster as the earlier release left it, its definitions included."""
    cluster.kubectl("apply", "--server-side", "-f", str(corpus.folder / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "-f", str(corpus.folder / "crds"))
    for name in (SYSTEM, "finance"):
        cluster.kubectl("create", "namespace", name)
    chosen = [
        each for each in resources(corpus) if each["metadata"]["name"] in LOOKED_AFTER[each["kind"]]
    ]
    uids: dict[str, str] = {}
    for body in chosen:
        (stored,) = create(cluster, bare(body))
        uids[body["metadata"]["uid"]] = stored["metadata"]["uid"]
        told = json.dumps({**stored, "status": body["status"]})
        cluster.kubectl("replace", "--subresource=status", "-f", "-", stdin=told)
    core = [each for each in corpus.objects.values() if each["apiVersion"] == "v1"]
    segments = [each for each in core if "agentid.dev/ledger" in each["metadata"].get("labels", {})]
    others = json.dumps([bare(each) for each in core if each not in segments])
    for old, new in uids.items():
        others = others.replace(f'"{old}"', f'"{new}"')
    moved = moved_segments(segments, uids)
    assert verify_segments(map(segment_of, moved)).alarms == ()
    create(cluster, *json.loads(others), *map(bare, moved))


@each_corpus
def test_stored_resources_are_taken_by_todays_definitions(
    installed: Cluster, corpus: Corpus
) -> None:
    """Every resource of an earlier release can be written as it is, with no field unknown."""
    installed.kubectl("create", "namespace", "finance", check=False)
    found = [bare(each) for each in resources(corpus)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})
    # Applied, since other tests of this cluster may have classes of the same names.
    taken = installed.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict",
        "-o", "name", "-f", "-", stdin=listed,
    ).stdout  # fmt: skip
    assert len(taken.splitlines()) == len(found)


@each_corpus
def test_todays_operator_goes_on(own_cluster: Cluster, corpus: Corpus, tmp_path: Path) -> None:
    """Promises 3 to 5: no serial is lost, none issued anew, and what was revoked stays revoked."""
    cluster = own_cluster
    store(cluster, corpus)
    install(cluster)  # the order of an upgrade: definitions and policies before the controller
    api = Api(cluster)
    before, crls = api.ledger(), api.crls("main")
    assert before.issued.keys() == corpus.ledger.keys()
    reader, secret = api.identity("finance", "reader"), api.files("finance", "reader-agentid")
    assert reader is not None
    skew = tmp_path / "skew"  # certificates of the corpus are good at its own time
    skew.write_text(str((corpus.at - datetime.now(UTC)).total_seconds()))
    running = start_operator(
        cluster, "today", module="tests.support.skewed", environment={"CLOCK_SKEW": str(skew)}
    )
    try:
        in_pods = {str(each.serial) for each in before.issued.values() if each.pod is not None}
        assert in_pods
        # There are no such pods here, so what they held is taken back: they were looked at.
        until("a look at pods", lambda: in_pods <= api.ledger().revoked.keys(), 90)
        _another(api, corpus)
        after = api.ledger()
        others = {key: each for key, each in after.issued.items() if each.name != "another"}
        assert others == before.issued, "no serial is lost, and none is issued anew"
        assert after.revoked.keys() == before.revoked.keys() | in_pods
        assert {key: after.revoked[key] for key in before.revoked} == before.revoked
        now = api.identity("finance", "reader") or {}
        assert condition(now["status"], "Ready")["status"] == "True"
        told, known = (each["status"]["certificate"] for each in (now, reader))
        # When it is renewed depends on the UID, which is another one in this cluster.
        assert {**told, "renewalTime": ""} == {**known, "renewalTime": ""}
        assert api.files("finance", "reader-agentid") == secret
        issuer = api.object("agentissuers", "main") or {}
        trusted = [each["fingerprint"] for each in issuer["status"]["authorities"]]
        stored = corpus.objects["/apis/agentid.dev/v1alpha1/agentissuers/main"]["status"]
        assert trusted == [each["fingerprint"] for each in stored["authorities"]]
        _goes_on(api, crls)
    finally:
        assert running.stop() == 0, running.log.read_text()[-4000:]


def _another(api: Api, corpus: Corpus) -> None:
    """An agent that comes after the upgrade gets its certificate from the authority there was."""
    path = "/apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader"
    spec = corpus.objects[path]["spec"]
    api.create("agentidentities", {"metadata": {"name": "another"}, "spec": spec}, "finance")
    api.until_ready("finance", "another", 60)
    files = api.files("finance", "another-agentid") or {}
    leaf, intermediate = x509.load_pem_x509_certificates(files["tls.crt"])
    leaf.verify_directly_issued_by(intermediate)
    assert files["ca.crt"] == corpus.files("reader-agentid", "finance")["ca.crt"]


def _goes_on(api: Api, crls: dict[str, bytes]) -> None:
    """Suspended now, the agent's certificate of the earlier release stands on its CRL.

    What stood there before still does, under a number that is higher.
    """
    serial = api.serial("finance", "reader")
    shard = api.ledger().issued[serial].shard
    api.patch("agentidentities", "reader", {"spec": {"suspend": True}}, "finance")
    (name,) = [each for each in crls if each.endswith(f"-{shard}")]

    def revoked(der: bytes) -> set[int]:
        return {entry.serial_number for entry in x509.load_der_x509_crl(der)}

    until("the CRL", lambda: int(serial, 16) in revoked(api.crls("main")[name]), 60)
    published = api.crls("main")
    for each, before in crls.items():
        assert revoked(before) <= revoked(published[each])
    assert number_of(crls[name]) < number_of(published[name])


def number_of(der: bytes) -> int:
    """The cRLNumber of a CRL."""
    extensions = x509.load_der_x509_crl(der).extensions
    return extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
