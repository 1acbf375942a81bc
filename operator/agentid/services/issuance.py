"""The one way to a certificate, whatever door it leaves through.

A turn by the rate of the class, then sign, record, and only then use.

A door adds attestation before and delivery after; it adds nothing in between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.conditions import Reason
from agentid.api.vocabulary import Instances
from agentid.errors import (
    AgentIdError,
    InternalError,
    IssuanceDeniedError,
    UnavailableError,
)
from agentid.identity import SpiffeId
from agentid.issuers import Claims, IssueRequest
from agentid.ledger import Issued
from agentid.pki import KeyAlgorithm, generate, to_pkcs8_pem
from agentid.policy.plan import Cause
from agentid.services.failure import PassError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from agentid.api.model import ObjectMeta
    from agentid.api.vocabulary import DeliveryMode
    from agentid.clock import Clock
    from agentid.identity import SerialNumber
    from agentid.issuers import Issuer
    from agentid.ledger import Entry, Ledger, LedgerState, PodRef
    from agentid.pki import Leaf, PrivateKey, PublicKey
    from agentid.policy.grant import Grant
    from agentid.services.rates import Rates
    from agentid.telemetry.metrics import Metrics

__all__ = [
    "Issuance",
    "Made",
    "cause_of",
    "held_by_pod",
    "make_key",
    "spiffe_id_for",
    "tell_issued",
]

_log = structlog.stdlib.get_logger(__name__)

_SLOW_KEYS: Final = frozenset({KeyAlgorithm.RSA3072, KeyAlgorithm.RSA4096})
"""Made in a thread: some 0.1 to 1 s each. All others take tens of microseconds, less than the way
to a thread and back."""


async def make_key(algorithm: KeyAlgorithm) -> tuple[PrivateKey, bytes]:
    """Make a key for one certificate.

    Returns:
        The key, and the same as PKCS#8 in PEM, unencrypted.
    """
    if algorithm in _SLOW_KEYS:
        key = await asyncio.to_thread(generate, algorithm)
    else:
        key = generate(algorithm)
    return key, to_pkcs8_pem(key)


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate that was signed, before it may be used.

    Attributes:
        leaf: The certificate and its chain.
        record: What has to be on the ledger first.
    """

    leaf: Leaf
    record: Issued


class Issuance:
    """Signs and records."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        on_recorded: Callable[[Issued], None] | None = None,
        rates: Rates | None = None,
    ) -> None:
        """Take the parts.

        Args:
            ledger: Where every certificate is recorded.
            clock: Tells when one was made.
            on_recorded: Told about every certificate that is on record.
            rates: Hold what is made against the limits of classes; None for none.
        """
        self._ledger = ledger
        self._clock = clock
        self._on_recorded = on_recorded
        self._rates = rates

    def take_turn(self, owner: ObjectMeta, grant: Grant, whose: str, *, due: bool) -> None:
        """Do nothing, if the rate of the class lets a certificate be made now; before `sign`.

        Args:
            owner: The AgentIdentity.
            grant: What it is given.
            whose: Who comes again if it has to wait, and has its turn then: a UID.
            due: Whether it is made at any rate: a renewal whose time has come.

        Raises:
            PassError: It has to wait; `retry_after` tells how long.
        """
        if self._rates is not None:
            self._rates.take(grant.class_name, owner.namespace, whose, due=due)

    async def sign(
        self,
        owner: ObjectMeta,
        grant: Grant,
        issuer: Issuer,
        public_key: PublicKey,
        *,
        replaces: SerialNumber | None,
        pod: PodRef | None = None,
        lifetime: timedelta | None = None,
    ) -> Made:
        """Have a certificate signed. It must not leave the process before `record`.

        Args:
            owner: The AgentIdentity.
            grant: What it is given.
            issuer: What signs.
            public_key: The agent's key.
            replaces: The serial that is known to be delivered.
            pod: The pod that it is for; the SPIFFE ID says so where instances have one each.
            lifetime: At most as long as what is granted, for a door that takes no more; None for
                the whole of it.

        Raises:
            PassError: The issuer is away, or refuses.
        """
        request = IssueRequest(
            spiffe_id=spiffe_id_for(grant, pod),
            class_name=grant.class_name,
            lifetime=grant.lifetime if lifetime is None else min(lifetime, grant.lifetime),
            key_algorithm=grant.key_algorithm,
            public_key=public_key,
            policy_oid=grant.policy_oid,
            cps_uri=grant.cps_uri,
            no_rev_avail=grant.ephemeral,
            claims=Claims(grant.tier, grant.sponsor, grant.authorized, grant.critical),
        )
        try:
            signed = await issuer.issue(request)
        except UnavailableError as error:
            raise PassError(
                Reason.ISSUER_UNAVAILABLE, str(error), retry_after=error.retry_after
            ) from error
        except IssuanceDeniedError as error:
            raise PassError(Reason.ISSUER_DENIED, str(error), stalled=True) from error
        leaf = signed.leaf
        record = Issued(
            serial=leaf.serial,
            fingerprint=leaf.fingerprint,
            spiffe_id=str(leaf.spiffe_id),
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            issuer=issuer.name,
            authority=signed.authority,
            shard=signed.shard,
            bundle=signed.bundle,
            not_before=leaf.validity.not_before,
            not_after=leaf.validity.not_after,
            issued_at=_not_before(self._clock.now(), leaf),
            door=grant.delivery,
            grant=grant.to_json(),
            replaces=replaces,
            pod=pod,
        )
        return Made(leaf, record)

    async def record(self, made: Made) -> None:
        """Return once the certificate is durably on the ledger: from then on it may be used.

        Raises:
            PassError: It is not known to be; the certificate must not be used.
        """
        try:
            await self._ledger.append(made.record)
        except UnavailableError as error:
            raise PassError(
                Reason.LEDGER_UNAVAILABLE, str(error), retry_after=error.retry_after
            ) from error
        except AgentIdError as error:
            raise PassError(Reason.LEDGER_UNAVAILABLE, str(error)) from error
        if self._on_recorded is not None:
            self._on_recorded(made.record)


def held_by_pod(
    state: LedgerState,
    pod: str,
    owner: ObjectMeta,
    door: DeliveryMode,
    now: datetime,
    *,
    request: str = "",
) -> Entry | None:
    """The newest certificate in force that a pod holds of this very identity by a door.

    Args:
        state: What is on record.
        pod: Which, by UID.
        owner: The AgentIdentity; what a namesake gave does not count.
        door: By which the pod asks.
        now: The present.
        request: What was made for this request of the pod does not count.
    """

    def wanted(entry: Entry) -> bool:
        issued = entry.issued
        return (
            entry.is_live(now)
            and issued.uid == owner.uid
            and issued.door is door
            and (issued.pod is None or issued.pod.request != request)
        )

    return state.newest_of_pod(pod, wanted)


def cause_of(record: Issued) -> Cause:
    """Why a pod's certificate was made: pods ask for a next one when the last is to be renewed."""
    return Cause.FIRST if record.replaces is None else Cause.RENEWAL


def tell_issued(metrics: Metrics, made: Made, grant: Grant) -> None:
    """Count and log a certificate that a pod is given, once it is on record."""
    leaf, record = made.leaf, made.record
    cause = cause_of(record).value
    metrics.issuances.labels(grant.delivery.value, grant.issuer_name, cause).inc()
    _log.info(
        "svid_issued",
        namespace=record.namespace,
        name=record.name,
        pod=None if record.pod is None else record.pod.name,
        node=None if record.pod is None else record.pod.node,
        spiffe_id=record.spiffe_id,
        serial=str(leaf.serial),
        not_after=leaf.validity.not_after.isoformat(),
        issuer=grant.issuer_name,
        tier=grant.tier.value,
        cause=cause,
    )


def spiffe_id_for(grant: Grant, pod: PodRef | None) -> SpiffeId:
    """The SPIFFE ID that a grant gives a pod.

    Raises:
        InternalError: Each pod has one of its own, and none is named.
    """
    if grant.instances is Instances.SHARED:
        return grant.spiffe_id
    agent = grant.agent
    if pod is None:
        msg = f"{grant.spiffe_id}: each pod has an identity of its own, and no pod is named"
        raise InternalError(msg)
    return SpiffeId.for_agent(
        grant.spiffe_id.trust_domain, agent.namespace, agent.name, pod_uid=pod.uid
    )


@lru_cache(maxsize=16)
def _not_before(now: datetime, leaf: Leaf) -> datetime:
    """The time of making; a clock that stepped back meanwhile cannot put it before notBefore."""
    return max(now, leaf.validity.not_before)
