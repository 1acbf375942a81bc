"""The issuer that signs in this process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, IssuanceDeniedError, UnavailableError
from agentid.identity import SerialNumber, Validity
from agentid.issuers import locations
from agentid.issuers.protocol import AuthorityInfo, AuthorityRole, Signed
from agentid.pki import LeafProfile, check_public_key, prepare, sign
from agentid.pki.authority import authority_id
from agentid.pki.authorization import AgentAuthorization
from agentid.pki.jwk import base64url
from agentid.pki.jwt_svid import JwtOrder, JwtSvid, mint
from agentid.policy.authorities import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography import x509

    from agentid.clock import Clock
    from agentid.identity import TrustDomain
    from agentid.issuers.authority_set import AuthoritySet
    from agentid.issuers.protocol import IssueRequest, JwtRequest
    from agentid.pki import X509Bundle
    from agentid.pki.authorization import AuthorizedPolicy
    from agentid.policy.authorities import Root

__all__ = ["BACKDATE", "BuiltinIssuer", "JwtTerms", "Random", "authority_infos"]

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


_TOKEN_ID_OCTETS: Final = 16
_RETRY_KEY: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class JwtTerms:
    """What an issuer's JWT-SVIDs have in common.

    Attributes:
        lifetime: How long they serve at most.
        oidc_issuer: Their `iss`; None leaves it out.
    """

    lifetime: timedelta = timedelta(minutes=5)
    oidc_issuer: str | None = None


_TERMS: Final = JwtTerms()


class BuiltinIssuer:
    """Signs with authorities that this process holds, or reaches through their `Signer`s."""

    def __init__(
        self,
        *,
        name: str,
        authorities: AuthoritySet,
        clock: Clock,
        random: Random,
        jwt: JwtTerms = _TERMS,
    ) -> None:
        """Take authorities that were verified.

        Args:
            name: The name of the AgentIssuer.
            authorities: What it signs with; one of them has to be Signing.
            clock: Tells the present, once for each leaf.
            random: Where serial numbers and token ids come from.
            jwt: What tokens have in common.

        Raises:
            InputError: None of the authorities signs.
        """
        record, authority = authorities.records.signing, authorities.signing
        if record is None or authority is None:
            msg = f"issuer {name}: none of its authorities is Signing"
            raise InputError(msg)
        self._name = name
        self._set = authorities
        self._record = record
        self._authority = authority
        self._clock = clock
        self._random = random
        self._jwt = jwt

    @property
    def name(self) -> str:
        """The name of its AgentIssuer."""
        return self._name

    @property
    def trust_domain(self) -> TrustDomain:
        """Whose identities it signs."""
        return self._set.trust_domain

    async def issue(self, request: IssueRequest) -> Signed:
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
            serial = SerialNumber.from_random(self._random(_SERIAL_OCTETS))
            shard = None if request.no_rev_avail else serial.value % self._record.shards
            profile = self._profile(request, now, shard)
            prepared = prepare(profile, request.public_key, self._authority, serial)
        except InputError as error:
            raise IssuanceDeniedError(str(error)) from error
        leaf = sign(prepared, self._authority)
        return Signed(leaf, self._record.id, shard, self.bundle_sequence)

    def _profile(self, request: IssueRequest, now: datetime, shard: int | None) -> LeafProfile:
        chain, claims = self._authority.validity, request.claims
        base, name = self._record.responder, self._record.id
        wanted = Validity.of(now, request.lifetime, BACKDATE, chain.not_after)
        return LeafProfile(
            spiffe_id=request.spiffe_id,
            class_name=request.class_name,
            validity=Validity(max(wanted.not_before, chain.not_before), wanted.not_after),
            key_algorithm=request.key_algorithm,
            policy_oid=request.policy_oid,
            cps_uri=request.cps_uri,
            no_rev_avail=request.no_rev_avail,
            crl_uri=None if shard is None else locations.crl_uri(base, name, shard),
            ocsp_uri=None if shard is None else locations.ocsp_uri(base),
            ca_issuers_uri=locations.certificate_uri(base, name),
            authorization=None
            if claims is None
            else _authorization(
                request.class_name, claims.tier, claims.sponsor, claims.policy, base
            ),
            authorization_critical=claims is not None and claims.critical,
        )

    async def mint(self, request: JwtRequest) -> JwtSvid:
        """A new token, by the key that signs; whole seconds, at most as long as the terms say.

        Raises:
            IssuanceDeniedError: SPIFFE ID, audience, lifetime or claims are not acceptable.
            UnavailableError: No key signs at present.
        """
        key = self._set.jwt_signing
        if key is None:
            msg = (
                f"issuer {self._name}: no key for JWT-SVIDs signs; its condition JWTKeysCurrent "
                "says what is waited for"
            )
            raise UnavailableError(msg, retry_after=_RETRY_KEY)
        if request.spiffe_id.trust_domain != self.trust_domain:
            msg = f"{request.spiffe_id} is not of the trust domain {self.trust_domain}"
            raise IssuanceDeniedError(msg)
        lifetime = min(request.lifetime, self._jwt.lifetime)
        try:
            order = JwtOrder(
                spiffe_id=request.spiffe_id,
                audience=request.audience,
                issued_at=self._clock.now(),
                lifetime=timedelta(seconds=int(lifetime.total_seconds())),
                token_id=base64url(self._random(_TOKEN_ID_OCTETS)),
                issuer=self._jwt.oidc_issuer,
                claims=request.claims,
            )
            return mint(order, key)
        except InputError as error:
            raise IssuanceDeniedError(str(error)) from error

    def bundle(self) -> X509Bundle:
        """The roots, the newest first."""
        return self._set.bundle

    @property
    def bundle_sequence(self) -> int:
        """Number of that bundle."""
        return self._set.records.sequence

    def authorities(self) -> tuple[AuthorityInfo, ...]:
        """The roots, then the issuing authorities, the newest of each first."""
        return authority_infos(self._set)

    def __repr__(self) -> str:
        """Name and trust domain."""
        return f"BuiltinIssuer({self._name!r}, {self.trust_domain})"


def authority_infos(
    authorities: AuthoritySet, distrust: frozenset[str] = frozenset()
) -> tuple[AuthorityInfo, ...]:
    """What is told of each authority, the roots first.

    Args:
        authorities: All of an issuer.
        distrust: Fingerprints of those that are on their way out.
    """
    records = authorities.records
    in_use = {each.root for each in records.issuing if each.stage is Stage.SIGNING}
    waiting = {each.root for each in records.issuing if each.stage is Stage.STAGED} - in_use

    def root_state(root: Root) -> str:
        if root.fingerprint in distrust:
            return _DISTRUSTED
        if root.id in waiting:
            return Stage.STAGED.value
        return (Stage.SIGNING if root.id in in_use else Stage.RETIRED).value

    return (
        *(
            _info(
                AuthorityRole.ROOT,
                root_state(each),
                authorities.roots[each.id].certificate,
            )
            for each in records.roots
        ),
        *(
            _info(
                AuthorityRole.ISSUING,
                _DISTRUSTED if records.is_distrusted(each, distrust) else each.stage.value,
                authorities.issuing[each.id].certificate,
            )
            for each in records.issuing
        ),
    )


_DISTRUSTED: Final = "Distrusted"


@lru_cache(maxsize=4096)  # one for each grant in use; agents of one deployment share it
def _authorization(
    class_name: str, tier: str, sponsor: str | None, policy: AuthorizedPolicy, base: str
) -> AgentAuthorization:
    return AgentAuthorization.of(
        agent_class=class_name, tier=tier, sponsor=sponsor, policy=policy, base_uri=base
    )


def _info(role: AuthorityRole, state: str, certificate: x509.Certificate) -> AuthorityInfo:
    return AuthorityInfo(
        role=role,
        state=state,
        id=authority_id(certificate),
        subject=certificate.subject.rfc4514_string(),
        serial=SerialNumber(certificate.serial_number),
        validity=Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc),
        fingerprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        algorithm=check_public_key(certificate.public_key()),
    )
