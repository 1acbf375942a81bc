"""How a broken rule is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api.violation import MAX_FOUND, Violation, listed, shown, summarize


def test_sentence_reads_as_the_style_guide_asks() -> None:
    """Field, what was found, what is allowed and the next step make one sentence."""
    violation = Violation(
        "spec.lifetime",
        "48h",
        "is above the 24h ceiling of AgentClass batch",
        "lower it or ask the class owner",
    )
    assert violation.sentence == (
        "spec.lifetime: 48h is above the 24h ceiling of AgentClass batch; "
        "lower it or ask the class owner"
    )


def test_sentence_without_anything_found_has_no_gap() -> None:
    """A missing field leaves no double space."""
    assert Violation("spec.x", "", "is required", "add it").sentence == (
        "spec.x: is required; add it"
    )


@given(st.text(max_size=300))
def test_whatever_was_found_is_short_and_printable(found: str) -> None:
    """No control character, no direction mark and no endless text reaches a message."""
    violation = Violation("spec.x", found, "is wrong", "mend it")
    assert violation.sentence.isprintable()
    assert len(violation.found) <= MAX_FOUND
    assert shown(found).isprintable()
    assert len(shown(found)) <= MAX_FOUND


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a\x1b[31mb", '"a\\x1b[31mb"', id="terminal-escape"),
        pytest.param("a\u202eb", '"a\\u202eb"', id="right-to-left-override"),
        pytest.param("Müller", '"Müller"', id="letters-stay"),
        pytest.param(None, "null", id="null"),
        pytest.param(True, "true", id="bool"),
        pytest.param([1, 2], "a list of 2", id="list"),
        pytest.param({"a": 1}, "an object", id="object"),
        pytest.param(7, "7", id="number"),
    ],
)
def test_shows_values_as_yaml_spells_them(value: object, text: str) -> None:
    """A message never holds a Python repr."""
    assert shown(value) == text


def test_lists_a_few_and_counts_the_rest() -> None:
    """A long list of what is allowed does not fill the message."""
    assert listed(f"s{number}" for number in range(7)) == "s0, s1, s2, s3, s4 and 2 more"
    assert listed([]) == "none"


def test_summary_holds_everything_that_fits() -> None:
    """Short lists are given whole."""
    assert summarize(["one", "two"]) == "one; two"


def test_summary_counts_what_it_leaves_out() -> None:
    """A summary that is cut ends at a whole sentence and says how many more there are."""
    summary = summarize([f"sentence number {number:03}" for number in range(100)], limit=100)
    assert summary.endswith("; and 96 more")
    assert len(summary) <= 100


@given(st.lists(st.text(min_size=1, max_size=200), min_size=1), st.integers(64, 500))
def test_summary_keeps_its_limit(sentences: list[str], limit: int) -> None:
    """No summary is longer than asked."""
    assert len(summarize(sentences, limit=limit)) <= limit
