"""What the node plugin and the issuer service say to one another, as JSON.

```
POST /node/v1/x509     {"podToken", "identity", "csr": base64 of DER}   -> X509Grant
POST /node/v1/jwt      {"podToken", "identity", "audience": [...]}      -> JwtGrant
GET  /node/v1/bundles                                   -> {trust domain: {"document", "crl"}}
GET  /node/v1/changes                                   -> lines: Change; an empty line: alive
```
PEM and documents are text; times are RFC 3339 in UTC. A refusal is a problem (RFC 9457) with
`reason`, `detail`, and `final` or `keyAlgorithm` where they apply. Both ends use these functions.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.node.issuer import Bundle, Change, ChangeKind, JwtGrant, RefusedError, X509Grant
from agentid.pki import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_ANSWER",
    "MAX_CHANGE",
    "bundles_to_wire",
    "change_to_wire",
    "jwt_request",
    "jwt_to_wire",
    "problem_to_wire",
    "read_bundles",
    "read_change",
    "read_jwt",
    "read_problem",
    "read_x509",
    "x509_request",
    "x509_to_wire",
]

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Octets: bundles of a hundred trust domains, and the CRLs of each issuer."""

MAX_CHANGE: Final = 8 * 1024
"""Octets of a line of the feed."""

_MAX_TEXT: Final = 1024


def x509_request(token: str, identity: str, csr_der: bytes) -> bytes:
    """The body of a request for a certificate."""
    csr = base64.b64encode(csr_der).decode()
    return orjson.dumps({"podToken": token, "identity": identity, "csr": csr})


def jwt_request(token: str, identity: str, audience: tuple[str, ...]) -> bytes:
    """The body of a request for a token."""
    return orjson.dumps({"podToken": token, "identity": identity, "audience": audience})


def x509_to_wire(grant: X509Grant) -> bytes:
    """An answer with a certificate."""
    return orjson.dumps(
        {
            "chain": grant.chain_pem.decode(),
            "issuedAt": _time(grant.issued_at),
            "notBefore": _time(grant.not_before),
            "notAfter": _time(grant.not_after),
            "renewAt": _time(grant.renew_at),
            "spiffeID": grant.spiffe_id,
            "bundle": grant.bundle_pem.decode(),
            "federated": {name: pem.decode() for name, pem in grant.federated.items()},
            "crl": None if grant.crl_pem is None else grant.crl_pem.decode(),
            "keyAlgorithm": grant.key_algorithm.value,
            "agent": dict(grant.agent),
        }
    )


def read_x509(data: bytes) -> X509Grant:
    """Read an answer with a certificate; the certificate itself is not looked at.

    Raises:
        InputError: It is none.
    """
    found = _Object(data, "certificate")
    crl = found.optional("crl")
    agent = found.object("agent")
    return X509Grant(
        chain_pem=found.text("chain").encode(),
        issued_at=found.time("issuedAt"),
        not_before=found.time("notBefore"),
        not_after=found.time("notAfter"),
        renew_at=found.time("renewAt"),
        spiffe_id=found.text("spiffeID"),
        bundle_pem=found.text("bundle").encode(),
        federated={name: pem.encode() for name, pem in found.texts("federated").items()},
        crl_pem=None if crl is None else crl.encode(),
        key_algorithm=found.algorithm("keyAlgorithm"),
        agent=agent,
    )


def jwt_to_wire(grant: JwtGrant) -> bytes:
    """An answer with a token."""
    return orjson.dumps(
        {
            "token": grant.token,
            "spiffeID": grant.spiffe_id,
            "issuedAt": _time(grant.issued_at),
            "notAfter": _time(grant.not_after),
        }
    )


def read_jwt(data: bytes) -> JwtGrant:
    """Read an answer with a token.

    Raises:
        InputError: It is none.
    """
    found = _Object(data, "token")
    return JwtGrant(
        token=found.text("token"),
        spiffe_id=found.text("spiffeID"),
        issued_at=found.time("issuedAt"),
        not_after=found.time("notAfter"),
    )


def bundles_to_wire(bundles: Mapping[str, Bundle]) -> bytes:
    """All bundles."""
    return orjson.dumps(
        {
            name: {
                "document": bundle.document.decode(),
                "crl": None if bundle.crl_pem is None else bundle.crl_pem.decode(),
            }
            for name, bundle in bundles.items()
        }
    )


def read_bundles(data: bytes) -> dict[str, Bundle]:
    """Read all bundles; the documents themselves are not looked at.

    Raises:
        InputError: They are none.
    """
    bundles = {}
    for name, value in _Object(data, "bundles").members.items():
        if not isinstance(value, dict):
            msg = f"the issuer service's bundles: {quoted(name[:64])} is no object"
            raise InputError(msg)
        found = _Object.of(value, "bundles")
        crl = found.optional("crl")
        bundles[name] = Bundle(
            found.text("document").encode(), None if crl is None else crl.encode()
        )
    return bundles


def change_to_wire(change: Change) -> bytes:
    """A line of the feed, with its end."""
    return (
        orjson.dumps(
            {
                "kind": change.kind.value,
                "pod": change.pod,
                "serial": change.serial,
                "reason": change.reason,
                "message": change.message,
            }
        )
        + b"\n"
    )


def read_change(line: bytes) -> Change | None:
    """Read a line of the feed; None for one that says nothing but that somebody is there.

    A kind that is not known is read as one of grants: asking anew is never wrong.

    Raises:
        InputError: It is none.
    """
    if not line.strip():
        return None
    found = _Object(line, "change")
    try:
        kind = ChangeKind(found.text("kind"))
    except ValueError:
        kind = ChangeKind.GRANTS
    return Change(
        kind=kind,
        pod=found.optional("pod"),
        serial=found.optional("serial"),
        reason=(found.optional("reason") or "")[:64],
        message=(found.optional("message") or "")[:_MAX_TEXT],
    )


def problem_to_wire(error: RefusedError, status: int) -> bytes:
    """A refusal as `application/problem+json`."""
    return orjson.dumps(
        {
            "type": "about:blank",
            "status": status,
            "title": "Refused",
            "detail": str(error),
            "reason": error.reason,
            "final": error.final,
            "keyAlgorithm": None if error.key_algorithm is None else error.key_algorithm.value,
        }
    )


def read_problem(data: bytes) -> RefusedError:
    """Read a refusal.

    Raises:
        InputError: It is none.
    """
    found = _Object(data, "refusal")
    algorithm = found.optional("keyAlgorithm")
    return RefusedError(
        found.text("reason")[:64],
        found.text("detail")[:_MAX_TEXT],
        final=found.members.get("final") is True,
        key_algorithm=None if algorithm is None else found.algorithm("keyAlgorithm"),
    )


class _Object:
    """An object in JSON, asked for its members."""

    def __init__(self, data: bytes, what: str) -> None:
        self.what = what
        if len(data) > MAX_ANSWER:
            msg = f"the issuer service's {what} has more than {MAX_ANSWER} octets"
            raise InputError(msg)
        try:
            members = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            msg = f"the issuer service's {what} is not JSON"
            raise InputError(msg) from error
        if not isinstance(members, dict):
            msg = f"the issuer service's {what} is no JSON object"
            raise InputError(msg)
        self.members: dict[str, object] = members

    @classmethod
    def of(cls, members: dict[str, object], what: str) -> _Object:
        """One that is parsed already."""
        made = cls(b"{}", what)
        made.members = members
        return made

    def wrong(self, name: str) -> InputError:
        """What is to be raised about a member."""
        return InputError(f"the issuer service's {self.what}: {name} is missing or malformed")

    def text(self, name: str) -> str:
        """A member that is text."""
        value = self.members.get(name)
        if not isinstance(value, str):
            raise self.wrong(name)
        return value

    def optional(self, name: str) -> str | None:
        """A member that is text, or is not there."""
        return None if self.members.get(name) is None else self.text(name)

    def object(self, name: str) -> dict[str, object]:
        """A member that is an object."""
        value = self.members.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name)
        return value

    def texts(self, name: str) -> dict[str, str]:
        """A member whose members are text."""
        value = self.object(name)
        texts = {key: each for key, each in value.items() if isinstance(each, str)}
        if len(texts) != len(value):
            raise self.wrong(name)
        return texts

    def time(self, name: str) -> datetime:
        """A member that is a time."""
        try:
            time = datetime.fromisoformat(self.text(name))
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            raise self.wrong(name) from error

    def algorithm(self, name: str) -> KeyAlgorithm:
        """A member that is a kind of key."""
        try:
            return KeyAlgorithm(self.text(name))
        except ValueError as error:
            raise self.wrong(name) from error


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
