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

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.pki.name_constraints import (
    NameConstraints,
    check_names,
)
from agentid.pki.path_certificate import PathCertificate
from agentid.pki.policy_tree import POLICY_EXTENSIONS, check_policies
from agentid.pki.strength import STRICT_KEYS, KeyPolicy, check_signature
from agentid.pki.view import Oid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

__all__ = ["Path", "PathCertificate", "PathRules", "SignatureCheck", "find_paths", "signed_by"]

_SECOND: Final = timedelta(seconds=1)
_ANY_PURPOSE: Final = "2.5.29.37.0"

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
