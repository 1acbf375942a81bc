"""A CA to throw away: real certificates in microseconds, the same ones on every run.

Keys, serial numbers and times come from a seed and a fixed present. Ed25519 signs
deterministically, so with the default algorithm every byte repeats. Nothing here is secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

from agentid.identity import SerialNumber, SpiffeId, TrustDomain, Validity
from agentid.issuers.authority_records import IssuingEntry, JwtEntry, Records, RootEntry
from agentid.issuers.authority_set import file_names, with_files
from agentid.issuers.jwt_keys import jwt_file
from agentid.pki import (
    Authority,
    CertifiedKey,
    KeyAlgorithm,
    Leaf,
    LeafProfile,
    LocalSigner,
    PrivateKey,
    PublicKey,
    generate,
    make_intermediate,
    make_root,
    prepare,
    sign,
    to_pkcs8_pem,
)
from agentid.pki.authority import authority_id
from agentid.pki.jwt_bundle import jwt_jwk
from agentid.pki.jwt_svid import JwtSigningKey
from agentid.pki.load import ISSUING_CERTIFICATE, ISSUING_KEY, ROOT_CERTIFICATE, ROOT_KEY
from agentid.policy.authorities import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.issuers import AuthoritySet
    from agentid.pki import X509Bundle
    from agentid.pki.authorization import AgentAuthorization

__all__ = [
    "NOON",
    "Issued",
    "LeafOptions",
    "LeafParts",
    "ThrowawayCA",
]

NOON: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
"""The present of tests; `ManualClock` starts there as well."""

_BACKDATE: Final = timedelta(seconds=60)
_CURVES: Final = {
    KeyAlgorithm.ECDSAP256: ec.SECP256R1(),
    KeyAlgorithm.ECDSAP384: ec.SECP384R1(),
    KeyAlgorithm.ECDSAP521: ec.SECP521R1(),
}
_ML_DSA: Final[dict[KeyAlgorithm, Callable[[bytes], PrivateKey]]] = {
    KeyAlgorithm.MLDSA44: mldsa.MLDSA44PrivateKey.from_seed_bytes,
    KeyAlgorithm.MLDSA65: mldsa.MLDSA65PrivateKey.from_seed_bytes,
    KeyAlgorithm.MLDSA87: mldsa.MLDSA87PrivateKey.from_seed_bytes,
}


class LeafOptions(TypedDict, total=False):
    """What `LeafProfile` can be without."""

    policy_oid: str | None
    cps_uri: str | None
    no_rev_avail: bool
    crl_uri: str | None
    ocsp_uri: str | None
    ca_issuers_uri: str | None
    authorization: AgentAuthorization | None
    authorization_critical: bool


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf and its private key, which `repr` does not show."""

    leaf: Leaf
    private_key: PrivateKey = field(repr=False)


@dataclass(slots=True)
class LeafParts:
    """The parts of a leaf, for a tweak to spoil."""

    serial_number: int
    issuer: x509.Name
    subject: x509.Name
    not_before: datetime
    not_after: datetime
    public_key: PublicKey
    extensions: list[tuple[x509.ExtensionType, bool]]

    def put(self, extension: x509.ExtensionType, *, critical: bool = False) -> None:
        """Replace the extension of the same kind where it stands, or add one."""
        for at, (present, _) in enumerate(self.extensions):
            if present.oid == extension.oid:
                self.extensions[at] = (extension, critical)
                return
        self.extensions.append((extension, critical))

    def drop(self, kind: type[x509.ExtensionType]) -> None:
        """Leave the extension of this kind out."""
        self.extensions = [
            (present, critical)
            for present, critical in self.extensions
            if not isinstance(present, kind)
        ]


class ThrowawayCA:
    """A root, a name-constrained intermediate and as many leaves as wanted, without a clock.

    Attributes:
        trust_domain: Whose it is.
        now: The present.
        root: Certificate and key of the root.
        intermediate: Certificate and key of the issuing authority.
        authority: The same, ready for `prepare` and for `BuiltinIssuer`.
    """

    def __init__(
        self,
        trust_domain: str = "example.org",
        *,
        algorithm: KeyAlgorithm = KeyAlgorithm.ED25519,
        now: datetime = NOON,
        lifetime: timedelta = timedelta(days=90),
        seed: str = "",
    ) -> None:
        """Make root and intermediate.

        Args:
            trust_domain: Whose it is.
            algorithm: The key of both, and of leaves unless told otherwise; RSA keys are drawn and
                differ from run to run.
            now: The present.
            lifetime: How long root and intermediate serve.
            seed: Two CAs that differ in seed or trust domain share no key.
        """
        self.trust_domain = TrustDomain.parse(trust_domain)
        self.now = now
        self._algorithm = algorithm
        self._seed = f"{trust_domain}/{seed}"
        self._drawn = 0
        validity = Validity.of(now, lifetime, _BACKDATE)
        self.root: CertifiedKey = make_root(
            self.trust_domain, self.key("root"), validity, self.serial()
        )
        self.intermediate: CertifiedKey = make_intermediate(
            self.root, self.trust_domain, self.key("issuing"), validity, self.serial()
        )
        self.authority = Authority(
            self.trust_domain,
            (self.intermediate.certificate,),
            self.root.certificate,
            LocalSigner(self.intermediate.private_key),
        )

    @property
    def bundle(self) -> X509Bundle:
        """What trusts it."""
        return self.authority.bundle

    @property
    def files(self) -> dict[str, bytes]:
        """The files that `load_authority` reads, private keys included."""
        return {
            ROOT_CERTIFICATE: self.root.certificate_pem,
            ROOT_KEY: self.root.private_key_pem,
            ISSUING_CERTIFICATE: self.intermediate.certificate_pem,
            ISSUING_KEY: self.intermediate.private_key_pem,
        }

    @property
    def authority_set(self) -> AuthoritySet:
        """Root, intermediate and a key for JWT-SVIDs as an issuer keeps them; both sign."""
        jwt = self.jwt_signing_key
        root, issuing = (authority_id(each.certificate) for each in (self.root, self.intermediate))
        names = file_names(issuing, root)
        files = {
            names.root: self.root.certificate_pem,
            names.root_key: self.root.private_key_pem,
            names.chain: self.intermediate.certificate_pem,
            names.key: self.intermediate.private_key_pem,
            jwt_file(jwt.kid): to_pkcs8_pem(self.key("jwt", KeyAlgorithm.ECDSAP256)),
        }
        stored = Records(
            roots=(RootEntry(root, 1, self.now, delivered_at=self.now),),
            issuing=(
                IssuingEntry(issuing, root, 8, "http://responder.test", Stage.SIGNING, self.now),
            ),
            sequence=1,
            jwt_keys=(
                JwtEntry(jwt.kid, jwt_jwk(jwt.public_key), Stage.SIGNING, self.now, 1, self.now),
            ),
        )
        return with_files(None, self.trust_domain, files, stored)

    @property
    def jwt_signing_key(self) -> JwtSigningKey:
        """What signs its JWT-SVIDs."""
        return JwtSigningKey.of(LocalSigner(self.key("jwt", KeyAlgorithm.ECDSAP256)))

    def random(self, octets: int) -> bytes:
        """The next octets of a fixed sequence; stands in for `secrets.token_bytes`."""
        self._drawn += 1
        return self._derive(f"random {self._drawn}")[:octets]

    def serial(self) -> SerialNumber:
        """The next serial number."""
        return SerialNumber.from_random(self.random(16))

    def key(self, label: str, algorithm: KeyAlgorithm | None = None) -> PrivateKey:
        """The private key of this label; the same for the same seed, except for RSA."""
        chosen = algorithm or self._algorithm
        if chosen is KeyAlgorithm.ED25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(self._derive(label)[:32])
        if curve := _CURVES.get(chosen):
            # Not uniform, but inside the order of the smallest curve.
            number = int.from_bytes(self._derive(label)[:31])
            return ec.derive_private_key(number, curve)
        if lattice := _ML_DSA.get(chosen):
            return lattice(self._derive(label)[:32])
        return generate(chosen)

    def spiffe_id(self, name: str = "invoice-reader", namespace: str = "finance") -> SpiffeId:
        """The SPIFFE ID of an agent in this trust domain."""
        return SpiffeId.for_agent(self.trust_domain, namespace, name)

    def profile(
        self,
        name: str = "invoice-reader",
        *,
        key_algorithm: KeyAlgorithm | None = None,
        lifetime: timedelta = timedelta(hours=1),
        **options: Unpack[LeafOptions],
    ) -> LeafProfile:
        """A profile that the authority can sign, valid from the present on, of class assistant."""
        return LeafProfile(
            spiffe_id=self.spiffe_id(name),
            class_name="assistant",
            validity=Validity.of(self.now, lifetime, _BACKDATE, self.authority.not_after),
            key_algorithm=key_algorithm or self._algorithm,
            **options,
        )

    def issue(self, profile: LeafProfile | None = None) -> Issued:
        """A good leaf, made as agentid makes all of them; its key follows from the SPIFFE ID."""
        ordered = profile or self.profile()
        key = self.key(str(ordered.spiffe_id), ordered.key_algorithm)
        return Issued(self.sign(ordered, key.public_key()), key)

    def sign(self, profile: LeafProfile, key: PublicKey) -> Leaf:
        """A good leaf for the key of somebody else."""
        return sign(prepare(profile, key, self.authority, self.serial()), self.authority)

    def issue_tweaked(
        self, tweak: Callable[[LeafParts], object], profile: LeafProfile | None = None
    ) -> x509.Certificate:
        """A leaf that was good until the tweak; signed by the authority without any lint."""
        good = self.issue(profile).leaf.certificate
        parts = LeafParts(
            serial_number=good.serial_number,
            issuer=good.issuer,
            subject=good.subject,
            not_before=good.not_valid_before_utc,
            not_after=good.not_valid_after_utc,
            public_key=self._public_key_of(good),
            extensions=[(each.value, each.critical) for each in good.extensions],
        )
        tweak(parts)
        builder = x509.CertificateBuilder(
            parts.issuer,
            parts.subject,
            parts.public_key,
            parts.serial_number,
            parts.not_before,
            parts.not_after,
        )
        for extension, critical in parts.extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.intermediate.private_key, self.authority.algorithm.signature_hash)

    def _public_key_of(self, certificate: x509.Certificate) -> PublicKey:
        key = certificate.public_key()
        if not isinstance(key, PublicKey):
            message = f"leaves of this CA have listed keys, found {type(key).__name__}"
            raise TypeError(message)
        return key

    def _derive(self, label: str) -> bytes:
        return sha512(f"agentid throwaway {self._seed} {label}".encode()).digest()

    def __repr__(self) -> str:
        """The trust domain."""
        return f"ThrowawayCA({self.trust_domain})"
