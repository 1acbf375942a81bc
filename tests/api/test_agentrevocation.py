"""AgentRevocation: safe defaults, a status that survives damage, one exception for any input."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.api import AgentRevocation, Phase
from agentid.api.moment import format_moment
from agentid.errors import SpecError

BODY: dict[str, Any] = {
    "metadata": {"name": "leak", "uid": "u-1"},
    "spec": {"reason": "keyCompromise", "select": {"namespaces": ["finance"]}},
}


def test_the_defaults_are_the_safe_ones() -> None:
    """Nothing is revoked and nobody is held unless it is asked for."""
    spec = AgentRevocation.parse(BODY).spec
    assert spec.dry_run
    assert not spec.hold
    assert not spec.release


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("2026-03-01T12:00:00.250000Z", 250_000, id="as-written"),
        pytest.param("2026-03-01T13:00:00.000001+01:00", 1, id="with-an-offset"),
        pytest.param("2026-03-01T12:00:00Z", 0, id="whole"),
    ],
)
def test_a_moment_keeps_its_fraction(text: str, found: int) -> None:
    """The cut-off is as fine as the times on the ledger, through the API and back."""
    status = AgentRevocation.status_of({"status": {"startedAt": text}})
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(microseconds=found)
    assert status.started_at == moment
    assert status.to_api()["startedAt"] == format_moment(moment)


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "yesterday", 7, None, ""])
def test_a_start_that_cannot_be_read_does_not_hide_the_end(text: object) -> None:
    """What was executed is not executed again, whatever became of the rest of its status."""
    status = AgentRevocation.status_of({"status": {"startedAt": text, "phase": "Executed"}})
    assert status.started_at is None
    assert status.phase is Phase.EXECUTED


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = (
    "identities",
    "classNames",
    "issuerNames",
    "namespaces",
    "serials",
    "issued",
    "labelSelector",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "after",
    "before",
    "namespace",
    "name",
)
_almost = st.recursive(
    _json,
    lambda inner: (
        st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4) | st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(_almost, _json, _json)
def test_any_input_parses_or_raises_the_one_error(
    select: object, reason: object, status: object
) -> None:
    """No body, however odd, lets out anything but SpecError."""
    spec = {"reason": reason, "dryRun": status, "select": select}
    for body in ({**BODY, "spec": spec, "status": status}, {**BODY, "status": {"held": select}}):
        with contextlib.suppress(SpecError):
            AgentRevocation.parse(body)
