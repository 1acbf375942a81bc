"""Stored authorities, read and verified before anything is signed with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import AuthorityError, InputError
from agentid.identity import Validity
from agentid.identity.quoting import quoted
from agentid.pki import svid
from agentid.pki.authority import Authority
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.keys import check_public_key, load_private_key
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_CHAIN_CERTIFICATES, MAX_CHAIN_PEM_BYTES, read_blocks
from agentid.pki.signer import LocalSigner
from agentid.pki.view import read_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentid.identity import TrustDomain
    from agentid.pki.keys import PrivateKey

__all__ = [
    "ISSUING_CERTIFICATE",
    "ISSUING_KEY",
    "ROOT_CERTIFICATE",
    "ROOT_KEY",
    "FileNames",
    "load_authority",
    "read_certificates",
]

ROOT_CERTIFICATE: Final = "root.crt"
"""The key in the Secret, and the name in messages, of the root certificate."""

ROOT_KEY: Final = "root.key"
"""Likewise of the root's private key, which may be kept elsewhere."""

ISSUING_CERTIFICATE: Final = "issuing.crt"
"""Likewise of the issuing certificate and the intermediates above it."""

ISSUING_KEY: Final = "issuing.key"
"""Likewise of the private key of the issuing certificate."""


@dataclass(frozen=True, slots=True)
class FileNames:
    """How messages name the files of an authority.

    Attributes:
        chain: The issuing certificate and the intermediates above it.
        key: The private key of the issuing certificate.
        root: The root certificate.
        root_key: The private key of the root.
    """

    chain: str = ISSUING_CERTIFICATE
    key: str = ISSUING_KEY
    root: str = ROOT_CERTIFICATE
    root_key: str = ROOT_KEY


_DEFAULT_NAMES: Final = FileNames()

T = TypeVar("T", bound=x509.ExtensionType)

_STRONG_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_RESTORE: Final = "restore it from a backup"


def load_authority(
    *,
    chain_pem: bytes | None,
    key_pem: bytes | None,
    root_pem: bytes | None,
    trust_domain: TrustDomain,
    now: datetime,
    root_key_pem: bytes | None = None,
    names: FileNames = _DEFAULT_NAMES,
) -> Authority:
    """Read an authority and verify everything about it that can be verified.

    1. Each file is there, within its bounds, and parses.
    2. Each certificate is that of an authority, is valid now, has a strong key and is of the trust
       domain; the issuing one is constrained to it by name.
    3. Each certificate of the chain is signed by the next, the last by the root, the root by
       itself; path lengths allow it.
    4. The private keys belong to their certificates.

    Revocation of authorities is not checked.

    Args:
        chain_pem: `issuing.crt`: the issuing certificate, then intermediates upwards.
        key_pem: `issuing.key`.
        root_pem: `root.crt`: exactly one certificate.
        trust_domain: The trust domain they are to serve.
        now: The present.
        root_key_pem: `root.key`, or None: an issuer works while it is kept elsewhere.
        names: How messages name these files.

    Raises:
        AuthorityError: Something is wrong; every fault that was found is listed.
    """
    faults: list[str] = []
    chain = _certificates(names.chain, chain_pem, MAX_CHAIN_CERTIFICATES - 2, faults)
    roots = _certificates(names.root, root_pem, 1, faults)
    key = _private_key(names.key, key_pem, faults)
    root_key = None if root_key_pem is None else _private_key(names.root_key, root_key_pem, faults)

    named = [
        *((_position(names.chain, at, len(chain)), each) for at, each in enumerate(chain)),
        *((names.root, root) for root in roots),
    ]
    for what, certificate in named:
        faults.extend(f"{what}: {fault}" for fault in _own_faults(certificate, trust_domain, now))
    if chain and roots:
        faults.extend(_chain_faults(named))
    if chain:
        faults.extend(_constraint_faults(named[: len(chain)], trust_domain))
        faults.extend(_key_faults(names.key, key, named[0][0], chain[0]))
    if roots:
        faults.extend(_key_faults(names.root_key, root_key, names.root, roots[0]))
    if not faults and key is not None:
        try:
            return Authority(trust_domain, tuple(chain), roots[0], LocalSigner(key))
        except InputError as error:
            faults.append(str(error))
    raise AuthorityError(faults)


def read_certificates(data: bytes, *, what: str, limit: int, most: int) -> list[x509.Certificate]:
    """The certificates of a PEM file, in their order.

    Raises:
        InputError: It is not PEM, holds anything but certificates, more than `most` of them, one
            longer than 16 KiB, or one that does not parse.
    """
    certificates: list[x509.Certificate] = []
    blocks = read_blocks(data, what=what, limit=limit)
    if len(blocks) > most:
        msg = f"{what} holds {len(blocks)} PEM blocks, at most {most} are allowed; remove the rest"
        raise InputError(msg)
    for at, block in enumerate(blocks):
        position = _position(what, at, len(blocks))
        if block.label != "CERTIFICATE":
            msg = f"{position}: found PEM {block.label}, wanted CERTIFICATE; remove it"
            raise InputError(msg)
        certificates.append(parse_certificate(block.der, what=position)[0])
    return certificates


def _certificates(
    what: str, data: bytes | None, most: int, faults: list[str]
) -> list[x509.Certificate]:
    if not data:
        faults.append(f"{what}: it is missing; {_RESTORE}")
        return []
    try:
        return read_certificates(data, what=what, limit=MAX_CHAIN_PEM_BYTES, most=most)
    except InputError as error:
        faults.append(str(error))
        return []


def _private_key(what: str, data: bytes | None, faults: list[str]) -> PrivateKey | None:
    if not data:
        faults.append(f"{what}: it is missing; {_RESTORE}")
        return None
    try:
        return load_private_key(data, what=what)
    except InputError as error:
        faults.append(str(error))
        return None


def _position(what: str, at: int, count: int) -> str:
    return what if count == 1 else f"{what}, certificate {at + 1}"


def _own_faults(
    certificate: x509.Certificate, trust_domain: TrustDomain, now: datetime
) -> Iterator[str]:
    """What is wrong with one certificate by itself."""
    try:
        view = read_certificate(certificate.public_bytes(Encoding.DER))
        validity = Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        yield from svid.authority_faults(view)
        uris = view.uri_names
    except InputError as error:
        yield str(error)
        return
    if now < validity.not_before:
        yield (
            f"it is not valid before {validity.not_before.isoformat()}, and it is "
            f"{now.isoformat(timespec='seconds')}; check the clock"
        )
    elif not validity.contains(now):
        yield (
            f"it expired at {validity.not_after.isoformat()}, and it is "
            f"{now.isoformat(timespec='seconds')}; replace it"
        )
    yield from (
        f"subjectAltName: {quoted(uri)} is not the trust domain {trust_domain.id_string}"
        for uri in uris
        if uri != trust_domain.id_string
    )
    try:
        check_public_key(certificate.public_key())
    except (InputError, *LIBRARY_ERRORS) as error:
        yield str(error)


def _chain_faults(named: list[tuple[str, x509.Certificate]]) -> Iterator[str]:
    """What is wrong between each certificate and the next; the last is the root."""
    root = named[-1][1]
    if named[0][1] == root:
        yield (
            f"{named[0][0]}: it is the root itself; let the root sign an intermediate, "
            "and give that one"
        )
        return
    for what, certificate in named[1:-1]:
        if certificate == root:
            yield f"{what}: it is the root, which {named[-1][0]} holds already; remove it"
            return
    for below, (what, certificate) in enumerate(named):
        is_root = below == len(named) - 1
        above, parent = named[below] if is_root else named[below + 1]
        by = "itself" if is_root else above
        try:
            certificate.verify_directly_issued_by(parent)
        except LIBRARY_ERRORS:
            yield f"{what}: it is not signed by {by}; give the certificates that belong together"
            continue
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name not in _STRONG_HASHES:
            yield f"{what}: it is signed with {digest.name}; have it signed with SHA-256 or better"
        if not is_root and _named_key(certificate) != _own_key(parent):
            yield f"{what}: its authorityKeyIdentifier is not the key identifier of {above}"
        constraints = _extension(certificate, x509.BasicConstraints)
        path_length = None if constraints is None else constraints.path_length
        if path_length is not None and path_length < below:
            yield f"{what}: its path length is {path_length}, and {below} authorities are below it"


def _constraint_faults(
    named: list[tuple[str, x509.Certificate]], trust_domain: TrustDomain
) -> Iterator[str]:
    """RFC 5280 §4.2.1.10: each certificate allows the trust domain, the issuing one nothing else.

    Only URIs are looked at. The first certificate is the issuing one.
    """
    for at, (what, certificate) in enumerate(named):
        constraints = _extension(certificate, x509.NameConstraints)
        permitted = _uri_hosts(constraints.permitted_subtrees if constraints else None)
        excluded = _uri_hosts(constraints.excluded_subtrees if constraints else None)
        if at == 0 and not permitted:
            yield (
                f"{what}: nameConstraints: no URI is permitted; constrain it to the URI host "
                f"{trust_domain}"
            )
        wrong = (
            permitted != [trust_domain.name] if at == 0 else not _covers(permitted, trust_domain)
        )
        if permitted and wrong:
            found = ", ".join(map(quoted, permitted))
            yield (
                f"{what}: nameConstraints: it is constrained to the URI host {found}, but serves "
                f"the trust domain {trust_domain}; give the authority of this trust domain"
            )
        if _covers(excluded, trust_domain):
            yield (
                f"{what}: nameConstraints: the URI host {trust_domain} is excluded; give the "
                "authority of this trust domain"
            )


def _uri_hosts(names: list[x509.GeneralName] | None) -> list[str]:
    return [name.value for name in names or () if isinstance(name, x509.UniformResourceIdentifier)]


def _covers(hosts: list[str], trust_domain: TrustDomain) -> bool:
    """Whether one of the hosts is the trust domain, or `.` and a domain that it is beneath."""
    name = trust_domain.name
    return any(name == host or (host[:1] == "." and name.endswith(host)) for host in hosts)


def _key_faults(
    what: str, key: PrivateKey | None, certificate_name: str, certificate: x509.Certificate
) -> Iterator[str]:
    if key is None:
        return
    try:
        matches = key.public_key() == certificate.public_key()
    except LIBRARY_ERRORS:
        return  # the certificate's own faults name it
    if not matches:
        yield (
            f"{what}: it is not the private key of {certificate_name}; give the two that belong "
            "together"
        )


def _own_key(certificate: x509.Certificate) -> bytes | None:
    identifier = _extension(certificate, x509.SubjectKeyIdentifier)
    return None if identifier is None else identifier.digest


def _named_key(certificate: x509.Certificate) -> bytes | None:
    identifier = _extension(certificate, x509.AuthorityKeyIdentifier)
    return None if identifier is None else identifier.key_identifier


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
