"""A certificate as its bytes say it, read with `schema` alone.

Both the lint and the description read through it, and neither shares code with the builder that
makes certificates. Reading judges nothing: which values are right is said in `svid` and `lint`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography.hazmat import asn1

from agentid.errors import InputError
from agentid.pki import schema
from agentid.pki.oids import AUTHORIZATION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ["EXTENSION_NAMES", "CertificateView", "Oid", "read_certificate", "read_tbs"]

T = TypeVar("T")


class Oid:
    """Dotted object identifiers, by the names of RFC 5280, RFC 9608 and X.520, and one of ours."""

    SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
    KEY_USAGE: Final = "2.5.29.15"
    SUBJECT_ALT_NAME: Final = "2.5.29.17"
    BASIC_CONSTRAINTS: Final = "2.5.29.19"
    NAME_CONSTRAINTS: Final = "2.5.29.30"
    CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
    CERTIFICATE_POLICIES: Final = "2.5.29.32"
    AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
    EXT_KEY_USAGE: Final = "2.5.29.37"
    NO_REV_AVAIL: Final = "2.5.29.56"
    AUTHORITY_INFO_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
    AGENT_AUTHORIZATION: Final = AUTHORIZATION
    OCSP: Final = "1.3.6.1.5.5.7.48.1"
    CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"
    SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
    CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
    CPS: Final = "1.3.6.1.5.5.7.2.1"
    COMMON_NAME: Final = "2.5.4.3"
    ORGANIZATION: Final = "2.5.4.10"


EXTENSION_NAMES: Final[Mapping[str, str]] = {
    Oid.SUBJECT_KEY_IDENTIFIER: "subjectKeyIdentifier",
    Oid.KEY_USAGE: "keyUsage",
    Oid.SUBJECT_ALT_NAME: "subjectAltName",
    Oid.BASIC_CONSTRAINTS: "basicConstraints",
    Oid.NAME_CONSTRAINTS: "nameConstraints",
    Oid.CRL_DISTRIBUTION_POINTS: "cRLDistributionPoints",
    Oid.CERTIFICATE_POLICIES: "certificatePolicies",
    Oid.AUTHORITY_KEY_IDENTIFIER: "authorityKeyIdentifier",
    Oid.EXT_KEY_USAGE: "extKeyUsage",
    Oid.NO_REV_AVAIL: "noRevAvail",
    Oid.AUTHORITY_INFO_ACCESS: "authorityInfoAccess",
    Oid.AGENT_AUTHORIZATION: "agentAuthorization",
}

# RFC 5280 §4.2.1.3, in the order of the bits.
_KEY_USAGE_BITS: Final = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
_URI_TAG: Final = b"\x86"  # RFC 5280 §4.2.1.6: uniformResourceIdentifier [6] IA5String


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A TBSCertificate taken apart.

    The properties of single extensions are None when the extension is absent, and raise
    `InputError` when it does not parse.

    Attributes:
        tbs: Its fields.
        extensions: By dotted OID; of one that stands twice, the first.
        duplicates: The OIDs that stand more than once.
    """

    tbs: schema.TbsCertificate
    extensions: Mapping[str, schema.Extension]
    duplicates: tuple[str, ...]
    _read: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    def is_critical(self, oid: str) -> bool:
        """Whether the extension is there and critical."""
        extension = self.extensions.get(oid)
        return extension is not None and extension.critical

    @property
    def not_before(self) -> datetime:
        """Aware UTC."""
        return self.tbs.validity.not_before.as_datetime()

    @property
    def not_after(self) -> datetime:
        """Aware UTC."""
        return self.tbs.validity.not_after.as_datetime()

    @property
    def subject_der(self) -> bytes:
        """The distinguished name of the subject."""
        return asn1.encode_der(self.tbs.subject)

    @property
    def issuer_der(self) -> bytes:
        """The distinguished name of the issuer."""
        return asn1.encode_der(self.tbs.issuer)

    @property
    def signature_algorithm_der(self) -> bytes:
        """The AlgorithmIdentifier inside the signed part."""
        return asn1.encode_der(self.tbs.signature)

    @property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo."""
        return asn1.encode_der(self.tbs.subject_public_key_info)

    @property
    def subject(self) -> tuple[tuple[str, bytes, bytes], ...]:
        """The attributes of the subject: dotted OID, tag and contents of the value."""
        name = schema.decode_list(schema.Name, self.subject_der, what="subject")
        return tuple(
            (attribute.oid.dotted_string, attribute.value.tag_bytes, bytes(attribute.value.data))
            for group in name.items
            for attribute in group.as_list()
        )

    @property
    def basic_constraints(self) -> schema.BasicConstraints | None:
        """Whether it is a CA, and the path length."""
        return self._decoded(Oid.BASIC_CONSTRAINTS, schema.BasicConstraints)

    @property
    def key_usage(self) -> tuple[str, ...] | None:
        """The names of the bits that are set, in the order of the bits."""
        bits = self._decoded(Oid.KEY_USAGE, asn1.BitString)
        if bits is None:
            return None
        octets = bits.as_bytes()
        return tuple(
            name
            for index, name in enumerate(_KEY_USAGE_BITS)
            if index // 8 < len(octets) and octets[index // 8] & 0x80 >> index % 8
        )

    @property
    def extended_key_usage(self) -> tuple[str, ...] | None:
        """The dotted OIDs of the purposes."""
        purposes = self._decoded_list(Oid.EXT_KEY_USAGE, schema.KeyPurposeIds)
        return None if purposes is None else tuple(oid.dotted_string for oid in purposes.items)

    @property
    def subject_key_identifier(self) -> bytes | None:
        """The identifier of the subject's key."""
        return self._decoded(Oid.SUBJECT_KEY_IDENTIFIER, bytes)

    @property
    def authority_key_identifier(self) -> schema.AuthorityKeyIdentifier | None:
        """The identifier of the issuer's key."""
        return self._decoded(Oid.AUTHORITY_KEY_IDENTIFIER, schema.AuthorityKeyIdentifier)

    @property
    def policies(self) -> schema.PolicyInformations | None:
        """The certificate policies."""
        return self._decoded_list(Oid.CERTIFICATE_POLICIES, schema.PolicyInformations)

    @property
    def uri_names(self) -> tuple[str, ...]:
        """The URIs in subjectAltName, escaped where they are not ASCII."""
        return tuple(
            bytes(name.data).decode("ascii", "backslashreplace")
            for name in self._alternative_names()
            if name.tag_bytes == _URI_TAG
        )

    @property
    def other_names(self) -> int:
        """How many names in subjectAltName are no URI."""
        return sum(name.tag_bytes != _URI_TAG for name in self._alternative_names())

    def _alternative_names(self) -> list[asn1.TLV]:
        names = self._decoded_list(Oid.SUBJECT_ALT_NAME, schema.GeneralNames)
        return [] if names is None else names.items

    def _decoded(self, oid: str, kind: type[T]) -> T | None:
        return self._extension(oid, kind, schema.decode)

    def _decoded_list(self, oid: str, kind: type[T]) -> T | None:
        return self._extension(oid, kind, schema.decode_list)

    def _extension(self, oid: str, kind: type[T], decode: Callable[..., T]) -> T | None:
        extension = self.extensions.get(oid)
        if extension is None:
            return None
        known = self._read.get(oid)
        if isinstance(known, kind):
            return known
        value = decode(kind, extension.value, what=EXTENSION_NAMES[oid])
        self._read[oid] = value
        return value


def read_tbs(der: bytes) -> CertificateView:
    """Take a TBSCertificate apart.

    Raises:
        InputError: It is not one in strict DER.
    """
    tbs = schema.decode(schema.TbsCertificate, der, what="certificate")
    extensions: dict[str, schema.Extension] = {}
    duplicates: list[str] = []
    for extension in tbs.extensions or ():
        oid = extension.oid.dotted_string
        if oid in extensions:
            duplicates.append(oid)
        else:
            extensions[oid] = extension
    return CertificateView(tbs, extensions, tuple(duplicates))


def read_certificate(der: bytes) -> CertificateView:
    """Take a whole certificate apart; its signature is not checked.

    Raises:
        InputError: It is not one in strict DER, or the two places that name the signature algorithm
            differ (RFC 5280 §4.1.1.2).
    """
    signed = schema.decode(schema.SignedCertificate, der, what="certificate")
    view = read_tbs(asn1.encode_der(signed.tbs_certificate))
    if asn1.encode_der(signed.signature_algorithm) != view.signature_algorithm_der:
        msg = (
            "certificate: the signature algorithm inside the signed part is not the one outside; "
            "it was altered, so do not use it"
        )
        raise InputError(msg)
    return view
