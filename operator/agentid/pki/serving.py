"""A TLS server certificate for one Service of the cluster, and an authority that signs it alone.

The authorities of an AgentIssuer cannot sign it: their name constraints exclude every DNS name, so
that none of them ever makes a server of this network. So the certificate has an authority of its
own, whose key is gone once it has signed: nothing else will ever come from it, and trusting it is
trusting this one certificate.

    authority  self-signed, pathLen 0, permitted: the DNS name; excluded: every IP address
       └─ leaf  SAN: the DNS name, serverAuth
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.keys import generate, public_key_der, to_pkcs8_pem
from agentid.pki.leaf import key_identifier

if TYPE_CHECKING:
    from agentid.identity import SerialNumber, Validity
    from agentid.pki.keys import PrivateKey

__all__ = ["ServingCertificate", "make_serving_certificate"]

_ALGORITHM: Final = KeyAlgorithm.ECDSAP256
"""Of both keys: every TLS client knows it, and it signs a handshake in some 20 us."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})+", re.ASCII)
_MAX_DNS_NAME: Final = 253

_ORGANIZATION: Final = "agentid"
_NO_ADDRESS: Final = (
    x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
    x509.IPAddress(ipaddress.ip_network("::/0")),
)
_SERVER_ONLY: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """What a server needs, and what its clients trust; `repr` does not show the key.

    Attributes:
        authority: Self-signed; whoever trusts it trusts `leaf` and nothing else.
        leaf: What the server presents; it needs no chain.
        private_key: Of the leaf.
    """

    authority: x509.Certificate
    leaf: x509.Certificate
    private_key: PrivateKey = field(repr=False)

    @property
    def authority_pem(self) -> bytes:
        """The authority as PEM."""
        return self.authority.public_bytes(Encoding.PEM)

    @property
    def leaf_pem(self) -> bytes:
        """The leaf as PEM."""
        return self.leaf.public_bytes(Encoding.PEM)

    @property
    def private_key_pem(self) -> bytes:
        """The leaf's key as unencrypted PKCS#8 in PEM. A secret: do not log it."""
        return to_pkcs8_pem(self.private_key)


def make_serving_certificate(
    dns_name: str, validity: Validity, authority_serial: SerialNumber, serial: SerialNumber
) -> ServingCertificate:
    """Make an authority, have it sign one certificate, and forget its key.

    Args:
        dns_name: The only name of the server, in lower case, such as `a.b.svc`.
        validity: Of both.
        authority_serial: Serial number of the authority, which also names it.
        serial: Serial number of the leaf.

    Raises:
        InputError: That is no DNS name of two labels or more.
    """
    if len(dns_name) > _MAX_DNS_NAME or not _DNS_NAME.fullmatch(dns_name):
        msg = (
            f"DNS name: {quoted(dns_name)} is not one of at most {_MAX_DNS_NAME} characters with "
            "two labels or more, such as agentid-admission.agentid-system.svc; give the name that "
            "clients dial"
        )
        raise InputError(msg)
    authority_key, key = generate(_ALGORITHM), generate(_ALGORITHM)
    name = _name(f"authority {str(authority_serial)[-8:]}")
    authority = (
        _builder(authority_key, validity, authority_serial, name, name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(
            x509.NameConstraints([x509.DNSName(dns_name)], _NO_ADDRESS),
            critical=True,  # RFC 5280 §4.2.1.10
        )
        .sign(authority_key, _ALGORITHM.signature_hash)
    )
    leaf = (
        _builder(key, validity, serial, _name("admission"), name, authority_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
        .sign(authority_key, _ALGORITHM.signature_hash)
    )
    return ServingCertificate(authority, leaf, key)


def _builder(
    key: PrivateKey,
    validity: Validity,
    serial: SerialNumber,
    subject: x509.Name,
    issuer: x509.Name,
    signer: PrivateKey,
) -> x509.CertificateBuilder:
    """What authority and leaf have in common.

    Both say serverAuth: the verifiers that look at it in an authority (Go, OpenSSL) take it as the
    only purpose of what it signs.
    """
    signed_by = key_identifier(public_key_der(signer.public_key()))
    return (
        x509.CertificateBuilder()
        .serial_number(serial.value)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .add_extension(
            x509.SubjectKeyIdentifier(key_identifier(public_key_der(key.public_key()))),
            critical=False,
        )
        .add_extension(x509.AuthorityKeyIdentifier(signed_by, None, None), critical=False)
        .add_extension(_SERVER_ONLY, critical=False)
    )


def _name(common_name: str) -> x509.Name:
    """A name for display, and to tell authorities apart; it is never read as a host's."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"agentid {common_name}"),
        ]
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
