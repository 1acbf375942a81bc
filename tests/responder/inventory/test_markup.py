"""HTML that holds what was meant, and nothing else."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.responder.inventory.markup import Html, join, tag


class Reader(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


@given(st.text(), st.text())
def test_text_stays_text(content: str, value: str) -> None:
    """Whatever it is: one element with one attribute, and the same letters to be read."""
    made = Reader(tag("td", content, title=value))
    assert [name for name, _ in made.tags] == ["td"]
    assert set(made.tags[0][1]) == {"title"}
    kept = [c for c in content if c.isprintable() and c not in "\u200e\u200f"]
    assert [c for c in made.text if c.isprintable() and c not in "\u200e\u200f\ufffd"] == [
        c for c in kept if c != "\ufffd"
    ]


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\x00", "\x1b", "\ud800", "\u2028"])
def test_what_cannot_be_seen_is_shown(mark: str) -> None:
    """A control or a mark of direction cannot make one name look like another."""
    assert tag("b", f"a{mark}b") == "<b>a\ufffdb</b>"


def test_elements_nest() -> None:
    """What was made here is not escaped again; nothing and lists are taken as they are meant."""
    items = (tag("li", str(number)) for number in (1, 2))
    assert tag("ul", items, None, class_="a b") == '<ul class="a b"><li>1</li><li>2</li></ul>'
    assert join(Html("<!doctype html>"), "<") == "<!doctype html>&lt;"


def test_attributes_are_spelled_as_in_html() -> None:
    """True stands alone, False and None are left out, elements without content have no end."""
    made = tag("input", required=True, disabled=False, value=None, aria_label="x", for_="y")
    assert made == '<input required aria-label="x" for="y">'
    assert tag("rect", width="1") == '<rect width="1"/>'
