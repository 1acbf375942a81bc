"""Which identities a list selects, in which order, and what it shows of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentid.api.fields import format_time
from agentid.api.vocabulary import Tier
from agentid.cli.output import render_table
from agentid.cli.roster import Entry, Question, SortKey, columns, rows, select

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entry(
    name: str,
    *,
    namespace: str = "a",
    tier: str = "Low",
    ends: timedelta | None = HOUR,
    ready: tuple[str, str] = ("True", "Issued"),
    **spec: Any,  # noqa: ANN401 - JSON
) -> Entry:
    """An identity as the API server tells it."""
    status: dict[str, Any] = {
        "classification": {"tier": tier, "score": 1},
        "conditions": [
            {
                "type": "Ready", "status": ready[0], "reason": ready[1], "message": "m",
                "lastTransitionTime": format_time(NOW),
            }
        ],
        "activeCertificates": 1,
        "spiffeID": f"spiffe://x/{name}",
    }  # fmt: skip
    if ends is not None:
        status["certificate"] = {
            "serial": "4fac", "fingerprint": "00", "issuer": "main", "keyAlgorithm": "ED25519",
            "notBefore": format_time(NOW - HOUR), "notAfter": format_time(NOW + ends),
            "renewalTime": format_time(NOW + ends - timedelta(minutes=20)),
        }  # fmt: skip
    return Entry.of(
        {
            "metadata": {
                "name": name, "namespace": namespace,
                "creationTimestamp": format_time(NOW - timedelta(days=4)),
            },
            "spec": {"className": "reader", "sponsor": "team@example.com", **spec},
            "status": status,
        }
    )  # fmt: skip


ALPHA = entry("alpha")
SOON = entry("soon", ends=timedelta(minutes=5), tier="High", className="batch")
OVER = entry("over", ends=-timedelta(seconds=1), namespace="b")
REFUSED = entry(
    "refused", ends=None, ready=("False", "ExceedsClass"), tier="Critical", sponsor=None
)
ALL = (REFUSED, SOON, OVER, ALPHA)


@pytest.mark.parametrize(
    ("question", "names"),
    [
        pytest.param(Question(), ["alpha", "refused", "soon", "over"], id="all"),
        pytest.param(Question(class_name="batch"), ["soon"], id="class"),
        pytest.param(Question(tier=Tier.CRITICAL), ["refused"], id="tier"),
        pytest.param(Question(sponsor="@EXAMPLE"), ["alpha", "soon", "over"], id="sponsor"),
        pytest.param(Question(expiring=timedelta(minutes=5)), ["soon", "over"], id="expiring"),
        pytest.param(Question(expiring=timedelta(0)), ["over"], id="expired"),
        pytest.param(Question(not_ready=True), ["refused"], id="not-ready"),
        pytest.param(Question(class_name="batch", tier=Tier.LOW), [], id="both-have-to-hold"),
    ],
)
def test_a_question_selects(question: Question, names: list[str]) -> None:
    """Everything that is given has to hold; what has no certificate does not expire."""
    assert [each.name for each in select(ALL, question, SortKey.NAME, NOW)] == names


@pytest.mark.parametrize(
    ("key", "names"),
    [
        (SortKey.NAME, ["alpha", "refused", "soon", "over"]),
        (SortKey.EXPIRY, ["over", "soon", "alpha", "refused"]),
        (SortKey.TIER, ["refused", "soon", "alpha", "over"]),
        (SortKey.SPONSOR, ["alpha", "soon", "over", "refused"]),
        (SortKey.CLASS, ["soon", "alpha", "refused", "over"]),
        (SortKey.STATUS, ["refused", "alpha", "soon", "over"]),
        (SortKey.AGE, ["alpha", "refused", "soon", "over"]),
    ],
)
def test_what_is_urgent_comes_first(key: SortKey, names: list[str]) -> None:
    """What is equal is sorted by namespace and name, so a list is the same at every look."""
    assert [each.name for each in select(ALL, Question(), key, NOW)] == names


def test_a_list_word_for_word() -> None:
    """The table as it is printed."""
    found = select(ALL, Question(), SortKey.NAME, NOW)
    shown = render_table(columns(everywhere=True), rows(found, NOW, everywhere=True))
    assert shown.splitlines() == [
        "NAMESPACE   NAME      STATUS         CLASS    TIER       EXPIRES IN   SPONSOR",
        "a           alpha     Ready          reader   Low        60m          team@example.com",
        "a           refused   ExceedsClass   reader   Critical   -            -",
        "a           soon      Ready          batch    High       5m           team@example.com",
        "b           over      Ready          reader   Low        expired      team@example.com",
    ]
    wide = render_table(columns(everywhere=False), rows([ALPHA], NOW, everywhere=False), wide=True)
    assert wide.splitlines()[1].split() == [
        "alpha", "Ready", "reader", "Low", "60m", "team@example.com", "40m", "1", "-", "ED25519",
        "4d", "spiffe://x/alpha", "4fac",
    ]  # fmt: skip


def test_pods_expire_with_the_first_of_them() -> None:
    """An identity whose pods have certificates is sorted by the one that ends first."""
    body: Any = {**entry("pods", ends=None).body}
    body["status"] = {
        **body["status"],
        "pods": {"certificates": 3, "earliestNotAfter": "2026-11-01T12:04:00Z"},
    }
    one = Entry.of(body)
    assert [each.name for each in select((*ALL, one), Question(), SortKey.EXPIRY, NOW)] == [
        "over", "pods", "soon", "alpha", "refused",
    ]  # fmt: skip
    shown = render_table(columns(everywhere=False), rows([one], NOW, everywhere=False), wide=True)
    assert shown.splitlines()[1].split()[4:9] == ["4m", "team@example.com", "-", "1", "3"]


def test_one_that_does_not_parse_is_listed_all_the_same() -> None:
    """Somebody has to see that it is there."""
    strange = Entry.of({"metadata": {"name": "x", "namespace": "a"}, "spec": ["?"], "status": 3})
    (cells,) = rows([strange], NOW, everywhere=False)
    assert [cell.text for cell in cells[:3]] == ["x", "Pending", ""]


def test_one_that_is_retried_is_ready_and_says_so() -> None:
    """A renewal that fails takes nothing away yet."""
    body = {**entry("x").body}
    status: Any = body["status"]
    again = {**status["conditions"][0], "type": "Reconciling", "reason": "IssuerUnavailable"}
    body["status"] = {**status, "conditions": [*status["conditions"], again]}
    assert Entry.of(body).standing == "Ready (IssuerUnavailable)"
    assert Entry.of(body).is_ready
