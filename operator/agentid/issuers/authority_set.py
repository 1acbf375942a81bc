"""All authorities of one issuer: their records, certificates and keys, as they are kept.

    authorities.json      what the certificates do not say: stages, sequences, times
    root-<id>.crt         a root
    root-<id>.key         its private key, which may be kept elsewhere
    issuing-<id>.crt      an issuing certificate and the intermediates above it, without the root
    issuing-<id>.key      its private key
    jwt-<kid>.key         the private key that signs JWT-SVIDs, as long as it does or will

The files are stored and exchanged together, so that a step of a rotation is there as a whole or not
at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import AuthorityError, InputError
from agentid.identity import SerialNumber, Validity
from agentid.issuers.authority_records import IssuingEntry, Records, RootEntry
from agentid.issuers.jwt_keys import jwt_entry, jwt_file, load_jwt_keys
from agentid.pki import Authority, LocalSigner, X509Bundle, load_private_key
from agentid.pki.authority import authority_id
from agentid.pki.load import FileNames, load_authority, read_certificates
from agentid.pki.pem import MAX_CHAIN_CERTIFICATES, MAX_CHAIN_PEM_BYTES
from agentid.policy.authorities import Authorities, IssuingAuthority, Root, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography import x509

    from agentid.identity import TrustDomain
    from agentid.issuers.jwt_keys import JwtAuthority
    from agentid.pki.jwt_svid import JwtSigningKey

__all__ = [
    "RECORDS_FILE",
    "AuthoritySet",
    "RootAuthority",
    "entries_of",
    "file_names",
    "fingerprint_of",
    "load_set",
    "with_files",
]

RECORDS_FILE: Final = "authorities.json"
"""The file that holds the records."""

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class RootAuthority:
    """A root.

    Attributes:
        certificate: Self-signed.
        authority: The same with the means to sign; None while its key is kept elsewhere.
    """

    certificate: x509.Certificate
    authority: Authority | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AuthoritySet:
    """All authorities of one issuer, ready to sign.

    Attributes:
        trust_domain: Whose identities they sign.
        records: What is known of them besides their certificates.
        issuing: By id, with the means to sign.
        roots: By id.
        files: All of it as it is stored, private keys included.
        jwt_keys: Keys for JWT-SVIDs, by `kid`.
    """

    trust_domain: TrustDomain
    records: Authorities
    issuing: Mapping[str, Authority]
    roots: Mapping[str, RootAuthority]
    files: Mapping[str, bytes]
    jwt_keys: Mapping[str, JwtAuthority] = field(default_factory=dict)

    @property
    def signing(self) -> Authority | None:
        """What signs leaves now; None if nothing does."""
        record = self.records.signing
        return None if record is None else self.issuing[record.id]

    @property
    def bundle(self) -> X509Bundle:
        """What verifiers trust: the roots, the newest first."""
        trusted = (each.id for each in self.records.roots if each.trusted)
        roots = tuple(self.roots[name].certificate for name in trusted)
        return X509Bundle(self.trust_domain, roots)

    @property
    def jwt_signing(self) -> JwtSigningKey | None:
        """What signs JWT-SVIDs now; None if nothing does."""
        record = self.records.jwt_key_at(Stage.SIGNING)
        return None if record is None else self.jwt_keys[record.kid].signing

    @property
    def jwks(self) -> tuple[str, ...]:
        """What verifies JWT-SVIDs: the JWKs that stand in the SPIFFE bundle, the newest first."""
        return tuple(self.jwt_keys[each.kid].jwk for each in self.records.jwt_keys)

    @property
    def jwt_faults(self) -> tuple[str, ...]:
        """What is wrong with private keys for JWT-SVIDs."""
        return tuple(each.fault for each in self.jwt_keys.values() if each.fault)

    def with_records(self, records: Authorities) -> AuthoritySet:
        """The same with other records; what they name no more is forgotten, keys included."""
        roots = {each.id: self.roots[each.id] for each in records.roots}
        issuing = {each.id: self.issuing[each.id] for each in records.issuing}
        kept = {
            name
            for each in (*(("root", one) for one in roots), *(("issuing", one) for one in issuing))
            for name in (f"{each[0]}-{each[1]}.crt", f"{each[0]}-{each[1]}.key")
        }
        # A damaged one stays as it is, for whoever is to mend it.
        kept |= {jwt_file(each.kid) for each in records.jwt_keys if each.stage is not Stage.RETIRED}
        jwt_keys = {each.kid: self.jwt_keys[each.kid].moved(each) for each in records.jwt_keys}
        files = {name: content for name, content in self.files.items() if name in kept}
        files[RECORDS_FILE] = _entries(records, jwt_keys).encode()
        return AuthoritySet(self.trust_domain, records, issuing, roots, files, jwt_keys)

    def __repr__(self) -> str:
        """The ids; never a key."""
        return f"AuthoritySet({self.trust_domain}: {', '.join((*self.roots, *self.issuing))})"


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER, lower-case hexadecimal."""
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def file_names(issuing: str, root: str) -> FileNames:
    """How the files of an authority, and of its root, are named."""
    return FileNames(
        f"issuing-{issuing}.crt", f"issuing-{issuing}.key", f"root-{root}.crt", f"root-{root}.key"
    )


def load_set(files: Mapping[str, bytes], trust_domain: TrustDomain) -> AuthoritySet:
    """Read stored authorities, and verify everything about them that can be verified.

    Whether they are valid now is not asked: one that has expired is replaced by the rotation.

    Raises:
        AuthorityError: Something is wrong; every fault that was found is listed, and nothing is
            repaired.
    """
    if RECORDS_FILE not in files:
        fault = f"{RECORDS_FILE}: it is missing; restore it from a backup"
        raise AuthorityError((fault,))
    try:
        stored = Records.decode(files[RECORDS_FILE])
    except InputError as error:
        raise AuthorityError((f"{RECORDS_FILE}: {error}",)) from error
    faults: list[str] = []
    roots = {each.id: _load_root(each, files, trust_domain, faults) for each in stored.roots}
    issuing = {each.id: _load_issuing(each, files, trust_domain, faults) for each in stored.issuing}
    jwt_keys = load_jwt_keys(stored.jwt_keys, files, faults)
    if faults:
        raise AuthorityError(tuple(dict.fromkeys(faults)))
    whole_roots = {name: root for name, root in roots.items() if root is not None}
    whole_issuing = {name: one for name, one in issuing.items() if one is not None}
    records = Authorities(
        roots=tuple(_root_record(each, whole_roots[each.id]) for each in stored.roots),
        issuing=tuple(_issuing_record(each, whole_issuing[each.id]) for each in stored.issuing),
        sequence=stored.sequence,
        required=stored.required,
        distrusted=stored.distrusted,
        jwt_keys=tuple(each.record for each in jwt_keys.values()),
    )
    return AuthoritySet(trust_domain, records, whole_issuing, whole_roots, dict(files), jwt_keys)


def _root_record(entry: RootEntry, root: RootAuthority) -> Root:
    """The record of a root: what is stored, and what its certificate says."""
    certificate = root.certificate
    return Root(
        id=entry.id,
        fingerprint=fingerprint_of(certificate),
        validity=Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc),
        since=entry.since,
        published_at=entry.published_at,
        has_key=root.authority is not None,
        trusted=entry.trusted,
        revoked=entry.revoked,
        delivered_at=entry.delivered_at,
    )


def _issuing_record(entry: IssuingEntry, authority: Authority) -> IssuingAuthority:
    """The record of an issuing authority, likewise."""
    return IssuingAuthority(
        id=entry.id,
        fingerprint=fingerprint_of(authority.certificate),
        serial=SerialNumber(authority.certificate.serial_number),
        validity=authority.validity,
        root=entry.root,
        shards=entry.shards,
        responder=entry.responder,
        stage=entry.stage,
        since=entry.since,
    )


def _entries(records: Authorities, jwt_keys: Mapping[str, JwtAuthority]) -> Records:
    return Records(
        roots=tuple(
            RootEntry(
                each.id,
                each.since,
                each.published_at,
                each.trusted,
                each.revoked,
                each.delivered_at,
            )
            for each in records.roots
        ),
        issuing=tuple(
            IssuingEntry(each.id, each.root, each.shards, each.responder, each.stage, each.since)
            for each in records.issuing
        ),
        sequence=records.sequence,
        required=records.required,
        distrusted=records.distrusted,
        jwt_keys=tuple(jwt_entry(jwt_keys[each.kid]) for each in records.jwt_keys),
    )


def _load_root(
    entry: RootEntry, files: Mapping[str, bytes], trust_domain: TrustDomain, faults: list[str]
) -> RootAuthority | None:
    names = file_names("", entry.id)
    try:
        certificate = _first(names.root, files)
        _check_id(entry.id, certificate, names.root)
        key_pem = files.get(names.root_key)
        if not key_pem:
            return RootAuthority(certificate, None)
        key = load_private_key(key_pem, what=names.root_key)
        if key.public_key() != certificate.public_key():
            faults.append(
                f"{names.root_key}: it is not the private key of {names.root}; give the two that "
                "belong together"
            )
            return RootAuthority(certificate, None)
        authority = Authority(trust_domain, (certificate,), certificate, LocalSigner(key))
    except InputError as error:
        faults.append(str(error))
        return None
    return RootAuthority(certificate, authority)


def _load_issuing(
    entry: IssuingEntry, files: Mapping[str, bytes], trust_domain: TrustDomain, faults: list[str]
) -> Authority | None:
    names = file_names(entry.id, entry.root)
    try:
        authority = load_authority(
            chain_pem=files.get(names.chain),
            key_pem=files.get(names.key),
            root_pem=files.get(names.root),
            trust_domain=trust_domain,
            now=_a_moment_of(names, files),
            names=names,
        )
        _check_id(entry.id, authority.certificate, names.chain)
    except AuthorityError as error:
        faults.extend(error.faults)
        return None
    except InputError as error:
        faults.append(str(error))
        return None
    return authority


def _check_id(wanted: str, certificate: x509.Certificate, what: str) -> None:
    if authority_id(certificate) != wanted:
        msg = f"{what}: it is another authority's; restore the one that was there"
        raise InputError(msg)


def _a_moment_of(names: FileNames, files: Mapping[str, bytes]) -> datetime:
    """A moment at which the chain is valid, if there is any."""
    chain = [each for name in (names.chain, names.root) for each in _certificates(name, files)]
    return max(certificate.not_valid_before_utc for certificate in chain) + _SECOND


def _first(name: str, files: Mapping[str, bytes]) -> x509.Certificate:
    return _certificates(name, files)[0]


def _certificates(name: str, files: Mapping[str, bytes]) -> list[x509.Certificate]:
    content = files.get(name)
    if not content:
        msg = f"{name}: it is missing; restore it from a backup"
        raise InputError(msg)
    return read_certificates(
        content, what=name, limit=MAX_CHAIN_PEM_BYTES, most=MAX_CHAIN_CERTIFICATES
    )


def with_files(
    have: AuthoritySet | None,
    trust_domain: TrustDomain,
    files: Mapping[str, bytes],
    records: Records,
) -> AuthoritySet:
    """The set with files added and other records, verified as when it is read."""
    before = {} if have is None else have.files
    return load_set({**before, **files, RECORDS_FILE: records.encode()}, trust_domain)


def entries_of(have: AuthoritySet | None) -> Records:
    """The records of a set as they are stored."""
    return Records() if have is None else _entries(have.records, have.jwt_keys)
