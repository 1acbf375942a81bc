"""An issuer service to throw away, for the node plugin: real certificates and tokens, no cluster.

It judges nothing: it says yes until it is told to refuse, to be away or to be slow.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from agentid.errors import UnavailableError
from agentid.identity import SpiffeId, Validity
from agentid.node.issuer import (
    Bundle,
    Change,
    ChangeKind,
    JwtGrant,
    RefusedError,
    X509Grant,
)
from agentid.pki import KeyAlgorithm, LeafProfile, check_public_key, prepare, sign
from agentid.pki.csr import read_csr
from agentid.pki.jwk import public_jwk
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.node.issuer import PodProof
    from agentid.pki import PublicKey

__all__ = ["FakeNodeIssuer", "IssuedSvid"]

_BACKDATE: Final = timedelta(seconds=60)
_KID: Final = "fake-1"
_KEY_ALGORITHM: Final = "KeyAlgorithm"


@dataclass(frozen=True, slots=True)
class IssuedSvid:
    """What was issued, for a test to look at.

    Attributes:
        pod: For whom.
        serial: In lower-case hex.
        public_key: In the leaf.
        not_after: Of the leaf.
    """

    pod: PodProof
    serial: str
    public_key: PublicKey
    not_after: datetime


@dataclass(slots=True)
class FakeNodeIssuer:
    """An `IssuerPort`.

    Attributes:
        clock: Its present; it need not be that of the node.
        lifetime: Of certificates.
        jwt_lifetime: Of tokens.
        renew_after: Which part of the lifetime passes before a renewal is due.
        key_algorithm: Of leaves.
        ca: Signs; exchange it for another to rotate.
        federated: CAs of foreign trust domains.
        crl_pem: What goes out as CRL.
        refused: Answer to a pod, by its UID.
        down: Whether nobody answers; the feed of changes ends as well.
        slow: Seconds that each answer takes.
        issued: Everything that was.
        calls: How often each method was called.
    """

    clock: Clock
    lifetime: timedelta = timedelta(minutes=5)
    jwt_lifetime: timedelta = timedelta(minutes=5)
    renew_after: float = 0.5
    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSAP256
    ca: ThrowawayCA = field(init=False)
    federated: list[ThrowawayCA] = field(default_factory=list)
    crl_pem: bytes | None = None
    refused: dict[str, RefusedError] = field(default_factory=dict)
    down: bool = False
    slow: float = 0.0
    issued: list[IssuedSvid] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    _feeds: list[asyncio.Queue[Change | None]] = field(default_factory=list)
    _jwt_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        """Make the CA, in the clock's present."""
        self.ca = self.make_ca("example.org")

    def make_ca(self, trust_domain: str, seed: str = "") -> ThrowawayCA:
        """Another CA, in the clock's present."""
        return ThrowawayCA(
            trust_domain, algorithm=KeyAlgorithm.ECDSAP256, now=self.clock.now(), seed=seed
        )

    async def x509(self, pod: PodProof, csr_der: bytes) -> X509Grant:
        """Issue, unless told otherwise."""
        await self._answering("x509", pod)
        key = read_csr(csr_der)
        if check_public_key(key) is not self.key_algorithm:
            message = f"the class wants a key of {self.key_algorithm.display_name}"
            raise RefusedError(_KEY_ALGORITHM, message, key_algorithm=self.key_algorithm)
        now = self.clock.now().replace(microsecond=0)
        spiffe_id = SpiffeId.for_agent(self.ca.trust_domain, pod.namespace, pod.identity)
        validity = Validity.of(now, self.lifetime, _BACKDATE, self.ca.authority.not_after)
        profile = LeafProfile(
            spiffe_id=spiffe_id,
            class_name="assistant",
            validity=validity,
            key_algorithm=self.key_algorithm,
        )
        leaf = sign(prepare(profile, key, self.ca.authority, self.ca.serial()), self.ca.authority)
        certificate = leaf.certificate
        serial = f"{certificate.serial_number:x}"
        self.issued.append(IssuedSvid(pod, serial, key, validity.not_after))
        return X509Grant(
            chain_pem=leaf.chain_pem,
            issued_at=now,
            not_before=validity.not_before,
            not_after=validity.not_after,
            renew_at=now + (validity.not_after - now) * self.renew_after,
            spiffe_id=str(spiffe_id),
            bundle_pem=self.ca.bundle.pem,
            federated={ca.trust_domain.name: ca.bundle.pem for ca in self.federated},
            crl_pem=self.crl_pem,
            key_algorithm=self.key_algorithm,
            agent={"spiffeID": str(spiffe_id), "serial": serial, "class": "assistant"},
        )

    async def jwt(self, pod: PodProof, audience: tuple[str, ...]) -> JwtGrant:
        """Mint, unless told otherwise."""
        await self._answering("jwt", pod)
        now = self.clock.now().replace(microsecond=0)
        not_after = now + self.jwt_lifetime
        spiffe_id = str(SpiffeId.for_agent(self.ca.trust_domain, pod.namespace, pod.identity))
        token = self._signed(
            {
                "sub": spiffe_id,
                "aud": list(audience),
                "iat": int(now.timestamp()),
                "exp": int(not_after.timestamp()),
            }
        )
        return JwtGrant(token, spiffe_id, now, not_after)

    async def bundles(self) -> Mapping[str, Bundle]:
        """What is trusted, as SPIFFE bundles."""
        await self._answering("bundles", None)
        jwk = {**public_jwk(self._jwt_key.public_key()), "kid": _KID, "use": "jwt-svid"}
        own = SpiffeBundle(self.ca.bundle, sequence=1, jwt_keys=(json.dumps(jwk),))
        documents = {self.ca.trust_domain.name: Bundle(encode_spiffe_bundle(own), self.crl_pem)}
        for foreign in self.federated:
            document = encode_spiffe_bundle(SpiffeBundle(foreign.bundle, sequence=1))
            documents[foreign.trust_domain.name] = Bundle(document)
        return documents

    async def changes(self) -> AsyncIterator[Change]:
        """Follow what `tell` says."""
        await self._answering("changes", None)
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._feeds.append(queue)
        try:
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._feeds.remove(queue)

    def tell(self, change: Change) -> None:
        """Put a change on each feed."""
        for queue in self._feeds:
            queue.put_nowait(change)

    def revoke(self, uid: str, message: str = "the identity is suspended") -> None:
        """Take what the pod has, and refuse it from now on."""
        self.refused[uid] = RefusedError("Suspended", message)
        self.tell(Change(ChangeKind.REVOKED, uid, reason="Suspended", message=message))

    def readmit(self, uid: str) -> None:
        """Refuse the pod no more."""
        self.refused.pop(uid, None)
        self.tell(Change(ChangeKind.GRANTS, uid))

    def go_away(self) -> None:
        """Answer nobody, and end the feeds."""
        self.down = True
        for queue in self._feeds:
            queue.put_nowait(None)

    @property
    def followers(self) -> int:
        """How many follow the feed."""
        return len(self._feeds)

    async def _answering(self, method: str, pod: PodProof | None) -> None:
        self.calls[method] += 1
        if self.slow:
            await self.clock.sleep(self.slow)
        if self.down:
            message = "the issuer service does not answer"
            raise UnavailableError(message)
        if pod is not None and (refusal := self.refused.get(pod.uid)) is not None:
            raise RefusedError(refusal.reason, str(refusal), final=refusal.final)

    def _signed(self, claims: Mapping[str, object]) -> str:
        header = {"alg": "ES256", "kid": _KID, "typ": "JWT"}
        signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
        signature = self._jwt_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{signed}.{_part(r.to_bytes(32) + s.to_bytes(32))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
