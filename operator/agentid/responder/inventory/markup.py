"""HTML that cannot hold what was not meant: text is escaped unless it was made here.

tag("a", "Reader & co", href="/agents/demo/reader")
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Html", "Part", "join", "tag"]

_VOID: Final = frozenset({"br", "circle", "input", "link", "meta", "rect"})
"""Elements of ours that have no content and no end tag; of SVG's the end is in the tag itself."""

_SVG: Final = frozenset({"circle", "rect"})

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)
"""Controls, lone surrogates and marks of direction: a name could look like another by them."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Part: TypeAlias = "str | Iterable[Part] | None"
"""What an element may hold: text, which is escaped, `Html`, several of these, or nothing."""


def tag(name: str, /, *parts: Part, **attributes: str | int | bool | None) -> Html:
    """Make an element.

    Args:
        name: Of the element.
        parts: What it holds.
        attributes: Their names with `_` for `-`, and one at the end where Python has the word for
            itself (`class_`). True is an attribute without a value; None and False are none.
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{told}{'/' if name in _SVG else ''}>")
    return Html(f"<{name}{told}>{join(*parts)}</{name}>")


def join(*parts: Part) -> Html:
    """Put parts side by side."""
    return Html("".join(_pieces(parts)))


def _pieces(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Html):
            yield part
        elif isinstance(part, str):
            yield _text(part)
        elif part is not None:
            yield from _pieces(part)


def _text(value: str | int) -> str:
    return html.escape(_UNSEEN.sub("\ufffd", str(value)), quote=True)
