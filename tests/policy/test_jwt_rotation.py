"""Keys for JWT-SVIDs follow one another: published first, kept long enough, distrusted at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.pki.jwt_svid import MAX_LIFETIME
from agentid.policy.authorities import Authorities
from agentid.policy.jwt_keys import (
    DropJwtKey,
    JwtKey,
    JwtKeyPublished,
    PromoteJwtKey,
    StageJwtKey,
    dropped,
    promoted,
    published,
)
from agentid.policy.jwt_rotation import (
    JWT_RETENTION,
    JwtWish,
    jwt_due_time,
    jwt_waits_for,
    next_jwt_step,
)
from agentid.policy.rotation import Facts, Wish, next_step
from agentid.policy.stages import Stage

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY, SECOND = (
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(seconds=1),
)
WISH = JwtWish(30 * DAY, 15 * MINUTE, 5 * MINUTE)
NOBODY: frozenset[str] = frozenset()


def key(
    name: str,
    stage: Stage = Stage.SIGNING,
    *,
    since: datetime = NOW,
    bundle: int = 1,
    published_at: datetime | None = NOW,
    whole: bool = True,
) -> JwtKey:
    """A key."""
    return JwtKey(name, f"fp-{name}", stage, since, bundle, published_at, whole)


def having(*keys: JwtKey, sequence: int = 2) -> Authorities:
    """Authorities, of which the keys matter alone."""
    return Authorities((), (), sequence, jwt_keys=keys)


STAGED = key("k2", Stage.STAGED, bundle=2, published_at=None)
SPREAD = key("k2", Stage.STAGED, bundle=2, published_at=NOW)
RETIRED = key("k0", Stage.RETIRED, since=NOW - HOUR, whole=False)
DAMAGED = key("k1", whole=False)


@pytest.mark.parametrize(
    ("have", "after", "step"),
    [
        pytest.param(having(), HOUR, StageJwtKey("nothing signs JWT-SVIDs"), id="none"),
        pytest.param(having(key("k1")), 30 * DAY - 15 * MINUTE - SECOND, None, id="not-due"),
        pytest.param(
            having(key("k1")),
            30 * DAY - 15 * MINUTE,
            StageJwtKey("the key signs since 2026-11-01T12:00:00Z"),
            id="due",
        ),
        pytest.param(having(STAGED, key("k1")), HOUR, JwtKeyPublished("k2"), id="published"),
        pytest.param(having(SPREAD, key("k1")), 15 * MINUTE - SECOND, None, id="not-spread"),
        pytest.param(having(SPREAD, key("k1")), 15 * MINUTE, PromoteJwtKey("k2"), id="spread"),
        pytest.param(having(SPREAD), timedelta(0), PromoteJwtKey("k2"), id="nothing-could-break"),
        pytest.param(having(key("k1"), RETIRED), JWT_RETENTION - HOUR, None, id="kept"),
        pytest.param(
            having(key("k1"), RETIRED),
            JWT_RETENTION - HOUR + SECOND,
            DropJwtKey("k0", distrusted=False),
            id="spent",
        ),
        pytest.param(having(DAMAGED), 90 * DAY, None, id="damaged-is-left-alone"),
        pytest.param(
            having(replace(STAGED, has_key=False), key("k1")), 90 * DAY, None, id="damaged-staged"
        ),
    ],
)
def test_each_step_comes_at_its_time(have: Authorities, after: timedelta, step: object) -> None:
    """To the second."""
    assert next_jwt_step(have, WISH, NOBODY, 2, NOW + after) == step


@pytest.mark.parametrize("known", [0, 1])
def test_no_key_signs_before_its_bundle_is_published(known: int) -> None:
    """However long it takes, and though nothing else signs."""
    for have in (having(STAGED, key("k1")), having(STAGED)):
        assert next_jwt_step(have, WISH, NOBODY, known, NOW + 300 * DAY) is None


@pytest.mark.parametrize(
    ("have", "named", "step"),
    [
        pytest.param(having(key("k1")), "k1", "k1", id="signing"),
        pytest.param(having(SPREAD, key("k1")), "k2", "k2", id="staged"),
        pytest.param(having(key("k1"), RETIRED), "k0", "k0", id="retired"),
        pytest.param(having(DAMAGED), "k1", "k1", id="damaged"),
    ],
)
def test_a_distrusted_key_goes_at_once(have: Authorities, named: str, step: str) -> None:
    """Whatever its stage, and whatever is published."""
    distrust = frozenset({f"fp-{named}"})
    assert next_jwt_step(have, WISH, distrust, 0, NOW) == DropJwtKey(step, distrusted=True)


def test_the_successor_of_a_distrusted_key_signs_as_soon_as_it_is_published() -> None:
    """Nothing else signs, so there is nothing to wait for."""
    distrust = frozenset({"fp-k1"})
    keys = dropped((key("k1"),), DropJwtKey("k1", distrusted=True))
    assert next_jwt_step(having(*keys), WISH, distrust, 1, NOW) == StageJwtKey(
        "nothing signs JWT-SVIDs"
    )
    keys = (STAGED, *keys)
    assert next_jwt_step(having(*keys), WISH, distrust, 1, NOW) is None
    step = next_jwt_step(having(*keys), WISH, distrust, 2, NOW)
    assert step == JwtKeyPublished("k2")
    keys = published(keys, step, NOW)
    assert next_jwt_step(having(*keys), WISH, distrust, 2, NOW) == PromoteJwtKey("k2")


def test_a_staged_key_takes_over_at_once_from_one_that_is_distrusted() -> None:
    """If it is published already."""
    keys = dropped((SPREAD, key("k1")), DropJwtKey("k1", distrusted=True))
    assert next_jwt_step(having(*keys), WISH, NOBODY, 2, NOW) == PromoteJwtKey("k2")


def test_who_asks_gets_another_key() -> None:
    """Once: the one that signs since then is younger than the request."""
    asked = replace(WISH, rotate=NOW + HOUR)
    assert next_jwt_step(having(key("k1")), asked, NOBODY, 2, NOW + HOUR - SECOND) is None
    step = StageJwtKey("the key is to be rotated")
    assert next_jwt_step(having(key("k1")), asked, NOBODY, 2, NOW + HOUR) == step
    younger = key("k1", since=NOW + 2 * HOUR)
    assert next_jwt_step(having(younger), asked, NOBODY, 2, NOW + 3 * HOUR) is None


@pytest.mark.parametrize(
    ("propagation", "hint", "spread"),
    [
        pytest.param(15 * MINUTE, 5 * MINUTE, 15 * MINUTE, id="defaults"),
        pytest.param(HOUR, 5 * MINUTE, HOUR, id="slow-readers"),
        pytest.param(15 * MINUTE, HOUR, 3 * HOUR, id="rare-readers"),
    ],
)
def test_a_key_is_published_for_three_refresh_hints(
    propagation: timedelta, hint: timedelta, spread: timedelta
) -> None:
    """SPIFFE Federation §4.1: three to five, and what the slowest reader takes."""
    assert JwtWish(30 * DAY, propagation, hint).spread == spread


def test_what_is_waited_for_is_told() -> None:
    """In the words of the status."""
    assert jwt_waits_for(having(key("k1")), WISH) == ""
    assert jwt_waits_for(having(STAGED), WISH) == (
        "bundle 2, which holds the key k2, is being published"
    )
    assert jwt_waits_for(having(SPREAD, key("k1")), WISH) == (
        "the key k2 is published for 15m first, until 2026-11-01T12:15:00Z"
    )
    assert "restore jwt-k1.key from a backup, or name fp-k1" in jwt_waits_for(having(DAMAGED), WISH)
    assert jwt_due_time(having(key("k1")), WISH) == NOW + 30 * DAY
    assert jwt_due_time(having(STAGED), WISH) is None


def test_without_a_wish_keys_stay_as_they_are() -> None:
    """Whoever rotates authorities alone says nothing of keys."""
    wish = Wish(intermediate_lifetime=90 * DAY, propagation_time=15 * MINUTE)
    facts = Facts({}, None, frozenset(), 9)
    step = next_step(having(), wish, facts, NOW)
    assert not isinstance(step, StageJwtKey)
    assert isinstance(next_step(having(), replace(wish, jwt=WISH), facts, NOW), StageJwtKey)


def test_a_retired_key_forgets_its_private_half() -> None:
    """From the moment that it signs no more."""
    new, old = promoted((SPREAD, key("k1")), PromoteJwtKey("k2"), NOW + HOUR)
    assert (new.stage, new.since, new.has_key) == (Stage.SIGNING, NOW + HOUR, True)
    assert (old.stage, old.since, old.has_key) == (Stage.RETIRED, NOW + HOUR, False)


class World:
    """Keys, a publisher that lags, and readers that look when they like."""

    def __init__(self, wish: JwtWish) -> None:
        self.wish = wish
        self.now = NOW
        self.have = Authorities((), (), 1)
        self.history: list[tuple[datetime, frozenset[str]]] = []
        self.published = 0
        self.made = 0
        self.signed: list[tuple[str, datetime]] = []
        self.distrust: frozenset[str] = frozenset()

    def look(self) -> None:
        """Every step that can be taken."""
        for _ in range(8):
            step = next_jwt_step(self.have, self.wish, self.distrust, self.published, self.now)
            keys, sequence = self.have.jwt_keys, self.have.sequence
            match step:
                case None:
                    return
                case StageJwtKey():
                    self.made += 1
                    made = key(
                        f"k{self.made}", Stage.STAGED, since=self.now, bundle=sequence + 1,
                        published_at=None,
                    )  # fmt: skip
                    keys, sequence = (made, *keys), sequence + 1
                case JwtKeyPublished():
                    keys = published(keys, step, self.now)
                case PromoteJwtKey():
                    keys = promoted(keys, step, self.now)
                case DropJwtKey():
                    keys, sequence = dropped(keys, step), sequence + 1
            self.have = Authorities((), (), sequence, jwt_keys=keys)
        message = "it does not come to rest"
        raise AssertionError(message)

    def publish(self) -> None:
        """What is stored is in every place from now on."""
        self.published = self.have.sequence
        self.history.append((self.now, frozenset(each.kid for each in self.have.jwt_keys)))

    def sign(self) -> None:
        """A token of the longest lifetime."""
        signing = self.have.jwt_key_at(Stage.SIGNING)
        if signing is not None:
            self.signed.append((signing.kid, self.now))

    def read_at(self, moment: datetime) -> frozenset[str]:
        """What somebody got who read just then."""
        return next((kids for at, kids in reversed(self.history) if at <= moment), frozenset())

    def check(self, gone: set[str], hurried: set[str]) -> None:
        """Whoever reads the bundle at its hint knows the key of every token that lives."""
        at_work = [each for each in self.have.jwt_keys if each.stage is not Stage.RETIRED]
        assert len(at_work) <= 2
        assert gone.isdisjoint(each.kid for each in self.have.jwt_keys)
        for kid, signed_at in self.signed:
            if kid in gone | hurried:
                continue
            for late in (timedelta(0), MAX_LIFETIME / 2, MAX_LIFETIME - SECOND):
                moment = signed_at + late
                if moment > self.now:
                    continue
                for stale in (timedelta(0), 5 * MINUTE):
                    assert kid in self.read_at(moment - stale), (kid, signed_at, late, stale)


@settings(max_examples=60, deadline=None)
@given(
    pauses=st.lists(st.integers(1, 3 * 3600), min_size=5, max_size=120),
    publishes=st.lists(st.booleans(), min_size=120, max_size=120),
    distrusts=st.sets(st.integers(0, 119), max_size=2),
    period=st.integers(1, 48),
)
def test_every_token_is_verified_for_as_long_as_it_lives(
    pauses: list[int], publishes: list[bool], distrusts: set[int], period: int
) -> None:
    """Whatever the publisher lags behind, and however late a reader of the bundle reads.

    A reader has the bundle of up to one refresh hint ago. Only tokens of a distrusted key, and
    those signed right after one, when there was no key that everybody knew, may meet a reader that
    does not know them.
    """
    world = World(JwtWish(period * HOUR, 15 * MINUTE, 5 * MINUTE))
    gone: set[str] = set()
    hurried: set[str] = set()
    for at, (pause, publishing) in enumerate(zip(pauses, publishes, strict=False)):
        signing = world.have.jwt_key_at(Stage.SIGNING)
        if at in distrusts and signing is not None:
            world.distrust |= {signing.fingerprint}
            gone.add(signing.kid)
        before = world.have.jwt_key_at(Stage.SIGNING)
        world.look()
        if publishing:
            world.publish()
            world.look()
        after = world.have.jwt_key_at(Stage.SIGNING)
        if after is not None and (before is None or before.kid in gone):
            hurried.add(after.kid)
        world.sign()
        world.now += timedelta(seconds=pause)
    world.check(gone, hurried)
