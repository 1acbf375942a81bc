"""A root and an intermediate of our own.

The intermediate signs for one trust domain and can do nothing else: its name constraints
(RFC 5280 §4.2.1.10) permit URIs with the trust domain as host and exclude every DNS name and IP
address, so that a stolen key makes no TLS server of this network, wherever the root is trusted.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import CertificatePoliciesOID, NameOID

from agentid.errors import InputError
from agentid.pki.assemble import distribution_points, information_access
from agentid.pki.keys import PrivateKey, check_public_key, public_key_der, to_pkcs8_pem
from agentid.pki.leaf import key_identifier
from agentid.pki.profile import check_uri

if TYPE_CHECKING:
    from agentid.identity import SerialNumber, TrustDomain, Validity

__all__ = ["CertifiedKey", "make_intermediate", "make_root"]

_MAX_ATTRIBUTE_CHARACTERS: Final = 64  # RFC 5280 appendix A.1: ub-organization-name

_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
# RFC 5280 §6.1.2: without a policy of its own, a chain carries none, and the policy of a class
# would not count. The intermediate serves every class, so it says anyPolicy.
_ANY_POLICY: Final = x509.CertificatePolicies(
    [x509.PolicyInformation(CertificatePoliciesOID.ANY_POLICY, None)]
)
_EXCLUDED: Final = (
    x509.DNSName(""),
    x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
    x509.IPAddress(ipaddress.ip_network("::/0")),
)


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A private key and the certificate of its public half; `repr` does not show the key."""

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def private_key_pem(self) -> bytes:
        """The key as unencrypted PKCS#8 in PEM. A secret: do not log it."""
        return to_pkcs8_pem(self.private_key)


def make_root(
    trust_domain: TrustDomain,
    private_key: PrivateKey,
    validity: Validity,
    serial: SerialNumber,
) -> CertifiedKey:
    """A self-signed root of the trust domain.

    Raises:
        InputError: The key is weak, or the trust domain cannot stand in a name constraint.
    """
    trust_domain.require_host_name()
    name = _name(trust_domain, "root", serial)
    certificate = _sign(
        _builder(trust_domain, private_key, validity, serial, name, path_length=None).issuer_name(
            name
        ),
        private_key,
    )
    return CertifiedKey(certificate, private_key)


def make_intermediate(
    root: CertifiedKey,
    trust_domain: TrustDomain,
    private_key: PrivateKey,
    validity: Validity,
    serial: SerialNumber,
    *,
    crl_uri: str | None = None,
    ca_issuers_uri: str | None = None,
) -> CertifiedKey:
    """An intermediate under the root, constrained to the trust domain, that signs leaves only.

    Args:
        root: What signs it.
        trust_domain: The only one that it may sign for.
        private_key: Its key.
        validity: Its period, within the root's.
        serial: Its serial number, which also names it.
        crl_uri: Where the CRL of the root is found, an http or https URI, or None.
        ca_issuers_uri: Where the certificate of the root is found, likewise.

    Raises:
        InputError: The key is weak, the trust domain cannot stand in a name constraint, a URI is
            malformed, or the validity reaches beyond the root's.
    """
    host = trust_domain.require_host_name()
    ends = root.certificate.not_valid_before_utc, root.certificate.not_valid_after_utc
    if validity.not_before < ends[0] or validity.not_after > ends[1]:
        msg = (
            f"validity: {validity} reaches beyond that of the root, {ends[0].isoformat()} to "
            f"{ends[1].isoformat()}; ask for a shorter lifetime of the intermediate"
        )
        raise InputError(msg)
    root_key_id = root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    constraints = x509.NameConstraints([x509.UniformResourceIdentifier(host)], _EXCLUDED)
    builder = (
        _builder(
            trust_domain,
            private_key,
            validity,
            serial,
            _name(trust_domain, "issuing", serial),
            path_length=0,
        )
        .issuer_name(root.certificate.subject)
        .add_extension(
            x509.AuthorityKeyIdentifier(root_key_id.value.digest, None, None), critical=False
        )
        .add_extension(constraints, critical=True)  # RFC 5280 §4.2.1.10: it must be critical
        .add_extension(_ANY_POLICY, critical=False)
    )
    if crl_uri is not None:
        check_uri("CRL URI", crl_uri)
        builder = builder.add_extension(distribution_points(crl_uri), critical=False)
    if ca_issuers_uri is not None:
        check_uri("caIssuers URI", ca_issuers_uri)
        access = information_access(None, ca_issuers_uri)
        builder = builder.add_extension(access, critical=False)
    return CertifiedKey(_sign(builder, root.private_key), private_key)


def _builder(
    trust_domain: TrustDomain,
    private_key: PrivateKey,
    validity: Validity,
    serial: SerialNumber,
    name: x509.Name,
    *,
    path_length: int | None,
) -> x509.CertificateBuilder:
    """What root and intermediate have in common."""
    public_key = private_key.public_key()
    spiffe_id = x509.UniformResourceIdentifier(trust_domain.id_string)
    key_id = key_identifier(public_key_der(public_key))
    return (
        x509.CertificateBuilder()
        .serial_number(serial.value)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .subject_name(name)
        .public_key(public_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectAlternativeName([spiffe_id]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier(key_id), critical=False)
    )


def _name(trust_domain: TrustDomain, role: str, serial: SerialNumber) -> x509.Name:
    """A distinguished name of its own for each authority, so that old and new are told apart."""
    return x509.Name(
        [
            x509.NameAttribute(
                NameOID.ORGANIZATION_NAME, trust_domain.name[:_MAX_ATTRIBUTE_CHARACTERS]
            ),
            x509.NameAttribute(NameOID.COMMON_NAME, f"agentid {role} {str(serial)[-8:]}"),
        ]
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    return builder.sign(key, check_public_key(key.public_key()).signature_hash)
