"""Chains with any defect: certificates made with the library's builder and no lint at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agentid.pki import PrivateKey, check_public_key

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NOW", "URI", "Entity", "authority", "issue", "leaf", "name"]

NOW: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
URI: Final = "spiffe://example.org/ns/finance/agent/reader"

_DAY: Final = timedelta(days=1)
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


@dataclass(frozen=True, slots=True)
class Entity:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


def name(common_name: str, *more: x509.NameAttribute[str]) -> x509.Name:
    """A distinguished name; an empty one for the empty text."""
    if not common_name:
        return x509.Name([])
    return x509.Name([*more, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*bits: str) -> x509.KeyUsage:
    """The extension with these bits set."""
    flags = {usage: usage in bits for usage in _USAGES}
    return x509.KeyUsage(**flags, encipher_only=False, decipher_only=False)


class Options(TypedDict, total=False):
    """What may differ from a good certificate; by default the key follows from the subject."""

    key: PrivateKey
    signer: PrivateKey
    issuer_name: x509.Name
    not_before: datetime
    not_after: datetime
    key_ids: bool
    digest: hashes.HashAlgorithm


def issue(
    subject: x509.Name,
    issuer: Entity | None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
    **options: Unpack[Options],
) -> Entity:
    """A certificate with these extensions and key identifiers; self-signed without an issuer."""
    key = options.get("key") or ed25519.Ed25519PrivateKey.from_private_bytes(
        sha256(subject.public_bytes()).digest()
    )
    signer = options.get("signer") or (issuer.key if issuer else key)
    above = issuer.certificate.subject if issuer else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(options.get("issuer_name", above))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(sha256(repr((subject, above)).encode()).digest()[:15]) + 1)
        .not_valid_before(options.get("not_before", NOW - _DAY))
        .not_valid_after(options.get("not_after", NOW + _DAY))
    )
    if options.get("key_ids", True):
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(own, critical=False)
        if issuer is not None:
            theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
            builder = builder.add_extension(theirs, critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    digest = options.get("digest") or (
        hashes.SHA256()  # of any size, weak ones too
        if isinstance(signer, rsa.RSAPrivateKey)
        else check_public_key(signer.public_key()).signature_hash
    )
    return Entity(builder.sign(signer, digest), key)  # type: ignore[arg-type]


def authority(
    subject: x509.Name | str,
    issuer: Entity | None = None,
    *extra: tuple[x509.ExtensionType, bool],
    ca: bool = True,
    path_length: int | None = None,
    usage: tuple[str, ...] = ("key_cert_sign", "crl_sign"),
    **options: Unpack[Options],
) -> Entity:
    """An authority; a root without an issuer. `options` are those of `issue`."""
    return issue(
        name(subject) if isinstance(subject, str) else subject,
        issuer,
        [
            (x509.BasicConstraints(ca, path_length if ca else None), True),
            (key_usage(*usage), True),
            *extra,
        ],
        **options,
    )


def leaf(
    issuer: Entity,
    *extra: tuple[x509.ExtensionType, bool],
    names: Iterable[x509.GeneralName] = (x509.UniformResourceIdentifier(URI),),
    subject: x509.Name | str = "reader",
    **options: Unpack[Options],
) -> Entity:
    """A leaf with these alternative names."""
    alternative = list(names)
    return issue(
        name(subject) if isinstance(subject, str) else subject,
        issuer,
        [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage("digital_signature"), True),
            *([(x509.SubjectAlternativeName(alternative), False)] if alternative else []),
            *extra,
        ],
        **options,
    )
