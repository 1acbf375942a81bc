"""The judge of the courses of faults: what it has to see, it sees, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from e2e.chaos.promises import kept
from e2e.chaos.settled import unsettled
from tests.e2e.chaos.building import NOW, Story

if TYPE_CHECKING:
    from collections.abc import Callable

TEAM = frozenset({"team"})


def begun() -> Story:
    """An agent with a certificate, as it should be."""
    story = Story()
    story.agent()
    story.ledger("a-1", story.issued("0a"))
    story.secret("0a")
    story.agent(told="0a")
    return story


def _renewed(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", replaces="0a"))
    story.secret("0b")
    story.agent(told="0b")


def _revoked_after_renewal(story: Story) -> None:
    _renewed(story)
    story.ledger("a-3", story.revoked("0a"))


def _expired_by_a_clock(story: Story) -> None:
    _renewed(story)
    soon = (NOW + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    story.ledger("a-3", {**story.revoked("0a"), "notAfter": soon})


def _revoked_in_use(story: Story) -> None:
    story.ledger("a-2", story.revoked("0a"))


def _stray_revoked(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", replaces="0a"))
    story.ledger("a-3", story.issued("0c", replaces="0a"))
    story.secret("0c")
    story.agent(told="0c")
    story.ledger("a-4", story.revoked("0b"))


def _suspended(story: Story) -> None:
    story.agent(told="0a", suspend=True)
    story.ledger("a-2", story.revoked("0a"))
    story.secret("")


def _shrunk_class(story: Story) -> None:
    story.agent_class(systems=("crm.*",))
    story.ledger("a-2", story.revoked("0a"))
    story.secret("")


def _late_record(story: Story) -> None:
    story.secret("0b")
    story.ledger("a-2", story.issued("0b", replaces="0a"))


def _no_record(story: Story) -> None:
    story.secret("0b")


def _emptied(story: Story) -> None:
    story.secret("")


def _forgotten(story: Story) -> None:
    story.drop("a-1")


def _forgotten_revocation(story: Story) -> None:
    story.agent(told="0a", suspend=True)
    story.ledger("a-2", story.revoked("0a"))
    story.drop("a-2")


def _compacted(story: Story) -> None:
    story.ledger("a-2", story.issued("0a"))
    story.drop("a-1")


def _too_long(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", replaces="0a"))
    story.secret("0b", lasts=timedelta(hours=3))


def _shared_key(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", name="other"))
    story.secret("0b", name="other", key="0a")


def _wrong_name(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", replaces="0a"))
    story.secret("0b", uri="spiffe://agents.test/ns/team/agent/other")


@pytest.mark.parametrize(
    ("happens", "seen"),
    [
        pytest.param(_renewed, None, id="renewed"),
        pytest.param(_suspended, None, id="suspended"),
        pytest.param(_shrunk_class, None, id="class-gives-less"),
        pytest.param(_stray_revoked, None, id="stray-revoked"),
        pytest.param(_compacted, None, id="compacted"),
        pytest.param(_expired_by_a_clock, None, id="expired-by-a-clock-that-is-ahead"),
        pytest.param(_shared_key, (1, "certificates that share a key"), id="shared-key"),
        pytest.param(_wrong_name, (1, "0b is for"), id="wrong-name"),
        pytest.param(_too_long, (2, "0b lives for 3:00:00"), id="too-long"),
        pytest.param(_late_record, (3, "0b was delivered at revision"), id="recorded-later"),
        pytest.param(_no_record, (3, "is on no record"), id="not-recorded"),
        pytest.param(_forgotten, (3, "that it was issued is not on the ledger"), id="forgotten"),
        pytest.param(
            _forgotten_revocation, (4, "that it was revoked is not on"), id="revocation-forgotten"
        ),
        pytest.param(_emptied, (5, "was taken out of its Secret without"), id="taken-away"),
        pytest.param(_revoked_in_use, (5, "revoked while it was in use"), id="revoked-in-use"),
        pytest.param(
            _revoked_after_renewal, (5, "0a was renewed, and revoked"), id="renewal-revokes"
        ),
    ],
)
def test_each_promise_has_an_eye_on_it(
    happens: Callable[[Story], None], seen: tuple[int, str] | None
) -> None:
    """What breaks a promise is told with its number; what is in order is not."""
    story = begun()
    happens(story)
    found = kept(story.history, TEAM)
    if seen is None:
        assert found == []
    else:
        assert [each.promise for each in found] == [seen[0]]
        assert seen[1] in found[0].what


def _in_force_though_gone(story: Story) -> None:
    story.remove_agent()


def _in_force_though_suspended(story: Story) -> None:
    story.agent(told="0a", suspend=True)


def _revoked_in_secret(story: Story) -> None:
    _renewed(story)
    story.ledger("a-3", story.revoked("0b"))


def _status_behind(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", replaces="0a"))
    story.secret("0b")


def _never_confirmed(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", replaces="0a"))


def _not_on_a_crl(story: Story) -> None:
    story.ledger("a-2", story.issued("0b", shard=3), story.revoked("0b"))


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        pytest.param(lambda _: None, "", id="in-order"),
        pytest.param(_renewed, "", id="renewed"),
        pytest.param(_in_force_though_gone, "is gone, and 0a is in force", id="gone"),
        pytest.param(_in_force_though_suspended, "is suspended, and 0a is in", id="suspended"),
        pytest.param(_revoked_in_secret, "0b is revoked, and lies in", id="revoked-in-secret"),
        pytest.param(_status_behind, "the Secret holds 0b", id="status-behind"),
        pytest.param(_never_confirmed, "0b was never confirmed", id="stray"),
        pytest.param(_not_on_a_crl, "not on the CRL agentid-crl-main-a1-3", id="no-crl"),
    ],
)
def test_what_is_not_settled_is_told(happens: Callable[[Story], None], said: str) -> None:
    """The end is judged by the objects, the ledger, the Secrets and the CRLs."""
    story = begun()
    happens(story)
    found = [each.what for each in unsettled(story.history, TEAM, NOW)]
    assert bool(found) is bool(said)
    assert any(said in each for each in found) or not said
