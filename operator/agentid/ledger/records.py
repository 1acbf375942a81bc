"""What stands on the ledger: that a certificate was issued, and that it was revoked.

Each record knows until when it matters (`not_after`), so that it can be kept or dropped without
any other. A record is one line of JSON with sorted keys and without spaces; the field names are
those of the API, so that an auditor reads them without this file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import InputError
from agentid.identity import PodRef
from agentid.identity.quoting import quoted
from agentid.identity.revocation import RevocationReason
from agentid.ledger import wire

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import SerialNumber

__all__ = [
    "MAX_RECORD_BYTES",
    "Issued",
    "Record",
    "Revoked",
    "decode_record",
    "encode_record",
    "pod_to_json",
]

MAX_RECORD_BYTES: Final = 64 * 1024
"""Of one record as a line. A grant of thousands of permissions has about 50 KB; a segment takes ten
such records, so none of them can be too large for an object of the API server."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate was made. On record before it leaves the process, so it may never have left.

    Attributes:
        serial: Of the certificate.
        fingerprint: SHA-256 of its DER, 64 lower-case hexadecimal digits.
        spiffe_id: Whose it is.
        namespace: Of the AgentIdentity.
        name: Of the AgentIdentity.
        uid: Of the AgentIdentity: a namesake that comes later has another one.
        issuer: Name of the AgentIssuer that signed.
        authority: Id of its authority that signed, 16 lower-case hexadecimal digits.
        shard: Of the authority's CRL, in which a revocation is published; None for a certificate
            that no CRL speaks of (RFC 9608 §4).
        bundle: Sequence of the trust bundle that it was delivered with.
        not_before: Start of its validity, whole seconds.
        not_after: End of its validity, whole seconds, still valid (RFC 5280 §4.1.2.5).
        issued_at: When it was made, by the clock of the process that did.
        door: How it is delivered.
        grant: What it was issued under, the canonical JSON of `policy.Grant`; opaque here.
        replaces: The serial that was known to be delivered when this one was made.
        pod: The pod it is for, None when pods share it.
    """

    serial: SerialNumber
    fingerprint: str
    spiffe_id: str
    namespace: str
    name: str
    uid: str
    issuer: str
    authority: str
    shard: int | None
    bundle: int
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    door: DeliveryMode
    grant: str
    replaces: SerialNumber | None = None
    pod: PodRef | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be read back.

        Raises:
            InputError: A text is empty or no text, a number is out of its range, or a time is not
                in UTC or too fine.
        """
        if not wire.SHA256.fullmatch(self.fingerprint):
            raise wire.refused(self.fingerprint, "fingerprint", "64 lower-case hexadecimal digits")
        if not wire.AUTHORITY.fullmatch(self.authority):
            raise wire.refused(self.authority, "authority", wire.AN_AUTHORITY)
        if self.shard is not None:
            wire.check_integer("shard", self.shard)
        wire.check_integer("bundle", self.bundle)
        for field in _REQUIRED_TEXTS:
            if not (value := getattr(self, field)):
                raise wire.refused(value, field, "a text that is not empty")
        wire.check_time("notBefore", self.not_before, whole=True)
        wire.check_time("notAfter", self.not_after, whole=True)
        wire.check_time("issuedAt", self.issued_at)
        if self.not_after < self.not_before:
            raise wire.refused(
                wire.time_text(self.not_after), "notAfter", "a time not before notBefore"
            )


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate is revoked, for good.

    Attributes:
        serial: Of the certificate, which may be on no record of ours.
        reason: Why.
        revoked_at: When it was decided, by the clock of the process that did.
        not_after: End of the certificate's validity: until then the revocation matters.
        actor: Who or what decided, as an auditor should read it.
    """

    serial: SerialNumber
    reason: RevocationReason
    revoked_at: datetime
    not_after: datetime
    actor: str

    def __post_init__(self) -> None:
        """Refuse what could not be read back, and what could be taken back.

        Raises:
            InputError: The reason is not final, the actor is empty, or a time is not in UTC.
        """
        if not self.reason.is_final:
            raise wire.refused(self.reason, "reason", "a final one: revoked stays revoked")
        if not self.actor:
            raise wire.refused(self.actor, "actor", "a text that is not empty")
        wire.check_time("revokedAt", self.revoked_at)
        wire.check_time("notAfter", self.not_after, whole=True)


Record: TypeAlias = Issued | Revoked

_POD_KEYS: Final = ("podName", "podUID", "node", "request")

_REQUIRED_TEXTS: Final = ("spiffe_id", "namespace", "name", "uid", "issuer", "grant")


def encode_record(record: Record) -> bytes:
    """The line of a record, without the line feed.

    Raises:
        InputError: It has more than `MAX_RECORD_BYTES`.
    """
    body: dict[str, object]
    match record:
        case Issued():
            body = {
                "authority": record.authority,
                "bundle": record.bundle,
                "door": record.door.value,
                "fingerprint": record.fingerprint,
                "grant": record.grant,
                "issuedAt": wire.time_text(record.issued_at),
                "issuer": record.issuer,
                "name": record.name,
                "namespace": record.namespace,
                "notAfter": wire.time_text(record.not_after),
                "notBefore": wire.time_text(record.not_before),
                **({"podUID": None} if record.pod is None else pod_to_json(record.pod)),
                "replaces": None if record.replaces is None else str(record.replaces),
                "serial": str(record.serial),
                "shard": record.shard,
                "spiffeID": record.spiffe_id,
                "type": "issued",
                "uid": record.uid,
            }
        case Revoked():
            body = {
                "actor": record.actor,
                "notAfter": wire.time_text(record.not_after),
                "reason": record.reason.value,
                "revokedAt": wire.time_text(record.revoked_at),
                "serial": str(record.serial),
                "type": "revoked",
            }
    try:
        line = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        msg = f"ledger record of serial {record.serial}: {error}; it holds text that is no Unicode"
        raise InputError(msg) from error
    if len(line) > MAX_RECORD_BYTES:
        msg = (
            f"ledger record of serial {record.serial}: {len(line)} bytes are above the "
            f"{MAX_RECORD_BYTES} of one record; shorten the permissions of {_whose(record)}"
        )
        raise InputError(msg)
    return line


def decode_record(line: bytes) -> Record:
    """Read a line that `encode_record` wrote; keys and types must be exactly those.

    Raises:
        InputError: The line is something else; the message says what differs.
    """
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        msg = f"not JSON ({error})"
        raise InputError(msg) from error
    if not isinstance(body, dict):
        msg = f"{quoted(body)} where a JSON object belongs"
        raise InputError(msg)
    kind = body.get("type")
    if kind == "issued":
        shared = body.get("podUID") is None
        wire.check_keys(body, _ISSUED_KEYS if shared else _ISSUED_KEYS.union(_POD_KEYS))
        return _issued(body)
    if kind == "revoked":
        wire.check_keys(body, _REVOKED_KEYS)
        return _revoked(body)
    msg = f"type {quoted(kind)} is neither issued nor revoked"
    raise InputError(msg)


_ISSUED_KEYS: Final = frozenset(
    (
        "authority",
        "bundle",
        "door",
        "fingerprint",
        "grant",
        "issuedAt",
        "issuer",
        "name",
        "namespace",
        "notAfter",
        "notBefore",
        "podUID",
        "replaces",
        "serial",
        "shard",
        "spiffeID",
        "type",
        "uid",
    )
)
_REVOKED_KEYS: Final = frozenset(("actor", "notAfter", "reason", "revokedAt", "serial", "type"))


def _issued(body: dict[str, object]) -> Issued:
    replaces, door = body["replaces"], body["door"]
    try:
        mode = DeliveryMode(str(door))
    except ValueError as error:
        raise wire.refused(door, "door", f"one of {', '.join(DeliveryMode)}") from error
    return Issued(
        serial=wire.serial(body, "serial"),
        fingerprint=wire.text(body, "fingerprint"),
        spiffe_id=wire.text(body, "spiffeID"),
        # Few are told by very many records, and each would otherwise hold its own.
        namespace=sys.intern(wire.text(body, "namespace")),
        name=wire.text(body, "name"),
        uid=wire.text(body, "uid"),
        issuer=sys.intern(wire.text(body, "issuer")),
        authority=sys.intern(wire.text(body, "authority")),
        shard=None if body["shard"] is None else wire.integer(body, "shard", least=0),
        bundle=wire.integer(body, "bundle", least=0),
        not_before=wire.time(body, "notBefore"),
        not_after=wire.time(body, "notAfter"),
        issued_at=wire.time(body, "issuedAt"),
        door=mode,
        grant=wire.text(body, "grant"),
        replaces=None if replaces is None else wire.serial(body, "replaces"),
        pod=None if body["podUID"] is None else _pod(body),
    )


def pod_to_json(pod: PodRef) -> dict[str, str]:
    """A pod under the names that it has on the ledger."""
    return dict(zip(_POD_KEYS, (pod.name, pod.uid, pod.node, pod.request), strict=True))


def _pod(body: dict[str, object]) -> PodRef:
    name, uid, node, request = (wire.text(body, key) for key in _POD_KEYS)
    return PodRef(name, uid, sys.intern(node), request)


def _revoked(body: dict[str, object]) -> Revoked:
    return Revoked(
        serial=wire.serial(body, "serial"),
        reason=RevocationReason.parse(wire.text(body, "reason")),
        revoked_at=wire.time(body, "revokedAt"),
        not_after=wire.time(body, "notAfter"),
        actor=wire.text(body, "actor"),
    )


def _whose(record: Record) -> str:
    return f"{record.namespace}/{record.name}" if isinstance(record, Issued) else record.actor
