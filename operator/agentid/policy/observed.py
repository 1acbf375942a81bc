"""What a decision about one identity is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.policy.rotation import NO_DEMANDS, Demands

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentidentity import AgentIdentity, AgentIdentityStatus
    from agentid.api.conditions import Reason
    from agentid.api.model import ObjectMeta
    from agentid.api.vocabulary import DeliveryMode
    from agentid.identity import PodRef, SerialNumber, Validity
    from agentid.policy.grant import Grant
    from agentid.policy.incident import Hold
    from agentid.policy.judge import Granted, Refused

__all__ = ["Blocked", "Held", "Observed", "PodRefusal"]


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate on the ledger that is not revoked and, as far as is certain, not expired.

    Attributes:
        serial: Its serial number.
        uid: Of the AgentIdentity it was issued for, which may be a namesake that is gone.
        door: How it was delivered.
        grant: What it was issued under, None if a newer release wrote it in a form unknown here.
        validity: Its period.
        issued_at: When it was made.
        replaces: The serial that was known to be delivered then.
        doubtful: Its record comes from a damaged segment: good enough to revoke it, not good enough
            to believe that it was delivered.
        authority: Id of the authority that signed it.
        bundle: Sequence of the bundle that it was delivered with.
        pod: The pod it was made for, None when pods share it.
    """

    serial: SerialNumber
    uid: str
    door: DeliveryMode
    grant: Grant | None
    validity: Validity
    issued_at: datetime
    replaces: SerialNumber | None = None
    doubtful: bool = False
    authority: str = ""
    bundle: int = 0
    pod: PodRef | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """No judgement is possible yet: something the identity needs is missing or faulty.

    Attributes:
        reason: For the conditions.
        message: What is missing, and the next step.
        stalled: Whether the identity's own spec is to blame, so that waiting does not help.
    """

    reason: Reason
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class PodRefusal:
    """A pod was given no certificate.

    Attributes:
        time: When.
        pod: Its name.
        reason: Why, in one word.
        message: Why, in sentences.
    """

    time: datetime
    pod: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything one decision is made from.

    Attributes:
        metadata: Of the object; None if there is none.
        identity: The object, None if there is none or its spec does not parse.
        status: What was written last.
        held: Newest first, those of namesakes that are gone included.
        agent_class: The class that the spec names, where there is one.
        verdict: The judgement; None where nobody asks for one (gone, deleting, suspended, held).
        hold: The incident that keeps it from getting a certificate, None if none does.
        demands: What the rotation of authorities asks of its certificates.
        gone: UIDs of pods that hold certificates of it and are certainly gone.
        refusal: The last pod that was given none.
        revoked_into: Names of the Secrets that certificates of this very object were made for which
            are revoked by now, and not yet expired.
        replaced: Serials that certificates of this very object, revoked by now, were made to
            replace: they are known to have been delivered.
        unread_suspend: Whether an object whose spec does not parse, since a later release knows
            more perhaps, says `suspend: true` all the same.
        ledger_unread: Whether a later release wrote a part of the ledger, so that there may be
            certificates that `held` does not tell of.
    """

    metadata: ObjectMeta | None
    identity: AgentIdentity | None
    status: AgentIdentityStatus
    held: tuple[Held, ...]
    agent_class: AgentClass | None = None
    verdict: Granted | Refused | Blocked | None = None
    hold: Hold | None = None
    demands: Demands = NO_DEMANDS
    gone: frozenset[str] = frozenset()
    refusal: PodRefusal | None = None
    revoked_into: frozenset[str] = frozenset()
    replaced: frozenset[SerialNumber] = frozenset()
    unread_suspend: bool = False
    ledger_unread: bool = False

    @property
    def suspended(self) -> bool:
        """Whether the object says that it is suspended, whatever else it says."""
        return self.unread_suspend if self.identity is None else self.identity.spec.suspend

    @property
    def own(self) -> tuple[Held, ...]:
        """Certificates of this very object, newest first."""
        uid = "" if self.metadata is None else self.metadata.uid
        return tuple(each for each in self.held if each.uid == uid)
