"""The last look at a leaf before it is signed.

It takes the very bytes that are to be signed apart again, with `schema` and not with the library's
certificate parser, and asks that every field says what was ordered and nothing else.
So a slip in the assembling, in the library, or in a profile shows before a signature exists.

Nearly always the leaf is to the last bit what a second writer, `exact`, makes of the order. Only if
it is not are the rules asked, to name what is wrong; and for a sample, so that the two writers and
the rules are held to each other for as long as certificates are made.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat import asn1

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki import authorization, schema, svid
from agentid.pki.exact import (
    SIGNATURE_ALGORITHMS,
    distribution_points_der,
    exact_tbs,
    information_access_der,
)
from agentid.pki.view import EXTENSION_NAMES, CertificateView, Oid, read_tbs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.identity import SerialNumber, SpiffeId, Validity
    from agentid.pki.algorithm import KeyAlgorithm

__all__ = ["Expected", "faults", "is_exact"]

_SAMPLE: Final = 64
"""Of so many leaves one is taken apart in any case, drawn by its serial number: 4 us on each."""

_V3: Final = 2
_UTC_TIME_ENDS: Final = 2050  # RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050
_MAX_ATTRIBUTE_CHARACTERS: Final = 64  # RFC 5280 appendix A.1: ub-common-name, ub-organization-name
_UTF8_STRING: Final = b"\x0c"
_IA5_STRING: Final = b"\x16"

# Which extensions a leaf has, and whether each is critical. The others depend on the profile.
_ALWAYS: Final[Mapping[str, bool]] = {
    Oid.BASIC_CONSTRAINTS: True,
    Oid.KEY_USAGE: True,
    Oid.EXT_KEY_USAGE: False,
    Oid.SUBJECT_ALT_NAME: False,
    Oid.SUBJECT_KEY_IDENTIFIER: False,
    Oid.AUTHORITY_KEY_IDENTIFIER: False,
}
_PURPOSES: Final = frozenset({Oid.SERVER_AUTH, Oid.CLIENT_AUTH})
_DIGITAL_SIGNATURE: Final = asn1.encode_der(asn1.BitString(b"\x80", 7))
_NULL: Final = asn1.encode_der(asn1.Null())


class Expected(NamedTuple):
    """What the leaf must say.

    Attributes:
        spiffe_id: In its only URI SAN.
        serial: Its serial number.
        validity: Its period, exactly.
        public_key: The SubjectPublicKeyInfo of the agent, DER.
        policy_oid: Its only certificate policy, or None for no such extension.
        cps_uri: The CPS URI of that policy, or None for none.
        no_rev_avail: Whether it has that extension.
        crl_uri: The only name of its only CRL distribution point, or None for no such extension.
        ocsp_uri: Where authorityInfoAccess places OCSP, or None for nowhere.
        ca_issuers_uri: Where it places the certificate of the issuer, likewise.
        authorization: The value of the agent authorization, or None for no such extension.
        authorization_critical: Whether that is critical.
        issuer: The distinguished name of the issuing authority, DER.
        issuer_key_id: The subject key identifier of the issuing authority.
        issuer_algorithm: The key algorithm of the issuing authority.
        issuer_validity: The period in which the whole chain is valid.
    """

    spiffe_id: SpiffeId
    serial: SerialNumber
    validity: Validity
    public_key: bytes
    policy_oid: str | None
    cps_uri: str | None
    no_rev_avail: bool
    crl_uri: str | None
    ocsp_uri: str | None
    ca_issuers_uri: str | None
    authorization: bytes | None
    authorization_critical: bool
    issuer: bytes
    issuer_key_id: bytes
    issuer_algorithm: KeyAlgorithm
    issuer_validity: Validity


def faults(tbs: bytes, expected: Expected) -> tuple[str, ...]:
    """Everything that is wrong with the TBSCertificate, one sentence each; empty if nothing."""
    if expected.serial.value % _SAMPLE and is_exact(tbs, expected):
        return ()
    try:
        view = read_tbs(tbs)
    except InputError as error:
        return (str(error),)
    found: dict[str, None] = {}
    for check in _CHECKS:
        try:
            found.update(dict.fromkeys(check(view, expected)))
        except InputError as error:
            found[str(error)] = None
    found.update(dict.fromkeys(svid.leaf_faults(view)))
    return tuple(found)


def is_exact(tbs: bytes, expected: Expected) -> bool:
    """Whether the leaf is the one right encoding of the order, and the order is a good one.

    False means only that the rules have to be asked.
    """
    return (
        bool(expected.spiffe_id.path)
        and expected.validity.within(expected.issuer_validity)
        and tbs == exact_tbs(expected)
    )


def _header(view: CertificateView, expected: Expected) -> Iterator[str]:
    tbs = view.tbs
    if tbs.version != _V3:
        yield f"version: it is {tbs.version + 1}, but must be 3"
    if tbs.serial_number != expected.serial.value:
        yield f"serialNumber: it is {tbs.serial_number:x}, but {expected.serial} was drawn"
    if view.signature_algorithm_der != SIGNATURE_ALGORITHMS[expected.issuer_algorithm]:
        yield (
            f"signature: it is {view.signature_algorithm_der.hex()}, which is not how "
            f"{expected.issuer_algorithm} signs"
        )
    if view.issuer_der != expected.issuer:
        yield "issuer: it is not the subject of the issuing authority"
    if view.public_key_der != expected.public_key:
        yield "subjectPublicKeyInfo: it is not the key that was given"
    if tbs.issuer_unique_id is not None or tbs.subject_unique_id is not None:
        yield "uniqueID: RFC 5280 §4.1.2.8 forbids unique identifiers"


def _validity(view: CertificateView, expected: Expected) -> Iterator[str]:
    wanted, outer = expected.validity, expected.issuer_validity
    for label, encoded, found, want in (
        ("notBefore", view.tbs.validity.not_before, view.not_before, wanted.not_before),
        ("notAfter", view.tbs.validity.not_after, view.not_after, wanted.not_after),
    ):
        if found != want:
            yield f"{label}: it is {found.isoformat()}, but {want.isoformat()} was ordered"
        if isinstance(encoded, asn1.UTCTime) != (found.year < _UTC_TIME_ENDS):
            yield f"{label}: {found.year} is encoded as {type(encoded).__name__}"
    if view.not_after > outer.not_after:
        yield (
            f"notAfter: {view.not_after.isoformat()} is beyond the end of the chain, "
            f"{outer.not_after.isoformat()}"
        )
    if view.not_before < outer.not_before:
        yield (
            f"notBefore: {view.not_before.isoformat()} is before the beginning of the chain, "
            f"{outer.not_before.isoformat()}"
        )


def _subject(view: CertificateView, expected: Expected) -> Iterator[str]:
    """The subject repeats for display what the SPIFFE ID says, cut to what X.520 allows.

    The '/' in the common name matters: a verifier that finds no DNS SAN may read a common name as a
    host name (RFC 6125 §6.4.4), and teams choose the names of their agents.
    """
    attributes = view.subject
    if [oid for oid, _, _ in attributes] != [Oid.ORGANIZATION, Oid.COMMON_NAME]:
        yield "subject: it must be one organization and one common name, in this order"
        return
    spiffe_id = expected.spiffe_id
    agent = spiffe_id.agent
    wanted = {
        "organization": spiffe_id.trust_domain.name,
        "common name": f"{agent.namespace}/{agent.name}" if agent else spiffe_id.path,
    }
    for (label, text), (_, tag, contents) in zip(wanted.items(), attributes, strict=True):
        if tag != _UTF8_STRING:
            yield f"subject: the {label} must be a UTF8String"
        if contents != text[:_MAX_ATTRIBUTE_CHARACTERS].encode("ascii"):
            found = quoted(contents.decode("latin-1"))
            yield f"subject: the {label} {found} is not {quoted(text)} as the SPIFFE ID says"


def _wanted_extensions(expected: Expected) -> Mapping[str, bool]:
    """Which extensions the leaf must have, and whether each is critical."""
    wanted = dict(_ALWAYS)
    if expected.policy_oid is not None:
        wanted[Oid.CERTIFICATE_POLICIES] = False
    if expected.no_rev_avail:
        wanted[Oid.NO_REV_AVAIL] = False  # RFC 9608 §2: it must be non-critical
    if expected.crl_uri is not None:
        wanted[Oid.CRL_DISTRIBUTION_POINTS] = False  # RFC 5280 §4.2.1.13
    if expected.ocsp_uri is not None or expected.ca_issuers_uri is not None:
        wanted[Oid.AUTHORITY_INFO_ACCESS] = False  # RFC 5280 §4.2.2.1
    if expected.authorization is not None:
        wanted[Oid.AGENT_AUTHORIZATION] = expected.authorization_critical
    return wanted


def _extension_set(view: CertificateView, expected: Expected) -> Iterator[str]:
    wanted = _wanted_extensions(expected)
    for oid in view.duplicates:
        yield f"{_name(oid)}: it stands more than once"
    for oid in view.extensions.keys() - wanted.keys():
        yield f"{_name(oid)}: it was not ordered"
    for oid, critical in wanted.items():
        if oid not in view.extensions:
            yield f"{_name(oid)}: it is missing"
        elif view.is_critical(oid) != critical:
            yield f"{_name(oid)}: it must {'' if critical else 'not '}be critical"


def _names(view: CertificateView, expected: Expected) -> Iterator[str]:
    uris = view.uri_names
    if uris and uris != (str(expected.spiffe_id),):
        yield f"subjectAltName: {quoted(uris[0])} is not the SPIFFE ID that was ordered"
    if view.other_names:
        yield f"subjectAltName: {view.other_names} names that are no URI were not ordered"


def _usages(view: CertificateView, _expected: Expected) -> Iterator[str]:
    constraints = view.basic_constraints
    if constraints is not None and constraints.path_length is not None:
        yield "basicConstraints: a leaf must not have a path length"
    for bit in view.key_usage or ():
        if bit not in {"digitalSignature", "keyCertSign", "cRLSign"}:  # those are svid's
            yield f"keyUsage: {bit} was not ordered"
    extension = view.extensions.get(Oid.KEY_USAGE)
    if (
        extension is not None
        and view.key_usage == ("digitalSignature",)
        and extension.value != _DIGITAL_SIGNATURE
    ):
        yield "keyUsage: it ends with zero bits, which DER forbids (X.690 §11.2.2)"
    purposes = view.extended_key_usage or ()
    for oid in sorted(set(purposes) - _PURPOSES):
        yield f"extKeyUsage: {oid} was not ordered"
    if len(set(purposes)) != len(purposes):
        yield "extKeyUsage: a purpose stands twice"


def _key_identifiers(view: CertificateView, expected: Expected) -> Iterator[str]:
    authority = view.authority_key_identifier
    if authority is not None:
        if authority.key_identifier != expected.issuer_key_id:
            yield "authorityKeyIdentifier: it is not the key identifier of the issuing authority"
        if (
            authority.authority_cert_issuer is not None
            or authority.authority_cert_serial_number is not None
        ):
            # It would break when the authority is renewed with the same key.
            yield "authorityKeyIdentifier: issuer and serial number must be left out"
    own = view.subject_key_identifier
    key = schema.decode(schema.SubjectPublicKeyInfo, expected.public_key, what="public key")
    # RFC 7093 §2, method 1
    derived = sha256(key.subject_public_key.as_bytes()).digest()[:20]
    if own is not None and own != derived:
        yield "subjectKeyIdentifier: it is not derived from the key"


def _policies(view: CertificateView, expected: Expected) -> Iterator[str]:
    policies = view.policies
    if policies is not None and expected.policy_oid is not None:
        if [policy.oid.dotted_string for policy in policies.items] != [expected.policy_oid]:
            yield f"certificatePolicies: it must hold {expected.policy_oid} and no other"
        else:
            yield from _qualifiers(policies.items[0], expected)
    extension = view.extensions.get(Oid.NO_REV_AVAIL)
    if extension is not None and extension.value != _NULL:
        yield "noRevAvail: its value must be NULL"


def _qualifiers(policy: schema.PolicyInformation, expected: Expected) -> Iterator[str]:
    found = [
        (
            qualifier.oid.dotted_string,
            qualifier.qualifier.tag_bytes,
            bytes(qualifier.qualifier.data),
        )
        for qualifier in policy.qualifiers or ()
    ]
    wanted = []
    if expected.cps_uri is not None:
        wanted = [(Oid.CPS, _IA5_STRING, expected.cps_uri.encode("ascii"))]
    if found != wanted:
        yield "certificatePolicies: the qualifiers are not the CPS URI that was ordered"


def _revocation(view: CertificateView, expected: Expected) -> Iterator[str]:
    points = view.extensions.get(Oid.CRL_DISTRIBUTION_POINTS)
    if (
        points is not None
        and expected.crl_uri is not None
        and points.value != distribution_points_der(expected.crl_uri)
    ):
        yield f"cRLDistributionPoints: it is not {quoted(expected.crl_uri)} alone"
    access = view.extensions.get(Oid.AUTHORITY_INFO_ACCESS)
    if access is not None and access.value != information_access_der(
        expected.ocsp_uri, expected.ca_issuers_uri
    ):
        yield "authorityInfoAccess: it is not the OCSP and caIssuers URIs that were ordered"


def _authorization(view: CertificateView, expected: Expected) -> Iterator[str]:
    extension = view.extensions.get(Oid.AGENT_AUTHORIZATION)
    if extension is None or expected.authorization is None:
        return
    if extension.value != expected.authorization:
        yield "agentAuthorization: it is not the authorization that was ordered"
    try:
        authorization.decode(extension.value)
    except InputError as error:
        yield str(error)


def _name(oid: str) -> str:
    return EXTENSION_NAMES.get(oid, f"extension {oid}")


_CHECKS: Final = (
    _header,
    _validity,
    _subject,
    _extension_set,
    _names,
    _usages,
    _key_identifiers,
    _policies,
    _revocation,
    _authorization,
)
