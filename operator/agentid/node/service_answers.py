"""What the issuer service says over HTTPS, read with distrust.

An answer that is none of the service's is `UnavailableError`: what there is goes on.
"""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.fields import parse_time
from agentid.errors import InputError, UnavailableError
from agentid.identity import TrustDomain
from agentid.node.issuer import Bundle, Change, ChangeKind, JwtGrant, RefusedError, X509Grant
from agentid.pki import KeyAlgorithm
from agentid.pki.crl import crl_pem
from agentid.pki.spiffe_bundle import decode_spiffe_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "NOTHING",
    "Trusted",
    "parsed",
    "read_change",
    "read_jwt",
    "read_trusted",
    "read_x509",
    "reading",
    "refusal",
    "text",
]

_PASSING: Final = frozenset(
    {
        "CacheBehind",
        "IncidentUnreadable",
        "InternalError",
        "IssuerUnavailable",
        "LedgerUnavailable",
        "Malformed",
        "NotANodePlugin",
        "Overloaded",
        "Unavailable",
    }
)
"""Reasons that say nothing of the pod: what it has stays, and it is asked for again."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """What is trusted, at one moment.

    Attributes:
        version: By which other answers refer to it.
        bundles: By trust domain.
        roots: In PEM, by trust domain.
    """

    version: str
    bundles: Mapping[str, Bundle]
    roots: Mapping[str, bytes]


NOTHING: Final = Trusted("", {}, {})
"""Before anything was told."""


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """An answer that is none of the service's, as `UnavailableError`: what there is goes on."""
    try:
        yield
    except (InputError, ValueError, KeyError) as error:
        msg = f"the issuer service answers {what} as this release does not read it: {error}"
        raise UnavailableError(msg) from error


def refusal(problem: dict[str, object]) -> UnavailableError | RefusedError:
    """What a problem document says."""
    reason, detail = str(problem.get("reason") or ""), str(problem.get("detail") or "")
    if not reason or reason in _PASSING:
        return UnavailableError(f"the issuer service cannot answer: {reason} {detail}".rstrip())
    named = problem.get("keyAlgorithm")
    algorithm = next((each for each in KeyAlgorithm if each.value == named), None)
    return RefusedError(reason, detail, final=problem.get("final") is True, key_algorithm=algorithm)


def read_trusted(told: dict[str, object]) -> Trusted:
    """What is trusted.

    Raises:
        InputError: It does not parse.
    """
    bundles: dict[str, Bundle] = {}
    roots: dict[str, bytes] = {}
    found = told.get("bundles")
    for name, each in (found if isinstance(found, dict) else {}).items():
        document = text(each if isinstance(each, dict) else {}, "document").encode()
        crls = each.get("crls")
        roots[name] = decode_spiffe_bundle(document, TrustDomain.parse(name)).x509.pem
        pem = None
        if isinstance(crls, list):
            pem = b"".join(crl_pem(base64.b64decode(str(crl), validate=True)) for crl in crls)
        bundles[name] = Bundle(document, pem)
    return Trusted(text(told, "version"), bundles, roots)


def read_x509(issued: Mapping[str, object], trusted: Trusted) -> X509Grant:
    """A certificate, beside what is trusted.

    Raises:
        InputError: It does not parse.
        UnavailableError: What its trust domain trusts is not known yet.
    """
    trust_domain, federated = text(issued, "trustDomain"), issued.get("federatesWith")
    own, agent = trusted.bundles.get(trust_domain), issued.get("agent")
    if own is None:
        msg = f"the issuer service tells no bundle of {trust_domain} yet"
        raise UnavailableError(msg)
    return X509Grant(
        chain_pem=text(issued, "chain").encode("ascii"),
        issued_at=parse_time(text(issued, "issuedAt")),
        not_before=parse_time(text(issued, "notBefore")),
        not_after=parse_time(text(issued, "notAfter")),
        renew_at=parse_time(text(issued, "renewAt")),
        spiffe_id=text(issued, "spiffeID"),
        bundle_pem=trusted.roots[trust_domain],
        federated={
            name: trusted.roots[name]
            for name in (federated if isinstance(federated, list) else [])
            if name in trusted.roots
        },
        crl_pem=None if issued.get("ephemeral") is True else own.crl_pem,
        key_algorithm=KeyAlgorithm(text(issued, "keyAlgorithm")),
        agent=agent if isinstance(agent, dict) else {},
    )


def read_jwt(answer: Mapping[str, object]) -> JwtGrant:
    """A token.

    Raises:
        InputError: It does not parse.
    """
    return JwtGrant(
        text(answer, "token"),
        text(answer, "spiffeID"),
        parse_time(text(answer, "issuedAt")),
        parse_time(text(answer, "notAfter")),
    )


def read_change(line: Mapping[str, object], trusted: Trusted) -> Change | None:
    """A line of the stream of changes; None for a sign of life and for what is not known here."""
    kind, told = line.get("type"), line.get("bundles")
    if kind in {"synced", "heartbeat"}:
        # A change of bundles that came while nobody followed shows in the version alone.
        another = isinstance(told, str) and told not in {"", trusted.version}
        return Change(ChangeKind.BUNDLES) if another else None
    if kind not in frozenset(ChangeKind):
        return None  # of a later release
    pod, serial = line.get("pod"), line.get("serial")
    return Change(
        ChangeKind(str(kind)),
        pod=pod if isinstance(pod, str) else None,
        serial=serial if isinstance(serial, str) else None,
        reason=str(line.get("reason") or ""),
        message=str(line.get("message") or ""),
    )


def text(body: Mapping[str, object], name: str) -> str:
    """A member that has to be there.

    Raises:
        InputError: It is not, or is no text.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value:
        msg = f"{name} is missing"
        raise InputError(msg)
    return value


def parsed(body: bytes) -> dict[str, object]:
    """An object; an empty one for what is none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}
