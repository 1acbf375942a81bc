"""What a grant makes of a certificate, and in what two grants differ, in words; pure."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from agentid.api.duration import format_duration
from agentid.cli.output import Line
from agentid.policy.grant import Grant
from agentid.policy.renewal import kept_before_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.api.agentclass import AgentClass

__all__ = ["certificate_lines", "changes"]


def certificate_lines(grant: Grant, agent_class: AgentClass) -> Iterator[Line]:
    """The certificate that a class gives for a grant."""
    spec = agent_class.spec
    kept = kept_before_end(grant.lifetime, spec.renewal.renew_before)
    yield Line("SPIFFE ID", str(grant.spiffe_id))
    yield Line("certificate", f"{grant.key_algorithm}, valid for {format_duration(grant.lifetime)}")
    yield Line(
        "renewed",
        f"{format_duration(kept)} before its end, or up to "
        f"{format_duration(grant.lifetime / 10)} earlier",
    )
    yield Line("signed by", f"AgentIssuer {grant.issuer_name}")
    into = "" if grant.secret_name is None else f" {grant.secret_name}"
    yield Line("delivered by", f"{grant.delivery}{into}")
    yield Line(
        "revocation",
        "none is published, it is so short-lived (RFC 9608); it stands in the deny feed"
        if grant.ephemeral
        else "by CRL and OCSP",
    )


_NAMES: Final = {
    "spiffe_id": "the SPIFFE ID",
    "class_name": "the class",
    "issuer_name": "the issuer",
    "key_algorithm": "the key algorithm",
    "service_account": "the ServiceAccount",
    "secret_name": "the name of the Secret",
    "policy_oid": "the certificate policy",
    "cps_uri": "the certificate policy",
    "critical": "how its extension is marked",
    "ephemeral": "how it is revoked",
}
"""Fields of a grant in words, where their name is not the word."""


def changes(old: Grant, new: Grant) -> Iterator[str]:
    """The fields in which two grants differ, each once."""
    told = set()
    for each in fields(Grant):
        if getattr(old, each.name) != getattr(new, each.name):
            words = _NAMES.get(each.name, f"the {each.name}")
            if words not in told:
                told.add(words)
                yield words
