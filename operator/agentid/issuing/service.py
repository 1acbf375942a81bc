"""Answers node plugins: authenticate, attest, judge, sign, record; only then does anything leave.

```
 plugin, pod, key ─► attest ─► judge ─► sign ─► ledger ─► judge again ─► answer
                                                               │           │ not written
                                                 taken away ◄──┘           ▼
                                                     └────────────────► revoked
```
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import (
    ForbiddenError,
    InputError,
    IssuanceDeniedError,
    UnavailableError,
)
from agentid.identity import PodRef
from agentid.issuers import JwtIssuer, JwtRequest
from agentid.issuing.deciding import grant_for_key, granted_to
from agentid.issuing.reasons import PASSING, RefusalReason, RefusedError
from agentid.kube.objects import ObjectKey
from agentid.pki.csr import read_csr
from agentid.pki.jwt_svid import MAX_AUDIENCES
from agentid.pki.keys import check_public_key
from agentid.policy.plan import Cause, renewal_of
from agentid.services.failure import PassError
from agentid.services.gathering import held_of
from agentid.services.issuance import spiffe_id_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.issuers import Issuer
    from agentid.issuing.attesting import Attesting
    from agentid.issuing.authenticating import Authenticator, NodePlugin
    from agentid.issuing.judging import Judging
    from agentid.issuing.metrics import IssuingMetrics
    from agentid.issuing.undelivered import Undelivered
    from agentid.ledger import Entry, Ledger
    from agentid.pki.jwt_svid import JwtSvid
    from agentid.policy.grant import Grant
    from agentid.policy.judge import Granted
    from agentid.policy.observed import Observed
    from agentid.services.issuance import Issuance, Made
    from agentid.services.pods import Pod
    from agentid.services.witness import Witness
    from agentid.services.world import World
    from agentid.telemetry.metrics import Metrics

__all__ = ["IssuedX509", "Issuing", "MintedJwt", "X509Item"]

_log = structlog.stdlib.get_logger(__name__)

_JWT_LEAST: Final = timedelta(seconds=10)
"""A token that would serve for less is none: the certificate that it stands on is about to end."""

_SOON: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class X509Item:
    """A certificate that is asked for.

    Attributes:
        pod_token: The pod's.
        csr: PKCS#10 in DER, of which the key alone counts.
    """

    pod_token: str = field(repr=False)
    csr: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuedX509:
    """A certificate that is on record, and may leave.

    Attributes:
        made: It, with its chain.
        renew_at: When the next one is to be asked for.
        grant: What it was issued under.
        wanted: The grant that the next one will be issued under, for another key perhaps.
        federates_with: Foreign trust domains whose bundles go with it.
    """

    made: Made
    renew_at: datetime
    grant: Grant
    wanted: Grant
    federates_with: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MintedJwt:
    """A token.

    Attributes:
        svid: It.
        pod: Whose it is, by UID.
    """

    svid: JwtSvid
    pod: str


@dataclass(frozen=True, slots=True)
class _Decided:
    pod: Pod
    key: ObjectKey
    owner: ObjectMeta
    seen: Observed
    granted: Granted
    issuer: Issuer


class Issuing:
    """One for each process; any replica answers."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        *,
        world: World,
        judging: Judging,
        issuance: Issuance,
        ledger: Ledger,
        authenticator: Authenticator,
        attesting: Attesting,
        undelivered: Undelivered,
        clock: Clock,
        new_id: Callable[[], str],
        metrics: Metrics,
        own_metrics: IssuingMetrics,
        witness: Witness,
        refused: Callable[[Pod, RefusedError], None],
    ) -> None:
        """Take the parts; each is made and closed by the composition root.

        Args:
            world: What the watches told.
            judging: Judges from it.
            issuance: Signs and records.
            ledger: What was issued and revoked.
            authenticator: Verifies tokens.
            attesting: Looks up what they are about.
            undelivered: Given what must not be used after all.
            clock: Tells the time.
            new_id: A name for one request of a pod, never given before.
            metrics: Of the operator.
            own_metrics: Of this service.
            witness: Told of decisions.
            refused: Told of the pods that are refused.
        """
        self._world = world
        self._judging = judging
        self._issuance = issuance
        self._ledger = ledger
        self._authenticator = authenticator
        self._attesting = attesting
        self._undelivered = undelivered
        self._clock = clock
        self._new_id = new_id
        self._metrics = metrics
        self._own_metrics = own_metrics
        self._witness = witness
        self._refused = refused

    async def plugin(self, token: str) -> NodePlugin:
        """Who asks.

        Raises:
            RefusedError: Nobody that may.
        """
        with _as_refusals():
            return await self._authenticator.node_plugin(token)

    async def x509(
        self, plugin: NodePlugin, items: Sequence[X509Item]
    ) -> list[IssuedX509 | RefusedError]:
        """Certificates for pods of a node, each by itself; all of them share the ledger's commits.

        To be awaited to its end: who gives up in between leaves certificates that nobody has.
        """
        found = await asyncio.gather(
            *(self._x509(plugin, item) for item in items), return_exceptions=True
        )
        results: list[IssuedX509 | RefusedError] = []
        for each in found:
            if isinstance(each, IssuedX509 | RefusedError):
                results.append(each)
            elif isinstance(each, Exception):
                # The boundary of an item: a defect that shows on one must not take the others'.
                _log.error("issuing_crashed", exc_info=each)
                results.append(_internal())
            else:
                raise each
        return results

    async def _x509(self, plugin: NodePlugin, item: X509Item) -> IssuedX509:
        with _as_refusals(), self._told(self._own_metrics.x509_answered) as about:
            try:
                public_key = read_csr(item.csr)
            except InputError as error:
                raise RefusedError(RefusalReason.REQUEST_INVALID, str(error)) from error
            token = await self._authenticator.pod(item.pod_token)
            about.pod = pod = await self._attesting.attest(token, plugin)
            decided = self._decide(pod)
            algorithm = check_public_key(public_key)
            grant = grant_for_key(decided.key, decided.granted, decided.seen, algorithm)
            live = self._live(decided)
            before = None if live is None else live.serial
            made = await self._issuance.sign(
                decided.owner,
                grant,
                decided.issuer,
                public_key,
                replaces=before,
                pod=PodRef(pod.name, pod.uid, pod.node, self._new_id()),
            )
            cause = Cause.FIRST if before is None else Cause.RENEWAL
            self._witness.will_issue(made.record, cause, decided.seen)
            await self._issuance.record(made)
            self._check_still(decided, made)
        self._issued(decided, grant, made, cause)
        agent_class = decided.seen.agent_class
        return IssuedX509(
            made,
            renewal_of(held_of(made.record), agent_class),
            grant,
            decided.granted.grant,
            self._federates_with(grant.issuer_name),
        )

    async def jwt(self, plugin: NodePlugin, pod_token: str, audience: tuple[str, ...]) -> MintedJwt:
        """A JWT-SVID for a pod of a node. It stands on a certificate that the pod holds.

        So the ledger says for whom the token was minted, and a revocation of what the pod holds,
        by whoever and for whatever reason, ends its tokens at once on every replica.

        Raises:
            RefusedError: The pod gets none.
        """
        with _as_refusals(), self._told(self._own_metrics.jwt_answered) as about:
            if not 0 < len(audience) <= MAX_AUDIENCES:
                message = (
                    f"the audience has {len(audience)} entries, and 1 to {MAX_AUDIENCES} are "
                    "allowed; name the one service that the token is for"
                )
                raise RefusedError(RefusalReason.AUDIENCE_INVALID, message)
            token = await self._authenticator.pod(pod_token)
            about.pod = pod = await self._attesting.attest(token, plugin)
            decided = self._decide(pod)
            entry = self._live(decided)
            now = self._clock.now()
            left = timedelta(0) if entry is None else entry.issued.not_after - now
            if entry is None or left < _JWT_LEAST:
                message = (
                    f"pod {pod.namespace}/{pod.name} holds no certificate that is good for "
                    f"{_JWT_LEAST.total_seconds():.0f} s; it has to be issued one first"
                )
                raise RefusedError(RefusalReason.NO_CERTIFICATE, message)
            grant, issuer = decided.granted.grant, decided.issuer
            if not isinstance(issuer, JwtIssuer):
                message = f"AgentIssuer {grant.issuer_name} signs no JWT-SVIDs"
                raise RefusedError(RefusalReason.NO_TOKENS, message)
            request = JwtRequest(
                spiffe_id=spiffe_id_for(grant, entry.issued.pod),
                audience=audience,
                lifetime=min(grant.lifetime, left),
            )
            try:
                svid = await issuer.mint(request)
            except IssuanceDeniedError as error:
                raise RefusedError(RefusalReason.AUDIENCE_INVALID, str(error)) from error
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

    # Inside

    def _decide(self, pod: Pod) -> _Decided:
        key = ObjectKey(pod.namespace, pod.identity)
        seen = self._judging.observe(key)
        granted = granted_to(pod, key, seen)
        state = self._world.issuer_states.get(granted.grant.issuer_name)
        if seen is None or seen.metadata is None or state is None or state.issuer is None:
            message = f"AgentIdentity {key} or its class has just changed; ask again"
            raise RefusedError(RefusalReason.CACHE_BEHIND, message, retry_after=_SOON)
        return _Decided(pod, key, seen.metadata, seen, granted, state.issuer)

    def _live(self, decided: _Decided) -> Entry | None:
        """The newest certificate that the pod holds of this very identity by this door."""
        now = self._clock.now()
        return next(
            (
                entry
                for entry in self._ledger.state.of_pod(decided.pod.uid)
                if entry.is_live(now)
                and entry.issued.uid == decided.owner.uid
                and entry.issued.door is decided.granted.grant.delivery
            ),
            None,
        )

    def _check_still(self, decided: _Decided, made: Made) -> None:
        """Hold what was made against what came while it was being recorded.

        Raises:
            RefusedError: The identity or the pod lost it; the certificate is revoked.
        """
        try:
            refusal = self._lost(decided, made)
            if refusal is None:
                seen = self._judging.observe(decided.key)
                now_granted = granted_to(decided.pod, decided.key, seen).grant
                if now_granted != decided.granted.grant:
                    message = f"what AgentIdentity {decided.key} is granted changed; ask again"
                    refusal = RefusedError(RefusalReason.TAKEN_AWAY, message)
        except RefusedError as error:
            refusal = error
        if refusal is not None:
            self._undelivered.add((made.record,))
            raise refusal

    def _lost(self, decided: _Decided, made: Made) -> RefusedError | None:
        """What became of certificate and pod meanwhile; None if nothing did."""
        entry = self._ledger.state.by_serial(made.leaf.serial)
        if entry is None or entry.revoked is not None:
            message = f"the certificate was revoked as it was made; ask again for {decided.key}"
            return RefusedError(RefusalReason.TAKEN_AWAY, message)
        pod = self._world.pods.get(decided.pod.uid)
        if self._world.pods.is_gone(decided.pod.uid) or (pod is not None and pod.finished):
            return RefusedError(RefusalReason.POD_GONE, "the pod went as it was made", final=True)
        if pod is not None and pod.identity != decided.pod.identity:
            message = "the label of the pod changed as it was made; ask again"
            return RefusedError(RefusalReason.TAKEN_AWAY, message)
        return None

    def _federates_with(self, issuer: str) -> tuple[str, ...]:
        parsed = self._world.issuers.get(issuer)
        if parsed is None or parsed.model is None:
            return ()
        return tuple(each.trust_domain for each in parsed.model.spec.federation)

    def _issued(self, decided: _Decided, grant: Grant, made: Made, cause: Cause) -> None:
        leaf, pod = made.leaf, decided.pod
        self._metrics.issuances.labels(grant.delivery.value, grant.issuer_name, cause.value).inc()
        _log.info(
            "svid_issued",
            namespace=pod.namespace,
            name=pod.identity,
            pod=pod.name,
            node=pod.node,
            spiffe_id=str(leaf.spiffe_id),
            serial=str(leaf.serial),
            not_after=leaf.validity.not_after.isoformat(),
            issuer=grant.issuer_name,
            tier=grant.tier.value,
            cause=cause.value,
        )

    @contextlib.contextmanager
    def _told(self, count: Callable[[str], None]) -> Iterator[_About]:
        about = _About()
        try:
            yield about
        except RefusedError as error:
            count(error.reason)
            if about.pod is not None and error.reason not in PASSING:
                self._refused(about.pod, error)
            raise
        else:
            count("")


@dataclass(slots=True)
class _About:
    pod: Pod | None = None


@contextlib.contextmanager
def _as_refusals() -> Iterator[None]:
    """Every failure that a plugin may meet, in the one form that it is told."""
    try:
        yield
    except PassError as error:
        raise RefusedError(error.reason, str(error), retry_after=error.retry_after) from error
    except UnavailableError as error:
        raise RefusedError(
            RefusalReason.UNAVAILABLE, str(error), retry_after=error.retry_after
        ) from error
    except ForbiddenError as error:
        raise RefusedError(RefusalReason.UNAVAILABLE, str(error)) from error


def _internal() -> RefusedError:
    return RefusedError(
        RefusalReason.INTERNAL,
        "agentid has a defect that its log tells of; ask again",
    )
