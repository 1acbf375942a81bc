"""The issuer that signs in this process."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, IssuanceDeniedError, UnavailableError
from agentid.identity import SerialNumber, Validity
from agentid.issuers.protocol import AuthorityInfo, AuthorityRole
from agentid.pki import LeafProfile, check_public_key, prepare, sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from agentid.clock import Clock
    from agentid.identity import TrustDomain
    from agentid.issuers.protocol import IssueRequest
    from agentid.pki import Authority, Leaf, X509Bundle

__all__ = ["BACKDATE", "BuiltinIssuer", "Random"]

Random: TypeAlias = "Callable[[int], bytes]"
"""Gives as many random octets as asked for, unpredictable; `secrets.token_bytes`."""

BACKDATE: Final = timedelta(seconds=60)
"""How far notBefore lies before the present.

A verifier whose clock is behind ours takes a new certificate for not yet valid. Nodes that keep NTP
differ by far less than a second, a paused virtual machine by some seconds; a minute forgives both.
Much more would let a certificate vouch for a time at which the agent had no identity; less breaks
handshakes right after a renewal. The authorities are back-dated as much, so that the first leaf
does not begin before its chain.
"""

_SERIAL_OCTETS: Final = 16
_RETRY_EXPIRED: Final = timedelta(minutes=1)


class BuiltinIssuer:
    """Signs with an authority that this process holds, or reaches through its `Signer`."""

    def __init__(self, *, name: str, authority: Authority, clock: Clock, random: Random) -> None:
        """Take an authority that was verified.

        Args:
            name: The name of the AgentIssuer.
            authority: What it signs with.
            clock: Tells the present, once for each leaf.
            random: Where serial numbers come from.
        """
        self._name = name
        self._authority = authority
        self._clock = clock
        self._random = random

    @property
    def name(self) -> str:
        """The name of its AgentIssuer."""
        return self._name

    @property
    def trust_domain(self) -> TrustDomain:
        """Whose identities it signs."""
        return self._authority.trust_domain

    async def issue(self, request: IssueRequest) -> Leaf:
        """A new leaf, back-dated by `BACKDATE` and cut to the validity of the chain.

        It does not wait for anything: the signature is made on the event loop, some 0.1 ms for
        elliptic keys and 1 ms for RSA.

        Raises:
            IssuanceDeniedError: The key, the SPIFFE ID or the profile is not acceptable.
            UnavailableError: The chain is not valid at present, or its key is away.
        """
        now = self._clock.now()
        chain = self._authority.validity
        if not chain.contains(now):
            msg = (
                f"the issuing chain of {self._name} is valid from {chain}, and it is "
                f"{now.isoformat(timespec='seconds')}; check the clock, or renew the authority"
            )
            raise UnavailableError(msg, retry_after=_RETRY_EXPIRED)
        try:
            wanted = Validity.of(now, request.lifetime, BACKDATE, chain.not_after)
            profile = LeafProfile(
                spiffe_id=request.spiffe_id,
                class_name=request.class_name,
                validity=Validity(max(wanted.not_before, chain.not_before), wanted.not_after),
                key_algorithm=request.key_algorithm,
                policy_oid=request.policy_oid,
                cps_uri=request.cps_uri,
                no_rev_avail=request.no_rev_avail,
            )
            serial = SerialNumber.from_random(self._random(_SERIAL_OCTETS))
            prepared = prepare(profile, request.public_key, self._authority, serial)
        except InputError as error:
            raise IssuanceDeniedError(str(error)) from error
        return sign(prepared, self._authority)

    def bundle(self) -> X509Bundle:
        """The root."""
        return self._authority.bundle

    def authorities(self) -> tuple[AuthorityInfo, ...]:
        """The root, then the chain downwards to the issuing authority."""
        authority = self._authority
        return (
            _info(AuthorityRole.ROOT, authority.root),
            *(_info(AuthorityRole.ISSUING, each) for each in reversed(authority.chain)),
        )

    def __repr__(self) -> str:
        """Name and trust domain."""
        return f"BuiltinIssuer({self._name!r}, {self.trust_domain})"


def _info(role: AuthorityRole, certificate: x509.Certificate) -> AuthorityInfo:
    return AuthorityInfo(
        role=role,
        subject=certificate.subject.rfc4514_string(),
        serial=SerialNumber(certificate.serial_number),
        validity=Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc),
        fingerprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        algorithm=check_public_key(certificate.public_key()),
    )
