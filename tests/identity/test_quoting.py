"""Quoted text in messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentid.identity.quoting import quoted


@given(st.text(max_size=1000))
def test_quoted_text_is_short_and_harmless(text: str) -> None:
    """Whatever the text, its quotation is one printable line of bounded length."""
    shown = quoted(text)
    assert shown.isprintable()
    assert shown.replace("…", "").isascii()
    assert len(shown) < 64 * 10 + 40


def test_long_text_says_how_long_it_is() -> None:
    """A cut quotation gives the length, so that the reader knows that it was cut."""
    assert quoted("a" * 65) == '"' + "a" * 64 + '"… (65 characters)'


def test_what_is_no_text_is_named_by_its_type() -> None:
    """Its value is not shown: it could be anything."""
    assert quoted(b"secret") == "a value of type bytes"
