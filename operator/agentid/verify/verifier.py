"""Verification, step by step."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.pki.strength import STRICT_KEYS, KeyPolicy
from agentid.pki.view import Oid
from agentid.verify.agent import AuthorizationState, RevocationState, VerifiedAgent, Wanted
from agentid.verify.chain import ChainChecker, CheckedChain, permissions_of, split_chain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agentid.pki.path import Path
    from agentid.verify.bundles import BundleSet
    from agentid.verify.revocation import CrlSet

__all__ = ["SVID_PURPOSES", "Verifier"]

SVID_PURPOSES: Final = frozenset({Oid.CLIENT_AUTH, Oid.SERVER_AUTH})
"""What an authority must allow if it has an extKeyUsage: an agent is client and server."""

_AUTHORITY_ID_OCTETS: Final = 8


class Verifier:
    """Verifies chains against the bundles, CRLs and rules that it was made with.

    Make one and keep it: bundles and CRLs are read once, and what holds of a chain at any time
    (signatures, names, constraints) is remembered for chains that come again. Safe to use from
    several threads.
    """

    __slots__ = ("_chains", "_crls")

    def __init__(
        self,
        bundles: BundleSet,
        *,
        crls: CrlSet | None = None,
        keys: KeyPolicy = STRICT_KEYS,
        purposes: frozenset[str] = SVID_PURPOSES,
        remembered: int = 1024,
    ) -> None:
        """Take what is trusted.

        Args:
            bundles: Whom to trust.
            crls: Revocation lists; None not to look at revocation at all, which the outcome says.
            keys: Which keys and signatures are strong enough.
            purposes: What authorities that have an extKeyUsage must allow, dotted OIDs.
            remembered: How many chains to remember; a chain takes some 20 KiB. 0 for none.
        """
        self._crls = crls
        self._chains = ChainChecker(bundles, keys=keys, purposes=purposes, remembered=remembered)

    def with_crls(self, crls: CrlSet | None) -> Verifier:
        """The same verifier with other lists; it remembers the chains that this one does."""
        other = copy(self)
        other._crls = crls  # noqa: SLF001 - its own class
        return other

    def verify(
        self,
        chain: bytes | Sequence[bytes],
        *,
        at: datetime,
        wanted: Wanted | None = None,
        policy: bytes | None = None,
    ) -> VerifiedAgent:
        """Verify a chain, and if asked, that its leaf grants what is wanted.

        1. Parse: certificates in strict DER, at most eight.
        2. Leaf: it is an X509-SVID of a workload (X509-SVID §2 to §4).
        3. Path: signatures up to an authority in the bundle of the leaf's own trust domain,
           constraints, critical extensions (RFC 5280 §6).
        4. Profile: intermediates are authorities that strict verifiers accept; every certificate
           names its issuer's key. The authorization extension is read.
        5. Time: every certificate, the trusted authority included, is valid at `at`.
        6. Revocation, if there are CRLs: the leaf, and intermediates, are not revoked.
        7. Permission, if something is wanted: the leaf grants it, at this time.

        The caller still owes proof that the peer holds the private key of the leaf, such as a TLS
        handshake or a signature.

        Args:
            chain: Leaf first, each certificate signed by the next; PEM, or DER each. The trusted
                authority may be left out.
            at: The time, aware.
            wanted: What the agent wants to do.
            policy: The policy document, where the certificate names one by its hash.

        Raises:
            VerificationError: A step failed; `reason` says which rule is broken.
            InputError: `at` has no time zone.
        """
        if at.utcoffset() is None:
            msg = f"at: {at.isoformat()} has no time zone; give an aware time"
            raise InputError(msg)
        checked = self._chains.check(split_chain(chain))
        path = _valid_path(checked.paths, at)
        revocation = RevocationState.NOT_CHECKED
        if self._crls is not None:
            revocation = self._crls.check(path, at=at)
        agent = _agent(checked, path, revocation, policy)
        if wanted is not None:
            agent.require(wanted, at=at)
        return agent


def _valid_path(paths: tuple[Path, ...], at: datetime) -> Path:
    """The first path that is valid at a time."""
    refusal: VerificationError | None = None
    for path in paths:
        try:
            path.check_time(at)
        except VerificationError as error:
            refusal = refusal or error
        else:
            return path
    # There is at least one path, so there is a refusal.
    raise refusal or VerificationError(VerificationReason.UNTRUSTED_ROOT, "there is no path")


def _agent(
    checked: CheckedChain, path: Path, revocation: RevocationState, document: bytes | None
) -> VerifiedAgent:
    granted, permissions, state = checked.authorization, checked.permissions, checked.state
    if granted is not None and document is not None:
        try:
            permissions = permissions_of(granted.resolve(document))
        except InputError as error:
            raise VerificationError(VerificationReason.POLICY_MISMATCH, str(error)) from error
        if state is AuthorizationState.UNRESOLVED:
            state = AuthorizationState.RESOLVED
    return VerifiedAgent(
        spiffe_id=checked.spiffe_id,
        serial=checked.serial,
        not_after=path.leaf.view.not_after,
        authority=(path.leaf.issuer_key_id or b"")[:_AUTHORITY_ID_OCTETS].hex(),
        revocation=revocation,
        authorization=state,
        agent_class=None if granted is None else granted.agent_class,
        tier=None if granted is None else granted.tier,
        sponsor=None if granted is None else granted.sponsor,
        permissions=permissions,
        policy_uri=None if granted is None else granted.policy_uri,
    )
