"""JWT-SVIDs for the pods of a node. Each stands on a certificate that the pod holds.

So the ledger says for whom a token was minted, and a revocation of what the pod holds, by whoever
and for whatever reason, ends its tokens at once on every replica.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import IssuanceDeniedError
from agentid.issuers import JwtIssuer, JwtRequest
from agentid.issuing.reasons import RefusalReason, RefusedError
from agentid.issuing.refusing import as_refusals
from agentid.pki.jwt_svid import MAX_AUDIENCES
from agentid.services.issuance import held_by_pod, spiffe_id_for
from agentid.serving.token_bucket import TokenBuckets

if TYPE_CHECKING:
    from agentid.clock import Clock
    from agentid.issuing.authenticating import NodePlugin
    from agentid.issuing.deciding import Decided, Deciding
    from agentid.issuing.limits import Limits
    from agentid.issuing.refusing import Telling
    from agentid.ledger import Entry, Ledger
    from agentid.pki.jwt_svid import JwtSvid
    from agentid.services.pods import Pod
    from agentid.services.witness import Witness

__all__ = ["MintedJwt", "Minting"]

_log = structlog.stdlib.get_logger(__name__)

_LEAST: Final = timedelta(seconds=10)
"""A token that would serve for less is none: the certificate that it stands on is about to end."""

_PODS: Final = 16_384
"""Pods whose tokens are counted, those that asked last; who is forgotten may take a burst again."""


@dataclass(frozen=True, slots=True)
class MintedJwt:
    """A token.

    Attributes:
        svid: It.
        pod: Whose it is, by UID.
    """

    svid: JwtSvid
    pod: str


class Minting:
    """One for each process; any replica answers."""

    def __init__(
        self,
        *,
        deciding: Deciding,
        ledger: Ledger,
        clock: Clock,
        limits: Limits,
        telling: Telling,
        witness: Witness,
    ) -> None:
        """Take the parts.

        Args:
            deciding: Attests and judges.
            ledger: What was issued and revoked.
            clock: Tells the time.
            limits: How many tokens one pod may take.
            telling: Told of refusals, and of what is given.
            witness: Told of decisions.
        """
        self._deciding = deciding
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._telling = telling
        self._witness = witness
        self._taken = TokenBuckets(limits.pod_tokens, limits.pod_token_burst, _PODS)

    async def mint(
        self, plugin: NodePlugin, pod_token: str, audience: tuple[str, ...]
    ) -> MintedJwt:
        """A JWT-SVID for a pod of a node.

        Raises:
            RefusedError: The pod gets none.
        """
        pod = None
        try:
            with as_refusals():
                pod = await self._deciding.attest(plugin, pod_token)
                minted = await self._mint(pod, audience)
        except RefusedError as error:
            self._telling.refused(error, pod)
            raise
        self._telling.given()
        return minted

    async def _mint(self, pod: Pod, audience: tuple[str, ...]) -> MintedJwt:
        if not 0 < len(audience) <= MAX_AUDIENCES:
            message = (
                f"the audience has {len(audience)} entries, and 1 to {MAX_AUDIENCES} are "
                "allowed; name the one service that the token is for"
            )
            raise RefusedError(RefusalReason.AUDIENCE_INVALID, message)
        self._pace(pod)
        decided = self._deciding.decide(pod)
        entry, grant, issuer = (
            self._stands_on(decided), decided.entitled.granted.grant, decided.entitled.issuer,
        )  # fmt: skip
        if not isinstance(issuer, JwtIssuer):
            message = f"AgentIssuer {grant.issuer_name} signs no JWT-SVIDs"
            raise RefusedError(RefusalReason.NO_TOKENS, message)
        request = JwtRequest(
            spiffe_id=spiffe_id_for(grant, entry.issued.pod),
            audience=audience,
            lifetime=min(grant.lifetime, entry.issued.not_after - self._clock.now()),
        )
        try:
            svid = await issuer.mint(request)
        except IssuanceDeniedError as error:
            raise RefusedError(RefusalReason.AUDIENCE_INVALID, str(error)) from error
        # Signing may have been a matter of another process, or of a slow one.
        self._check_still(decided, entry)
        self._witness.token_minted(entry.issued, svid, decided.entitled.seen)
        _log.info(
            "jwt_svid_issued",
            namespace=pod.namespace,
            name=pod.identity,
            pod=pod.name,
            node=pod.node,
            spiffe_id=str(svid.spiffe_id),
            audience=list(svid.audience),
            kid=svid.kid,
            token_id=svid.token_id,
            serial=str(entry.serial),
            not_after=svid.not_after.isoformat(),
        )
        return MintedJwt(svid, pod.uid)

    def _pace(self, pod: Pod) -> None:
        """Count a token of a pod.

        Raises:
            RefusedError: It has taken too many.
        """
        if (seconds := self._taken.take(pod.uid, self._clock.monotonic())) > 0:
            message = (
                f"pod {pod.namespace}/{pod.name} takes more than {self._limits.pod_tokens:g} "
                "JWT-SVIDs a second; use each until it is about to expire"
            )
            raise RefusedError(
                RefusalReason.OVERLOADED, message, retry_after=timedelta(seconds=seconds)
            )

    def _stands_on(self, decided: Decided) -> Entry:
        """The certificate that a token of a pod stands on.

        Raises:
            RefusedError: It holds none that is good for long enough.
        """
        pod, entitled, now = decided.pod, decided.entitled, self._clock.now()
        entry = held_by_pod(
            self._ledger.state,
            pod.uid,
            entitled.owner,
            entitled.granted.grant.delivery,
            now,
        )
        if entry is None or entry.issued.not_after - now < _LEAST:
            message = (
                f"pod {pod.namespace}/{pod.name} holds no certificate that is good for "
                f"{_LEAST.total_seconds():.0f} s; it has to be issued one first"
            )
            raise RefusedError(RefusalReason.NO_CERTIFICATE, message)
        return entry

    def _check_still(self, decided: Decided, entry: Entry) -> None:
        now = self._ledger.state.by_serial(entry.serial)
        if now is None or now.revoked is not None:
            message = f"certificate {entry.serial} was revoked as the token was made; ask again"
            raise RefusedError(RefusalReason.TAKEN_AWAY, message)
        self._deciding.check_still(decided)
