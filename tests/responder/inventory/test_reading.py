"""Objects as the watches tell them, however odd."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.responder.inventory.agents import AgentState, Expiry, agent_of
from agentid.responder.inventory.authorities import AuthorityView, issuer_of
from tests.support.inventory_memory import spread

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "status", "tier", "score", "reasons", "serial", "notAfter", "className",
                 "conditions", "certificate", "classification", "authorities", "role"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(spec=JSON, status=JSON)
def test_an_odd_object_is_a_row_all_the_same(spec: object, status: object) -> None:
    """Whatever stands in it; who made it so is to be found on the page, not missing from it."""
    body = {"metadata": {"name": "a", "namespace": "b"}, "spec": spec, "status": status}
    agent = agent_of(body)
    assert str(agent.key) == "b/a"
    assert agent.state in AgentState
    assert agent.tier in {"", "Low", "Moderate", "High", "Critical"}
    assert issuer_of(body).name == "a"


def test_without_a_name_it_is_nothing() -> None:
    """No API server tells of such an object."""
    with pytest.raises(InputError, match="has none"):
        agent_of({"metadata": {}})


def conditions(**status: str) -> list[dict[str, str]]:
    """Conditions by their types."""
    return [
        {"type": kind, "status": each, "reason": f"Is{kind}", "message": f"{kind} it is"}
        for kind, each in status.items()
    ]


@pytest.mark.parametrize(
    ("told", "deleted", "state", "reason"),
    [
        pytest.param(conditions(Ready="True"), False, AgentState.READY, "IsReady", id="ready"),
        pytest.param(
            conditions(Ready="True", Reconciling="True"), False, AgentState.READY, "IsReady",
            id="renewing",
        ),
        pytest.param(
            conditions(Ready="Unknown"), False, AgentState.NOT_READY, "IsReady", id="new"
        ),
        pytest.param(
            conditions(Ready="False", Stalled="True"), False, AgentState.STALLED, "IsStalled",
            id="stalled",
        ),
        pytest.param(
            conditions(Ready="False", Stalled="True", Suspended="True"), False,
            AgentState.SUSPENDED, "IsSuspended", id="suspended",
        ),
        pytest.param(
            conditions(Ready="True", Stalled="False"), False, AgentState.READY, "IsReady",
            id="not-stalled-any-more",
        ),
        pytest.param(conditions(Ready="True"), True, AgentState.DELETING, "IsReady", id="going"),
        pytest.param([], False, AgentState.NOT_READY, "", id="nothing-known"),
    ],
)  # fmt: skip
def test_the_state_is_what_the_conditions_say(
    told: list[dict[str, str]],
    *,
    deleted: bool,
    state: AgentState,
    reason: str,
) -> None:
    """In one word, with the reason of the condition that says so."""
    body: dict[str, Any] = spread(1)
    body["status"]["conditions"] = told
    if deleted:
        body["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    agent = agent_of(body)
    assert (agent.state, agent.reason) == (state, reason)


@pytest.mark.parametrize(
    ("left", "expiry"),
    [
        (None, Expiry.NONE),
        (timedelta(seconds=-1), Expiry.EXPIRED),
        (timedelta(0), Expiry.TEN_MINUTES),
        (timedelta(minutes=10), Expiry.HOUR),
        (timedelta(hours=1), Expiry.FOUR_HOURS),
        (timedelta(hours=4), Expiry.TWELVE_HOURS),
        (timedelta(hours=12), Expiry.DAY),
        (timedelta(hours=24), Expiry.LATER),
    ],
)
def test_a_certificate_belongs_to_one_span(left: timedelta | None, expiry: Expiry) -> None:
    """Each span begins where the one before it ends; the last second is still valid."""
    assert Expiry.at(NOON)(None if left is None else NOON + left) is expiry


@pytest.mark.parametrize(
    ("begins", "ends", "spent"),
    [(-1, 1, 0.5), (-2, -1, 1.0), (1, 2, 0.0), (1, 1, 1.0), (None, 1, None)],
)
def test_what_is_spent_of_a_lifetime(begins: int | None, ends: int, spent: float | None) -> None:
    """From nothing to all of it, whatever the clock says."""
    first = None if begins is None else NOON + timedelta(days=begins)
    last = NOON + timedelta(days=ends)
    view = AuthorityView("Root", "Signing", "id", "CN=x", "ED25519", "ff", first, last)
    assert view.spent(NOON) == spent
