"""The rules of the X509-SVID standard, each in one place.

The lint asks them of every leaf before it is signed, `load_authority` of authorities, and
`describe` of any certificate that somebody shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.identity.quoting import quoted
from agentid.pki.view import CertificateView, Oid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["authority_faults", "collected", "is_authority", "leaf_faults"]

_SIGNING_BITS: Final = frozenset({"keyCertSign", "cRLSign"})


def is_authority(view: CertificateView) -> bool:
    """Whether the certificate asserts that it may sign others.

    Raises:
        InputError: Its basicConstraints do not parse.
    """
    constraints = view.basic_constraints
    return constraints is not None and constraints.ca


def leaf_faults(view: CertificateView) -> tuple[str, ...]:
    """What keeps the certificate from being an X509-SVID of a workload; empty if nothing."""
    return collected(_LEAF_RULES, view)


def authority_faults(view: CertificateView) -> tuple[str, ...]:
    """What keeps the certificate from being a signing certificate of a trust domain."""
    return collected(_AUTHORITY_RULES, view)


def collected(
    rules: tuple[Callable[[CertificateView], Iterator[str]], ...], view: CertificateView
) -> tuple[str, ...]:
    """The faults that the rules find, in their order; what does not parse is a fault."""
    faults: dict[str, None] = {}
    for rule in rules:
        try:
            faults.update(dict.fromkeys(rule(view)))
        except InputError as error:
            faults[str(error)] = None
    return tuple(faults)


def _leaf_name(view: CertificateView) -> Iterator[str]:
    """X509-SVID §2 and §3.1; SPIFFE-ID §2."""
    uris = view.uri_names
    if len(uris) != 1:
        yield f"subjectAltName: exactly one URI is allowed, found {len(uris)}"
        return
    try:
        spiffe_id = SpiffeId.parse(uris[0])
    except InputError as error:
        yield f"subjectAltName: {error}"
        return
    if not spiffe_id.path:
        yield (
            f"subjectAltName: {quoted(uris[0])} names the trust domain itself; a leaf needs a path"
        )
    if not view.subject and not view.is_critical(Oid.SUBJECT_ALT_NAME):
        # RFC 5280 §4.2.1.6
        yield "subjectAltName: it must be critical because the subject is empty"


def _leaf_is_no_authority(view: CertificateView) -> Iterator[str]:
    """X509-SVID §3.2 (basicConstraints) and §4.3 (keyUsage)."""
    if is_authority(view):
        yield "basicConstraints: a leaf must not be a CA"
    usage = view.key_usage
    if usage is None:
        yield "keyUsage: it is missing"
        return
    if not view.is_critical(Oid.KEY_USAGE):
        yield "keyUsage: it must be critical"
    if "digitalSignature" not in usage:
        yield "keyUsage: a leaf must have digitalSignature"
    for bit in sorted(_SIGNING_BITS.intersection(usage)):
        yield f"keyUsage: a leaf must not have {bit}"


def _leaf_purposes(view: CertificateView) -> Iterator[str]:
    """X509-SVID §4.4."""
    purposes = view.extended_key_usage
    if purposes is None:
        return
    for oid, name in ((Oid.SERVER_AUTH, "serverAuth"), (Oid.CLIENT_AUTH, "clientAuth")):
        if oid not in purposes:
            yield f"extKeyUsage: {name} is missing"


def _authority_name(view: CertificateView) -> Iterator[str]:
    """X509-SVID §3.1: a signing certificate may have a SPIFFE ID, and then without a path."""
    uris = view.uri_names
    if len(uris) > 1:
        yield f"subjectAltName: at most one URI is allowed in an authority, found {len(uris)}"
    for uri in uris:
        try:
            path = SpiffeId.parse(uri).path
        except InputError as error:
            yield f"subjectAltName: {error}"
        else:
            if path:
                yield (
                    f"subjectAltName: {quoted(uri)} has a path; the SPIFFE ID of an authority has "
                    "none"
                )


def _authority_may_sign(view: CertificateView) -> Iterator[str]:
    """RFC 5280 §4.2.1.2, §4.2.1.3 and §4.2.1.9."""
    if not is_authority(view):
        yield "basicConstraints: it is not a CA"
    elif not view.is_critical(Oid.BASIC_CONSTRAINTS):
        yield "basicConstraints: it must be critical in a CA"
    if "keyCertSign" not in (view.key_usage or ()):
        yield "keyUsage: keyCertSign is missing, so it may not sign certificates"
    elif not view.is_critical(Oid.KEY_USAGE):
        yield "keyUsage: it must be critical"
    if view.subject_key_identifier is None:
        yield "subjectKeyIdentifier: it is missing; strict verifiers ask for it"
    if not view.subject:
        yield "subject: it is empty; a CA needs a name (RFC 5280 §4.1.2.6)"


_LEAF_RULES: Final = (_leaf_name, _leaf_is_no_authority, _leaf_purposes)
_AUTHORITY_RULES: Final = (_authority_name, _authority_may_sign)
