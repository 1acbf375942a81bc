"""Places in limited classes, as the replica that leads gives them from pass to pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from agentid.api import AgentClass, AgentIdentity, Reason
from agentid.api.agentidentity import AgentIdentityStatus
from agentid.api.conditions import Condition, ConditionStatus, ConditionType
from agentid.kube.objects import ObjectKey
from agentid.policy import Granted, Refused
from agentid.policy.observed import Blocked, Held, Observed
from agentid.services.quotas import Quotas
from agentid.services.world import Parsed, World
from tests.support.manifests import agent_class, identity
from tests.support.observed import DAY, NOW, SECOND, granted, held, observe

Verdict = Granted | Refused | Blocked | None
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FAULTY = Blocked(Reason.INVALID_SPEC, "spec: no", stalled=True)
WAITS = Blocked(Reason.ISSUER_NOT_READY, "AgentIssuer main cannot sign yet")
REFUSED = observe(allows=0).verdict


@dataclass
class Leader:
    """A replica that leads, and what it set off.

    Attributes:
        woken: Identities to be looked at, since there is a place.
        placed: Identities that were told of as having one.
    """

    world: World = field(default_factory=World)
    woken: list[str] = field(default_factory=list)
    placed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.quotas = Quotas(self.world)
        self.begin()
        self.quotas.expect([])

    def begin(self) -> None:
        """Lead from now on."""
        self.quotas.begin(
            wake=lambda key: self.woken.append(key.name),
            placed=lambda key: self.placed.append(key.name),
        )

    def limit(self, total: int | None, each: int | None = None, name: str = "batch") -> None:
        """What a class limits."""
        limits: dict[str, Any] = {"identities": total, "identitiesPerNamespace": each}
        body = agent_class(name, limits={k: v for k, v in limits.items() if v is not None})
        self.world.classes[name] = Parsed.of(AgentClass.parse, body)

    def look(
        self,
        one: One,
        *certificates: Held,
        verdict: Verdict | Literal["granted"] = "granted",
        revoked: tuple[Held, ...] = (),
    ) -> Blocked | None:
        """A pass over an identity, carried out; what it is told if there is no place."""
        seen = one.seen(*certificates, verdict=verdict)
        admitted = self.quotas.admit(one.key, seen, NOW)
        self.quotas.settle(one.key, admitted, frozenset(e.serial for e in revoked), NOW)
        found = admitted.verdict
        return found if isinstance(found, Blocked) and found is not verdict else None

    def gone(self, one: One) -> None:
        """The pass over an identity that is not there any more."""
        seen = Observed(None, None, AgentIdentityStatus(), ())
        self.quotas.settle(one.key, self.quotas.admit(one.key, seen, NOW), frozenset(), NOW)


@dataclass(frozen=True)
class One:
    """An identity of the class `batch`.

    Attributes:
        age: The older, the smaller.
        told: Its status.
    """

    age: int
    class_name: str = "batch"
    namespace: str = "finance"
    uid: str = ""
    told: AgentIdentityStatus | None = None

    @property
    def name(self) -> str:
        """Of the object."""
        return f"agent-{self.age}"

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)

    def seen(
        self, *certificates: Held, verdict: Verdict | Literal["granted"] = "granted"
    ) -> Observed:
        """What a pass gathers."""
        body = identity(self.name, self.class_name)
        created = BEGAN + timedelta(minutes=self.age)
        body["metadata"] |= {
            "namespace": self.namespace,
            "uid": self.uid or f"u-{self.age}",
            "generation": 1,
            "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        parsed = AgentIdentity.parse(body)
        if verdict == "granted":
            whole = observe().verdict
            assert isinstance(whole, Granted)
            verdict = replace(whole, grant=replace(whole.grant, class_name=self.class_name))
        own = tuple(replace(each, uid=parsed.metadata.uid) for each in certificates)
        return Observed(
            parsed.metadata, parsed, self.told or AgentIdentityStatus(), own, None, verdict
        )


def of_class(number: int, name: str, *, age: timedelta = SECOND) -> Held:
    """A certificate of a class."""
    return replace(held(number, age=age), grant=replace(granted(), class_name=name))


def said(ready: ConditionStatus, *, waits: str = "") -> AgentIdentityStatus:
    """A status for the spec as it is."""
    conditions = [(ConditionType.READY, ready, Reason.AVAILABLE, "Good")]
    if waits:
        waiting = (ConditionType.RECONCILING, ConditionStatus.TRUE, Reason.QUOTA_EXCEEDED, waits)
        conditions.append(waiting)
    return AgentIdentityStatus(
        observed_generation=1,
        conditions=tuple(
            Condition(
                type=kind, status=state, last_transition_time=NOW, reason=reason, message=message
            )
            for kind, state, reason, message in conditions
        ),
    )


PLACED = said(ConditionStatus.TRUE)


def test_who_is_beyond_the_limit_waits_and_comes_when_one_goes() -> None:
    """The oldest first, told of as soon as its status says so too."""
    leader = Leader()
    leader.limit(1)
    assert leader.look(One(0)) is None
    assert leader.placed == ["agent-0"]
    for age in (5, 3):
        waits = leader.look(One(age))
        assert waits is not None
        assert waits.reason is Reason.QUOTA_EXCEEDED
    assert leader.woken == []
    leader.gone(One(0))
    assert leader.woken == ["agent-3"]
    assert leader.look(One(5)) is not None
    assert leader.look(One(3)) is None
    assert leader.placed == ["agent-0", "agent-3"]


def test_a_place_is_free_only_when_what_was_held_is_revoked() -> None:
    """An identity that is deleted, suspended or held has certificates until then."""
    leader = Leader()
    leader.limit(1)
    one, certificate = One(0), of_class(1, "batch")
    assert leader.look(one) is None
    assert leader.look(One(1)) is not None
    leader.look(one, certificate, verdict=None)
    assert leader.woken == [], "nothing was revoked yet"
    leader.look(one, certificate, verdict=None, revoked=(replace(certificate, uid="u-0"),))
    assert leader.woken == ["agent-1"]


@pytest.mark.parametrize(
    "verdict", [pytest.param(REFUSED, id="refused"), pytest.param(FAULTY, id="faulty")]
)
def test_turning_bad_keeps_the_place_while_a_certificate_is_in_force(verdict: Verdict) -> None:
    """Or an agent could hold one, and make room for the next, over and over."""
    leader = Leader()
    leader.limit(1)
    one = One(0)
    assert leader.look(one, of_class(1, "batch")) is None
    assert leader.look(One(1)) is not None
    leader.look(one, of_class(1, "batch"), verdict=verdict)
    assert leader.woken == []
    leader.look(one, of_class(1, "batch", age=2 * DAY), verdict=verdict)
    assert leader.woken == ["agent-1"]


def test_naming_another_class_keeps_the_place_while_a_certificate_is_in_force() -> None:
    """It counts in both until the last one of the first class has run out."""
    leader = Leader()
    leader.limit(1)
    leader.limit(None, name="other")
    assert leader.look(One(0), of_class(1, "batch")) is None
    assert leader.look(One(1)) is not None
    assert leader.look(One(0, "other"), of_class(1, "batch")) is None
    assert leader.look(One(1)) is not None
    assert leader.look(One(0, "other"), of_class(2, "other")) is None
    assert leader.woken == ["agent-1"]
    assert leader.look(One(1)) is None


def test_refused_identities_take_no_place() -> None:
    """Nor do they stand in line: a tenant with thousands of broken ones holds up nobody."""
    leader = Leader()
    leader.limit(1)
    for age in range(50):
        leader.look(One(age), verdict=REFUSED)
        leader.look(One(100 + age), verdict=FAULTY)
    assert leader.look(One(999)) is None


def test_one_that_breaks_while_it_waits_lets_the_next_pass() -> None:
    """Who waits behind it is told."""
    leader = Leader()
    leader.limit(1)
    assert leader.look(One(0)) is None
    assert leader.look(One(1)) is not None
    assert leader.look(One(2)) is not None
    leader.gone(One(0))
    assert leader.woken == ["agent-1"]
    leader.look(One(1), verdict=REFUSED)
    assert leader.woken == ["agent-1", "agent-2"]


def test_an_outage_of_the_issuer_costs_no_place() -> None:
    """What all of a class wait for lets nobody get ahead."""
    leader = Leader()
    leader.limit(1)
    assert leader.look(One(5)) is None
    assert leader.look(One(5), verdict=WAITS) is None
    assert leader.look(One(1)) is not None
    assert leader.look(One(5)) is None


def test_a_raised_limit_lets_in_all_that_there_is_room_for() -> None:
    """Each that comes in has the next looked at."""
    leader = Leader()
    leader.limit(1)
    for age in range(4):
        leader.look(One(age))
    leader.limit(3)
    assert leader.look(One(3)) is not None
    assert leader.look(One(1)) is None
    assert leader.woken == ["agent-2"]


def test_a_namesake_does_not_inherit() -> None:
    """Whatever is deleted and created again between two looks comes last."""
    leader = Leader()
    leader.limit(1)
    leader.look(One(0))
    leader.look(One(1))
    again = One(0, uid="u-new")
    found = leader.quotas.admit(
        again.key,
        replace(again.seen(), metadata=again.seen().metadata.model_copy(  # type: ignore[union-attr]
            update={"creation_timestamp": BEGAN + DAY}
        )),
        NOW,
    )  # fmt: skip
    assert isinstance(found.verdict, Blocked)
    leader.quotas.settle(again.key, found, frozenset(), NOW)
    assert leader.woken == ["agent-1"]


# A replica that begins to lead


def test_nobody_new_is_given_a_place_before_all_were_looked_at() -> None:
    """What has one goes on meanwhile, by its certificates or by its status."""
    leader = Leader()
    leader.limit(2)
    leader.begin()
    leader.quotas.expect([One(age).key for age in (0, 1, 8, 9)])
    early = leader.look(One(9))
    assert early is not None
    assert "counts the identities of AgentClass batch first" in early.message
    assert leader.look(One(1), of_class(1, "batch")) is None
    assert leader.look(One(8)) is not None
    assert leader.woken == []
    assert leader.look(One(0, told=PLACED)) is None
    assert set(leader.woken) == {"agent-8", "agent-9"}, "to be told the numbers"
    for age in (8, 9):
        found = leader.look(One(age))
        assert found is not None
        assert "the number before this one is 2" in found.message


def test_those_who_waited_are_told_the_same_again() -> None:
    """A start of the operator is no reason to write the status of thousands."""
    leader = Leader()
    leader.limit(1)
    leader.begin()
    keys = [One(age).key for age in range(3)]
    leader.quotas.expect(keys)
    waited = said(ConditionStatus.FALSE, waits="the number before this one is 1")
    for age in (2, 1):
        told = leader.look(One(age, told=waited))
        assert told is not None
        assert told.message == "the number before this one is 1"
    leader.look(One(0, told=PLACED))
    assert leader.woken == []


def test_places_that_came_free_meanwhile_are_given_by_age() -> None:
    """Whoever was looked at first after the start."""
    leader = Leader()
    leader.limit(1)
    leader.begin()
    leader.quotas.expect([One(age).key for age in (3, 4)])
    leader.look(One(4))
    leader.look(One(3))
    assert leader.look(One(4)) is not None
    assert leader.look(One(3)) is None


def test_what_was_looked_at_before_the_list_counts() -> None:
    """The list of all that there is takes longer than the first looks."""
    leader = Leader()
    leader.limit(1)
    leader.begin()
    leader.look(One(0))
    assert leader.woken == []
    leader.quotas.expect([One(0).key])
    assert set(leader.woken) == {"agent-0"}
    assert leader.look(One(0)) is None


def test_one_that_is_never_looked_at_keeps_nobody_waiting_for_ever() -> None:
    """After a minute places are given even so."""
    leader = Leader()
    leader.limit(1)
    leader.begin()
    leader.quotas.expect([One(0).key, One(1).key])
    leader.look(One(1))
    leader.quotas.open()
    assert leader.woken == ["agent-1", "agent-1"]
    assert leader.look(One(1)) is None


def test_classes_without_limits_do_not_wait_for_the_count() -> None:
    """Nothing changes for who says nothing."""
    leader = Leader()
    leader.limit(None)
    leader.begin()
    assert leader.look(One(0)) is None


def test_a_status_of_another_spec_gives_no_place() -> None:
    """One that was Ready for another class, before it named this one."""
    leader = Leader()
    leader.limit(0)
    old = PLACED.model_copy(update={"observed_generation": 0})
    assert leader.look(One(0, told=old)) is not None
    assert leader.look(One(0, told=said(ConditionStatus.TRUE, waits="so"))) is not None
    assert leader.look(One(0, told=PLACED)) is None
