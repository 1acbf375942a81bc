"""What the API server allows: the writes of agentid, by a client that does nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.resources import AGENT_IDENTITIES, CONFIG_MAPS, SECRETS
from bench.load import many
from bench.namespaces import namespace_of_its_own
from bench.processes import Meter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from bench.processes import Usage
    from bench.templates import Template

__all__ = ["Bare", "bare"]

_IN_SEGMENT: Final = 20
"""Certificates in a segment of the ledger, as it comes out at the rates that agentid reaches."""

_RECORD: Final = 1030
"""Bytes of a certificate's record on the ledger."""

_FILES: Final = {"tls.crt": 2376, "tls.key": 324, "ca.crt": 1060, "agent.json": 444}
"""Bytes in the Secret of an identity, in base64."""


@dataclass(frozen=True, slots=True)
class Bare:
    """The same writes without a controller.

    Attributes:
        number: Objects made.
        rate: Objects per second, each with its Secret, its status and its share of a ConfigMap.
        costs: Of processes meanwhile, by name.
    """

    number: int
    rate: float
    costs: Mapping[str, Usage]


async def bare(
    client: Client, template: Template, namespace: str, number: int, processes: Mapping[str, int]
) -> Bare:
    """Write what `number` identities take, and remove it again.

    For each object three writes, one after the other as they depend on each other, of the size that
    agentid's have: the custom resource, the Secret that it owns, its status. For every twentieth an
    immutable ConfigMap besides. Nobody may reconcile the template's kind meanwhile.
    """
    async with namespace_of_its_own(client, namespace):
        bodies = [template.body(namespace, index) for index in range(number)]
        names = [ObjectKey.of(body).name for body in bodies]

        async def one(index: int) -> None:
            made = await client.create(AGENT_IDENTITIES, bodies[index])
            if index % _IN_SEGMENT == 0:
                await client.create(CONFIG_MAPS, _segment(namespace, index))
            await client.create(SECRETS, _secret(namespace, made))
            await client.replace_status(AGENT_IDENTITIES, made | {"status": _STATUS})

        async def let_go(name: str) -> None:
            free = {"metadata": {"finalizers": None}}
            await client.patch_merge(AGENT_IDENTITIES, name, free, namespace)

        meter = Meter(processes)
        seconds = await many(partial(one, index) for index in range(number))
        costs = meter.read()
        await many(partial(let_go, name) for name in names)
    return Bare(number, number / seconds, costs)


_STATUS: Final = {
    "observedGeneration": 1,
    "spiffeID": "spiffe://agents.example.com/ns/bench-bare/agent/bench-100",
    "activeCertificates": 1,
    "classification": {
        "tier": "Low",
        "score": 10,
        "reasons": [
            "access privileges ReadOnly: implied by operation list",
            "decision authority Advisory: implied by operation list",
            "risk exposure Minimal: implied by operation list",
            "tier Low: the score is 10 of 100",
        ],
    },
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Issued",
            "message": "Certificate 00000000000000000000000000000000 is in Secret bench-100, valid "
            "until 2026-01-01T08:00:00Z, renewed at 2026-01-01T05:00:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
    "certificate": {
        "serial": "0" * 32,
        "fingerprint": "0" * 64,
        "notBefore": "2026-01-01T00:00:00Z",
        "notAfter": "2026-01-01T08:00:00Z",
        "renewalTime": "2026-01-01T05:00:00Z",
        "issuer": "default",
        "keyAlgorithm": "ECDSAP256",
    },
    "delivery": {"secretName": "bench-100", "secretUID": "00000000-0000-0000-0000-000000000000"},
}


def _secret(namespace: str, owner: JsonObject) -> JsonObject:
    name = ObjectKey.of(owner).name
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"bench/identity-uid": uid_of(owner)},
            "annotations": {
                "bench/serial": "0" * 32,
                "bench/not-after": "2026-01-01T08:00:00Z",
                "bench/spiffe-id": f"spiffe://agents.example.com/ns/{namespace}/agent/{name}",
            },
            "ownerReferences": [
                {
                    "apiVersion": AGENT_IDENTITIES.api_version,
                    "kind": AGENT_IDENTITIES.kind,
                    "name": name,
                    "uid": uid_of(owner),
                    "controller": True,
                }
            ],
        },
        "type": "kubernetes.io/tls",
        "data": {file: "QUFB" * (size // 4) for file, size in _FILES.items()},
    }


def _segment(namespace: str, index: int) -> JsonObject:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"namespace": namespace, "name": f"segment-{index}"},
        "immutable": True,
        "data": {"segment.jsonl": "A" * (_RECORD * _IN_SEGMENT)},
    }
