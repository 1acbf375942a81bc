"""A description of certificates, in words for a terminal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from agentid.pki.describe_authorization import authorization_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentid.pki.describe import CertificateDescription, Description

__all__ = ["lines"]

_SECOND = timedelta(seconds=1)


def lines(description: Description, now: datetime | None = None) -> list[tuple[str, str]]:
    """Labels and texts, top to bottom; all printable ASCII.

    An empty label continues the line above; a line of two empty strings stands between
    certificates. The label `fault` marks what is wrong.

    Args:
        description: What `describe` found.
        now: The present, to say what has expired; None leaves that out.
    """
    told: list[tuple[str, str]] = []
    several = len(description.certificates) > 1
    for at, certificate in enumerate(description.certificates, start=1):
        if told:
            told.append(("", ""))
        if several:
            told.append(("certificate", f"{at} of {len(description.certificates)}"))
        told.extend(_one(certificate, now))
    if several and description.faults:
        told.append(("", ""))
    told.extend(("fault", fault) for fault in description.faults)
    return told


def _one(certificate: CertificateDescription, now: datetime | None) -> Iterator[tuple[str, str]]:
    yield "who", _who(certificate)
    yield "SPIFFE ID", certificate.spiffe_id or "none"
    yield "subject", certificate.subject or "empty"
    for policy in certificate.policies:
        name = "anyPolicy" if policy.oid == "2.5.29.32.0" else policy.oid
        yield "policy", f"{name}, see {policy.cps_uri}" if policy.cps_uri else name
    yield "valid from", _time(certificate.not_before)
    yield "valid until", f"{_time(certificate.not_after)} ({_lifetime(certificate)})"
    if now is not None:
        yield "now", _state(certificate, now)
    yield "key", certificate.key
    yield "signed with", certificate.signature
    usages = (*certificate.key_usage, *certificate.extended_key_usage)
    yield "may be used for", ", ".join(usages) or "nothing is said"
    if certificate.permitted_hosts:
        yield "may sign for", ", ".join(f"spiffe://{host}" for host in certificate.permitted_hosts)
    if certificate.authorization is not None:
        yield from authorization_lines(certificate.authorization)
    yield "revocation", _revocation(certificate)
    if certificate.issuer_uris:
        yield "issuer is at", ", ".join(certificate.issuer_uris)
    yield "serial", certificate.serial
    yield "issuer", certificate.issuer
    yield "key id", certificate.subject_key_id or "none"
    yield "issuer's key id", certificate.authority_key_id or "none"
    yield "SHA-256", certificate.fingerprint
    for fault in certificate.faults:
        yield "fault", fault


def _who(certificate: CertificateDescription) -> str:
    if certificate.agent:
        pod = f", pod {certificate.pod_uid}" if certificate.pod_uid else ""
        return f"agent {certificate.agent} in namespace {certificate.namespace}{pod}"
    if certificate.role == "authority":
        itself = certificate.subject == certificate.issuer
        return "a root authority" if itself else "an intermediate authority"
    return "a workload that is no agent of agentid"


def _revocation(certificate: CertificateDescription) -> str:
    if certificate.no_rev_avail:
        return "none will be published (RFC 9608); it runs out"
    return ", ".join(certificate.revocation_uris) or "no place to look is named"


def _state(certificate: CertificateDescription, now: datetime) -> str:
    if now < certificate.not_before:
        return f"not valid yet, begins in {_span(certificate.not_before - now)}"
    end = certificate.not_after + _SECOND
    if now >= end:
        return f"expired {_span(now - end)} ago"
    return f"valid, {_span(end - now)} left"


def _lifetime(certificate: CertificateDescription) -> str:
    return _span(certificate.not_after - certificate.not_before + _SECOND)


def _time(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(span: timedelta) -> str:
    """The two largest units that are not zero, such as `1 h 1 min`."""
    seconds = int(span.total_seconds())
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
