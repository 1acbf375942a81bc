"""What stays of an object when a manifest is applied over it."""

from __future__ import annotations

from typing import Any

from agentid.cli.applying import applied_over, kept_fields
from agentid.cli.forecast import Outcome
from tests.cli.test_forecast import body, told

Json = dict[str, Any]


def live(manager: str, operation: str, **spec: object) -> Json:
    """An object whose fields were written by somebody."""
    fields: Json = {f"f:{name}": {} for name in spec}
    entry = {
        "manager": manager,
        "operation": operation,
        "fieldsV1": {"f:spec": {**fields, ".": {}}},
    }
    made = body(**spec)
    made["metadata"] |= {
        "resourceVersion": "7", "uid": "u", "labels": {"a": "1"}, "managedFields": [entry],
    }  # fmt: skip
    return {**made, "status": {"observedGeneration": 1}}


def test_what_somebody_else_wrote_stays() -> None:
    """A suspension of an incident, say; the forecast then says who has to end it."""
    there = live("kubectl-agentid", "Update", suspend=True)
    manifest = body()
    assert kept_fields(there, manifest) == {"suspend"}
    whole: Json = applied_over(there, manifest)
    assert whole["spec"] == {**manifest["spec"], "suspend": True}
    found = told(whole, live=there, kept=kept_fields(there, manifest))
    assert found.outcome is Outcome.STILL_SUSPENDED
    assert not found.is_fine


def test_what_was_applied_goes_with_the_manifest() -> None:
    """Whichever way it was applied."""
    for manager, operation in (("kubectl-client-side-apply", "Update"), ("argocd", "Apply")):
        there = live(manager, operation, suspend=True)
        assert kept_fields(there, body()) == frozenset()
        whole: Json = applied_over(there, body())
        assert whole["spec"] == body()["spec"]


def test_what_the_manifest_says_counts() -> None:
    """Also over what somebody else wrote; labels are merged, the rest is the object's own."""
    there = live("kubectl-agentid", "Update", suspend=True)
    manifest = body(suspend=False)
    manifest["metadata"]["labels"] = {"b": "2"}
    whole: Json = applied_over(there, manifest)
    assert whole["spec"]["suspend"] is False
    assert whole["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert (whole["metadata"]["resourceVersion"], whole["metadata"]["uid"]) == ("7", "u")
    assert whole["status"] == {"observedGeneration": 1}


def test_nonsense_is_left_to_the_parser() -> None:
    """A spec that is none stays none."""
    there = live("kubectl-agentid", "Update", suspend=True)
    assert applied_over(there, {"metadata": {}, "spec": "x"})["spec"] == "x"
    assert kept_fields({"metadata": {"managedFields": "?"}}, body()) == frozenset()
