"""Certificates for the pods of a node: attest, judge, sign, record; only then does anything leave.

```
 plugin, pod, key ─► attest ─► judge ─► sign ─► ledger ─► judge again ─► answer
                                                  │            │           │ not written
                                    fate unknown  ▼      taken ▼           ▼
                                                  └────────────┴───────────┴──► undelivered: revoked
```
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from agentid.errors import InputError
from agentid.identity import PodRef
from agentid.issuing.deciding import grant_for
from agentid.issuing.reasons import RefusalReason, RefusedError
from agentid.issuing.refusing import as_refusals, internal
from agentid.pki.csr import read_csr
from agentid.pki.keys import check_public_key
from agentid.policy.plan import renewal_of
from agentid.policy.rate import renewal_is_due
from agentid.services.gathering import held_of
from agentid.services.issuance import cause_of, held_by_pod, tell_issued

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.issuing.authenticating import NodePlugin
    from agentid.issuing.deciding import Decided, Deciding
    from agentid.issuing.refusing import Telling
    from agentid.issuing.undelivered import Undelivered
    from agentid.ledger import Ledger
    from agentid.policy.grant import Grant
    from agentid.services.issuance import Issuance, Made
    from agentid.services.pods import Pod
    from agentid.services.witness import Witness
    from agentid.services.world import World
    from agentid.telemetry.metrics import Metrics

__all__ = ["Certificates", "IssuedX509", "X509Item"]

_log = structlog.stdlib.get_logger(__name__)


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


class Certificates:
    """One for each process; any replica answers."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        *,
        deciding: Deciding,
        issuance: Issuance,
        ledger: Ledger,
        undelivered: Undelivered,
        world: World,
        clock: Clock,
        new_id: Callable[[], str],
        metrics: Metrics,
        telling: Telling,
        witness: Witness,
    ) -> None:
        """Take the parts; each is made and closed by the composition root.

        Args:
            deciding: Attests and judges.
            issuance: Signs and records.
            ledger: What was issued and revoked.
            undelivered: Given what must not be used after all.
            world: What the watches told.
            clock: Tells the time.
            new_id: A name for one request of a pod, never given before.
            metrics: Of the operator.
            telling: Told of refusals, and of what is given.
            witness: Told of decisions.
        """
        self._deciding = deciding
        self._issuance = issuance
        self._ledger = ledger
        self._undelivered = undelivered
        self._world = world
        self._clock = clock
        self._new_id = new_id
        self._metrics = metrics
        self._telling = telling
        self._witness = witness

    async def issue(
        self, plugin: NodePlugin, items: Sequence[X509Item]
    ) -> list[IssuedX509 | RefusedError]:
        """Certificates for pods of a node, in the order of the items; each is judged by itself.

        To be awaited to its end: who gives up in between leaves certificates that nobody has.
        """
        return list(await asyncio.gather(*(self._answer(plugin, item) for item in items)))

    # One item

    async def _answer(self, plugin: NodePlugin, item: X509Item) -> IssuedX509 | RefusedError:
        pod = None
        try:
            with as_refusals():
                pod = await self._deciding.attest(plugin, item.pod_token)
                issued = await self._issue(pod, item.csr)
        except RefusedError as error:
            refusal = error
        except Exception:  # noqa: BLE001 - a defect that shows on one item must not take the others'
            _log.exception("issuing_crashed")
            refusal = internal()
        else:
            self._telling.given()
            return issued
        self._telling.refused(refusal, pod)
        return refusal

    async def _issue(self, pod: Pod, csr: bytes) -> IssuedX509:
        decided = self._deciding.decide(pod)
        entitled = decided.entitled
        try:
            public_key = read_csr(csr)
        except InputError as error:
            raise RefusedError(RefusalReason.REQUEST_INVALID, str(error)) from error
        grant = grant_for(decided, check_public_key(public_key))
        ref = PodRef(pod.name, pod.uid, pod.node, self._new_id())
        before = held_by_pod(
            self._ledger.state, pod.uid, entitled.owner, grant.delivery, self._clock.now()
        )
        renews = before is not None and renewal_is_due(
            held_of(before.issued), entitled.seen, self._clock.now()
        )
        self._issuance.take_turn(entitled.owner, grant, pod.uid, due=renews)
        made = await self._issuance.sign(
            entitled.owner,
            grant,
            entitled.issuer,
            public_key,
            replaces=None if before is None else before.serial,
            pod=ref,
        )
        self._witness.will_issue(made.record, cause_of(made.record), entitled.seen)
        try:
            await self._issuance.record(made)
            self._check_still(decided, made)
            issued = IssuedX509(
                made,
                renewal_of(held_of(made.record), entitled.seen.agent_class),
                grant,
                entitled.granted.grant,
                self._federates_with(grant.issuer_name),
            )
            tell_issued(self._metrics, made, grant)
        except BaseException:  # whatever it was, nobody has what stands on the ledger, or may yet
            self._undelivered.add_doubtful(made.record)
            raise
        return issued

    def _check_still(self, decided: Decided, made: Made) -> None:
        """Hold what was made against what came while it was being recorded.

        Raises:
            RefusedError: The certificate, the identity or the pod lost it.
        """
        entry = self._ledger.state.by_serial(made.leaf.serial)
        if entry is None or entry.revoked is not None:
            message = (
                "the certificate was revoked as it was made; ask again for AgentIdentity "
                f"{decided.entitled.key}"
            )
            raise RefusedError(RefusalReason.TAKEN_AWAY, message)
        self._deciding.check_still(decided)

    def _federates_with(self, issuer: str) -> tuple[str, ...]:
        parsed = self._world.issuers.get(issuer)
        if parsed is None or parsed.model is None:
            return ()
        return tuple(each.trust_domain for each in parsed.model.spec.federation)
