"""Agents whose certificates say what they may do, and the CRLs of a CA to throw away."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.identity import RevocationReason, SerialNumber
from agentid.pki import Authority, LocalSigner
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy, AuthorizedSchedule
from agentid.pki.crl import CrlEntry, make_crl
from agentid.pki.oids import AUTHORIZATION

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentid.testing.ca import LeafParts, ThrowawayCA

__all__ = [
    "CRL_URI",
    "POLICY",
    "authorized",
    "chain_of",
    "crl",
    "root_crl",
    "with_crl_uri",
    "with_extension",
]

CRL_URI = "http://agentid-responder.agentid-system.svc/crl/0011223344556677/0.crl"

POLICY = AuthorizedPolicy(
    systems=("crm.*", "erp.invoices"),
    operations=("list", "read"),
    # Monday to Friday, 08:00 to 17:00.
    schedule=AuthorizedSchedule(
        "Europe/Berlin", tuple((day * 1440 + 480, day * 1440 + 1020) for day in range(5))
    ),
    compliance=("gdpr",),
)


def authorized(
    policy: AuthorizedPolicy = POLICY, *, by_reference: bool = False
) -> AgentAuthorization:
    """What the extension of an agent says."""
    inline = AgentAuthorization.of(
        agent_class="assistant", tier="Moderate", sponsor="team@example.org", policy=policy
    )
    if not by_reference:
        return inline
    return AgentAuthorization(
        agent_class=inline.agent_class,
        tier=inline.tier,
        sponsor=inline.sponsor,
        policy=None,
        policy_hash=inline.policy_hash,
        policy_uri=f"http://agentid-responder.agentid-system.svc/policy/{inline.policy_hash.hex()}",
    )


def with_extension(value: bytes, *, critical: bool = False) -> Callable[[LeafParts], None]:
    """A tweak that adds an authorization extension of any contents."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(AUTHORIZATION), value)
    return lambda parts: parts.put(extension, critical=critical)


def with_crl_uri(uri: str) -> Callable[[LeafParts], None]:
    """A tweak that adds a CRL distribution point."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(uri)], None, None, None)
    return lambda parts: parts.put(x509.CRLDistributionPoints([point]))


def chain_of(
    ca: ThrowawayCA,
    authorization: AgentAuthorization | None = None,
    *,
    tweak: Callable[[LeafParts], object] | None = None,
) -> list[bytes]:
    """The chain of an agent for two hours, in DER, leaf first: as agentid issues it, or tweaked."""
    profile = ca.profile(lifetime=timedelta(hours=2), authorization=authorization)
    leaf = (
        ca.issue(profile).leaf.der
        if tweak is None
        else ca.issue_tweaked(tweak, profile).public_bytes(Encoding.DER)
    )
    return [leaf, *ca.authority.chain_der]


def crl(
    ca: ThrowawayCA,
    *serials: int,
    uri: str | None = CRL_URI,
    issued: datetime | None = None,
    number: int = 1,
) -> bytes:
    """A list of the issuing authority for an hour, in DER."""
    return _crl(ca.authority, serials, uri=uri, issued=issued or ca.now, number=number)


def root_crl(ca: ThrowawayCA, *serials: int, issued: datetime | None = None) -> bytes:
    """A list of the root for an hour, in DER."""
    root = Authority(
        ca.trust_domain,
        (ca.root.certificate,),
        ca.root.certificate,
        LocalSigner(ca.root.private_key),
    )
    return _crl(root, serials, uri=None, issued=issued or ca.now, number=1)


def _crl(
    authority: Authority,
    serials: tuple[int, ...],
    *,
    uri: str | None,
    issued: datetime,
    number: int,
) -> bytes:
    entries = [
        CrlEntry(SerialNumber(serial), issued, RevocationReason.KEY_COMPROMISE)
        for serial in serials
    ]
    return make_crl(authority, entries, number, issued, issued + timedelta(hours=1), uri)
