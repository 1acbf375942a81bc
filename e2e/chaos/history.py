"""What was written, by whomever, in its order: the memory of an onlooker who reads etcd."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from e2e.chaos.protobuf import fields, text, texts

if TYPE_CHECKING:
    from e2e.chaos.etcd import Write

__all__ = ["Agent", "Change", "Delivered", "History", "Recorded", "time_of"]


Json: TypeAlias = dict[str, Any]
Agent: TypeAlias = tuple[str, str]
"""Namespace and name of an AgentIdentity."""

_MAGIC: Final = b"k8s\x00"
_OURS: Final = "agentid-system"


@dataclass(frozen=True, slots=True)
class Change:
    """An object as it was written.

    Attributes:
        revision: When.
        body: The object; None when it was deleted.
    """

    revision: int
    body: Json | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The content of a Secret as it was written.

    Attributes:
        revision: When.
        seen: When it was seen, by the onlooker's clock.
        owner: The AgentIdentity that it names.
        serial: Of the certificate; empty if there is none in it.
        leaf: The certificate.
        key: SHA-256 of the public key that is certified.
        key_fits: Whether the private key beside it is the one that is certified.
    """

    revision: int
    seen: datetime
    owner: str = ""
    serial: str = ""
    leaf: x509.Certificate | None = field(default=None, repr=False)
    key: str = ""
    key_fits: bool = True


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record of the ledger, with the first revision at which it was durable."""

    revision: int
    record: Json


class History:
    """Everything that bears on a promise."""

    def __init__(self) -> None:
        self.revision = 0
        self.identities: defaultdict[Agent, list[Change]] = defaultdict(list)
        self.others: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
        self.secrets: defaultdict[Agent, list[Delivered]] = defaultdict(list)
        self.issued: dict[str, Recorded] = {}
        self.revoked: dict[str, Recorded] = {}
        self.segments: dict[str, frozenset[tuple[str, str]]] = {}
        self.crls: dict[str, bytes] = {}

    def take(self, write: Write, now: datetime) -> None:
        """Take note of a write."""
        self.revision = max(self.revision, write.revision)
        match write.key.removeprefix("/registry/").split("/"):
            case ["agentid.dev", "agentidentities", namespace, name]:
                self.identities[namespace, name].append(_custom(write))
            case ["agentid.dev", plural, name]:
                self.others[plural, name].append(_custom(write))
            case ["secrets", namespace, name] if name.endswith("-agentid"):
                self.secrets[namespace, name].append(_delivered(write, now))
            case ["configmaps", namespace, name] if namespace == _OURS:
                self._config_map(name, write)
            case _:
                pass

    def latest(self, plural: str, name: str) -> Json | None:
        """A cluster-scoped object of ours as it is now."""
        found = self.others.get((plural, name))
        return found[-1].body if found else None

    def on_record(self) -> frozenset[tuple[str, str]]:
        """Type and serial of every record that the segments hold that are there now."""
        return frozenset().union(*self.segments.values())

    def _config_map(self, name: str, write: Write) -> None:
        if name.startswith("agentid-crl-"):
            self.crls.pop(name, None)
            if write.value is not None:
                self.crls[name] = texts(_stored(write.value), 3).get("crl", b"")
        if not name.startswith("agentid-ledger-"):
            return
        self.segments.pop(name, None)
        if write.value is None:
            return
        lines = texts(_stored(write.value), 2).get("segment.jsonl", b"").splitlines()
        held = set()
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # altered by an admin of ours
            kind, serial = record.get("type"), record.get("serial", "")
            if kind == "issued":
                self.issued.setdefault(serial, Recorded(write.revision, record))
            elif kind == "revoked":
                self.revoked.setdefault(serial, Recorded(write.revision, record))
            else:
                continue
            held.add((kind, serial))
        self.segments[name] = frozenset(held)


def time_of(words: str) -> datetime:
    """A time of the ledger or of the API."""
    return datetime.fromisoformat(words).astimezone(UTC)


def _custom(write: Write) -> Change:
    return Change(write.revision, None if write.value is None else json.loads(write.value))


def _stored(value: bytes) -> dict[int, list[int | bytes]]:
    """An object of Kubernetes' own kinds."""
    if not value.startswith(_MAGIC):
        msg = "an object that is not stored as Kubernetes stores its own"
        raise ValueError(msg)
    return fields(text(fields(value[len(_MAGIC) :]), 2))


def _delivered(write: Write, now: datetime) -> Delivered:
    if write.value is None:
        return Delivered(write.revision, now)
    stored = _stored(write.value)
    metadata, data = fields(text(stored, 1)), texts(stored, 2)
    owner = texts(metadata, 12).get("agentid.dev/identity", b"").decode()
    if not data.get("tls.crt"):
        return Delivered(write.revision, now, owner)
    leaf = x509.load_pem_x509_certificates(data["tls.crt"])[0]
    key = _public(leaf)
    try:
        kept = load_pem_private_key(data["tls.key"], None).public_key()
        fits = kept.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key
    except (KeyError, ValueError):
        fits = False
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key)
    number = f"{leaf.serial_number:x}"
    serial = number if len(number) % 2 == 0 else f"0{number}"
    return Delivered(write.revision, now, owner, serial, leaf, digest.finalize().hex(), fits)


def _public(leaf: x509.Certificate) -> bytes:
    return leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
