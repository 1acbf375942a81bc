"""A leaf is prepared, linted, signed: in this order and never otherwise.

    LeafProfile + public key + serial ──prepare──► PreparedLeaf ──sign──► Leaf
                                        │                         │
             assembled; its bytes taken apart again by `lint`     │
                                  the same bytes signed by the authority, and the signature verified

`sign` takes nothing but a `PreparedLeaf`, and each only once, so no serial number is signed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509

from agentid.errors import InputError, InternalError
from agentid.pki import lint, schema
from agentid.pki.assemble import certificate, leaf_tbs
from agentid.pki.keys import PublicKey, check_public_key, public_key_der, verify_signature
from agentid.pki.pem import certificate_pem

if TYPE_CHECKING:
    from agentid.identity import SerialNumber, SpiffeId, Validity
    from agentid.pki.authority import Authority
    from agentid.pki.profile import LeafProfile

__all__ = [
    "Leaf",
    "PreparedLeaf",
    "key_identifier",
    "prepare",
    "sign",
]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A signed leaf with the chain that leads to the root.

    Attributes:
        der: The certificate.
        chain_der: The certificate, then the intermediates upwards; the root is left out.
        chain_pem: `chain_der` as PEM, the contents of `tls.crt`.
        spiffe_id: The agent that it names.
        serial: Its serial number.
        validity: Its period.
        fingerprint: SHA-256 over `der`, in lower-case hexadecimal.
    """

    der: bytes
    chain_der: tuple[bytes, ...]
    chain_pem: bytes
    spiffe_id: SpiffeId
    serial: SerialNumber
    validity: Validity
    fingerprint: str

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed anew at each call."""
        return x509.load_der_x509_certificate(self.der)

    def __repr__(self) -> str:
        """What identifies it; its bytes are left out."""
        return f"Leaf({self.spiffe_id}, serial={self.serial}, validity={self.validity})"


class PreparedLeaf:
    """A leaf that has passed the lint and waits for its one signature; it cannot be changed."""

    __slots__ = ("_authority", "_profile", "_serial", "_tbs", "_waiting")

    def __init__(
        self, profile: LeafProfile, serial: SerialNumber, tbs: bytes, authority: Authority
    ) -> None:
        """Only `prepare` makes one.

        Args:
            profile: What it says.
            serial: Its serial number.
            tbs: The TBSCertificate in DER, as linted and as it will be signed.
            authority: Who may sign it.
        """
        self._profile = profile
        self._serial = serial
        self._tbs = tbs
        self._authority = authority
        self._waiting = [tbs]

    @property
    def profile(self) -> LeafProfile:
        """What it says."""
        return self._profile

    @property
    def serial(self) -> SerialNumber:
        """Its serial number."""
        return self._serial

    @property
    def tbs(self) -> bytes:
        """The TBSCertificate in DER."""
        return self._tbs

    def take(self, authority: Authority) -> bytes:
        """Hand out the bytes to sign, once, also when threads ask at the same time.

        Raises:
            InternalError: They were handed out before, or were prepared for another authority.
        """
        if self._authority is not authority:
            msg = f"the leaf {self._serial} was prepared for another authority; prepare it again"
            raise InternalError(msg)
        try:
            return self._waiting.pop()  # of several threads, one gets it
        except IndexError as error:
            msg = f"the leaf {self._serial} was signed already; a serial is never signed twice"
            raise InternalError(msg) from error

    def __repr__(self) -> str:
        """What identifies it."""
        return f"PreparedLeaf({self._profile.spiffe_id}, serial={self._serial})"


def prepare(
    profile: LeafProfile, public_key: PublicKey, authority: Authority, serial: SerialNumber
) -> PreparedLeaf:
    """Build the bytes that are to be signed, and lint them.

    That the serial has never been used is for the caller to see to, and so is the proof that
    whoever asks holds the private key.

    Raises:
        InputError: The key is weak, not of the profile's algorithm, or the authority's own; the
            SPIFFE ID is of another trust domain; or the validity reaches beyond the chain's.
        InternalError: The lint refuses what was built.
    """
    algorithm = check_public_key(public_key)
    if algorithm is not profile.key_algorithm:
        msg = f"public key: found {algorithm}, but the profile asks for {profile.key_algorithm}"
        raise InputError(msg)
    if profile.spiffe_id.trust_domain != authority.trust_domain:
        msg = (
            f"SPIFFE ID: {profile.spiffe_id} is not of the trust domain {authority.trust_domain} "
            "of the issuer; use the issuer of its own trust domain"
        )
        raise InputError(msg)
    if not profile.validity.within(authority.validity):
        msg = (
            f"validity: {profile.validity} reaches beyond that of the issuing chain, "
            f"{authority.validity}; ask for less, or renew the authority"
        )
        raise InputError(msg)
    spki = public_key_der(public_key)
    if spki == authority.public_key_der:
        msg = "public key: it is the key of the issuing authority; generate one for the agent"
        raise InputError(msg)

    tbs = leaf_tbs(profile, spki, key_identifier(spki), authority, serial)
    expected = lint.Expected(
        spiffe_id=profile.spiffe_id,
        serial=serial,
        validity=profile.validity,
        public_key=spki,
        policy_oid=profile.policy_oid,
        cps_uri=profile.cps_uri,
        no_rev_avail=profile.no_rev_avail,
        crl_uri=profile.crl_uri,
        ocsp_uri=profile.ocsp_uri,
        ca_issuers_uri=profile.ca_issuers_uri,
        authorization=None if profile.authorization is None else profile.authorization.der,
        authorization_critical=profile.authorization_critical,
        issuer=authority.subject_der,
        issuer_key_id=authority.key_id,
        issuer_algorithm=authority.algorithm,
        issuer_validity=authority.validity,
    )
    if faults := lint.faults(tbs, expected):
        msg = (
            f"the leaf for {profile.spiffe_id} of class {profile.class_name} fails the lint: "
            f"{'; '.join(faults)}"
        )
        raise InternalError(msg)
    return PreparedLeaf(profile, serial, tbs, authority)


def sign(prepared: PreparedLeaf, authority: Authority) -> Leaf:
    """Sign exactly the bytes that were linted, and verify the signature.

    Each signature of a signer elsewhere is verified; of one in this process where that costs less
    than signing, else a sample (`Authority.verifies_one_in`).

    The caller still owes the record: the serial must be durably on the ledger before anything of
    the leaf leaves the process.

    Raises:
        InternalError: The leaf was signed already or prepared for another authority, or the
            signature does not verify.
        UnavailableError: The signer's key is away; prepare anew with a fresh serial.
    """
    tbs = prepared.take(authority)
    signature = authority.signer.sign(tbs)
    if prepared.serial.value % authority.verifies_one_in == 0:
        try:
            verify_signature(authority.public_key, authority.algorithm, signature, tbs)
        except InputError as error:
            msg = f"the signer of {authority.trust_domain} made a signature that does not verify"
            raise InternalError(msg) from error
    # RFC 5280 §4.1.1.2: the algorithm outside is that inside, which the lint has seen.
    der = certificate(tbs, authority.signature_algorithm_der, signature)
    return Leaf(
        der=der,
        chain_der=(der, *authority.chain_der),
        chain_pem=certificate_pem(der) + authority.chain_pem,
        spiffe_id=prepared.profile.spiffe_id,
        serial=prepared.serial,
        validity=prepared.profile.validity,
        fingerprint=sha256(der).hexdigest(),
    )


def key_identifier(spki: bytes) -> bytes:
    """The subject key identifier of a key, given as SubjectPublicKeyInfo in DER.

    RFC 7093 §2, method 1: the first 160 bits of the SHA-256 of the key's bits. The method of
    RFC 5280 §4.2.1.2 takes SHA-1, which some systems no longer compute.
    """
    key = schema.decode(schema.SubjectPublicKeyInfo, spki, what="public key")
    return sha256(key.subject_public_key.as_bytes()).digest()[:20]
