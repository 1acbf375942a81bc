"""Courses and weather: the same for the same seed, and all of it is tried."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from e2e.chaos.course import course
from e2e.chaos.dice import dice
from e2e.chaos.protobuf import encode, fields, text, texts
from e2e.chaos.weather import CALM, WEATHERS, Fate, Weather, fortune


def test_a_seed_makes_one_course() -> None:
    """A failing seed can be had again; another one is another course."""
    assert course(7, 60) == course(7, 60)
    assert course(7, 60).faults != course(8, 60).faults
    assert course(7, 60).load != course(8, 60).load


def test_a_shorter_course_is_the_beginning_of_a_longer_one() -> None:
    """A failure can be looked for with fewer events."""
    short, long = course(7, 20), course(7, 60)
    assert short.load == tuple(each for each in long.load if each.at < 20)
    assert short.faults == tuple(each for each in long.faults if each.at < 20)


def test_a_hundred_courses_leave_nothing_out() -> None:
    """Every kind of fault, deed, weather and tampering comes up."""
    courses = [course(seed, 60) for seed in range(100)]
    faults = Counter(step.what for one in courses for step in one.faults)
    assert set(faults) == {"weather", "kill", "freeze", "lease", "clock", "outage", "ca"}
    assert {s.how for one in courses for s in one.faults if s.what == "weather"} == set(WEATHERS)
    assert {step.what for one in courses for step in one.load} >= {
        "create", "delete", "permit", "suspend", "resume", "renew", "reclass", "revoke",
    }  # fmt: skip
    assert {one.tampering for one in courses} == {"", "delete", "alter"}


def test_who_asks_first_changes_nothing() -> None:
    """Each question has its own source of chance."""
    assert dice(1, "a", 2).random() == dice(1, "a", 2).random()
    assert dice(1, "a", 2).random() != dice(1, "b", 2).random()


@pytest.mark.parametrize("weather", WEATHERS.values(), ids=WEATHERS)
def test_chances_add_up(weather: Weather) -> None:
    """Each fate of a weather comes about, as often as it says; the rest passes."""
    chance = random.Random(1)
    drawn = Counter(fortune(weather, "PUT", chance).fate for _ in range(20_000))
    for fate, likely in weather.chances:
        assert drawn[fate] / 20_000 == pytest.approx(likely, abs=0.02)
    assert sum(likely for _, likely in weather.chances) <= 1


def test_only_what_can_be_so_is_said() -> None:
    """A creation meets no conflict, and a read is neither late nor doubled."""
    chance, foul = random.Random(1), WEATHERS["foul"]
    made = [fortune(foul, "POST", chance) for _ in range(5000)]
    assert 409 not in {each.code for each in made}
    read = {fortune(foul, "GET", chance).fate for _ in range(5000)}
    assert not read & {Fate.LATE, Fate.TWICE}
    assert {fortune(CALM, "PUT", chance).fate for _ in range(100)} == {Fate.PASS}


def test_messages_are_taken_apart_as_they_were_put_together() -> None:
    """Numbers and bytes of any size come back; a message that ends early is none."""
    entry = encode({1: b"name", 2: b"x" * 300})
    message = encode({1: 300, 2: entry})
    assert fields(message)[1] == [300]
    assert text(fields(message), 2) == entry
    assert texts(fields(message), 2) == {"name": b"x" * 300}
    with pytest.raises(ValueError, match="in the middle"):
        fields(b"\x08")
