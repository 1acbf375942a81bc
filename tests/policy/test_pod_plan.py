"""What is taken away from pods that have certificates of their own, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.api.vocabulary import DeliveryMode
from agentid.identity import RevocationReason
from agentid.policy.incident import Hold
from agentid.policy.plan import Plan, Standing, plan
from agentid.policy.pod_plan import earliest_end, exceeding, pods_of
from agentid.policy.rotation import Demands
from tests.support.observed import (
    BLOCKED,
    GRACE,
    HOLD,
    HOUR,
    NOW,
    SECOND,
    SECRET,
    Wish,
    class_up_to,
    granted,
    held,
    observe,
    status,
)

if TYPE_CHECKING:
    from agentid.policy.observed import Held, Observed

GONE = RevocationReason.CESSATION_OF_OPERATION
REPLACED = RevocationReason.SUPERSEDED
WITHDRAWN = RevocationReason.PRIVILEGE_WITHDRAWN
BY_PODS = Wish(mode=DeliveryMode.POD_CERTIFICATE)
MORE = replace(BY_PODS, level=3)

A_GONE = frozenset({"a"})
BY_SECRET_ONLY = class_up_to(3, GRACE, ("Secret",))

A = held(1, wish=BY_PODS, pod="a")
B = held(2, wish=BY_PODS, pod="b", age=2 * HOUR)
IN_SECRET = held(9)


def revoked(made: Plan) -> dict[int, RevocationReason]:
    """What a plan revokes, by serial."""
    return {each.serial.value: reason for each, reason in made.revoke}


def test_pods_that_have_what_is_granted_are_left_alone() -> None:
    """Nothing is issued for them either; the next look is when the first one ends."""
    made = plan(observe(A, B, wish=BY_PODS), NOW)
    assert made == Plan(Standing.GRANTED, look_again=B.validity.not_after)
    assert not made.acts


def test_a_first_look_without_pods_does_nothing_but_hold_the_object() -> None:
    """Promise 4: from then on a deletion waits until everything is revoked."""
    made = plan(observe(wish=replace(BY_PODS, finalizers=())), NOW)
    assert made == Plan(Standing.GRANTED, add_finalizer=True)


@pytest.mark.parametrize(
    ("seen", "rest"),
    [
        pytest.param(observe(A, B, wish=BY_PODS, gone=A_GONE), {}, id="granted"),
        pytest.param(
            observe(A, B, wish=BY_PODS, allows=1, told=status(stalled_since=NOW), gone=A_GONE),
            {},
            id="refused",
        ),
        pytest.param(observe(A, B, wish=BY_PODS, blocked=BLOCKED, gone=A_GONE), {}, id="blocked"),
        pytest.param(
            observe(A, B, wish=replace(BY_PODS, suspend=True), gone=A_GONE),
            {2: WITHDRAWN},
            id="suspended",
        ),
        pytest.param(
            observe(A, B, wish=BY_PODS, hold=HOLD, gone=A_GONE), {2: HOLD.reason}, id="held"
        ),
        pytest.param(
            observe(A, B, wish=replace(BY_PODS, deleting=True), gone=A_GONE),
            {2: GONE},
            id="deleting",
        ),
        pytest.param(
            observe(A, IN_SECRET, told=status(IN_SECRET), gone=A_GONE),
            {},
            id="by-a-secret-now",
        ),
    ],
)
def test_what_a_gone_pod_held_is_revoked(seen: Observed, rest: dict[int, RevocationReason]) -> None:
    """Promise 4: however the identity stands, and once for each serial."""
    made = plan(seen, NOW)
    assert revoked(made) == {1: GONE} | rest
    assert len(made.revoke) == len(revoked(made))


def test_an_object_that_was_made_anew_owns_none_of_the_old_ones() -> None:
    """Pods that run on hold what the old object was given: it is revoked, gone or not."""
    anew = replace(BY_PODS, uid="another")
    made = plan(observe(A, B, held(3, wish=anew, pod="c"), wish=anew, gone=A_GONE), NOW)
    assert revoked(made) == {1: GONE, 2: GONE}


# What a change takes away


def withdrawing(seen: Observed) -> Observed:
    """The same a moment later, with the status that the first plan makes."""
    made = plan(seen, NOW)
    told = seen.status.model_copy(update={"withdrawal_time": made.withdrawal})
    return replace(seen, status=told)


WIDE = held(3, wish=MORE, pod="c")

EXCESS = [
    pytest.param(observe(WIDE, A, wish=BY_PODS), {3: REPLACED}, id="permissions-shrank"),
    pytest.param(
        observe(IN_SECRET, A, wish=BY_PODS, told=status(IN_SECRET)),
        {9: REPLACED},
        id="the-secret-is-over",
    ),
    pytest.param(
        observe(held(4, wish=BY_PODS, pod="d", known=False), A, wish=BY_PODS),
        {4: REPLACED},
        id="a-grant-that-nobody-can-read",
    ),
    pytest.param(
        replace(
            observe(replace(A, authority="old"), B, wish=BY_PODS),
            demands=Demands(moving=frozenset({"old"})),
        ),
        {1: REPLACED},
        id="its-authority-is-distrusted",
    ),
    pytest.param(
        replace(
            observe(IN_SECRET, A, told=status(IN_SECRET)),
            agent_class=BY_SECRET_ONLY,
        ),
        {1: REPLACED},
        id="the-class-allows-no-pod-certificates-any-more",
    ),
    pytest.param(
        observe(IN_SECRET, WIDE, A, told=status(IN_SECRET)),
        {3: REPLACED},
        id="permissions-shrank-and-the-mode-changed",
    ),
]


@pytest.mark.parametrize(("seen", "taken"), EXCESS)
def test_what_gives_too_much_is_revoked_after_the_grace_period(
    seen: Observed, taken: dict[int, RevocationReason]
) -> None:
    """Promise 2; not before, since no kubelet can be told to ask anew, and only that."""
    first = plan(seen, NOW)
    assert first.withdrawal == NOW + GRACE
    assert revoked(first) == {}
    assert first.look_again is not None
    assert first.look_again <= NOW + GRACE
    later = withdrawing(seen)
    assert revoked(plan(later, NOW + GRACE - SECOND)) == {}
    over = plan(later, NOW + GRACE)
    assert revoked(over) == taken
    assert over.withdrawal is None


def test_a_look_in_between_does_not_lengthen_the_grace_period() -> None:
    """The status holds its end, and each look goes by that."""
    seen = withdrawing(observe(WIDE, wish=BY_PODS))
    assert plan(seen, NOW + GRACE / 2).withdrawal == NOW + GRACE


def test_without_a_grace_period_it_goes_at_once() -> None:
    """As the class has it."""
    made = plan(observe(WIDE, wish=BY_PODS, grace=timedelta(0)), NOW)
    assert revoked(made) == {3: REPLACED}


def test_what_is_granted_again_meanwhile_stays() -> None:
    """A change that was taken back takes nothing away."""
    told = status().model_copy(update={"withdrawal_time": NOW})
    made = plan(observe(A, wish=BY_PODS, told=told), NOW + GRACE)
    assert revoked(made) == {}
    assert made.withdrawal is None


def test_the_secret_stays_in_use_until_the_grace_period_is_over() -> None:
    """Promise 5: pods that have not been restarted work with it."""
    seen = observe(IN_SECRET, wish=BY_PODS, told=status(IN_SECRET))
    first = plan(seen, NOW)
    assert (first.current, first.withdraw) == (IN_SECRET, None)
    over = plan(withdrawing(seen), NOW + GRACE)
    assert (over.current, over.withdraw) == (None, SECRET)


def test_back_to_the_secret_pods_that_run_keep_what_they_have() -> None:
    """Promise 5: nothing is taken away from them, so their certificates run out."""
    current = held(9, age=2 * HOUR)
    made = plan(observe(A, B, current, told=status(current)), NOW)
    assert (made.current, made.revoke, made.withdrawal) == (current, (), None)
    assert made.look_again is not None
    assert made.look_again <= B.validity.not_after


def test_back_to_the_secret_the_first_certificate_is_a_first_one() -> None:
    """What pods hold says nothing of what lies in the Secret."""
    made = plan(observe(A, B), NOW)
    assert made.issue == "first"
    assert made.replaces is None


# Refused, or nobody can judge


def test_refused_pods_lose_what_the_class_does_not_allow() -> None:
    """After the grace period, counted from when the identity stalled; the rest runs out."""
    small = held(5, wish=replace(BY_PODS, level=1), pod="e", age=3 * HOUR)
    seen = observe(A, small, wish=BY_PODS, allows=1, told=status(stalled_since=NOW))
    first = plan(seen, NOW)
    assert revoked(first) == {}
    assert first.look_again == NOW + GRACE
    over = plan(seen, NOW + GRACE)
    assert revoked(over) == {1: WITHDRAWN}
    assert over.look_again == small.validity.not_after, "the status tells how many are left"


def test_blocked_pods_keep_everything() -> None:
    """Promise 5; the next look is when the first one ends, since the status counts them."""
    made = plan(observe(A, B, wish=BY_PODS, blocked=BLOCKED), NOW)
    assert made == Plan(Standing.BLOCKED, look_again=B.validity.not_after)


def test_a_hold_takes_them_all_at_once() -> None:
    """Without a grace period, with the reason of the incident."""
    hold = Hold("leak", RevocationReason.KEY_COMPROMISE)
    made = plan(observe(A, B, wish=BY_PODS, hold=hold), NOW)
    assert revoked(made) == dict.fromkeys((1, 2), RevocationReason.KEY_COMPROMISE)


# Counting


def test_pods_are_counted_once_by_their_last_certificate() -> None:
    """A kubelet renews before the end, and the pod has two certificates for a while."""
    renewed = held(3, wish=BY_PODS, pod="a", age=SECOND)
    ends = pods_of([A, B, renewed, IN_SECRET])
    assert ends == {"a": renewed.validity.not_after, "b": B.validity.not_after}
    assert earliest_end([A, renewed]) == renewed.validity.not_after
    assert earliest_end([IN_SECRET]) is None


def test_grants_are_judged_by_value_not_by_object() -> None:
    """Equal grants that are two objects, as a cache that forgot one has it, fare alike."""
    grant = granted(MORE)
    twins: list[Held] = [replace(WIDE, grant=grant), replace(WIDE, grant=replace(grant))]
    found = exceeding([*twins, A], granted(BY_PODS), class_up_to(3), frozenset(), NOW)
    assert list(found) == twins
