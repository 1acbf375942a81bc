"""What an identity lets a pod have: the same answer by whatever door the pod comes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agentid.api.vocabulary import DeliveryMode
from agentid.pki import KeyAlgorithm
from agentid.policy import Granted
from agentid.policy.entitlement import Withheld, entitled, grant_for_key, nothing_at_all
from tests.support.observed import BLOCKED, HOLD, Wish, observe

if TYPE_CHECKING:
    from agentid.policy.observed import Observed

BY_PODS = Wish(mode=DeliveryMode.POD_CERTIFICATE)
WHOSE = "finance/reader"


def asked(
    seen: Observed | None,
    *,
    door: DeliveryMode = DeliveryMode.POD_CERTIFICATE,
    account: str = "reader",
) -> Granted | Withheld:
    """What a pod may have."""
    return entitled(WHOSE, seen, door=door, service_account=account)


def test_who_is_granted_something_has_it() -> None:
    """The judgement itself, unaltered."""
    seen = observe(wish=BY_PODS)
    assert asked(seen) is seen.verdict


@pytest.mark.parametrize(
    ("seen", "reason", "says"),
    [
        pytest.param(None, "IdentityNotFound", "there is no AgentIdentity", id="none"),
        pytest.param(
            observe(wish=replace(BY_PODS, deleting=True)),
            "Deleting", "is being deleted", id="deleting",
        ),
        pytest.param(
            observe(wish=replace(BY_PODS, suspend=True)),
            "Suspended", "set spec.suspend to false", id="suspended",
        ),
        pytest.param(
            observe(wish=BY_PODS, hold=HOLD), "Held", "an incident holds", id="held"
        ),
        pytest.param(
            replace(observe(wish=BY_PODS), verdict=None), "Pending", "not judged yet",
            id="unjudged",
        ),
        pytest.param(
            observe(wish=BY_PODS, blocked=BLOCKED), "ClassNotFound", "there is no AgentClass",
            id="blocked",
        ),
        pytest.param(
            observe(wish=replace(BY_PODS, finalizers=())), "Pending", "has no finalizer yet",
            id="unguarded",
        ),
    ],
)  # fmt: skip
def test_who_is_not_is_told_why(seen: Observed | None, reason: str, says: str) -> None:
    """By a reason of the conditions or of the list, and a sentence."""
    found = asked(seen)
    assert isinstance(found, Withheld)
    assert (found.reason, says in found.message) == (reason, True), found


def test_another_door_and_another_account_get_nothing() -> None:
    """The door is told first: who asks at the wrong one learns nothing of the binding."""
    seen = observe(wish=BY_PODS)
    wrong_door = asked(seen, door=DeliveryMode.CSI, account="other")
    wrong_account = asked(seen, account="other")
    assert isinstance(wrong_door, Withheld)
    assert isinstance(wrong_account, Withheld)
    assert (wrong_door.reason, wrong_account.reason) == (
        "DeliveredOtherwise",
        "NotItsServiceAccount",
    )
    assert "is bound to ServiceAccount reader, and the pod runs as other" in wrong_account.message


def test_a_key_is_of_the_algorithm_that_the_class_asks_for() -> None:
    """Another one is told which to take."""
    seen = observe(wish=BY_PODS)
    granted = asked(seen)
    assert isinstance(granted, Granted)
    wanted = granted.grant.key_algorithm
    assert grant_for_key(WHOSE, granted, seen, wanted) is granted.grant
    other = next(each for each in KeyAlgorithm if each is not wanted)
    found = grant_for_key(WHOSE, granted, seen, other)
    assert isinstance(found, Withheld)
    assert (found.reason, found.key_algorithm) == ("UnsupportedKeyType", wanted)
    migrating = replace(granted, gradual=True, grant=replace(granted.grant, key_algorithm=other))
    old = grant_for_key(WHOSE, migrating, seen, wanted)
    assert not isinstance(old, Withheld), "while a class migrates, the one before is taken too"
    assert old.key_algorithm is wanted


def test_nothing_at_all_names_the_strongest_reason() -> None:
    """Deletion before suspension before an incident; and None where nothing stands against it."""
    told = [
        nothing_at_all(WHOSE, deleting=deleting, suspended=suspended, held=True)
        for deleting, suspended in ((True, True), (False, True), (False, False))
    ]
    assert [each.reason for each in told if each] == ["Deleting", "Suspended", "Held"]
    assert nothing_at_all(WHOSE, deleting=False, suspended=False, held=False) is None
