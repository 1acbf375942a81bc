"""AgentIdentities as they are told: the newest version of each, however they come in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agentid.kube.objects import ObjectKey
from agentid.services.known import Identities
from tests.support.manifests import identity

READER = ObjectKey("finance", "reader")


def body(version: str = "5", uid: str = "u-1", name: str = "reader", **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    """An identity as the API server tells it."""
    made = identity(name, spec.pop("className", "batch"), **spec)
    made["metadata"] |= {"namespace": "finance", "uid": uid, "resourceVersion": version}
    return made


@pytest.mark.parametrize(
    ("second", "news"),
    [
        pytest.param(body("6"), True, id="newer"),
        pytest.param(body("5", purpose="p"), False, id="same"),
        pytest.param(body("4", purpose="p"), False, id="older"),
        pytest.param(body("10"), True, id="newer-by-number-and-not-by-letters"),
        pytest.param(body("4", uid="u-2"), True, id="a-namesake-whatever-its-version"),
    ],
)
def test_only_what_is_newer_is_news(second: dict[str, Any], *, news: bool) -> None:
    """A watch may tell a version after the answer to a write that made a newer one."""
    seen = Identities()
    assert seen.put(body("5"))
    assert seen.put(second) is news
    kept = seen.get(READER)
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == (  # type: ignore[index]
        second["metadata"]["resourceVersion"] if news else "5"
    )
    assert kept["spec"] == (second if news else body("5"))["spec"]


def test_keeps_what_a_pass_needs() -> None:
    """Metadata, spec and status; what the API server keeps for itself is most of an object."""
    whole = body() | {"status": {"observedGeneration": 1}, "apiVersion": "agentid.dev/v1alpha1"}
    whole["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    seen = Identities()
    seen.put(whole)
    kept = seen.get(READER)
    assert kept is not None
    assert set(kept) == {"metadata", "spec", "status"}
    assert "managedFields" not in kept["metadata"]  # type: ignore[operator]
    assert kept["status"] == {"observedGeneration": 1}


NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def told(name: str, status: str, reason: str, renewal: str | None = None) -> dict[str, Any]:
    """An identity with a condition Ready, and a certificate to be renewed at a time."""
    made = body(name=name)
    made["status"] = {"conditions": [{"type": "Ready", "status": status, "reason": reason}]}
    if renewal is not None:
        made["status"]["certificate"] = {"renewalTime": renewal}
    return made


def test_counts_who_is_not_ready_by_reason() -> None:
    """A reason of a later release makes no label of its own; who was not looked at is Pending."""
    seen = Identities()
    for each in (
        told("a", "True", "Issued"),
        told("b", "False", "ExceedsClass"),
        told("c", "False", "ExceedsClass"),
        told("d", "False", "SomethingNew"),
        told("e", "Unknown", "Pending"),
        body(name="f"),
    ):
        seen.put(each)
    assert seen.unready() == {"ExceedsClass": 2, "Other": 1, "Pending": 2}
    mended = told("b", "True", "Issued")
    mended["metadata"]["resourceVersion"] = "6"
    seen.put(mended)
    seen.drop(ObjectKey("finance", "c"))
    assert seen.unready() == {"Other": 1, "Pending": 2}


def test_tells_how_long_renewals_are_overdue() -> None:
    """Of certificates in use; a time that cannot be read is none."""
    seen = Identities()
    for each in (
        told("a", "True", "Issued", "2026-11-01T11:59:00Z"),
        told("b", "True", "Issued", "2026-11-01T12:00:00Z"),
        told("c", "False", "Suspended"),
        told("d", "True", "Issued", "soon"),
        told("e", "True", "Issued", "2026-11-01T11:50:00Z"),
    ):
        seen.put(each)
    assert sorted(seen.overdue(NOON)) == [60.0, 600.0]


def test_knows_who_wrote_the_spec_last() -> None:
    """By its own account; what was written besides, and the status, does not count."""
    made, seen = body(), Identities()
    made["metadata"]["managedFields"] = [
        {"manager": "old", "time": "2026-11-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "new", "time": "2026-11-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "agentid", "time": "2026-11-03T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
        {"manager": "x", "time": "2026-11-03T00:00:00Z", "subresource": "status",
         "fieldsV1": {"f:spec": {}}},
        {"manager": 7}, "nonsense",
    ]  # fmt: skip
    seen.put(made)
    assert seen.manager_of(READER) == "new"
    assert seen.manager_of(ObjectKey("finance", "nobody")) is None
    seen.put(body("6"))
    assert seen.manager_of(READER) is None


def test_forgets_what_is_gone() -> None:
    """After its end there is nothing of it, and its next version is news again."""
    seen = Identities()
    seen.put(body("5"))
    seen.drop(READER)
    seen.drop(READER)
    assert READER not in seen
    assert len(seen) == 0
    assert seen.get(READER) is None
    assert seen.put(body("5"))


def test_no_late_answer_brings_back_what_has_ended() -> None:
    """As the answer to taking the finalizer off does, if the watch was faster; a namesake comes."""
    seen, before, namesake = Identities(), body("5"), body("7")
    namesake["metadata"]["uid"] = "another"
    seen.put(before)
    seen.ended(body("6"))
    seen.learn(body("6"))
    assert not seen.put(body("6"))
    assert READER not in seen
    assert seen.put(namesake)
    seen.ended(body("6"))
    assert READER in seen


def test_what_an_answer_tells_of_others_is_news_once_the_watch_tells_it() -> None:
    """Up to the version of the answer; what we wrote ourselves never is."""
    seen = Identities()
    assert seen.put(body("5"))
    ours = body("6")
    ours["status"] = {"observedGeneration": 1}
    ours["metadata"]["finalizers"] = ["agentid.dev/revocation"]
    seen.learn(ours)
    assert not seen.put(ours)
    theirs = body("8")
    theirs["spec"]["suspend"] = True
    seen.learn(theirs)
    assert seen.put(body("7"))
    assert (seen.get(READER) or {})["metadata"]["resourceVersion"] == "8"  # type: ignore[index]
    assert seen.put(theirs)
    assert not seen.put(theirs)


def test_only_the_last_of_those_that_ended_are_remembered() -> None:
    """However many come and go, they take no more room."""
    seen, gone = Identities(), body("5")
    for number in range(10_001):
        gone["metadata"]["uid"] = f"uid-{number}"
        seen.ended(gone)
    assert not seen.put(gone)
    gone["metadata"]["uid"] = "uid-0"
    assert seen.put(gone)


def test_finds_the_identities_of_classes() -> None:
    """By the class that each names now; what comes or goes meanwhile disturbs nobody."""
    seen = Identities()
    for name, chosen in (("a", "batch"), ("b", "chat"), ("c", "batch"), ("d", "other")):
        seen.put(body(name=name, className=chosen))
    found = []
    for key in seen.of_classes(frozenset({"batch", "other"})):
        seen.drop(key)
        found.append(key.name)
    assert found == ["a", "c", "d"]
    seen.put(body("6", name="b", className="batch"))
    assert [key.name for key in seen.of_classes(frozenset({"batch"}))] == ["b"]
    assert list(seen.of_classes(frozenset())) == []


def test_iterates_over_a_moment() -> None:
    """Keys may come and go while somebody goes through them."""
    seen = Identities()
    seen.put(body(name="a"))
    seen.put(body(name="b"))
    for key in seen:
        seen.drop(key)
        seen.put(body(name=f"{key.name}-next"))
    assert sorted(key.name for key in seen) == ["a-next", "b-next"]


def test_a_body_without_a_spec_is_kept() -> None:
    """A door that let it in is no reason to lose sight of it."""
    seen = Identities()
    assert seen.put({"metadata": {"namespace": "finance", "name": "reader", "uid": "u"}})
    assert READER in seen
    assert list(seen.of_classes(frozenset({""}))) == [READER]
