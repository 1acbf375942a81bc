"""One broken rule, told so that its reader can mend it: field, found, allowed, remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Violation", "listed", "shown", "summarize"]

MAX_FOUND = 80
"""Characters of user input that a message repeats: enough to recognise the value."""

MAX_SUMMARY = 8192
"""Characters of a joined message. metav1.Condition allows 32768; an eighth of etcd's default
request limit per status would let one bad spec crowd out its neighbours in every list."""


def _printable(text: str) -> str:
    """Spell out every character that a terminal or a browser would act upon instead of showing."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def shown(value: object) -> str:
    """Show a value as a message should: strings quoted, the rest plainly, never a Python repr."""
    match value:
        case str():
            # Cut before quoting, so that the closing quote survives.
            return f'"{_shortened(_printable(value[:MAX_FOUND]), MAX_FOUND - 2)}"'
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case _:
            return _shortened(_printable(str(value)), MAX_FOUND)


def listed(names: Iterable[str], *, nothing: str = "none", limit: int = 5) -> str:
    """Name the first few of what is allowed, and count the rest."""
    every = tuple(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return (", ".join(every[:limit]) or nothing) + more


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    Attributes:
        field: Where, as a path from the root of the object: `spec.permissions.systems[3]`.
        found: What stands there; empty if nothing does. Control characters are escaped and long
            text is shortened here, so no caller can forget to.
        allowed: The limit as a predicate that continues `found`: "is above the 24h ceiling".
        remedy: The next step, as an imperative: "lower it or ask the class owner".
    """

    field: str
    found: str
    allowed: str
    remedy: str

    def __post_init__(self) -> None:
        """Make `field` and `found` fit to be shown."""
        object.__setattr__(self, "field", _printable(self.field))
        object.__setattr__(self, "found", _shortened(_printable(self.found), MAX_FOUND))

    @property
    def sentence(self) -> str:
        """The whole message, such as is shown in a condition."""
        subject = f"{self.found} " if self.found else ""
        return f"{self.field}: {subject}{self.allowed}; {self.remedy}"


def summarize(sentences: Iterable[str], *, limit: int = MAX_SUMMARY) -> str:
    """Join sentences into one message of at most `limit` characters.

    Args:
        sentences: Complete messages, most important first.
        limit: The most characters of the result; at least 64.

    Returns:
        All of them parted by "; ", or as many whole ones as fit and how many were left out.
    """
    every = tuple(sentences)
    whole = "; ".join(every)
    if len(whole) <= limit:
        return whole
    room = limit - len(f"; and {len(every)} more")
    kept: list[str] = []
    used = 0
    for sentence in every:
        used += len(sentence) + 2
        if used > room:
            break
        kept.append(sentence)
    if not kept:
        return _shortened(every[0], limit)
    return f"{'; '.join(kept)}; and {len(every) - len(kept)} more"
