"""Who has a place in a limited class, and who is next."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentid.api.agentclass import ClassLimits
from agentid.api.agentidentity import AgentIdentityStatus
from agentid.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from agentid.policy.quota import Claimant, Places, bounds, is_placed, told_shortage
from tests.support.observed import NOW

START = datetime(2026, 1, 1, tzinfo=UTC)
PAYER = "payer"


def one(age: int, namespace: str = "finance", name: str = "") -> Claimant:
    """An identity, the older the smaller the number."""
    named = name or f"agent-{age}"
    created = START + timedelta(minutes=age)
    return Claimant(created, namespace, named, f"{namespace}/{named}")


def limits(total: int | None = None, each: int | None = None) -> ClassLimits:
    """Of a class, in all and for each namespace."""
    return ClassLimits(identities=total, identities_per_namespace=each)


def test_a_class_without_limits_has_a_place_for_everybody() -> None:
    """And counts them all the same, since it may get some."""
    places = Places()
    assert all(places.ask(one(age), PAYER, limits()) is None for age in range(100))
    assert places.count(PAYER) == places.count(PAYER, "finance") == 100
    assert not bounds(limits())
    assert not bounds(ClassLimits(issuances_per_minute_per_namespace=5))
    assert bounds(limits(0))
    assert bounds(limits(each=0))


@pytest.mark.parametrize(
    ("allowed", "field", "where"),
    [
        pytest.param(limits(2), "identities", "", id="in-all"),
        pytest.param(
            limits(5, 2), "identitiesPerNamespace", " in namespace finance", id="per-namespace"
        ),
    ],
)
def test_who_finds_none_is_told_by_numbers(allowed: ClassLimits, field: str, where: str) -> None:
    """How many there are, how many are allowed, by which field, and what to do."""
    places = Places()
    for age in range(2):
        assert places.ask(one(age), PAYER, allowed) is None
    shortage = places.ask(one(2), PAYER, allowed)
    assert shortage is not None
    blocked = shortage.blocked
    assert (blocked.reason, blocked.stalled) == (Reason.QUOTA_EXCEEDED, False)
    assert blocked.message == (
        f"AgentClass payer limits its identities{where} to 2 (spec.limits.{field}), and the number "
        "before this one is 2; delete one that is not needed, or ask the class owner for more. The "
        "identity proceeds by itself when its turn comes"
    )


def test_nobody_has_a_place_where_none_is_allowed() -> None:
    """Zero is a limit, and no absence of one."""
    places = Places()
    assert places.ask(one(0), PAYER, limits(0)) is not None
    assert places.ask(one(0), PAYER, limits(each=0)) is not None
    assert places.following(PAYER, limits(0)) == ()


def test_the_oldest_of_those_who_wait_is_next() -> None:
    """By age and not by who asked first; and nobody who comes meanwhile gets in between."""
    places, only = Places(), limits(1)
    assert places.ask(one(0), PAYER, only) is None
    for age in (9, 3, 5):
        assert places.ask(one(age), PAYER, only) is not None
    assert places.keep(one(0).uid, frozenset()) == {PAYER}
    assert places.following(PAYER, only) == (one(3),)
    late = places.ask(one(20), PAYER, only)
    assert late is not None
    assert late.found == 3
    assert places.ask(one(5), PAYER, only) is not None
    assert places.ask(one(3), PAYER, only) is None
    assert places.following(PAYER, only) == ()


def test_of_the_same_second_the_name_decides() -> None:
    """The API server tells creation to the second."""
    places = Places()
    places.give(one(0, name="first"), PAYER)
    for name in ("b", "a"):
        places.ask(one(1, name=name), PAYER, limits(1))
    assert [each.name for each in places.following(PAYER, limits(3))] == ["a", "b"]


def test_a_full_namespace_stands_before_nobody_else() -> None:
    """Five thousand that wait for a place in their own namespace leave those of others free."""
    places, allowed = Places(), limits(10, 2)
    for age in range(5000):
        places.ask(one(age, "noisy"), PAYER, allowed)
    assert places.count(PAYER) == 2
    assert all(places.ask(one(9000 + age, "quiet"), PAYER, allowed) is None for age in range(2))
    assert places.following(PAYER, allowed) == ()
    places.keep(one(1, "noisy").uid, frozenset())
    assert places.following(PAYER, allowed) == (one(2, "noisy"),)


def test_a_lower_limit_takes_nothing_away() -> None:
    """Who has a place keeps it, and nobody comes until there are fewer than it allows."""
    places = Places()
    for age in range(4):
        places.ask(one(age), PAYER, limits(4))
    assert places.ask(one(9), PAYER, limits(4)) is not None
    assert all(places.ask(one(age), PAYER, limits(2)) is None for age in range(4))
    for age in range(2):
        places.keep(one(age).uid, frozenset())
        assert places.following(PAYER, limits(2)) == ()
    places.keep(one(2).uid, frozenset())
    assert places.following(PAYER, limits(2)) == (one(9),)


def test_a_place_given_by_right_counts_whatever_the_limits() -> None:
    """Its certificate is there; others find the class as full as it is."""
    places = Places()
    for age in range(3):
        places.give(one(age), PAYER)
    shortage = places.ask(one(7), PAYER, limits(2))
    assert shortage is not None
    assert (shortage.found, shortage.allowed) == (3, 2)


def test_an_identity_may_have_places_in_two_classes() -> None:
    """As long as certificates of both are in force; each is freed by itself."""
    places = Places()
    places.give(one(0), PAYER)
    places.give(one(0), "reader")
    assert places.keep(one(0).uid, frozenset({"reader"})) == {PAYER}
    assert (places.count(PAYER), places.count("reader")) == (0, 1)


def test_who_turns_to_another_class_leaves_the_line() -> None:
    """And stands in one line at a time."""
    places, full = Places(), limits(0)
    places.ask(one(0), PAYER, full)
    places.ask(one(0), "reader", full)
    assert places.waiting() == {"reader"}
    assert places.leave(one(0).uid) == "reader"
    assert places.leave(one(0).uid) is None
    assert places.waiting() == frozenset()


def test_a_namesake_has_no_place_of_its_forerunner() -> None:
    """Deleting and creating is no way past those who wait."""
    places, only = Places(), limits(1)
    places.ask(Claimant(START, "finance", "reader", "u-1"), PAYER, only)
    places.ask(one(5), PAYER, only)
    again = Claimant(START + timedelta(hours=1), "finance", "reader", "u-2")
    assert places.ask(again, PAYER, only) is not None
    places.keep("u-1", frozenset())
    assert places.following(PAYER, only) == (one(5),)


def told(*conditions: tuple[ConditionType, ConditionStatus, Reason]) -> AgentIdentityStatus:
    """A status of generation 3."""
    return AgentIdentityStatus(
        observed_generation=3,
        conditions=tuple(
            Condition(
                type=kind, status=state, last_transition_time=NOW, reason=reason, message="So it is"
            )
            for kind, state, reason in conditions
        ),
    )


READY = (ConditionType.READY, ConditionStatus.TRUE, Reason.AVAILABLE)
WAITS = (ConditionType.RECONCILING, ConditionStatus.TRUE, Reason.QUOTA_EXCEEDED)
UNREADY = (ConditionType.READY, ConditionStatus.FALSE, Reason.QUOTA_EXCEEDED)


@pytest.mark.parametrize(
    ("status", "generation", "placed"),
    [
        pytest.param(told(READY), 3, True, id="given"),
        pytest.param(told(READY), 4, False, id="another-spec-by-now"),
        pytest.param(told(UNREADY, WAITS), 3, False, id="waits"),
        # It holds certificates of the class that it named before.
        pytest.param(told(READY, WAITS), 3, False, id="waits-with-what-it-had"),
        pytest.param(AgentIdentityStatus(), 1, False, id="never-judged"),
    ],
)
def test_the_status_says_who_has_a_place(
    status: AgentIdentityStatus,
    generation: int,
    placed: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """For the spec as it is now, and nobody who waits."""
    assert is_placed(status, generation) is placed


def test_the_status_says_what_it_waits_for() -> None:
    """In the words in which it was told, so that telling it again is no write."""
    assert told_shortage(told(READY)) is None
    found = told_shortage(told(UNREADY, WAITS))
    assert found is not None
    assert (found.reason, found.message, found.stalled) == (
        Reason.QUOTA_EXCEEDED, "So it is", False,
    )  # fmt: skip


# A model that is obviously right: everything is counted anew each time.


@dataclass
class Model:
    """Who has a place, and who waits, as sets."""

    has: set[Claimant] = field(default_factory=set)
    line: set[Claimant] = field(default_factory=set)

    def order(self, allowed: ClassLimits) -> list[Claimant]:
        """Who gets a place now, one after the other."""
        has, found = set(self.has), []
        for who in sorted(self.line):
            most, each = allowed.identities, allowed.identities_per_namespace
            of_namespace = sum(other.namespace == who.namespace for other in has)
            if (most is None or len(has) < most) and (each is None or of_namespace < each):
                has.add(who)
                found.append(who)
        return found


class Tenants(RuleBasedStateMachine):
    """Identities of three namespaces ask, go, and give up, while limits change."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.model = Places(), Model()
        self.limits = limits(3, 2)
        self.numbers = itertools.count()
        self.known: list[Claimant] = []

    @rule(namespace=st.sampled_from("abc"), age=st.integers(0, 20))
    def comes(self, namespace: str, age: int) -> None:
        """One comes, of any age, and asks."""
        self.known.append(one(age, namespace, f"n{next(self.numbers)}"))
        self.asks(len(self.known) - 1)

    @rule(number=st.integers(0, 30))
    def asks(self, number: int) -> None:
        """One asks, again perhaps: it gets a place exactly when it is among those who are next."""
        if not self.known:
            return
        who = self.known[number % len(self.known)]
        found = self.places.ask(who, PAYER, self.limits)
        if who not in self.model.has:
            self.model.line.add(who)
            if who in self.model.order(self.limits):
                self.model.line.discard(who)
                self.model.has.add(who)
        assert (found is None) == (who in self.model.has)
        if found is not None:
            assert found.found >= found.allowed

    @rule(number=st.integers(0, 30))
    def goes(self, number: int) -> None:
        """One goes for good."""
        if not self.known:
            return
        who = self.known.pop(number % len(self.known))
        self.places.keep(who.uid, frozenset())
        self.places.leave(who.uid)
        self.model.has.discard(who)
        self.model.line.discard(who)

    @rule(total=st.none() | st.integers(0, 8), each=st.none() | st.integers(0, 4))
    def limited(self, total: int | None, each: int | None) -> None:
        """The class owner thinks again."""
        self.limits = limits(total, each)

    @invariant()
    def counts_are_right(self) -> None:
        """And those who are next are the same, in the same order."""
        assert self.places.count(PAYER) == len(self.model.has)
        for namespace in "abc":
            expected = sum(who.namespace == namespace for who in self.model.has)
            assert self.places.count(PAYER, namespace) == expected
        assert list(self.places.following(PAYER, self.limits)) == self.model.order(self.limits)


TestTenants = Tenants.TestCase
TestTenants.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
