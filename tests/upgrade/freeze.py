"""Writes down what this release stores: `python -m tests.upgrade.freeze 0.2.0`.

To be run once for each release. The corpus is `tests/upgrade/<release>`; its digest goes into
`tests/upgrade/digests.json`, and neither is ever changed again. Whatever is written comes from the
services and encoders that ship, on a fake API server and at a fixed time:

    objects.json   objects of the API server by path; private keys stand in keys.json
    keys.json      test keys, made for the corpus and trusted by nobody: PKCS#8 in DER and Base64
    ledger.json    what the ledger adds up to
    export.jsonl   the ledger as `agentid ledger export` writes it
    audit.jsonl    what auditors were told meanwhile
    node.json      files of the node plugin: state of volumes, and what is in one
    crds/          the definitions
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentid import __version__
from agentid.api.crd import render_crds
from agentid.api.vocabulary import DeliveryMode
from agentid.identity import PodRef, SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.kube.objects import ObjectKey
from agentid.ledger.export import Exporter
from agentid.node import files as node_files
from agentid.node.issuer import PodProof
from agentid.node.state import Held, StateFolder, VolumeState
from agentid.policy import Granted
from agentid.testing.clock import ManualClock
from agentid.testing.ledger import in_virtual_time
from tests.upgrade.objects import NAMESPACE, resources
from tests.upgrade.services import Services, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.ledger import Entry, Issued, Ledger, Revoked

HERE: Final = Path(__file__).parent

_PLURALS: Final = {
    "AgentIssuer": "agentissuers",
    "AgentClass": "agentclasses",
    "AgentIdentity": "agentidentities",
    "AgentRevocation": "agentrevocations",
}
_BEGIN, _END = b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n"
_SYSTEM: Final = "agentid-system"


def path_of(body: dict[str, Any]) -> str:
    """Where the API server has a resource of ours."""
    metadata = body["metadata"]
    inside = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    plural = _PLURALS[body["kind"]]
    return f"/apis/agentid.dev/v1alpha1{inside}/{plural}/{metadata['name']}"


def digest_of(corpus: Path) -> str:
    """SHA-256 over the names and bytes of all files of a corpus."""
    found = hashlib.sha256()
    for path in sorted(each for each in corpus.rglob("*") if each.is_file()):
        content = path.read_bytes()
        found.update(f"{path.relative_to(corpus).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def summary_of(entries: Iterator[Entry]) -> dict[str, dict[str, Any]]:
    """What a ledger says of each certificate, by serial."""
    return {
        str(entry.serial): {
            "identity": f"{entry.issued.namespace}/{entry.issued.name}",
            "notAfter": entry.issued.not_after.isoformat(),
            "door": entry.issued.door.value,
            "authority": entry.issued.authority,
            "shard": entry.issued.shard,
            "grant": json.loads(entry.issued.grant),
            "pod": None if entry.issued.pod is None else entry.issued.pod.uid,
            "revoked": None if entry.revoked is None else entry.revoked.reason.value,
        }
        for entry in sorted(entries, key=lambda each: each.serial)
    }


async def _objects(there: Services) -> None:
    """Have the services do all that they do."""
    suspended: list[dict[str, Any]] = []
    for body in resources():
        if body["spec"].get("suspend"):
            suspended.append(body)
            body = {**body, "spec": {**body["spec"], "suspend": False}}  # noqa: PLW2901 - as begun
        there.learn(there.server.put(path_of(body), body))
    there.server.put(
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/agentid-pods",
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "agentid-pods"},
            "webhooks": [{
                "name": "pods.agentid.dev",
                "clientConfig": {"service": {
                    "namespace": _SYSTEM, "name": "agentid-admission", "path": "/pods",
                }},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
            }],
        },
    )  # fmt: skip
    there.world.bundle_namespaces[NAMESPACE] = "uid-of-finance"
    await there.round()
    await _certificates(there)
    for body in suspended:
        before: Any = there.server.objects[path_of(body)]
        metadata = {**before["metadata"], "generation": 2}
        there.learn(
            there.server.put(path_of(body), {**before, "spec": body["spec"], "metadata": metadata})
        )
    await there.round()
    await there.round()


async def _certificates(there: Services) -> None:
    """Records of every kind, in several segments, of two writers, and some of them compacted."""
    (first,) = [
        entry.issued for entry in there.ledger.state.entries() if entry.issued.name == "reader"
    ]

    def of(name: str, **changes: Any) -> Issued:  # noqa: ANN401 - fields of a record
        serial = SerialNumber.from_random(secrets.token_bytes(16))
        spiffe_id = f"spiffe://example.org/ns/{NAMESPACE}/agent/{name}"
        seen = there.gatherer.observe(ObjectKey(NAMESPACE, name), there.clock.now())
        verdict = None if seen is None else seen.verdict
        known = {
            "serial": serial,
            "fingerprint": hashlib.sha256(str(serial).encode()).hexdigest(),
            "name": name,
            "uid": f"uid-{name}",
            "spiffe_id": spiffe_id,
            "grant": verdict.grant.to_json()
            if isinstance(verdict, Granted)
            else first.grant.replace("agent/reader", f"agent/{name}"),
        }
        return replace(first, **{**known, **changes})

    async def record(ledger: Ledger, *records: Issued | Revoked) -> None:
        await in_virtual_time(there.clock, ledger.append(*records))

    one = PodRef("porter-1", "uid-of-porter-1", "worker-1", "request-1")
    per_pod = f"{first.spiffe_id.replace('reader', 'porter')}/pod/{one.uid}"
    by_csi = {"door": DeliveryMode.CSI, "pod": one, "spiffe_id": per_pod}
    porter = of("porter", **by_csi)
    again = of("porter", **by_csi | {"pod": replace(one, request="request-2")})
    other_pod = PodRef("carrier-1", "uid-of-carrier-1", "worker-2", "request-3")
    carrier = of("carrier", door=DeliveryMode.POD_CERTIFICATE, pod=other_pod, shard=None)
    await record(there.ledger, porter)
    await record(there.ledger, replace(again, replaces=porter.serial))
    await record(there.ledger, carrier)
    final = [each for each in RevocationReason if each.is_final]
    async with there.another_writer() as other:
        for at, reason in enumerate(final):
            gone = of(f"gone-{at}", shard=at)
            await record(other, gone)
            entry = other.state.by_serial(gone.serial)
            assert entry is not None
            moment = there.clock.now() + timedelta(microseconds=123456)
            actor = f"AgentRevocation leak ({reason})"
            await record(other, entry.revocation(reason, at=moment, actor=actor))
        await in_virtual_time(there.clock, other.compact())
        await record(other, of("gone-8", shard=0), of("gone-9", shard=None))
        for name in ("gone-8", "gone-9"):
            (entry,) = other.state.entries_of(NAMESPACE, name)
            moment = there.clock.now()
            reason = RevocationReason.CESSATION_OF_OPERATION
            await record(other, entry.revocation(reason, at=moment, actor="agentid-controller"))
    await there.clock.run_for(5)


def _without_keys(objects: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Objects with names of keys where their PEM stood, and the keys by name."""
    keys: dict[str, str] = {}
    for body in objects.values():
        for name, text in (body.get("data") or {}).items() if body.get("kind") == "Secret" else ():
            content = base64.b64decode(text)
            if content.startswith(_BEGIN) and content.endswith(_END):
                body["data"][name] = key = f"key:{hashlib.sha256(content).hexdigest()}"
                keys[key] = content[len(_BEGIN) : -len(_END)].decode().replace("\n", "")
    return objects, keys


def _node(objects: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the plugin keeps: a volume with files, one that was taken away, one just begun."""
    secret = objects[f"/api/v1/namespaces/{NAMESPACE}/secrets/reader-agentid"]["data"]
    files = {name: base64.b64decode(text) for name, text in secret.items()}
    volume = folder / "volume"
    volume.mkdir()
    node_files.write(volume, files, None)
    pod = PodProof(NAMESPACE, "porter-1", "uid-of-porter-1", "default", "porter", "a-token")
    target = "/var/lib/kubelet/pods/p/volumes/kubernetes.io~csi/agentid/mount"
    about = json.loads(files["agent.json"])
    held = Held(
        about["spiffeID"], "ECDSAP256", 1000.0, 2000.5,
        {"partner.example.net": files["ca.crt"].decode()}, {"example.org": '{"keys":[]}'},
    )  # fmt: skip
    states = StateFolder(folder)
    states.save(VolumeState("csi-held", target, 2000, pod, held))
    states.save(VolumeState("csi-ended", target, None, pod, None, ("Revoked", "it was suspended")))
    states.save(VolumeState("csi-begun", target, None, pod))
    return {
        "states": {each.name: each.read_text() for each in sorted(folder.glob("*.json"))},
        "held": {
            name: content.decode()
            for name, content in node_files.read(volume).items()
            if _BEGIN not in content
        },
    }


def _in_json(content: object) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


async def _stored() -> dict[str, Any]:
    """What the services leave behind, by name of file; objects with their keys."""
    clock, told, out = ManualClock(), list[str](), BytesIO()
    async with opened(clock, tell=told.append) as there:
        await _objects(there)
        exporter = Exporter(out.write, clock.now())
        for stored in sorted([each async for each in there.segments.list()], key=lambda s: s.name):
            exporter.add(stored)
        exporter.end()
        return {
            "about.json": {"package": __version__, "at": clock.now().isoformat()},
            "objects.json": json.loads(json.dumps(dict(sorted(there.server.objects.items())))),
            "ledger.json": summary_of(iter(there.ledger.state.entries())),
            "export.jsonl": out.getvalue().decode(),
            "audit.jsonl": "".join(told),
        }


def freeze(corpus: Path) -> None:
    """Write a corpus into a folder that does not exist."""
    files = asyncio.run(_stored())
    with tempfile.TemporaryDirectory() as folder:
        files["node.json"] = _node(files["objects.json"], Path(folder))
    files["objects.json"], files["keys.json"] = _without_keys(files["objects.json"])
    (corpus / "crds").mkdir(parents=True)
    files |= {f"crds/{name}": text for name, text in render_crds().items()}
    for name, content in files.items():
        text = content if isinstance(content, str) else _in_json(content)
        if "PRIVATE KEY" in text:
            sys.exit(f"{name} would hold a private key as such")
        (corpus / name).write_text(text)


def main(release: str) -> None:
    """Write the corpus of a release, and its digest."""
    corpus = HERE / release
    if corpus.exists():
        sys.exit(f"{corpus} is frozen and never changes; name another release")
    freeze(corpus)
    digests = HERE / "digests.json"
    known = json.loads(digests.read_text()) if digests.exists() else {}
    digests.write_text(_in_json({**known, release: digest_of(corpus)}))


if __name__ == "__main__":
    main(sys.argv[1])
