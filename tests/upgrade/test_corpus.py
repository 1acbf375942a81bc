"""What an earlier release stored is read by this one, all of it, and decides the same."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.agentrevocation import AgentRevocation
from agentid.api.unknown import unknown_fields
from agentid.identity import SerialNumber, TrustDomain
from agentid.issuers.authority_set import load_set
from agentid.ledger import Issued, LedgerState, verify_segments
from agentid.ledger.configmaps import segment_of
from agentid.ledger.export import read_export
from agentid.ledger.reading import decode
from agentid.node import files as node_files
from agentid.node.material import Ended, Serving, Starting
from agentid.node.metrics import NodeMetrics
from agentid.node.pod_volume import PodVolume, VolumeParts
from agentid.node.present import IssuersPresent
from agentid.node.state import StateFolder, VolumeState
from agentid.pki.crl import read_crl
from agentid.services.bundle_documents import published_roots
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import snapshot
from agentid.testing.node_issuer import FakeNodeIssuer
from tests.support.auditing import read_events
from tests.support.node import no_validation
from tests.upgrade.corpus import CORPORA, DIGESTS, Corpus, of_kind
from tests.upgrade.freeze import HERE, digest_of, summary_of
from tests.upgrade.moving import moved_segments
from tests.upgrade.services import SYSTEM, opened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentid.api.model import Resource

KINDS: dict[str, type[Resource]] = {
    each.KIND: each for each in (AgentIdentity, AgentClass, AgentIssuer, AgentRevocation)
}

each_corpus = pytest.mark.parametrize("corpus", CORPORA, ids=str)
each_kind = pytest.mark.parametrize("kind", KINDS)


def test_there_are_some() -> None:
    """One from before anything had a version, one from after, and none beside those in the list."""
    assert sorted(DIGESTS) == sorted(
        each.name for each in HERE.iterdir() if (each / "crds").is_dir()
    )
    assert len(CORPORA) >= 2


@each_corpus
def test_it_never_changes(corpus: Corpus) -> None:
    """What lies in clusters does not change either."""
    assert digest_of(corpus.folder) == DIGESTS[corpus.release], (
        f"tests/upgrade/{corpus.release} is what a release stored, and never changes: restore it "
        "from the repository. What this release stores differently goes into a corpus of its own: "
        "python -m tests.upgrade.freeze RELEASE"
    )


# Resources


@each_corpus
@each_kind
def test_resources_are_read_whole(corpus: Corpus, kind: str) -> None:
    """No field is unknown, and a status comes out as it went in."""
    model = KINDS[kind]
    found = of_kind(corpus, kind)
    assert found
    for name, body in found.items():
        parsed: Any = model.parse(body)
        assert unknown_fields(type(parsed.spec), body["spec"]) == (), name
        assert unknown_fields(type(parsed.status), body.get("status"), "status") == (), name
        if "status" in body:
            assert _filled(body["status"]) == _filled(parsed.status.to_api()), name


def _filled(status: object) -> object:
    """Without what is empty: whether a list is absent or empty makes no difference."""
    if isinstance(status, dict):
        return {key: _filled(value) for key, value in status.items() if value not in ([], None, {})}
    return [_filled(each) for each in status] if isinstance(status, list) else status


@each_corpus
@each_kind
def test_no_field_is_left_out(corpus: Corpus, kind: str) -> None:
    """Every field that the definition of its release has stands in some resource of the corpus."""
    (version,) = corpus.crds[kind]["spec"]["versions"]
    sections = version["schema"]["openAPIV3Schema"]["properties"]
    found: set[str] = set()
    for body in of_kind(corpus, kind).values():
        found |= set(_present(body.get("spec"), "spec")) | set(
            _present(body.get("status"), "status")
        )
    declared = {
        path for section in ("spec", "status") for path in _declared(sections[section], section)
    }
    assert declared - found == set()


def _declared(schema: dict[str, Any], path: str) -> list[str]:
    inner = schema.get("items", schema).get("properties", {})
    return [
        path,
        *(each for name, one in inner.items() for each in _declared(one, f"{path}.{name}")),
    ]


def _present(value: object, path: str) -> list[str]:
    if isinstance(value, dict):
        return [
            path,
            *(each for key, one in value.items() for each in _present(one, f"{path}.{key}")),
        ]
    if isinstance(value, list):
        return [path, *(each for one in value for each in _present(one, path))]
    return [] if value is None else [path]


# The ledger


@each_corpus
def test_the_ledger_comes_back(corpus: Corpus) -> None:
    """Promises 3 and 4: every serial and every revocation, from sound segments in whole chains."""
    state, again = LedgerState(), LedgerState()
    for stored in corpus.segments:
        for record in decode(stored.name, stored.data).records:
            assert state.apply(record)
    assert summary_of(iter(state.entries())) == corpus.ledger
    assert verify_segments(corpus.segments).alarms == ()
    with (corpus.folder / "export.jsonl").open("rb") as exported:
        segments = list(read_export(exported))
    for stored in segments:
        for record in decode(stored.name, stored.data).records:
            again.apply(record)
    assert snapshot(again) == snapshot(state)


@each_corpus
def test_it_has_records_of_every_kind(corpus: Corpus) -> None:
    """Each door, each reason, with and without pod and shard; and a run that was compacted."""
    entries = corpus.ledger.values()
    assert {each["door"] for each in entries} == {"Secret", "PodCertificate", "CSI"}
    assert len({each["revoked"] for each in entries if each["revoked"]}) == 8
    assert {each["pod"] is None for each in entries} == {True, False}
    assert {each["shard"] is None for each in entries} == {True, False}
    headers = [decode(each.name, each.data).header for each in corpus.segments]
    assert any(each.covers for each in headers)
    assert len({each.writer for each in headers}) == 2


@each_corpus
async def test_nothing_is_due_after_an_upgrade(corpus: Corpus) -> None:
    """Promise 5: everything looked at once by this release, nothing is written or issued anew.

    Issuer, class, identities of all three deliveries, a suspended one, an executed incident, CRLs,
    bundles and the certificates of webhook, responders and issuer service.
    """
    clock = ManualClock(corpus.at)
    async with opened(clock, corpus.objects) as there:
        assert summary_of(iter(there.ledger.state.entries())) == corpus.ledger
        assert there.ledger.alarms == ()
        there.world.bundle_namespaces["finance"] = "uid-of-finance"
        await there.round()
        assert summary_of(iter(there.ledger.state.entries())) == corpus.ledger
        expected = {BUNDLE, *NEW.get(corpus.release, ())}
        assert [each for each in there.writes() if each not in expected] == []
        for path, body in corpus.objects.items():
            leave_out = RENEWAL if f"PUT {path}/status" in expected else frozenset()
            found = there.server.objects[path]
            assert _content(found, leave_out) == _content(body, leave_out), path


def _content(body: Mapping[str, Any], leave_out: frozenset[str]) -> object:
    metadata = {key: each for key, each in body["metadata"].items() if key in {"name", "labels"}}
    return _without({**body, "metadata": metadata}, leave_out)


def _without(value: object, names: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


RENEWAL = frozenset({"renewalTime", "message"})
"""When a certificate is renewed, in the status and in the words of its condition."""


BUNDLE = "PUT /api/v1/namespaces/finance/configmaps/agentid-bundle-main"
"""Written once by each leader, whatever is there: it may not be read in namespaces of others."""

NEW = {
    "0.1.0.dev1": (
        # That release told node plugins by the Secret alone.
        f"POST /api/v1/namespaces/{SYSTEM}/configmaps",
        # It counted a second less in a lifetime, and renewed that much earlier or later.
        "PUT /apis/agentid.dev/v1alpha1/namespaces/finance/agentidentities/reader/status",
    ),
}
"""What a release stored otherwise, and this one writes at its first look."""


@each_corpus
async def test_a_renewal_goes_on_from_it(corpus: Corpus) -> None:
    """When its time has come, a new certificate replaces the one of the earlier release."""
    clock = ManualClock(corpus.at)
    async with opened(clock, corpus.objects) as there:
        before = of_kind(corpus, "AgentIdentity")["reader"]["status"]["certificate"]["serial"]
        clock.advance(timedelta(hours=6))
        await there.round()
        (newest, old) = there.ledger.state.entries_of("finance", "reader")
        assert str(old.serial) == before
        assert newest.issued.replaces == old.serial
        assert old.revoked is None, "it was renewed, so it runs out"


# What is published


@each_corpus
def test_authorities_are_loaded(corpus: Corpus) -> None:
    """The same roots and issuing authorities as their status tells, keys included."""
    found = load_set(corpus.files("agentid-ca-main"), TrustDomain.parse("example.org"))
    told = of_kind(corpus, "AgentIssuer")["main"]["status"]
    ids = {each["id"] for each in told["authorities"]}
    assert {*found.roots, *found.issuing} == ids
    assert found.records.sequence == told["bundleSequence"]
    assert found.signing is not None
    assert found.jwt_signing is not None
    assert found.jwt_faults == ()
    assert all(each.authority is not None for each in found.roots.values())


@each_corpus
def test_revocations_stand_on_crls(corpus: Corpus) -> None:
    """Promise 4: every revoked serial that a CRL speaks of stands on its shard."""
    found: dict[str, set[str]] = {}
    for body in corpus.objects.values():
        if body["metadata"].get("labels", {}).get("agentid.dev/publication") == "crl":
            shard = body["metadata"]["annotations"]["agentid.dev/shard"]
            view = read_crl(base64.b64decode(body["binaryData"]["crl"]))
            found[shard] = {str(entry.serial) for entry in view}
    revoked = {
        serial: str(entry["shard"])
        for serial, entry in corpus.ledger.items()
        if entry["revoked"] and entry["shard"] is not None
    }
    assert len(revoked) >= 9
    for serial, shard in revoked.items():
        assert serial in found[shard]
    assert sum(map(len, found.values())) == len(revoked)


@each_corpus
def test_bundles_are_read(corpus: Corpus) -> None:
    """Responders go on from the bundle that is there, and its number never goes back."""
    body = corpus.objects[f"/api/v1/namespaces/{SYSTEM}/configmaps/agentid-bundle-main"]
    found = published_roots(body["data"])
    told = of_kind(corpus, "AgentIssuer")["main"]["status"]
    assert found.sequence == told["bundleSequence"]
    assert len(found.roots) == 1
    assert found.kids


@each_corpus
def test_audit_events_are_of_the_schema(corpus: Corpus) -> None:
    """What an earlier release told auditors is what the schema of today describes."""
    assert read_events((corpus.folder / "audit.jsonl").read_bytes())


# The node


@each_corpus
def test_volumes_are_taken_up(corpus: Corpus, tmp_path: Path) -> None:
    """A pod that runs through the upgrade of its node's plugin is served what it holds."""
    for name, text in corpus.node["states"].items():
        (tmp_path / name).write_text(text)
    states = {}
    for state in StateFolder(tmp_path).load():
        assert isinstance(state, VolumeState)
        states[state.volume_id] = state
    assert sorted(states) == ["csi-begun", "csi-ended", "csi-held"]
    assert states["csi-begun"].begun
    assert states["csi-held"].group == 2000
    key = corpus.files("reader-agentid", "finance")["tls.key"]
    files = {name: text.encode() for name, text in corpus.node["held"].items()} | {"tls.key": key}
    served = {}
    for name, state in states.items():
        folder = tmp_path / name
        folder.mkdir()
        if name == "csi-held":
            node_files.write(folder, files, None)
        served[name] = asyncio.run(_reloaded(state, folder))
    assert isinstance(served["csi-begun"], Starting)
    assert served["csi-ended"] == Ended("Revoked", "it was suspended")
    held = served["csi-held"]
    assert isinstance(held, Serving)
    about = json.loads(files["agent.json"])
    assert str(SerialNumber.parse(held.material.serial)) == about["serial"]


async def _reloaded(state: VolumeState, folder: Path) -> object:
    clock = ManualClock()  # of the boot in which the state was written
    parts = VolumeParts(
        FakeNodeIssuer(clock), clock, StateFolder(folder), no_validation, {},
        IssuersPresent(clock), NodeMetrics(),
    )  # fmt: skip
    volume = PodVolume(state, folder, parts)
    volume.reload()
    return volume.state.value


@each_corpus
def test_a_corpus_can_move_into_a_cluster(corpus: Corpus) -> None:
    """With the UIDs of another API server the chains of the ledger still fit."""
    bodies = [
        body
        for body in corpus.objects.values()
        if "agentid.dev/ledger" in body["metadata"].get("labels", {})
    ]
    moved = [segment_of(each) for each in moved_segments(bodies, {"uid-reader": "another"})]
    assert verify_segments(moved).alarms == ()
    records = [record for each in moved for record in decode(each.name, each.data).records]
    assert {r.uid for r in records if isinstance(r, Issued) and r.name == "reader"} == {"another"}
