"""Permission subsets, against a model that lists what is covered."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api.permissions import PermissionsSpec
from agentid.errors import InputError
from agentid.policy import Permissions, Schedule
from agentid.policy.permissions import covers_system

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OFFICE = Schedule("UTC", 0b1110)
WIDER = Schedule("UTC", 0b1111)
CEILING = "AgentClass batch"


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        pytest.param("*", "erp", True, id="star-covers-a-name"),
        pytest.param("*", "erp.a.b", True, id="star-covers-depth"),
        pytest.param("*", "erp.*", True, id="star-covers-a-wildcard"),
        pytest.param("*", "*", True, id="star-covers-itself"),
        pytest.param("erp.*", "erp.a", True, id="wildcard-covers-beneath"),
        pytest.param("erp.*", "erp.a.b", True, id="wildcard-covers-any-depth"),
        pytest.param("erp.*", "erp", False, id="wildcard-does-not-cover-its-prefix"),
        pytest.param("erp.*", "erpx.a", False, id="wildcard-ends-at-a-dot"),
        pytest.param("erp.*", "erp.*", True, id="wildcard-covers-itself"),
        pytest.param("erp.*", "erp.a.*", True, id="wildcard-covers-a-narrower-one"),
        pytest.param("erp.a.*", "erp.*", False, id="narrower-does-not-cover-wider"),
        pytest.param("erp.*", "*", False, id="wildcard-does-not-cover-star"),
        pytest.param("erp", "erp", True, id="name-covers-itself"),
        pytest.param("erp", "erp.a", False, id="name-covers-nothing-beneath"),
        pytest.param("erp", "erp.*", False, id="name-covers-no-wildcard"),
    ],
)
def test_covers_system(pattern: str, name: str, covered: bool) -> None:  # noqa: FBT001
    """The meaning of names and wildcards."""
    assert covers_system(pattern, name) is covered


# The model: three letters make segments, names are up to three deep. A wildcard stands for the
# names beneath it; `z` is a segment that no ceiling lists, so that listing every name that the
# model knows never amounts to a wildcard.
LISTED, DEPTH = "ab", 3
UNIVERSE = {
    ".".join(segments)
    for depth in range(1, DEPTH + 1)
    for segments in product((*LISTED, "z"), repeat=depth)
}
names = st.lists(st.sampled_from(LISTED), min_size=1, max_size=DEPTH).map(".".join)
wildcards = st.lists(st.sampled_from(LISTED), max_size=DEPTH - 1).map(
    lambda segments: ".".join([*segments, "*"])
)
systems = st.lists(names | wildcards, max_size=5, unique=True).map(sorted).map(tuple)


def expanded(patterns: tuple[str, ...]) -> set[str]:
    """Every name of the model that the patterns cover, by reading each pattern letter by letter."""
    covered: set[str] = set()
    for pattern in patterns:
        if pattern.endswith("*"):
            prefix = pattern.removesuffix("*").split(".")[:-1]
            covered |= {
                name
                for name in UNIVERSE
                if len(name.split(".")) > len(prefix) and name.split(".")[: len(prefix)] == prefix
            }
        else:
            covered.add(pattern)
    return covered


@given(systems, systems)
def test_systems_are_a_subset_exactly_where_the_model_says(
    asked: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    """A set of patterns is inside another if and only if every name it covers is."""
    within = Permissions(systems=asked).within(Permissions(systems=allowed), now=NOW)
    assert within is (expanded(asked) <= expanded(allowed))


operations = st.lists(st.sampled_from(["read", "list", "delete", "place-order"]), unique=True)
tags = st.lists(st.sampled_from(["gdpr", "hipaa", "sox"]), unique=True)
schedules = st.none() | st.builds(Schedule, st.just("UTC"), st.integers(0, 31))
permission_sets = st.builds(
    Permissions,
    systems=systems,
    operations=operations.map(sorted).map(tuple),
    schedule=schedules,
    compliance=tags.map(sorted).map(tuple),
)


@given(permission_sets, permission_sets)
def test_subset_is_the_subset_of_each_part(asked: Permissions, allowed: Permissions) -> None:
    """All four parts have to be inside; an absent schedule means always on either side."""
    in_time = allowed.schedule is None or (
        asked.schedule is not None and asked.schedule.minutes & ~allowed.schedule.minutes == 0
    )
    assert asked.within(allowed, now=NOW) is (
        expanded(asked.systems) <= expanded(allowed.systems)
        and set(asked.operations) <= set(allowed.operations)
        and set(asked.compliance) <= set(allowed.compliance)
        and in_time
    )


@given(permission_sets)
def test_everything_is_within_itself(permissions: Permissions) -> None:
    """Subset is reflexive."""
    assert permissions.within(permissions, now=NOW)


@given(permission_sets, permission_sets, permission_sets)
def test_subset_is_transitive(one: Permissions, two: Permissions, three: Permissions) -> None:
    """What lies in a part of the ceiling lies in the ceiling."""
    if one.within(two, now=NOW) and two.within(three, now=NOW):
        assert one.within(three, now=NOW)


@given(permission_sets, permission_sets)
def test_within_each_other_only_if_they_cover_the_same(one: Permissions, two: Permissions) -> None:
    """Two sets inside each other differ in spelling only."""
    if one.within(two, now=NOW) and two.within(one, now=NOW):
        assert expanded(one.systems) == expanded(two.systems)
        assert (one.operations, one.schedule, one.compliance) == (
            two.operations,
            two.schedule,
            two.compliance,
        )


@given(permission_sets)
def test_nothing_covers_only_nothing(permissions: Permissions) -> None:
    """An empty ceiling grants nothing, and everything but nothing exceeds it."""
    empty = Permissions()
    grants_nothing = not (permissions.systems or permissions.operations or permissions.compliance)
    assert permissions.within(empty, now=NOW) is grants_nothing


@given(permission_sets)
def test_json_round_trip(permissions: Permissions) -> None:
    """What is written is read back."""
    assert Permissions.from_json(permissions.to_json()) == permissions


def test_order_and_repetition_do_not_matter() -> None:
    """Two specs that list the same make equal values."""
    one = PermissionsSpec.model_validate({"systems": ["b", "a"], "operations": ["read", "list"]})
    two = PermissionsSpec.model_validate({"systems": ["a", "b"], "operations": ["list", "read"]})
    assert Permissions.of(one) == Permissions.of(two)


@pytest.mark.parametrize(
    ("asked", "allowed", "sentences"),
    [
        pytest.param(
            Permissions(systems=("crm.*", "erp.a")),
            Permissions(systems=("crm.read", "erp.*")),
            [
                (
                    'spec.permissions.systems: "crm.*" is outside the ceiling of AgentClass '
                    "batch, which allows crm.read, erp.*; remove it or ask the class owner"
                )
            ],
            id="system",
        ),
        pytest.param(
            Permissions(operations=("delete", "read")),
            Permissions(),
            [
                (
                    'spec.permissions.operations: "delete" is outside the ceiling of AgentClass '
                    "batch, which allows nothing; remove it or ask the class owner"
                ),
                (
                    'spec.permissions.operations: "read" is outside the ceiling of AgentClass '
                    "batch, which allows nothing; remove it or ask the class owner"
                ),
            ],
            id="operations-of-a-class-that-allows-none",
        ),
        pytest.param(
            Permissions(compliance=("hipaa",)),
            Permissions(compliance=("a", "b", "c", "d", "e", "f", "g")),
            [
                (
                    'spec.permissions.compliance: "hipaa" is outside the ceiling of AgentClass '
                    "batch, which allows a, b, c, d, e and 2 more; remove it or ask the class "
                    "owner"
                )
            ],
            id="compliance-beside-a-long-list",
        ),
        pytest.param(
            Permissions(),
            Permissions(schedule=OFFICE),
            [
                (
                    "spec.permissions.schedule: is absent, which means always, and AgentClass "
                    "batch allows only a schedule; add one within the schedule of the class"
                )
            ],
            id="no-schedule",
        ),
        pytest.param(
            Permissions(schedule=WIDER),
            Permissions(schedule=OFFICE),
            [
                (
                    "spec.permissions.schedule.windows: Mon 00:00 to Mon 00:01 UTC is outside "
                    "the schedule of AgentClass batch; narrow the windows or ask the class owner"
                )
            ],
            id="wider-schedule",
        ),
        pytest.param(
            Permissions(("*",), ("grant",), None, ("sox",)),
            Permissions(schedule=OFFICE),
            [
                (
                    'spec.permissions.systems: "*" is outside the ceiling of AgentClass batch, '
                    "which allows nothing; remove it or ask the class owner"
                ),
                (
                    'spec.permissions.operations: "grant" is outside the ceiling of AgentClass '
                    "batch, which allows nothing; remove it or ask the class owner"
                ),
                (
                    'spec.permissions.compliance: "sox" is outside the ceiling of AgentClass '
                    "batch, which allows nothing; remove it or ask the class owner"
                ),
                (
                    "spec.permissions.schedule: is absent, which means always, and AgentClass "
                    "batch allows only a schedule; add one within the schedule of the class"
                ),
            ],
            id="everything-at-once",
        ),
    ],
)
def test_excess_in_words(asked: Permissions, allowed: Permissions, sentences: list[str]) -> None:
    """Each entry too many is told, with what the class allows and the next step."""
    excess = asked.excess(allowed, ceiling_name=CEILING, now=NOW)
    assert [violation.sentence for violation in excess] == sentences


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(None, "is not an object of systems", id="null"),
        pytest.param({"systems": []}, "is not an object of systems", id="half"),
        pytest.param(
            {"systems": [1], "operations": [], "schedule": None, "compliance": []},
            "a list holds something else than strings",
            id="number-in-a-list",
        ),
        pytest.param(
            {"systems": [], "operations": [], "schedule": 7, "compliance": []},
            "schedule: is not an object",
            id="schedule-is-a-number",
        ),
    ],
)
def test_refuses_other_json(data: object, message: str) -> None:
    """A damaged record is told, not guessed."""
    with pytest.raises(InputError, match=message):
        Permissions.from_json(data)
