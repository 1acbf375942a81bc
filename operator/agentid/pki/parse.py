"""The one way in for certificates from outside."""

from __future__ import annotations

from cryptography import x509

from agentid.errors import InputError
from agentid.identity import SerialNumber
from agentid.pki.boundary import reading
from agentid.pki.pem import MAX_CERTIFICATE_BYTES
from agentid.pki.view import CertificateView, read_certificate

__all__ = ["parse_certificate"]


def parse_certificate(der: bytes, *, what: str) -> tuple[x509.Certificate, CertificateView]:
    """Read one certificate, by our own schema and by the library; neither judges it.

    Everything that the library reads only when it is asked for is asked for here, so that later
    access cannot fail. The exception is the public key, whose algorithm may be unknown.

    Args:
        der: Bytes from outside, at most 16 KiB.
        what: How messages name the certificate.

    Raises:
        InputError: It is too long, is not strict DER, does not parse, or has a serial number that
            RFC 5280 §4.1.2.2 forbids.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        msg = (
            f"{what}: the certificate has {len(der)} bytes, at most {MAX_CERTIFICATE_BYTES} are "
            "read; give an ordinary one"
        )
        raise InputError(msg)
    refusal = (
        f"{what}: the certificate does not parse, so it is cut short, altered or none at all; "
        "restore it from where it came"
    )
    try:
        view = read_certificate(der)
        # The library only warns of these.
        SerialNumber(view.tbs.serial_number)
    except InputError as error:
        msg = f"{refusal} ({error})"
        raise InputError(msg) from error
    with reading(refusal):
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.subject, certificate.issuer
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate, view
