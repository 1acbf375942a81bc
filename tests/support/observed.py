"""What a decision about an identity is made from, each in a line: for tests of plan and report.

The identity is `finance/reader`. Permissions come in levels: level n is n systems, so a lower level
takes away from a higher one, and a class allows up to a level. Certificates live for a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from agentid.api import AgentClass, AgentIdentity, DeliveryMode, Reason
from agentid.api.agentidentity import AgentIdentityStatus, CertificateStatus, DeliveryStatus
from agentid.api.conditions import Condition, ConditionStatus, ConditionType
from agentid.constants import ANNOTATION_RENEW_REQUESTED, FINALIZER
from agentid.identity import PodRef, RevocationReason, SerialNumber, TrustDomain, Validity
from agentid.policy import Granted, Refused, judge
from agentid.policy.incident import Hold
from agentid.policy.observed import Blocked, Held, Observed

if TYPE_CHECKING:
    from agentid.policy import Grant

__all__ = [
    "BLOCKED",
    "DAY",
    "GRACE",
    "HOLD",
    "HOUR",
    "NOW",
    "SECOND",
    "SECRET",
    "UID",
    "Wish",
    "certificate",
    "class_up_to",
    "granted",
    "held",
    "identity",
    "observe",
    "status",
]

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(hours=24)
GRACE: Final = timedelta(minutes=2)
UID: Final = "uid-of-reader"
SECRET: Final = "reader-agentid"

BLOCKED: Final = Blocked(Reason.CLASS_NOT_FOUND, "spec.className: there is no AgentClass batch")

HOLD: Final = Hold("leak", RevocationReason.KEY_COMPROMISE)

_SYSTEMS: Final = ("crm", "erp", "hr")
_TRUST_DOMAIN: Final = TrustDomain.parse("example.org")
_BACKDATE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the object in the API server says.

    Attributes:
        level: Of the permissions that it asks for.
        secret_name: The Secret to deliver to.
        sponsor: Who answers for it; another one makes another certificate and takes nothing away.
        suspend: Whether it is suspended.
        deleting: Whether its deletion was asked for.
        finalizers: Who holds it.
        requested: Since when a renewal is asked for.
        uid: Of the object.
        generation: Of its spec.
        mode: How its certificates are delivered.
    """

    level: int = 2
    secret_name: str = SECRET
    sponsor: str | None = "finance@example.com"
    suspend: bool = False
    deleting: bool = False
    finalizers: tuple[str, ...] = (FINALIZER,)
    requested: datetime | None = None
    uid: str = UID
    generation: int = 1
    mode: DeliveryMode = DeliveryMode.SECRET

    @property
    def body(self) -> dict[str, Any]:
        """The object."""
        metadata: dict[str, Any] = {
            "name": "reader",
            "namespace": "finance",
            "uid": self.uid,
            "generation": self.generation,
            "resourceVersion": "7",
            "finalizers": list(self.finalizers),
            "annotations": {},
        }
        if self.requested is not None:
            text = self.requested.strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata["annotations"] = {ANNOTATION_RENEW_REQUESTED: text}
        if self.deleting:
            metadata["deletionTimestamp"] = "2026-03-01T11:59:00Z"
        spec = {
            "className": "batch",
            "sponsor": self.sponsor,
            "subject": {"serviceAccountName": "reader"},
            "permissions": {"systems": _SYSTEMS[: self.level], "operations": ["read"]},
            "delivery": {"secretName": self.secret_name}
            if self.mode is DeliveryMode.SECRET
            else {"mode": self.mode.value},
            "suspend": self.suspend,
        }
        return {"metadata": metadata, "spec": spec}


@lru_cache
def identity(wish: Wish) -> AgentIdentity:
    """The object, parsed."""
    return AgentIdentity.parse(wish.body)


@lru_cache
def class_up_to(
    level: int, grace: timedelta = GRACE, modes: tuple[str, ...] = ("Secret", "PodCertificate")
) -> AgentClass:
    """A class that allows permissions up to a level."""
    spec = {
        "issuerName": "main",
        "namespaces": {"names": ["*"]},
        "lifetime": "24h",
        "permissions": {"systems": _SYSTEMS[:level], "operations": ["read"]},
        "revocation": {"gracePeriod": f"{grace // SECOND}s"},
        "delivery": {"modes": list(modes)},
    }
    return AgentClass.parse({"metadata": {"name": "batch"}, "spec": spec})


@lru_cache
def _judged(wish: Wish, allows: int) -> Granted | Refused:
    return judge(
        identity(wish),
        class_up_to(allows),
        _TRUST_DOMAIN,
        available_deliveries=frozenset({DeliveryMode.SECRET, DeliveryMode.POD_CERTIFICATE}),
        now=NOW,
    )


def granted(wish: Wish | None = None) -> Grant:
    """What a wish is given by a class that allows it."""
    verdict = _judged(wish or Wish(), len(_SYSTEMS))
    assert isinstance(verdict, Granted)
    return verdict.grant


def held(
    number: int,
    *,
    age: timedelta = HOUR,
    wish: Wish | None = None,
    replaces: int | None = None,
    doubtful: bool = False,
    known: bool = True,
    pod: str | None = None,
) -> Held:
    """A certificate on the ledger.

    Args:
        number: Its serial.
        age: How long before NOW it was made.
        wish: What it was issued for.
        replaces: The serial that was known to be delivered then.
        doubtful: Whether its record comes from a damaged segment.
        known: Whether its grant can be read.
        pod: UID of the pod that it was made for, if it was.
    """
    made = NOW - age
    return Held(
        serial=SerialNumber(number),
        uid=(wish or Wish()).uid,
        door=DeliveryMode.SECRET if pod is None else DeliveryMode.POD_CERTIFICATE,
        grant=granted(wish) if known else None,
        validity=Validity.of(made, DAY, _BACKDATE),
        issued_at=made,
        replaces=None if replaces is None else SerialNumber(replaces),
        doubtful=doubtful,
        pod=None if pod is None else PodRef(f"reader-{pod}", pod, "node-1", f"request-{number}"),
    )


def certificate(of: Held) -> CertificateStatus:
    """What a status says of a certificate."""
    return CertificateStatus(
        serial=str(of.serial),
        fingerprint=str(of.serial).rjust(64, "0"),
        not_before=of.validity.not_before,
        not_after=of.validity.not_after,
        renewal_time=of.validity.not_after - 8 * HOUR,
        issuer="main",
    )


def status(
    delivered: Held | None = None,
    *,
    secret_name: str | None = SECRET,
    stalled_since: datetime | None = None,
) -> AgentIdentityStatus:
    """What was written last.

    Args:
        delivered: The certificate in it.
        secret_name: Where that was delivered; None for nowhere.
        stalled_since: Since when the identity is stalled.
    """
    stalled = Condition(
        type=ConditionType.STALLED,
        status=ConditionStatus.TRUE,
        last_transition_time=stalled_since or NOW,
        reason=Reason.EXCEEDS_CLASS,
        message="too much",
    )
    nowhere = delivered is None or secret_name is None
    return AgentIdentityStatus(
        conditions=() if stalled_since is None else (stalled,),
        certificate=None if delivered is None else certificate(delivered),
        delivery=None if nowhere else DeliveryStatus(secret_name=secret_name),
    )


def observe(
    *certificates: Held,
    told: AgentIdentityStatus | None = None,
    wish: Wish | None = None,
    allows: int = 3,
    grace: timedelta = GRACE,
    blocked: Blocked | None = None,
    hold: Hold | None = None,
    gone: frozenset[str] = frozenset(),
) -> Observed:
    """What a pass sees.

    Args:
        certificates: On the ledger, newest first.
        told: The status.
        wish: The object; if none is given, one that asks for level 2.
        allows: The level that the class goes up to.
        grace: Of the class.
        blocked: Why no judgement is possible, if it is not.
        hold: The incident that holds it, if one does.
        gone: UIDs of pods that are gone.
    """
    wish = wish or Wish()
    agent_class = None if blocked is not None else class_up_to(allows, grace)
    verdict: Granted | Refused | Blocked | None = blocked
    if agent_class is not None and not wish.deleting and not wish.suspend and hold is None:
        verdict = _judged(wish, allows)
    return Observed(
        metadata=identity(wish).metadata,
        identity=identity(wish),
        status=told or AgentIdentityStatus(),
        held=certificates,
        agent_class=agent_class,
        verdict=verdict,
        hold=hold,
        gone=gone,
    )
