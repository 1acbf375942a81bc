"""What the API server is asked, how long its word counts, and sessions; on virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agentid.errors import UnavailableError
from agentid.responder.inventory.access import Access, TooManyReviewsError
from agentid.responder.inventory.sessions import Sessions
from agentid.responder.limits import Throttle
from agentid.responder.settings import Limits
from tests.support.inventory_memory import ReviewServer

if TYPE_CHECKING:
    from agentid.testing.clock import ManualClock

OWN = ("TokenReview", "agentid-inventory")
SERVERS = ("TokenReview", "")


def access(reviews: ReviewServer, clock: ManualClock, limits: Limits | None = None) -> Access:
    """Who asks these reviews, and keeps answers for 30 seconds."""
    throttle = Throttle(limits or Limits(), clock.monotonic)
    return Access(reviews, keep=30, monotonic=clock.monotonic, throttle=throttle)


async def test_an_answer_counts_for_its_time_and_no_longer(clock: ManualClock) -> None:
    """A token or a right that is taken back ends with it, and one that is given begins."""
    reviews = ReviewServer(
        {"t": ("olga", "agentid-inventory")}, {"olga": {("agentidentities", "")}}
    )
    asks = access(reviews, clock)
    user = await asks.user("t", "c")
    assert user is not None
    assert (user.name, await asks.may_list_agents(user, "")) == ("olga", True)
    reviews.users.clear()
    reviews.rights.clear()
    clock.advance(29.9)
    assert await asks.user("t", "c") == user
    assert await asks.may_list_agents(user, "")
    assert len(reviews.asked) == 2
    clock.advance(0.1)
    assert await asks.user("t", "c") is None
    assert not await asks.may_list_agents(user, "")
    reviews.users["t"] = ("olga", "agentid-inventory")
    assert await asks.user("t", "c") is None
    clock.advance(30)
    assert await asks.user("t", "c") is not None


async def test_a_token_is_for_the_page_or_for_the_api_server(clock: ManualClock) -> None:
    """Asked in this order, so the usual one costs one question; others are for somebody else."""
    reviews = ReviewServer(
        {"own": ("a", "agentid-inventory"), "api": ("b", ""), "x": ("c", "vault")}
    )
    asks = access(reviews, clock)
    found = [await asks.user(token, "c") for token in ("own", "api", "x")]
    assert [None if user is None else user.name for user in found] == ["a", "b", None]
    assert reviews.asked == [OWN, OWN, SERVERS, OWN, SERVERS]


async def test_who_knows_no_audiences_is_not_believed(clock: ManualClock) -> None:
    """An authenticator that answers without them has not looked for whom the token is."""

    class Careless(ReviewServer):
        def _token(self, _: str, audiences: list[str]) -> dict[str, object]:
            if audiences == [""]:
                return {"authenticated": False}
            return {"authenticated": True, "user": {"username": "anybody"}}

    assert await access(Careless(), clock).user("t", "c") is None


async def test_rights_are_asked_for_as_the_user_that_was_reviewed(clock: ManualClock) -> None:
    """Each in its place; groups, uid and extra are passed on."""
    seen: list[object] = []

    class Noting(ReviewServer):
        async def create(self, resource, body):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            seen.append(body["spec"])
            return await super().create(resource, body)

    asks = access(Noting({"t": ("olga", "")}), clock)
    user = await asks.user("t", "c")
    assert user is not None
    await asks.may_list_agents(user, "demo")
    await asks.may_list_issuers(user)
    who = {"user": "olga", "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}}
    group = {"group": "agentid.dev", "verb": "list"}
    assert seen[2:] == [
        {
            "resourceAttributes": {**group, "resource": "agentidentities", "namespace": "demo"},
            **who,
        },
        {"resourceAttributes": {**group, "resource": "agentissuers"}, **who},
    ]


@pytest.mark.parametrize("token", ["", "a b", "a\n", "é", "a" * 16_385, "\x00"])
async def test_what_can_be_no_token_is_nobodys(clock: ManualClock, token: str) -> None:
    """And the API server is not bothered with it."""
    reviews = ReviewServer({token: ("olga", "")})
    assert await access(reviews, clock).user(token, "c") is None
    assert reviews.asked == []


async def test_who_guesses_is_slowed_down(clock: ManualClock) -> None:
    """By address; who is known already is not, and a guess that was made costs no second one."""
    reviews = ReviewServer({"t": ("olga", "agentid-inventory")})
    asks = access(reviews, clock, replace(Limits(), client_rate=1, client_burst=3))
    await asks.user("t", "a")
    for number in (1, 1, 2):
        assert await asks.user(f"guess-{number}", "a") is None
    with pytest.raises(TooManyReviewsError, match="too many tokens were tried"):
        await asks.user("guess-3", "a")
    assert await asks.user("t", "a") is not None
    assert await asks.user("guess-3", "b") is None
    clock.advance(1)
    assert await asks.user("guess-4", "a") is None


async def test_while_the_api_server_is_away_nobody_new_gets_in(clock: ManualClock) -> None:
    """What it said counts to its end; nothing is kept of a question without an answer."""
    reviews = ReviewServer(
        {"t": ("olga", "agentid-inventory")}, {"olga": {("agentidentities", "")}}
    )
    asks = access(reviews, clock)
    user = await asks.user("t", "c")
    assert user is not None
    reviews.error = UnavailableError("away")
    assert await asks.user("t", "c") == user
    with pytest.raises(UnavailableError, match="away"):
        await asks.may_list_agents(user, "")
    clock.advance(30)
    with pytest.raises(UnavailableError, match="away"):
        await asks.user("t", "c")
    reviews.error = None
    assert await asks.user("t", "c") is not None
    assert await asks.may_list_agents(user, "")


def test_no_secret_shows_in_a_repr(clock: ManualClock) -> None:
    """A traceback or a log line may hold these."""
    sessions = Sessions(clock.monotonic)
    session = sessions.get(sessions.begin("olga", "secret-token"))
    assert session is not None
    assert "secret" not in repr(session)


def test_a_session_ends_by_itself(clock: ManualClock) -> None:
    """Half an hour after the last request, and after a working day in any case."""
    sessions = Sessions(clock.monotonic)
    idle = sessions.begin("olga", "t")
    clock.advance(1799)
    assert sessions.get(idle) is not None
    clock.advance(1800)
    assert sessions.get(idle) is None
    busy = sessions.begin("olga", "t")
    for _ in range(19):
        clock.advance(1500)
        assert sessions.get(busy) is not None
    clock.advance(300)
    assert sessions.get(busy) is None


def test_sessions_are_bounded(clock: ManualClock) -> None:
    """Who logs in without end ends their own sessions first."""
    sessions = Sessions(clock.monotonic)
    other = sessions.begin("tom", "t")
    own = [sessions.begin("olga", "t") for _ in range(1500)]
    assert sessions.get(other) is not None
    assert [sessions.get(each) is not None for each in own].count(True) == 10
    many = [sessions.begin(f"user-{number}", "t") for number in range(1500)]
    assert [sessions.get(each) is not None for each in many].count(True) == 1000


async def test_a_slow_answer_counts_from_the_question_on(clock: ManualClock) -> None:
    """The API server may have known no more than it did when it was asked."""

    class Slow(ReviewServer):
        async def create(self, resource, body):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            answer = await super().create(resource, body)
            clock.advance(9)
            return answer

    reviews = Slow({"t": ("olga", "agentid-inventory")})
    asks = access(reviews, clock)
    await asks.user("t", "c")
    clock.advance(20.9)
    await asks.user("t", "c")
    assert reviews.asked == [OWN]
    clock.advance(0.1)
    await asks.user("t", "c")
    assert reviews.asked == [OWN, OWN]
