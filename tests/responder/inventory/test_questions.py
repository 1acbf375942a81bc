"""What is asked by a URL, and which rows that selects."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.kube.objects import ObjectKey
from agentid.ledger import Revoked
from agentid.responder.inventory.agents import AgentState, Expiry, agent_of
from agentid.responder.inventory.catalogue import Revocation
from agentid.responder.inventory.questions import Question, Sort, read_query
from agentid.responder.inventory.views import agents_asked_for, overview_of, revocations_asked_for
from agentid.responder.inventory.words import ago_or_in, counted, span
from tests.support.inventory_memory import spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.responder.inventory.agents import Agent

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
AGENTS = [agent_of(spread(number)) for number in range(200)]

questions = st.builds(
    Question,
    q=st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(str.strip),
    namespace=st.sampled_from(["", "team-1", "a"]),
    class_name=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    tier=st.sampled_from(["", "Low", "none"]),
    state=st.sampled_from([None, *AgentState]),
    expires=st.sampled_from([None, *Expiry]),
    sort=st.sampled_from([None, *Sort]),
    descending=st.booleans(),
    page=st.integers(1, 1_000_000),
    size=st.integers(1, 1000),
)


@given(questions)
def test_a_link_asks_the_same_again(question: Question) -> None:
    """Whatever is in a question comes back out of its URL."""
    assert Question.of(read_query(question.query)) == question


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("namespace=A", 'namespace "A" is no name of a namespace'),
        ("namespace=a/b", 'namespace "a/b" is no name'),
        ("namespace=%20", "is no name of a namespace"),
        ("namespace=" + "a" * 64, "is no name of a namespace"),
        ("tier=Extreme", 'tier "Extreme" is none of Low, Moderate, High, Critical, none'),
        ("state=ready", 'state "ready" is none of Stalled, Not ready'),
        ("expires=soon", 'expires "soon" is none of expired, 10m'),
        ("sort=colour", 'sort "colour" is none of name, class'),
        ("order=up", 'order "up" is none of asc, desc'),
        ("page=0", 'page "0" is not a number from 1'),
        ("page=-1", 'page "-1" is not a number'),
        ("page=²", "is not a number"),
        ("size=1001", 'size "1001" is not a number from 1 to 1000'),
        ("q=" + "a" * 257, "q has 257 characters; search for at most 256"),
        ("&".join(f"a{n}=1" for n in range(17)), "the query of the URL cannot be read"),
        ("q=%ff", "the query of the URL cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(query: str, message: str) -> None:
    """With what was found and what is allowed."""
    with pytest.raises(InputError, match=re.escape(message)):
        Question.of(read_query(query))


@given(questions)
def test_rows_are_selected_sorted_and_paged(question: Question) -> None:
    """All pages together are what a look at each agent selects, each once."""
    seen: list[str] = []
    page = 1
    while True:
        rows = agents_asked_for(AGENTS, question.changed(page=page, size=37), NOON)
        seen += [str(agent.key) for agent in rows.items]
        if page >= rows.pages:
            break
        page += 1
    expected = {
        str(agent.key)
        for agent in AGENTS
        if question.namespace in {"", agent.key.namespace}
        and question.class_name in {"", agent.class_name}
        and question.tier in {"", agent.tier}
        and question.state in {None, agent.state}
        and question.expires in {None, Expiry.at(NOON)(agent.not_after)}
        and all(word in agent.haystack for word in question.q.lower().split())
    }
    assert len(seen) == rows.total == len(set(seen))
    assert set(seen) == expected


@pytest.mark.parametrize(
    "words", ["AGENT-00007", "team-7 agent-00007", "owner-7@ 00007", f"{8:032x}"]
)
def test_a_search_takes_words_in_any_case(words: str) -> None:
    """All of them have to be somewhere in the row."""
    rows = agents_asked_for(AGENTS, Question(q=words), NOON)
    assert [agent.key.name for agent in rows.items] == ["agent-00007"]


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        (Sort.NAME, "team-0", "team-9"),
        (Sort.TIER, "Low", "Critical"),
        (Sort.STATE, AgentState.NOT_READY, AgentState.READY),
        (Sort.CLASS, "class-0", "class-9"),
        (Sort.SPONSOR, "owner-0@example.com", "owner-9@example.com"),
    ],
)
def test_rows_are_sorted_both_ways(sort: Sort, first: str, last: str) -> None:
    """By what the column shows; a tier by its rank and not by its letters."""
    columns: dict[Sort, Callable[[Agent], str]] = {
        Sort.NAME: lambda a: a.key.namespace, Sort.TIER: lambda a: a.tier,
        Sort.STATE: lambda a: a.state, Sort.CLASS: lambda a: a.class_name,
        Sort.SPONSOR: lambda a: a.sponsor,
    }  # fmt: skip
    up = agents_asked_for(AGENTS, Question(sort=sort, size=1000), NOON).items
    down = agents_asked_for(AGENTS, Question(sort=sort, descending=True, size=1000), NOON).items
    column = columns[sort]
    assert (column(up[0]), column(up[-1])) == (first, last)
    assert (column(down[0]), column(down[-1])) == (last, first)


def revocation(number: int, name: str, minutes: int, actor: str = "a test") -> Revocation:
    """The revocation of a certificate of an agent in `demo`."""
    at = NOON + timedelta(minutes=minutes)
    reason = RevocationReason.KEY_COMPROMISE if number % 2 else RevocationReason.SUPERSEDED
    told = Revoked(SerialNumber(number), reason, at, NOON + timedelta(hours=number), actor)
    return Revocation(told, ObjectKey("demo", name) if name else None, f"class-{number % 2}")


REVOCATIONS = (
    revocation(1, "b", 5), revocation(2, "a", 9, "AgentRevocation stolen-laptop (u)"),
    revocation(3, "", 7), revocation(4, "c", 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "serials"),
    [
        pytest.param(Question(), [2, 3, 1, 4], id="latest-first"),
        pytest.param(Question(sort=Sort.REVOKED), [4, 1, 3, 2], id="earliest-first"),
        pytest.param(Question(sort=Sort.NAME), [3, 2, 1, 4], id="by-agent"),
        pytest.param(Question(sort=Sort.REASON), [1, 3, 2, 4], id="by-reason"),
        pytest.param(Question(sort=Sort.EXPIRES, descending=True), [4, 3, 2, 1], id="by-end"),
        pytest.param(Question(sort=Sort.TIER), [4, 1, 3, 2], id="by-what-it-has-not"),
        pytest.param(Question(q="STOLEN-laptop"), [2], id="by-who-did-it"),
        pytest.param(Question(q="demo keycompromise"), [1], id="by-words"),
        pytest.param(Question(class_name="class-0"), [2, 4], id="by-class"),
        pytest.param(Question(size=1, page=2), [3], id="second-page"),
    ],
)
def test_revocations_are_selected_and_sorted(question: Question, serials: list[int]) -> None:
    """The latest first, unless it is asked otherwise."""
    rows = revocations_asked_for(REVOCATIONS, question)
    assert [each.revoked.serial.value for each in rows.items] == serials


def test_a_page_behind_the_last_is_the_last() -> None:
    """A link that is kept leads somewhere though agents have gone."""
    rows = agents_asked_for(AGENTS, Question(page=99), NOON)
    assert (rows.page, rows.pages, rows.first, len(rows.items)) == (4, 4, 151, 50)
    none = agents_asked_for([], Question(page=9), NOON)
    assert (none.page, none.pages, none.first, none.total) == (1, 1, 0, 0)


def test_every_agent_is_counted_once_in_each_way() -> None:
    """By state, tier, class and expiry, of all or of one namespace."""
    for namespace in ("", "team-3"):
        told = overview_of(AGENTS, namespace, NOON)
        chosen = [a for a in AGENTS if namespace in {"", a.key.namespace}]
        assert told.total == len(chosen)
        for counts in (told.by_state, told.by_tier, told.by_expiry):
            assert sum(counts.values()) == told.total
        assert {n: c.total() for n, c in told.by_class} == Counter(a.class_name for a in chosen)
        assert told.by_state[AgentState.READY] == sum(a.state == "Ready" for a in chosen)
        assert told.overdue == 0


def test_a_renewal_that_does_not_come_is_told() -> None:
    """Five minutes after its time, unless the agent is suspended."""
    due = datetime(2026, 11, 1, 12, 40, tzinfo=UTC)
    assert overview_of(AGENTS, "", due + timedelta(minutes=5)).overdue == 0
    assert overview_of(AGENTS, "", due + timedelta(minutes=5, seconds=1)).overdue == len(AGENTS)
    body = spread(1)
    status = body["status"]
    assert isinstance(status, dict)
    status["conditions"] = [{"type": "Suspended", "status": "True"}]
    assert overview_of([agent_of(body)], "", due + timedelta(hours=1)).overdue == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3599, "59 min"),
     (3600, "1 h"), (3661, "1 h 1 min"), (36_060, "10 h"), (86_400, "1 d"), (90_000, "1 d 1 h"),
     (-90_000, "1 d 1 h")],
)  # fmt: skip
def test_lengths_of_time_in_words(seconds: float, words: str) -> None:
    """In the two largest units, where the second says anything."""
    assert span(seconds) == words


def test_words_for_moments_and_numbers() -> None:
    """To come or gone; one or many."""
    assert ago_or_in(NOON + timedelta(minutes=5), NOON) == "in 5 min"
    assert ago_or_in(NOON - timedelta(minutes=5), NOON) == "5 min ago"
    assert [counted(n, "class", "classes") for n in (0, 1, 12_000)] == [
        "0 classes", "1 class", "12,000 classes",
    ]  # fmt: skip
