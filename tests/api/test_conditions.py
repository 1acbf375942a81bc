"""Conditions keep their history and leave those of others alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from agentid.api.conditions import (
    PENDING,
    REASON_MEANINGS,
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    Wanted,
    set_conditions,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
READY = Wanted(ConditionType.READY, ConditionStatus.TRUE, Reason.ISSUED, "issued")
NOT_READY = Wanted(ConditionType.READY, ConditionStatus.FALSE, Reason.INVALID_SPEC, "spec.x: no")
STALLED = Wanted(ConditionType.STALLED, ConditionStatus.TRUE, Reason.INVALID_SPEC, "spec.x: no")


def test_first_conditions_begin_now() -> None:
    """A condition that was not there has its transition now."""
    (ready,) = set_conditions([], [READY], now=NOON, generation=1)
    assert ready.to_api() == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "reason": "Issued",
        "message": "issued",
    }


def test_transition_time_stays_while_the_status_does() -> None:
    """Another reason, message or generation is no transition."""
    old = set_conditions([], [READY], now=NOON, generation=1)
    renewed = Wanted(ConditionType.READY, ConditionStatus.TRUE, Reason.RENEWING, "renewing")
    (ready,) = set_conditions(old, [renewed], now=NOON + timedelta(hours=1), generation=2)
    assert ready.last_transition_time == NOON
    assert (ready.reason, ready.observed_generation) == ("Renewing", 2)


def test_transition_time_moves_with_the_status() -> None:
    """A change of status is stamped."""
    old = set_conditions([], [READY], now=NOON, generation=1)
    later = NOON + timedelta(hours=1)
    (ready,) = set_conditions(old, [NOT_READY], now=later, generation=1)
    assert ready.last_transition_time == later


def test_pending_gives_way_with_a_transition() -> None:
    """The epoch of the default never outlives the first look."""
    (ready,) = set_conditions([PENDING], [READY], now=NOON, generation=1)
    assert ready.last_transition_time == NOON


def test_nothing_new_compares_equal() -> None:
    """A pass that changes nothing can be seen to write nothing."""
    old = set_conditions([], [NOT_READY, STALLED], now=NOON, generation=3)
    again = set_conditions(old, [NOT_READY, STALLED], now=NOON + timedelta(days=1), generation=3)
    assert again == old


def test_condition_of_ours_that_is_not_wanted_goes() -> None:
    """Stalled disappears when the identity is stalled no longer; kstatus reads presence."""
    old = set_conditions([], [NOT_READY, STALLED], now=NOON, generation=1)
    kept = set_conditions(old, [READY], now=NOON, generation=2)
    assert [condition.type for condition in kept] == ["Ready"]


def test_condition_of_another_controller_stays() -> None:
    """What somebody else observes is carried along untouched."""
    foreign = Condition(
        type="example.com/Audited",
        status=ConditionStatus.TRUE,
        last_transition_time=NOON,
        reason="Checked",
        message="",
    )
    kept = set_conditions([foreign], [READY], now=NOON, generation=1)
    assert [condition.type for condition in kept] == ["Ready", "example.com/Audited"]
    assert kept[1] == foreign


def test_endless_message_is_cut() -> None:
    """A message never breaks the bound of metav1.Condition."""
    endless = Wanted(ConditionType.READY, ConditionStatus.FALSE, Reason.INVALID_SPEC, "x" * 100_000)
    (ready,) = set_conditions([], [endless], now=NOON, generation=1)
    assert len(ready.message) <= 32768


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_documented(reason: Reason) -> None:
    """Each reason says in a sentence what it means."""
    assert REASON_MEANINGS[reason].endswith(".")


@pytest.mark.parametrize("name", sorted({str(each) for each in (*Reason, *ConditionType)}))
def test_reasons_and_types_are_camel_case(name: str) -> None:
    """The API conventions ask for CamelCase, starting with a capital."""
    assert re.fullmatch(r"([A-Z][a-z]+|[A-Z]+)+", name)
