"""What path validation needs to know of a certificate, read once (RFC 5280 §6.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.distinguished import same_name
from agentid.pki.keys import public_key_der
from agentid.pki.name_constraints import (
    DIRECTORY,
    EMAIL,
    GeneralName,
    NameConstraints,
    general_names,
    read_constraints,
)
from agentid.pki.parse import parse_certificate
from agentid.pki.view import CertificateView, Oid

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PathCertificate"]

_V3: Final = 2
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
_EMPTY_NAME: Final = b"\x30\x00"


@dataclass(frozen=True, slots=True, eq=False)
class PathCertificate:
    """A certificate, with what path validation needs of it read once.

    Attributes:
        der: As it was given.
        certificate: The library's view of it.
        view: Ours.
        key: Its public key, whose strength is not checked here.
        names: Its alternative names.
        is_authority: Whether basicConstraints assert cA.
        path_length: How many authorities may stand below it, or None for any number.
        key_usage: The names of the bits, or None if the extension is absent.
        purposes: The dotted OIDs of its extended key usage, or None if absent.
        key_id: Its subject key identifier, or None.
        issuer_key_id: The key identifier of its issuer, or None.
        constraints: Its name constraints, or None.
        crl_uris: Where CRLs that cover it are published; of distribution points that are named by
            URI, and whose lists are direct and of all reasons.
        no_rev_avail: Whether it says that nothing is published about its revocation (RFC 9608).
        self_issued: Whether issuer and subject are the same name.
        subject_der: The distinguished name of the subject.
        issuer_der: That of the issuer.
    """

    der: bytes
    certificate: x509.Certificate
    view: CertificateView
    key: object
    names: tuple[GeneralName, ...]
    is_authority: bool
    path_length: int | None
    key_usage: tuple[str, ...] | None
    purposes: tuple[str, ...] | None
    key_id: bytes | None
    issuer_key_id: bytes | None
    constraints: NameConstraints | None
    crl_uris: tuple[str, ...]
    no_rev_avail: bool
    self_issued: bool
    subject_der: bytes
    issuer_der: bytes

    @classmethod
    def parse(cls, der: bytes, *, what: str) -> PathCertificate:
        """Read a certificate; nothing about it is judged.

        Args:
            der: Bytes from outside, at most 16 KiB.
            what: How messages name it.

        Raises:
            InputError: It or one of its extensions does not parse, an extension stands twice (RFC
                5280 §4.2), or its key is elliptic and says its curve by parameters.
        """
        certificate, view = parse_certificate(der, what=what)
        if view.duplicates:
            msg = f"{what}: the extension {view.duplicates[0]} stands twice"
            raise InputError(msg)
        if view.extensions and view.tbs.version != _V3:
            msg = f"{what}: it has extensions and is not of version 3"
            raise InputError(msg)
        try:
            key = certificate.public_key()
        except LIBRARY_ERRORS:
            key = None  # an algorithm nobody here knows; the key policy refuses it
        if (
            isinstance(key, ec.EllipticCurvePublicKey)
            and public_key_der(key) != view.public_key_der
        ):
            # RFC 5480 §2.1.1. A key with curve parameters of its own can pass for another's
            # (CVE-2020-0601).
            msg = f"{what}: its key is not one on a named curve, uncompressed; use another key"
            raise InputError(msg)
        try:
            return cls._of(der, certificate, view, key)
        except InputError as error:
            msg = f"{what}: {error}"
            raise InputError(msg) from error

    @classmethod
    def of(cls, certificate: x509.Certificate, *, what: str) -> PathCertificate:
        """The same of a certificate that the library has read.

        Raises:
            InputError: As for `parse`.
        """
        return cls.parse(certificate.public_bytes(Encoding.DER), what=what)

    @classmethod
    def _of(
        cls, der: bytes, certificate: x509.Certificate, view: CertificateView, key: object
    ) -> PathCertificate:
        basic = view.basic_constraints
        if basic is not None and basic.path_length is not None and basic.path_length < 0:
            msg = "basicConstraints: the path length is negative"
            raise InputError(msg)
        alternative = view.extensions.get(Oid.SUBJECT_ALT_NAME)
        constraints = view.extensions.get(Oid.NAME_CONSTRAINTS)
        authority_key = view.authority_key_identifier
        subject_der, issuer_der = view.subject_der, view.issuer_der
        return cls(
            der=der,
            certificate=certificate,
            view=view,
            key=key,
            names=()
            if alternative is None
            else general_names(alternative.value, what="subjectAltName"),
            is_authority=basic is not None and basic.ca,
            path_length=None if basic is None else basic.path_length,
            key_usage=view.key_usage,
            purposes=view.extended_key_usage,
            key_id=view.subject_key_identifier,
            issuer_key_id=None if authority_key is None else authority_key.key_identifier,
            constraints=None if constraints is None else read_constraints(constraints.value),
            crl_uris=_crl_uris(certificate),
            no_rev_avail=Oid.NO_REV_AVAIL in view.extensions,
            self_issued=same_name(subject_der, issuer_der),
            subject_der=subject_der,
            issuer_der=issuer_der,
        )

    def issued_by(self, issuer: PathCertificate) -> bool:
        """Whether it names the other as its issuer: by name, and by key if both name keys.

        Raises:
            InputError: A distinguished name does not parse.
        """
        return same_name(self.issuer_der, issuer.subject_der) and (
            self.issuer_key_id is None
            or issuer.key_id is None
            or self.issuer_key_id == issuer.key_id
        )

    def constrained_names(self) -> Iterator[GeneralName]:
        """The names that constraints apply to (RFC 5280 §4.2.1.10, §6.1.3 b and c)."""
        yield from self.names
        if self.subject_der != _EMPTY_NAME:
            yield DIRECTORY, self.subject_der
        if all(form != EMAIL for form, _ in self.names):
            for oid, _, contents in self.view.subject:
                if oid == _EMAIL_ADDRESS:
                    yield EMAIL, contents


def _crl_uris(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        name.value
        for point in points
        if point.reasons is None and point.crl_issuer is None
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )
