"""Certification paths, RFC 5280 §6: from a leaf to an authority that is trusted.

The library's own validation (`cryptography.x509.verification`) cannot do this: it refuses a chain
with a name constraint on URIs ("unsupported name constraint"), which every intermediate of ours
has, and it refuses Ed25519 and ML-DSA keys.

Every certificate policy is accepted; where an authority requires one, there has to be one. Nothing
is fetched, and no path is searched for beyond the chain that is given. Revocation is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.distinguished import same_name
from agentid.pki.keys import public_key_der
from agentid.pki.name_constraints import (
    DIRECTORY,
    EMAIL,
    GeneralName,
    NameConstraints,
    check_names,
    general_names,
    read_constraints,
)
from agentid.pki.parse import parse_certificate
from agentid.pki.policy_tree import POLICY_EXTENSIONS, check_policies
from agentid.pki.strength import STRICT_KEYS, KeyPolicy, check_signature
from agentid.pki.view import CertificateView, Oid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

__all__ = ["Path", "PathCertificate", "PathRules", "SignatureCheck", "find_paths", "signed_by"]

_SECOND: Final = timedelta(seconds=1)
_V3: Final = 2
_ANY_PURPOSE: Final = "2.5.29.37.0"
_EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
_EMPTY_NAME: Final = b"\x30\x00"

# What a critical extension must be one of.
_UNDERSTOOD: Final = POLICY_EXTENSIONS | {
    Oid.SUBJECT_KEY_IDENTIFIER,
    Oid.KEY_USAGE,
    Oid.SUBJECT_ALT_NAME,
    Oid.BASIC_CONSTRAINTS,
    Oid.NAME_CONSTRAINTS,
    Oid.CERTIFICATE_POLICIES,
    Oid.AUTHORITY_KEY_IDENTIFIER,
    Oid.EXT_KEY_USAGE,
    Oid.CRL_DISTRIBUTION_POINTS,  # for whoever looks at revocation
}

SignatureCheck: TypeAlias = "Callable[[PathCertificate, PathCertificate], None]"


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


@dataclass(frozen=True, slots=True)
class PathRules:
    """What a verifier asks of a path beyond RFC 5280.

    Attributes:
        keys: Which keys and signatures are strong enough.
        purposes: Dotted OIDs that every authority below the trust anchor must allow, if it has an
            extKeyUsage at all. RFC 5280 leaves that open; OpenSSL, Go and browsers ask it.
        understood: Dotted OIDs of further extensions that the caller processes, so that they may
            be critical.
    """

    keys: KeyPolicy = STRICT_KEYS
    purposes: frozenset[str] = frozenset()
    understood: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Path:
    """A path whose signatures, names and constraints hold; the time is not looked at yet.

    Attributes:
        certificates: Leaf first, without the trust anchor.
        anchor: The trusted authority that signed the last of them.
    """

    certificates: tuple[PathCertificate, ...]
    anchor: PathCertificate

    @property
    def leaf(self) -> PathCertificate:
        """The certificate that the path is about."""
        return self.certificates[0]

    @property
    def whole(self) -> tuple[PathCertificate, ...]:
        """Leaf first, the trust anchor last."""
        return (*self.certificates, self.anchor)

    def check_time(self, at: datetime) -> None:
        """Ask that every certificate of the path, trust anchor included, is valid at a time.

        Both ends count, all of the last second does (RFC 5280 §4.1.2.5).

        Args:
            at: Aware.

        Raises:
            VerificationError: NotYetValid or Expired.
        """
        for position, each in enumerate(self.whole):
            not_before, not_after = each.view.not_before, each.view.not_after
            if at < not_before:
                msg = (
                    f"{self.label(position)}: it is not valid before {not_before.isoformat()}, and "
                    f"the time is {at.isoformat(timespec='seconds')}; check the clock"
                )
                raise VerificationError(VerificationReason.NOT_YET_VALID, msg)
            # Not `not_after + a second`: there is none after the last of the year 9999.
            if at - _SECOND >= not_after:
                msg = (
                    f"{self.label(position)}: it expired at {not_after.isoformat()}, and the time "
                    f"is {at.isoformat(timespec='seconds')}; ask for a new one"
                )
                raise VerificationError(VerificationReason.EXPIRED, msg)

    def label(self, position: int) -> str:
        """How messages name the certificate at a position of `whole`."""
        if position == 0:
            return "leaf"
        return "trust anchor" if position == len(self.certificates) else f"intermediate {position}"


def find_paths(
    chain: Sequence[PathCertificate],
    anchors: Sequence[PathCertificate],
    rules: PathRules,
    *,
    check: SignatureCheck | None = None,
) -> tuple[Path, ...]:
    """The paths that the chain makes to the trust anchors, at any time.

    Each certificate of the chain must be signed by the next. The chain may end anywhere above the
    certificate that a trust anchor signed, so that the root may be sent along, and so may
    cross-certificates for verifiers who trust an older root.

    1. Signatures, from the trust anchor down, so that nothing is believed that nobody signed.
    2. Key strength, critical extensions.
    3. Authorities: cA, keyCertSign, path lengths, purposes.
    4. Names of each certificate against the constraints of all above it.
    5. Certificate policies, where an authority requires one.

    The caller still owes `Path.check_time`, and the rules of the leaf.

    Args:
        chain: Leaf first.
        anchors: Authorities that are trusted as they are; their own signature is not looked at.
        rules: What else is asked.
        check: `signed(child, issuer)`, which raises as `check_signature` does; for callers who
            remember what held.

    Returns:
        At least one, the shortest first.

    Raises:
        VerificationError: There is none; the reason is that of the shortest path that could be.
    """
    refusals: list[VerificationError] = []
    found: list[Path] = []
    for count, top in enumerate(chain, start=1):
        for anchor in anchors:
            if not _names(top, anchor):
                continue
            path = Path(tuple(chain[:count]), anchor)
            try:
                _check(path, rules, check or signed_by)
            except VerificationError as error:
                refusals.append(error)
            else:
                found.append(path)
        if count < len(chain) and not _names(top, chain[count]):
            msg = (
                f"certificate {count} of the chain does not name certificate {count + 1} as its "
                "issuer; send each certificate followed by the one that signed it, leaf first"
            )
            refusals.append(VerificationError(VerificationReason.BROKEN_CHAIN, msg))
            break
    if found:
        return tuple(found)
    if refusals:
        raise refusals[0]
    msg = (
        "the chain leads to no authority of the bundle; the bundle is out of date, "
        "an intermediate is missing, or the leaf was issued by somebody else"
    )
    raise VerificationError(VerificationReason.UNTRUSTED_ROOT, msg)


def signed_by(child: PathCertificate, issuer: PathCertificate) -> None:
    """Verify the signature of a certificate under the key of another.

    Raises:
        VerificationError: BadSignature or WeakKey.
    """
    check_signature(child.certificate, issuer.key)


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


def _names(child: PathCertificate, issuer: PathCertificate) -> bool:
    try:
        return child.issued_by(issuer)
    except InputError:
        return False


def _check(path: Path, rules: PathRules, check: SignatureCheck) -> None:
    whole = path.whole
    above: list[NameConstraints] = []
    for position in range(len(whole) - 1, -1, -1):
        each, what = whole[position], path.label(position)
        if position < len(path.certificates):
            _check_signed(each, whole[position + 1], check, what)
        rules.keys.check(each.key, what=what)
        _check_critical(each, rules, what)
        # Authorities below it, self-issued ones left out: they lengthen no path (§6.1.4 l).
        below = sum(not other.self_issued for other in whole[1:position])
        # RFC 5280 §6.1.3: constraints do not apply to self-issued certificates but the last.
        if position == 0 or not each.self_issued:
            _check_constraints(each, above, what)
        if position == 0:
            continue
        _check_authority(each, below, what)
        if position < len(path.certificates):
            _check_purposes(each, rules, what)
        if each.constraints is not None:
            above.append(each.constraints)
    check_policies([(each.view, each.self_issued) for each in reversed(path.certificates)])


def _check_signed(
    each: PathCertificate, issuer: PathCertificate, check: SignatureCheck, what: str
) -> None:
    try:
        check(each, issuer)
    except VerificationError as error:
        msg = f"{what}: {error}"
        raise VerificationError(error.reason, msg) from error


def _check_critical(each: PathCertificate, rules: PathRules, what: str) -> None:
    """RFC 5280 §6.1.4 o, §6.1.5 f."""
    for oid, extension in each.view.extensions.items():
        if extension.critical and oid not in _UNDERSTOOD and oid not in rules.understood:
            msg = f"{what}: the critical extension {oid} is not understood, so it is refused"
            raise VerificationError(VerificationReason.UNKNOWN_CRITICAL, msg)


def _check_constraints(each: PathCertificate, above: list[NameConstraints], what: str) -> None:
    if not above:
        return
    try:
        names = tuple(each.constrained_names())
    except InputError as error:
        msg = f"{what}: {error}"
        raise VerificationError(VerificationReason.NAME_CONSTRAINT, msg) from error
    check_names(names, above, what=what)


def _check_authority(each: PathCertificate, below: int, what: str) -> None:
    if not each.is_authority:
        msg = f"{what}: it signed a certificate and is not a CA (basicConstraints)"
        raise VerificationError(VerificationReason.NOT_AN_AUTHORITY, msg)
    if each.key_usage is not None and "keyCertSign" not in each.key_usage:
        msg = f"{what}: it signed a certificate, which its keyUsage does not allow"
        raise VerificationError(VerificationReason.NOT_AN_AUTHORITY, msg)
    if each.path_length is not None and below > each.path_length:
        msg = (
            f"{what}: its path length allows {each.path_length} authorities below it, "
            f"and {below} are there"
        )
        raise VerificationError(VerificationReason.PATH_TOO_LONG, msg)


def _check_purposes(each: PathCertificate, rules: PathRules, what: str) -> None:
    allowed = each.purposes
    if allowed is None or _ANY_PURPOSE in allowed:
        return
    missing = sorted(rules.purposes.difference(allowed))
    if missing:
        msg = f"{what}: its extKeyUsage does not allow it to sign for the purpose {missing[0]}"
        raise VerificationError(VerificationReason.WRONG_PURPOSE, msg)
