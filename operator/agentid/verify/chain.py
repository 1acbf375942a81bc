"""What holds of a chain at any time: signatures, names, constraints, and what its leaf says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agentid.errors import (
    InputError,
    UnknownVersionError,
    VerificationError,
    VerificationReason,
)
from agentid.identity import SerialNumber, SpiffeId
from agentid.pki import authorization, svid
from agentid.pki.oids import AUTHORIZATION
from agentid.pki.path import Path, PathCertificate, PathRules, find_paths, signed_by
from agentid.pki.pem import MAX_CHAIN_CERTIFICATES, MAX_CHAIN_PEM_BYTES, read_blocks
from agentid.policy.permissions import Permissions
from agentid.policy.schedule import Schedule
from agentid.verify.agent import AuthorizationState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.pki.authorization import AgentAuthorization
    from agentid.pki.authorized_policy import AuthorizedPolicy
    from agentid.pki.strength import KeyPolicy
    from agentid.verify.bundles import BundleSet

__all__ = ["ChainChecker", "CheckedChain", "permissions_of", "split_chain"]

_REMEMBERED_AUTHORITIES: Final = 256


@dataclass(frozen=True, slots=True)
class CheckedChain:
    """What holds of a chain at any time.

    Attributes:
        spiffe_id: Who the leaf is.
        serial: The serial number of the leaf.
        paths: At least one, to an authority that is trusted.
        authorization: What the leaf says of the agent, or None.
        state: Where its permissions stand, no policy document given.
        permissions: Those in the leaf, or None.
    """

    spiffe_id: SpiffeId
    serial: SerialNumber
    paths: tuple[Path, ...]
    authorization: AgentAuthorization | None
    state: AuthorizationState
    permissions: Permissions | None


class ChainChecker:
    """Checks chains, and remembers those that hold. Safe to use from several threads."""

    __slots__ = ("_authority", "_bundles", "_rules", "_signed", "check")

    def __init__(
        self,
        bundles: BundleSet,
        *,
        keys: KeyPolicy,
        purposes: frozenset[str],
        remembered: int,
    ) -> None:
        """Take what is trusted; the arguments are those of `Verifier`."""
        self._bundles = bundles
        self._rules = PathRules(keys, purposes, frozenset({AUTHORIZATION}))
        # Each by its bytes or by the object that the first cache gives; a refusal is not kept.
        self._authority = lru_cache(_REMEMBERED_AUTHORITIES)(_read_intermediate)
        self._signed = lru_cache(_REMEMBERED_AUTHORITIES)(signed_by)
        self.check = lru_cache(remembered)(self._check)

    def _check(self, chain: tuple[bytes, ...]) -> CheckedChain:
        """Steps 1 to 4 of `Verifier.verify`."""
        certificates = self._parse(chain)
        leaf = certificates[0]
        spiffe_id = _leaf_id(leaf)
        anchors = self._bundles.anchors(spiffe_id.trust_domain)
        if anchors is None:
            msg = (
                f"leaf: it is of the trust domain {spiffe_id.trust_domain}, of which there is no "
                "bundle here; give its bundle if you trust it"
            )
            raise VerificationError(VerificationReason.UNTRUSTED_DOMAIN, msg)
        paths = find_paths(certificates, anchors, self._rules, check=self._check_signature)
        granted, state = _authorization(leaf)
        return CheckedChain(
            spiffe_id=spiffe_id,
            serial=SerialNumber(leaf.view.tbs.serial_number),
            paths=_with_profile(paths),
            authorization=granted,
            state=state,
            permissions=None
            if granted is None or granted.policy is None
            else permissions_of(granted.policy),
        )

    def _parse(self, chain: tuple[bytes, ...]) -> tuple[PathCertificate, ...]:
        try:
            leaf = PathCertificate.parse(chain[0], what="leaf")
            return (leaf, *(self._authority(der) for der in chain[1:]))
        except InputError as error:
            raise VerificationError(VerificationReason.MALFORMED, str(error)) from error

    def _check_signature(self, child: PathCertificate, issuer: PathCertificate) -> None:
        # Authorities come again with every leaf; leaves are remembered with their chain.
        check = self._signed if child.is_authority else signed_by
        check(child, issuer)


def split_chain(chain: bytes | Sequence[bytes]) -> tuple[bytes, ...]:
    """The certificates of a chain in DER, not read yet.

    Raises:
        VerificationError: Malformed.
    """
    if isinstance(chain, bytes):
        try:
            blocks = read_blocks(chain, what="chain", limit=MAX_CHAIN_PEM_BYTES)
        except InputError as error:
            raise VerificationError(VerificationReason.MALFORMED, str(error)) from error
        for block in blocks:
            if block.label != "CERTIFICATE":
                msg = f"chain: found PEM {block.label}, wanted CERTIFICATE; give certificates only"
                raise VerificationError(VerificationReason.MALFORMED, msg)
        chain = [block.der for block in blocks]
    if not 1 <= len(chain) <= MAX_CHAIN_CERTIFICATES:
        msg = (
            f"chain: it has {len(chain)} certificates, from 1 to {MAX_CHAIN_CERTIFICATES} are read"
        )
        raise VerificationError(VerificationReason.MALFORMED, msg)
    return tuple(map(bytes, chain))


def _read_intermediate(der: bytes) -> PathCertificate:
    return PathCertificate.parse(der, what="intermediate")


def _leaf_id(leaf: PathCertificate) -> SpiffeId:
    """X509-SVID §5.2: what a validator asks of a leaf."""
    if leaf.is_authority:
        msg = "leaf: it is the certificate of a CA; give the chain of an agent, its leaf first"
        raise VerificationError(VerificationReason.NOT_A_LEAF, msg)
    faults = svid.leaf_faults(leaf.view)
    if not leaf.issuer_key_id:
        faults = (*faults, "authorityKeyIdentifier: it is missing; strict verifiers ask for it")
    if leaf.constraints is not None:
        faults = (*faults, "nameConstraints: a leaf has none (RFC 5280 §4.2.1.10)")
    if faults:
        msg = f"leaf: {'; '.join(faults)}"
        raise VerificationError(VerificationReason.NOT_AN_SVID, msg)
    return SpiffeId.parse(leaf.view.uri_names[0])


def _with_profile(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The paths whose intermediates keep the rules of signing certificates.

    The trusted authority is left as whoever runs its trust domain made it.
    """
    refusal: VerificationError | None = None
    kept = []
    for path in paths:
        faults = [
            f"{path.label(position)}: {fault}"
            for position, each in enumerate(path.certificates)
            if position
            for fault in (
                *svid.authority_faults(each.view),
                *(() if each.issuer_key_id else ("authorityKeyIdentifier: it is missing",)),
            )
        ]
        if not faults:
            kept.append(path)
        elif refusal is None:
            refusal = VerificationError(VerificationReason.NOT_AN_SVID, "; ".join(faults))
    if refusal is not None and not kept:
        raise refusal
    return tuple(kept)


def _authorization(
    leaf: PathCertificate,
) -> tuple[AgentAuthorization | None, AuthorizationState]:
    extension = leaf.view.extensions.get(AUTHORIZATION)
    if extension is None:
        return None, AuthorizationState.ABSENT
    try:
        granted = authorization.decode(extension.value)
    except InputError as error:
        if extension.critical:  # RFC 5280 §4.2: what cannot be processed
            msg = f"leaf: {error}; the extension is critical, so the certificate is refused"
            raise VerificationError(VerificationReason.UNKNOWN_CRITICAL, msg) from error
        if isinstance(error, UnknownVersionError):
            return None, AuthorizationState.UNKNOWN_VERSION
        return None, AuthorizationState.UNREADABLE
    if granted.policy is None:
        return granted, AuthorizationState.UNRESOLVED
    return granted, AuthorizationState.INLINE


def permissions_of(policy: AuthorizedPolicy) -> Permissions:
    """The same with a schedule that knows the clock of its zone."""
    schedule = policy.schedule
    return Permissions(
        systems=policy.systems,
        operations=policy.operations,
        schedule=None
        if schedule is None
        else Schedule(
            schedule.time_zone,
            sum(((1 << end - start) - 1) << start for start, end in schedule.windows),
        ),
        compliance=policy.compliance,
    )
