"""How many certificates are made in a minute, and in which order those that wait are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.policy import Granted
from agentid.policy.plan import Cause
from agentid.policy.rate import MINUTE, RateWindow, is_due, renewal_is_due
from tests.support.observed import HOUR, NOW, Wish, class_up_to, held, observe, status


def test_as_many_as_allowed_are_made_at_once() -> None:
    """The next one is told to the second when it is its turn."""
    window = RateWindow()
    assert [window.take(f"u-{n}", 3, 10.0) for n in range(3)] == [0.0] * 3
    assert window.take("u-3", 3, 25.0) == 45.0


def test_a_moment_is_kept_for_who_was_given_it() -> None:
    """Whoever comes meanwhile comes after; asking more often gains nothing and costs nothing."""
    window = RateWindow()
    window.take("first", 1, 0.0)
    assert window.take("second", 1, 1.0) == 59.0
    assert window.take("second", 1, 31.0) == 29.0
    assert window.take("third", 1, 40.0) == 80.0, "no moment is kept that far ahead"
    assert window.take("third", 1, 59.0) == 61.0
    assert window.take("second", 1, 60.5) == 0.0
    assert window.take("third", 1, 60.6) == pytest.approx(59.4)


def test_a_moment_that_nobody_takes_is_given_up() -> None:
    """Who was deleted meanwhile takes one minute of its namespace, and no more."""
    window = RateWindow()
    window.take("first", 1, 0.0)
    window.take("gone", 1, 0.0)
    assert window.take("second", 1, 59.0) > MINUTE, "the next moment is that of the one that went"
    assert window.take("second", 1, 120.0) == 0.0
    assert window.take("gone", 1, 121.0) > 0, "it comes too late for its own"


def test_what_is_due_is_made_at_any_rate_and_counts() -> None:
    """Promise 5: a flood of first certificates lets none run out; it pays for the renewals."""
    window = RateWindow()
    assert [window.take(f"u-{n}", 2, 0.0, due=True) for n in range(10)] == [0.0] * 10
    assert window.take("new", 2, 0.0) > MINUTE
    assert window.take("old", 2, 0.0, due=True) == 0.0


def test_debts_end_within_two_minutes() -> None:
    """However many renewals there were."""
    window = RateWindow()
    for number in range(5000):
        window.take(f"u-{number}", 2, 0.0, due=True)
    assert window.take("new", 2, 119.9) > 0
    assert window.take("new", 2, 120.0) == 0.0
    assert window.is_empty(300.0)


def test_who_waits_and_is_due_by_then_does_not_wait() -> None:
    """A renewal that was asked for early and became due meanwhile."""
    window = RateWindow()
    window.take("first", 1, 0.0)
    assert window.take("second", 1, 0.0) == 60.0
    assert window.take("second", 1, 5.0, due=True) == 0.0


def test_what_others_made_counts() -> None:
    """As of when it was made, so that a restart gives nobody a fresh minute."""
    window = RateWindow()
    for age in (50.0, 20.0):
        window.count(2, 100.0, age)
    assert window.take("u", 2, 100.0) == 10.0


def test_two_replicas_that_did_not_know_of_each_other_pay_later() -> None:
    """What is over the limit together takes up the next minute."""
    window = RateWindow()
    for number in range(3):
        window.take(f"own-{number}", 3, 0.0)
    for _ in range(3):
        window.count(3, 0.0)
    assert window.take("u", 3, 60.0) == 60.0


@given(
    limit=st.integers(1, 5),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 12)), max_size=120),
)
def test_never_more_than_twice_the_limit_in_a_minute(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    """And never more than it over time, whoever comes whenever."""
    window, now, made = RateWindow(), 0.0, list[float]()
    for wait, who in steps:
        now += wait
        if window.take(f"u-{who}", limit, now) == 0:
            made.append(now)
    for start in made:
        within = sum(start <= each < start + MINUTE for each in made)
        assert within <= 2 * limit
    minutes = now / MINUTE
    assert len(made) <= limit * (minutes + 2)


@given(count=st.integers(1, 40), limit=st.integers(1, 6))
def test_those_who_come_when_told_are_made_in_their_order(count: int, limit: int) -> None:
    """Each comes again exactly when it was told to; none is passed by one that came later."""
    window, made = RateWindow(), list[int]()
    when = dict.fromkeys(range(count), 0.0)
    while when:
        number = min(when, key=lambda each: (when[each], each))
        now = when.pop(number)
        wait = window.take(f"u-{number}", limit, now)
        if wait == 0:
            made.append(number)
        else:
            when[number] = now + wait
    assert len(made) == count
    if count <= 2 * limit:
        assert made == sorted(made)


# What is due

READER = Wish()
FRESH = held(1, age=timedelta(minutes=5))
OLD = held(1, age=23 * HOUR)
PAST = held(1, age=30 * HOUR)


@pytest.mark.parametrize(
    ("cause", "certificate", "wish", "due"),
    [
        pytest.param(Cause.FIRST, None, READER, False, id="first"),
        pytest.param(Cause.EXPIRED, PAST, READER, True, id="ran-out-unrenewed"),
        pytest.param(Cause.EXPIRED, FRESH, READER, False, id="revoked-before-its-end"),
        pytest.param(Cause.UNCONFIRMED, FRESH, READER, False, id="unconfirmed"),
        pytest.param(Cause.RENEWAL, OLD, READER, True, id="renewal"),
        pytest.param(Cause.AUTHORITY, FRESH, READER, True, id="authority"),
        pytest.param(Cause.REQUESTED, FRESH, READER, False, id="requested"),
        pytest.param(Cause.REQUESTED, OLD, READER, True, id="requested-when-it-is-due-anyway"),
        pytest.param(Cause.CHANGED, FRESH, replace(READER, level=3), False, id="gives-more"),
        pytest.param(
            Cause.CHANGED, FRESH, replace(READER, sponsor="b@example.com"), False, id="other-words"
        ),
        pytest.param(Cause.CHANGED, FRESH, replace(READER, level=1), True, id="takes-away"),
        pytest.param(Cause.CHANGED, OLD, replace(READER, level=3), True, id="changed-and-due"),
    ],
)
def test_what_users_bring_about_waits_and_what_agentid_owes_does_not(
    cause: Cause,
    certificate: object,
    wish: Wish,
    due: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """A tenant can use its rate up, and neither puts off what is taken from it, nor runs out."""
    if certificate is None:
        seen = observe(wish=wish)
    else:
        seen = observe(certificate, told=status(certificate), wish=wish)  # type: ignore[arg-type]
    if cause is Cause.EXPIRED:
        seen = replace(seen, held=())
    assert is_due(cause, seen, NOW) is due


def test_a_renewal_is_due_from_its_time_on() -> None:
    """By the same time that the certificate's status tells."""
    seen = observe(OLD, told=status(OLD), wish=READER)
    assert renewal_is_due(OLD, seen, NOW)
    assert not renewal_is_due(FRESH, seen, NOW)


def lived(lifetime: timedelta, cause: Cause) -> bool:
    """Whether what is made for an identity is due that chose this lifetime, of a class of 24 h."""
    seen = observe(OLD, told=status(OLD), wish=READER)
    verdict = seen.verdict
    assert isinstance(verdict, Granted)
    verdict = replace(verdict, grant=replace(verdict.grant, lifetime=lifetime))
    return is_due(cause, replace(seen, verdict=verdict), NOW)


def test_who_chose_to_be_renewed_every_minute_waits() -> None:
    """Or a tenant would have as many certificates made as it has identities, whatever the rate."""
    minute = timedelta(minutes=1)
    assert not lived(minute, Cause.RENEWAL)
    assert not lived(59 * minute, Cause.RENEWAL)
    assert lived(60 * minute, Cause.RENEWAL)
    assert lived(minute, Cause.AUTHORITY), "it is not the tenant who rotates"
    assert lived(minute, Cause.CHANGED), "a shorter lifetime takes something away, once"


def test_short_lifetimes_that_the_class_gives_are_renewed_in_time() -> None:
    """What the platform team chose is no haste."""
    short = class_up_to(3).model_copy(
        update={"spec": class_up_to(3).spec.model_copy(update={"lifetime": timedelta(minutes=5)})}
    )
    seen = observe(OLD, told=status(OLD), wish=READER)
    verdict = seen.verdict
    assert isinstance(verdict, Granted)
    grant = replace(verdict.grant, lifetime=timedelta(minutes=5))
    seen = replace(seen, verdict=replace(verdict, grant=grant), agent_class=short)
    assert is_due(Cause.RENEWAL, seen, NOW)
    assert renewal_is_due(OLD, seen, NOW)
