"""OCSP questions, RFC 6960 §4.1 and RFC 9654 (nonce): read, and matched with an authority."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError
from agentid.identity import SerialNumber
from agentid.pki import schema
from agentid.pki.ocsp_schema import CertId, OcspRequest
from agentid.pki.view import read_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509

__all__ = [
    "HASH_OIDS",
    "MAX_REQUEST_BYTES",
    "NULL",
    "CertIdTable",
    "OcspQuestion",
    "issuer_hashes",
    "parse_request",
]

MAX_REQUEST_BYTES: Final = 4096
"""One request in DER. A question about one certificate takes 250 bytes with SHA-512 and the longest
nonce; the rest is room for the name and signature of a requestor, which are passed over."""

_MAX_NONCE_BYTES: Final = 128  # RFC 9654 §2.1: 1 to 128, anything else is malformed
_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
_SEQUENCE: Final = b"\x30"

HASH_OIDS: Final[Mapping[str, bytes]] = {
    "sha1": bytes.fromhex("06052b0e03021a"),
    "sha256": bytes.fromhex("0609608648016503040201"),
    "sha384": bytes.fromhex("0609608648016503040202"),
    "sha512": bytes.fromhex("0609608648016503040203"),
}
"""The hashes by which an authority can be named, with their OIDs in DER (RFC 3370 §2.1, RFC 5754
§2). SHA-1 is what OpenSSL asks with; it names something and secures nothing (RFC 9919 §8.7)."""

NULL: Final = b"\x05\x00"
"""The parameters of a hash, where they are not left out."""

# The contents of the AlgorithmIdentifier.
_HASH_NAMES: Final[Mapping[bytes, str]] = {
    oid + parameters: name for name, oid in HASH_OIDS.items() for parameters in (b"", NULL)
}


@dataclass(frozen=True, slots=True)
class OcspQuestion:
    """Which certificate somebody asks about.

    Hashable and comparable: without its nonce it is the key of an answer that can be given again.

    Attributes:
        hash_algorithm: `sha1`, `sha256`, `sha384` or `sha512`; None for any other.
        issuer_name_hash: Over the distinguished name of its issuer.
        issuer_key_hash: Over the key of its issuer.
        serial: Its serial number.
        nonce: 1 to 128 octets to be repeated in the answer, or None.
        null_parameters: Whether the hash was named with NULL as its parameters, as most software
            does, or with none; repeated in the answer, since some clients compare it.
    """

    hash_algorithm: str | None
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: SerialNumber
    nonce: bytes | None = None
    null_parameters: bool = True


def parse_request(der: bytes) -> OcspQuestion:
    """Read a request that asks about one certificate.

    The length is looked at first and nothing grows with it, so a hostile request costs
    microseconds. The name and signature of a requestor are passed over, as RFC 9919 §3.1.2 allows.

    Args:
        der: Bytes from outside, at most 4096.

    Raises:
        InputError: They are not strict DER of an OCSPRequest, ask about no certificate or several,
            hold a serial number that RFC 5280 §4.1.2.2 forbids, a hash or a nonce of the wrong
            length (RFC 9654 §2.1), or a critical extension other than a nonce. The right answer is
            `OcspError.MALFORMED_REQUEST`.
    """
    if len(der) > MAX_REQUEST_BYTES:
        msg = f"OCSP request: it has {len(der)} bytes, at most {MAX_REQUEST_BYTES} are read"
        raise InputError(msg)
    tbs = schema.decode(OcspRequest, der, what="OCSP request").tbs_request
    if tbs.version != 0:
        msg = f"OCSP request: it is of version {tbs.version + 1}, only version 1 exists"
        raise InputError(msg)
    if len(tbs.request_list) != 1:
        msg = (
            f"OCSP request: it asks about {len(tbs.request_list)} certificates; ask about one "
            "(RFC 9919 §3.1.1)"
        )
        raise InputError(msg)
    request = tbs.request_list[0]
    _extensions(request.extensions or (), frozenset())
    found = _extensions(tbs.extensions or (), frozenset({_NONCE}))
    return _question(request.req_cert, _nonce(found.get(_NONCE)))


class CertIdTable:
    """Finds which of some authorities a question is about, by any of the four hashes."""

    __slots__ = ("_found",)

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        """Take the certificates of the authorities; of two with one name and key, the first counts.

        Raises:
            InputError: One does not parse.
        """
        self._found: dict[tuple[str, bytes, bytes], x509.Certificate] = {}
        for certificate in certificates:
            for name, (name_hash, key_hash) in issuer_hashes(certificate).items():
                self._found.setdefault((name, name_hash, key_hash), certificate)

    def find(self, question: OcspQuestion) -> x509.Certificate | None:
        """The certificate of the authority, or None: then answer `OcspError.UNAUTHORIZED`."""
        if question.hash_algorithm is None:
            return None
        return self._found.get(
            (question.hash_algorithm, question.issuer_name_hash, question.issuer_key_hash)
        )

    def __repr__(self) -> str:
        """How many authorities it knows."""
        return f"CertIdTable({len(self._found) // len(HASH_OIDS)} authorities)"


def _extensions(
    found: Iterable[schema.Extension], known: frozenset[str]
) -> dict[str, schema.Extension]:
    extensions: dict[str, schema.Extension] = {}
    for extension in found:
        oid = extension.oid.dotted_string
        if oid in extensions:
            msg = f"OCSP request: the extension {oid} stands more than once"
            raise InputError(msg)
        if extension.critical and oid not in known:  # RFC 6960 §4.4
            msg = f"OCSP request: the extension {oid} is critical and not understood"
            raise InputError(msg)
        extensions[oid] = extension
    return extensions


def _nonce(extension: schema.Extension | None) -> bytes | None:
    if extension is None:
        return None
    nonce = schema.decode(bytes, extension.value, what="OCSP nonce")
    if not 0 < len(nonce) <= _MAX_NONCE_BYTES:
        msg = (
            f"OCSP request: the nonce has {len(nonce)} octets, but must have 1 to "
            f"{_MAX_NONCE_BYTES} (RFC 9654 §2.1)"
        )
        raise InputError(msg)
    return nonce


def _question(cert_id: CertId, nonce: bytes | None) -> OcspQuestion:
    algorithm = cert_id.hash_algorithm
    if algorithm.tag_bytes != _SEQUENCE:
        msg = "OCSP request: its hash algorithm does not parse"
        raise InputError(msg)
    name = _HASH_NAMES.get(bytes(algorithm.data))
    lengths = len(cert_id.issuer_name_hash), len(cert_id.issuer_key_hash)
    if name is not None and set(lengths) != {hashlib.new(name, usedforsecurity=False).digest_size}:
        msg = f"OCSP request: its hashes have {lengths} octets, which {name} does not make"
        raise InputError(msg)
    return OcspQuestion(
        hash_algorithm=name,
        issuer_name_hash=cert_id.issuer_name_hash,
        issuer_key_hash=cert_id.issuer_key_hash,
        serial=SerialNumber(cert_id.serial_number),
        nonce=nonce,
        null_parameters=bytes(algorithm.data).endswith(NULL),
    )


def issuer_hashes(certificate: x509.Certificate) -> dict[str, tuple[bytes, bytes]]:
    """How questions name an authority, by hash: its name, and its key as RFC 6960 §4.1.1 takes it.

    Raises:
        InputError: The certificate does not parse.
    """
    view = read_certificate(certificate.public_bytes(Encoding.DER))
    key = schema.decode(schema.SubjectPublicKeyInfo, view.public_key_der, what="public key")
    bits = key.subject_public_key.as_bytes()
    return {
        name: (
            hashlib.new(name, view.subject_der, usedforsecurity=False).digest(),
            hashlib.new(name, bits, usedforsecurity=False).digest(),
        )
        for name in HASH_OIDS
    }
