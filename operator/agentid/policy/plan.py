"""What has to be done about one identity, given the world as it was gathered.

```
            gone ──► revoke everything                              (nothing left to write to)
        deleting ──► revoke everything, then let go of the finalizer
       suspended ──► revoke everything, withdraw the Secret
            held ──► the same, until the incident is released
         refused ──► revoke what the class no longer allows, after the grace period
         blocked ──► wait; what is valid stays
         granted ──► issue if a cause is found; revoke what was replaced for a reason
```

Pure: it looks at the world and never at a difference, so a pass that was interrupted anywhere is
completed by the next one.

How it knows what a Secret holds, though nobody may read Secrets: a certificate stands in
`status.certificate` only after it was delivered, and each record on the ledger names the one that
stood there when it was made (`replaces`). So a record that replaces the one in the status came
after it, and its delivery is unconfirmed; it may or may not lie in the Secret, and is replaced. The
times on records decide as little as possible: clocks differ between replicas, and are set back.
Every standing is decided here, side by side, however long the module: what is kept in one has to be
seen beside what is taken away in another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import ConditionStatus, ConditionType
from agentid.constants import FINALIZER
from agentid.identity import RevocationReason, Validity
from agentid.policy.grant import takes_away
from agentid.policy.judge import Granted, Refused, exceeds
from agentid.policy.places import doubtful_places
from agentid.policy.pod_plan import earliest_end, exceeding, of_gone_pods
from agentid.policy.renewal import renewal_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.api.agentidentity import AgentIdentityStatus
    from agentid.identity import SerialNumber
    from agentid.policy.grant import Grant
    from agentid.policy.observed import Held, Observed

__all__ = ["Cause", "Plan", "Standing", "plan", "renewal_of"]


class Cause(StrEnum):
    """Why a certificate is issued; the values are labels of a metric and words of the log."""

    FIRST = "first"
    """The identity has none."""
    EXPIRED = "expired"
    """The last one ran out unrenewed, was revoked, or is not on record any more."""
    UNCONFIRMED = "unconfirmed"
    """One was made, and whether it was delivered is not known."""
    PREMATURE = "premature"
    """The last one is not valid yet: it was made by a clock that was ahead of this one."""
    CHANGED = "changed"
    """What is granted differs from what the certificate was issued under."""
    AUTHORITY = "authority"
    """Its authority is on its way out, or a root has come or gone that it was delivered without."""
    REQUESTED = "requested"
    """Somebody asked for a renewal."""
    RENEWAL = "renewal"
    """Its time has come."""


class Standing(StrEnum):
    """How an identity stands once the plan is carried out; what its conditions tell."""

    GONE = "gone"
    DELETING = "deleting"
    SUSPENDED = "suspended"
    HELD = "held"
    REFUSED = "refused"
    BLOCKED = "blocked"
    GRANTED = "granted"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in the order of the fields.

    Attributes:
        standing: How the identity stands afterwards.
        revoke: Serials to revoke now, with the reason for each.
        add_finalizer: Whether ours is missing and something is about to be issued.
        issue: The cause to issue a certificate for, None if there is none.
        replaces: The serial that is known to be delivered, for the new record.
        withdraw: Name of the Secret whose contents are to be taken out.
        clear: Names of other Secrets in which a certificate may lie that is revoked; nobody knows,
            since its delivery was never confirmed.
        current: The certificate that stays in use; None if one is issued or none is left.
        release: Whether to let go of the finalizer.
        withdrawal: When certificates are revoked that pods hold and that give more than is granted.
        look_again: When to look at the identity again if nothing happens before.
    """

    standing: Standing
    revoke: tuple[tuple[Held, RevocationReason], ...] = ()
    add_finalizer: bool = False
    issue: Cause | None = None
    replaces: SerialNumber | None = None
    withdraw: str | None = None
    clear: tuple[str, ...] = ()
    current: Held | None = None
    release: bool = False
    withdrawal: datetime | None = None
    look_again: datetime | None = None

    @property
    def acts(self) -> bool:
        """Whether there is anything to do now."""
        return bool(
            self.revoke
            or self.issue
            or self.withdraw
            or self.clear
            or self.release
            or self.add_finalizer
        )


_NO_GRACE: Final = timedelta(0)

_GONE: Final = RevocationReason.CESSATION_OF_OPERATION
_WITHDRAWN: Final = RevocationReason.PRIVILEGE_WITHDRAWN
_REPLACED: Final = RevocationReason.SUPERSEDED


def plan(seen: Observed, now: datetime) -> Plan:
    """Decide what to do about an identity."""
    metadata = seen.metadata
    if metadata is None:
        return Plan(Standing.GONE, tuple((each, _GONE) for each in seen.held))
    strangers = tuple((each, _GONE) for each in seen.held if each.uid != metadata.uid)
    lost = of_gone_pods(seen)
    strangers += tuple((each, _GONE) for each in lost if each.uid == metadata.uid)
    if lost:
        serials = {each.serial for each in lost}
        seen = replace(seen, held=tuple(e for e in seen.held if e.serial not in serials))
    own = seen.own
    if metadata.deletion_timestamp is not None:
        made = Plan(
            Standing.DELETING,
            tuple((each, _GONE) for each in own),
            release=FINALIZER in metadata.finalizers,
        )
    elif seen.suspended:
        made = Plan(
            Standing.SUSPENDED,
            tuple((each, _WITHDRAWN) for each in own),
            withdraw=_delivered_to(seen.status),
        )
    elif (hold := seen.hold) is not None:
        revoke = tuple((each, hold.reason) for each in own)
        made = Plan(Standing.HELD, revoke, withdraw=_delivered_to(seen.status))
    else:
        match seen.verdict:
            case Granted(grant=grant) as granted:
                by_pods = grant.secret_name is None
                made = _to_pods(seen, grant, now) if by_pods else _granted(seen, granted, now)
            case Refused():
                made = _refused(seen, now)
            case _:
                made = _blocked(seen, now)
    return replace(made, revoke=(*strangers, *made.revoke), clear=_clear(seen, made))


def renewal_of(held: Held, agent_class: AgentClass | None) -> datetime:
    """When a certificate is to be renewed; the same answer at every look.

    It counts from when it was made, not from notBefore, which lies before: the renewal of one with
    a short lifetime would be due before it is there.
    """
    before = None if agent_class is None else agent_class.spec.renewal.renew_before
    serves = Validity(
        min(held.issued_at.replace(microsecond=0), held.validity.not_after),
        held.validity.not_after,
    )
    return renewal_time(serves, before, f"{held.uid}/{held.serial}".encode())


def _granted(seen: Observed, granted: Granted, now: datetime) -> Plan:
    metadata, identity = seen.metadata, seen.identity
    live = tuple(each for each in seen.own if each.validity.not_after >= now)
    own = tuple(each for each in live if each.pod is None)
    current = _current(own, seen.status, now)
    cause = _cause(seen, granted, own, current, now)
    delivered = _delivered_to(seen.status)
    withdraw = delivered if delivered != granted.grant.secret_name else None
    if cause is not None:
        confirmed = current or _confirmed(seen.own, seen.status)
        return Plan(
            Standing.GRANTED,
            add_finalizer=metadata is not None and FINALIZER not in metadata.finalizers,
            issue=cause,
            replaces=None if confirmed is None else confirmed.serial,
            withdraw=withdraw,
        )
    if current is None or identity is None:  # what has no cause has a current certificate
        return Plan(Standing.GRANTED)
    by_pods = tuple(each for each in live if each.pod is not None)
    revoke, withdrawal = _withdrawn(seen, granted.grant, by_pods, now)
    outdated = {
        each: _replaced_at(each, own, current) + _grace(seen)
        for each in own
        if each.serial != current.serial
        and (
            each.authority in seen.demands.moving
            or not _may_run_out(each, seen, own, granted.grant, now)
        )
    }
    revoke += tuple((each, _REPLACED) for each, due in outdated.items() if now >= due)
    requested = identity.renewal_requested
    times = [renewal_of(current, seen.agent_class), current.validity.not_after]
    times += [due for due in outdated.values() if now < due]
    times += [requested] if requested is not None and requested > now else []
    times += [each for each in (withdrawal, earliest_end(by_pods)) if each is not None]
    return Plan(
        Standing.GRANTED,
        revoke,
        withdraw=withdraw,
        current=current,
        withdrawal=withdrawal,
        look_again=min(times),
    )


def _to_pods(seen: Observed, grant: Grant, now: datetime) -> Plan:
    """Pods ask by themselves; what they must not have any more is taken away."""
    metadata, status = seen.metadata, seen.status
    own = tuple(each for each in seen.own if each.validity.not_after >= now)
    revoke, withdrawal = _withdrawn(seen, grant, own, now)
    over = withdrawal is None
    times = [each for each in (withdrawal, earliest_end(own)) if each is not None]
    return Plan(
        Standing.GRANTED,
        revoke,
        add_finalizer=metadata is not None and FINALIZER not in metadata.finalizers,
        withdraw=_delivered_to(status) if over else None,
        current=None if over else _confirmed(own, status),
        withdrawal=withdrawal,
        look_again=min(times, default=None),
    )


def _withdrawn(
    seen: Observed, grant: Grant, held: tuple[Held, ...], now: datetime
) -> tuple[tuple[tuple[Held, RevocationReason], ...], datetime | None]:
    """What pods must not have any more: revoked now, or else the time when it is."""
    excess = exceeding(held, grant, seen.agent_class, seen.demands.moving, now)
    if not excess:
        return (), None
    due = seen.status.withdrawal_time or now + _grace(seen)
    if now < due:
        return (), due
    return tuple((each, _REPLACED) for each in excess), None


def _cause(
    seen: Observed, granted: Granted, own: tuple[Held, ...], current: Held | None, now: datetime
) -> Cause | None:
    """The first cause that holds; their order is what a user is told."""
    if not own:
        return Cause.FIRST if seen.status.certificate is None else Cause.EXPIRED
    if current is None or current.doubtful:
        confirmed = _confirmed(own, seen.status)
        premature = confirmed is not None and confirmed.validity.not_before > now
        return Cause.PREMATURE if premature else Cause.UNCONFIRMED
    requested = seen.identity.renewal_requested if seen.identity is not None else None
    causes = {
        Cause.CHANGED: _differs(current.grant, granted),
        Cause.AUTHORITY: seen.demands.concern(current.authority, current.bundle),
        Cause.REQUESTED: requested is not None and current.issued_at < requested <= now,
        Cause.RENEWAL: now >= renewal_of(current, seen.agent_class),
    }
    return next((cause for cause, holds in causes.items() if holds), None)


def _differs(held: Grant | None, granted: Granted) -> bool:
    """Whether a certificate has to be replaced at once for what it was issued under."""
    if held is None or not granted.gradual:
        return held != granted.grant
    return replace(held, key_algorithm=granted.grant.key_algorithm) != granted.grant


def _current(own: tuple[Held, ...], status: AgentIdentityStatus, now: datetime) -> Held | None:
    """The certificate whose delivery is confirmed, if it is good and nothing came after it."""
    confirmed = _confirmed(own, status)
    if confirmed is None or confirmed.validity.not_before > now:
        return None
    return None if any(_came_after(each, confirmed) for each in own) else confirmed


def _came_after(one: Held, confirmed: Held) -> bool:
    """Whether a certificate may have taken the place of the confirmed one in the Secret.

    Their times decide only between those that were made while nothing was confirmed. A certificate
    that is made then to replace the confirmed one ends the doubt, whatever clocks say.
    """
    if one.door is not confirmed.door:
        return False
    if one.replaces is not None:
        return one.replaces == confirmed.serial
    return confirmed.replaces is None and one.issued_at > confirmed.issued_at


def _confirmed(own: tuple[Held, ...], status: AgentIdentityStatus) -> Held | None:
    """The certificate that the status says was delivered."""
    if status.certificate is None:
        return None
    return next((each for each in own if str(each.serial) == status.certificate.serial), None)


def _may_run_out(
    old: Held, seen: Observed, own: tuple[Held, ...], grant: Grant, now: datetime
) -> bool:
    """Whether a replaced certificate may stay until it expires: it was renewed, and no more.

    It has to be known to have been delivered, or nobody can say where it is; what replaced it may
    be revoked by now.
    """
    return (
        not old.doubtful
        and old.validity.not_before <= now
        and (old.serial in seen.replaced or any(each.replaces == old.serial for each in own))
        and old.grant is not None
        and not takes_away(old.grant, grant, now)
    )


def _replaced_at(old: Held, own: tuple[Held, ...], current: Held) -> datetime:
    """When the first certificate that is known to be delivered took the place of this one.

    From then on pods swap their files. What comes later, such as a renewal every minute, gives them
    no more time.
    """
    known = {each.serial: each for each in own}
    link: Held | None = current
    for _ in own:
        if link is None:
            break
        if link.replaces in {old.serial, old.replaces}:
            return link.issued_at
        link = None if link.replaces is None else known.get(link.replaces)
    return current.issued_at


def _refused(seen: Observed, now: datetime) -> Plan:
    """A certificate that the class still allows runs out; what it no longer allows is revoked."""
    live = tuple(each for each in seen.own if each.validity.not_after >= now)
    outside = _outside(live, seen, now)
    due = _stalled_since(seen.status, now) + _grace(seen)
    confirmed = _confirmed(live, seen.status)
    if outside and now < due:
        return Plan(
            Standing.REFUSED, current=confirmed, look_again=_first_end(live, confirmed, due)
        )
    beyond = {each.serial for each in outside}
    stays = None if confirmed is None or confirmed.serial in beyond else confirmed
    shared = [each for each in live if each.pod is None]
    # By what is left, not by what is revoked now: an earlier pass may have come no further. One
    # that was renewed is left as well, and does not lie in the Secret any more.
    nothing_left = not any(
        each.serial not in beyond and _may_lie_there(each, seen.status) for each in shared
    )
    return Plan(
        Standing.REFUSED,
        tuple((each, _WITHDRAWN) for each in outside),
        withdraw=_delivered_to(seen.status) if nothing_left else None,
        current=stays,
        look_again=_first_end((each for each in live if each.serial not in beyond), stays),
    )


def _may_lie_there(one: Held, status: AgentIdentityStatus) -> bool:
    """Whether a certificate is the confirmed one, or may have taken its place in the Secret."""
    told = None if status.certificate is None else status.certificate.serial
    return told is None or told == str(one.serial) or told == str(one.replaces)


def _clear(seen: Observed, made: Plan) -> tuple[str, ...]:
    """Secrets to empty that no status ever told of, where the identity is left without any."""
    match made.standing:
        case Standing.SUSPENDED:
            tells = ConditionType.SUSPENDED
        case Standing.HELD | Standing.REFUSED:
            tells = ConditionType.STALLED
        case _:
            return ()
    revoked = {each.serial for each, _ in made.revoke}
    return tuple(sorted(doubtful_places(seen, revoked, tells) - {made.withdraw}))


def _outside(live: tuple[Held, ...], seen: Observed, now: datetime) -> tuple[Held, ...]:
    """What the class does not allow any more; each grant is held against it once."""
    agent_class, judged = seen.agent_class, dict[int, bool]()

    def beyond(grant: Grant | None) -> bool:
        if agent_class is None or grant is None:
            return True
        if id(grant) not in judged:
            judged[id(grant)] = bool(exceeds(grant, agent_class, now))
        return judged[id(grant)]

    return tuple(
        each for each in live if each.authority in seen.demands.moving or beyond(each.grant)
    )


def _blocked(seen: Observed, now: datetime) -> Plan:
    live = tuple(each for each in seen.own if each.validity.not_after >= now)
    confirmed = _confirmed(live, seen.status)
    return Plan(Standing.BLOCKED, current=confirmed, look_again=_first_end(live, confirmed))


def _first_end(live: Iterable[Held], confirmed: Held | None, *others: datetime) -> datetime | None:
    """When the status says something that is not the case any more, if nothing happens before."""
    ends = [*others]
    ends += [confirmed.validity.not_after] if confirmed is not None else []
    ends += [end] if (end := earliest_end(live)) is not None else []
    return min(ends, default=None)


def _delivered_to(status: AgentIdentityStatus) -> str | None:
    return None if status.delivery is None else status.delivery.secret_name


def _grace(seen: Observed) -> timedelta:
    spec = None if seen.agent_class is None else seen.agent_class.spec
    return _NO_GRACE if spec is None else spec.revocation.grace_period


def _stalled_since(status: AgentIdentityStatus, now: datetime) -> datetime:
    return min(_stalls(status), default=now)


def _stalls(status: AgentIdentityStatus) -> Iterator[datetime]:
    for condition in status.conditions:
        if condition.type == ConditionType.STALLED and condition.status is ConditionStatus.TRUE:
            yield condition.last_transition_time
