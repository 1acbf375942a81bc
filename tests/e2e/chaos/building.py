"""Histories that tests make up, write by write."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from e2e.chaos.etcd import Write
from e2e.chaos.history import History
from e2e.chaos.protobuf import encode

__all__ = ["NOW", "Story"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_ETCD = "/registry"

Json = dict[str, Any]


def text(time: datetime) -> str:
    """A time as the API has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def mapped(number: int, values: dict[str, bytes]) -> bytes:
    """A field that is a map."""
    return b"".join(encode({number: encode({1: k.encode(), 2: v})}) for k, v in values.items())


class Story:
    """One agent, `team/reader`, and what is written about it."""

    def __init__(self) -> None:
        self.history = History()
        self.revision = 0
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.agent_class()

    def _write(self, key: str, value: bytes | None) -> None:
        self.revision += 1
        self.history.take(Write(self.revision, f"{_ETCD}/{key}", value), NOW)

    def agent_class(self, systems: tuple[str, ...] = ("erp.*",), lifetime: str = "1h") -> None:
        """Write the class `batch`."""
        spec = {"lifetime": lifetime, "permissions": {"systems": systems, "operations": ["read"]}}
        self._write("agentid.dev/agentclasses/batch", json.dumps({"spec": spec}).encode())

    def agent(self, *, told: str = "", deleting: bool = False, **spec: object) -> None:
        """Write the identity."""
        metadata: Json = {"uid": "u1", "generation": 1}
        if deleting:
            metadata["deletionTimestamp"] = text(NOW)
        body = {
            "metadata": metadata,
            "spec": {
                "className": "batch",
                "sponsor": "team@example.com",
                "permissions": {"systems": ["erp.invoices"], "operations": ["read"]},
                **spec,
            },
            "status": {
                "observedGeneration": 1,
                "conditions": [{"type": "Ready", "status": "True"}],
                **({"certificate": {"serial": told}} if told else {}),
            },
        }
        self._write("agentid.dev/agentidentities/team/reader", json.dumps(body).encode())

    def remove_agent(self) -> None:
        """Delete it."""
        self._write("agentid.dev/agentidentities/team/reader", None)

    def ledger(self, name: str, *records: Json) -> None:
        """Write a segment."""
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in records)
        message = mapped(2, {"segment.jsonl": lines})
        self._write(
            f"configmaps/agentid-system/agentid-ledger-{name}",
            b"k8s\x00" + encode({2: message}),
        )

    def drop(self, name: str) -> None:
        """Delete a segment."""
        self._write(f"configmaps/agentid-system/agentid-ledger-{name}", None)

    @staticmethod
    def issued(serial: str, replaces: str | None = None, **more: object) -> Json:
        """A record."""
        grant = {
            "class": "batch",
            "sponsor": "team@example.com",
            "lifetimeSeconds": 3600,
            "permissions": {"systems": ["erp.invoices"], "operations": ["read"]},
        }
        return {
            "type": "issued", "serial": serial, "namespace": "team", "name": "reader", "uid": "u1",
            "issuer": "main", "authority": "a1", "shard": None, "replaces": replaces,
            "notBefore": text(NOW), "notAfter": text(NOW + timedelta(hours=1)),
            "grant": json.dumps(grant), **more,
        }  # fmt: skip

    @staticmethod
    def revoked(serial: str) -> Json:
        """A record."""
        return {
            "type": "revoked", "serial": serial, "reason": "superseded", "actor": "test",
            "revokedAt": text(NOW), "notAfter": text(NOW + timedelta(hours=1)),
        }  # fmt: skip

    def secret(
        self, serial: str, *, name: str = "reader", key: str = "", lasts: timedelta | None = None,
        uri: str = "",
    ) -> None:  # fmt: skip
        """Write a Secret; an empty serial is an empty one."""
        files = {"tls.crt": b"", "tls.key": b""}
        if serial:
            own = self._keys.setdefault(key or serial, ec.generate_private_key(ec.SECP256R1()))
            names = x509.Name([])
            leaf = (
                x509.CertificateBuilder(names, names, own.public_key(), int(serial, 16))
                .not_valid_before(NOW)
                .not_valid_after(NOW + (lasts or timedelta(hours=1)))
                .add_extension(
                    x509.SubjectAlternativeName(
                        [
                            x509.UniformResourceIdentifier(
                                uri or f"spiffe://agents.test/ns/team/agent/{name}"
                            )
                        ]
                    ),
                    critical=True,
                )
                .sign(own, hashes.SHA256())
            )
            files = {
                "tls.crt": leaf.public_bytes(Encoding.PEM),
                "tls.key": own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            }
        metadata = encode({1: f"{name}-agentid".encode()}) + mapped(
            12, {"agentid.dev/identity": name.encode()}
        )
        message = encode({1: metadata}) + mapped(2, files)
        self._write(f"secrets/team/{name}-agentid", b"k8s\x00" + encode({2: message}))
