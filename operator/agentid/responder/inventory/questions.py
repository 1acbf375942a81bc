"""What is asked of the page: the query of a URL, read once into a frozen value.

A question can be asked again with something else in it (`changed`), which is how links for sorting
and paging are made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

from agentid.api.vocabulary import Tier
from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.responder.inventory.agents import AgentState, Expiry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NO_TIER", "Question", "Sort", "read_query"]

_E = TypeVar("_E", bound=StrEnum)

_MAX_FIELDS: Final = 16
_MAX_SEARCH: Final = 256
"""Characters of a search; a SPIFFE ID of ours fits in."""

SIZES: Final = (50, 1000)
"""Rows on a page: by default, and at most. A thousand rows are half a megabyte of HTML."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
"""A namespace. Nothing else gets into a SubjectAccessReview, where an empty one means all."""

NO_TIER: Final = "none"
"""In place of a tier, for agents that were not classified yet."""


class Sort(StrEnum):
    """What rows are sorted by."""

    NAME = "name"
    CLASS = "class"
    TIER = "tier"
    STATE = "state"
    SPONSOR = "sponsor"
    EXPIRES = "expires"
    REVOKED = "revoked"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Question:
    """Which rows, and in what order.

    Attributes:
        q: Words that all have to be in a row.
        namespace: The one that is looked at; empty for all.
        class_name: Of the AgentClass; empty for any.
        tier: A tier, `NO_TIER`, or empty for any.
        state: Empty for any.
        expires: Empty for any.
        sort: What to sort by; empty for the default of the page.
        descending: The other way round.
        page: From 1.
        size: Rows on a page.
    """

    q: str = ""
    namespace: str = ""
    class_name: str = ""
    tier: str = ""
    state: AgentState | None = None
    expires: Expiry | None = None
    sort: Sort | None = None
    descending: bool = False
    page: int = 1
    size: int = SIZES[0]

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Question:
        """Read the parameters of a query.

        Raises:
            InputError: One has a value that it cannot have.
        """
        namespace, q = params.get("namespace", ""), params.get("q", "").strip()
        if namespace and not _LABEL.fullmatch(namespace):
            msg = (
                f"namespace {quoted(namespace)} is no name of a namespace: lower-case letters, "
                "digits and hyphens, at most 63; correct it"
            )
            raise InputError(msg)
        if len(q) > _MAX_SEARCH:
            msg = f"q has {len(q)} characters; search for at most {_MAX_SEARCH}"
            raise InputError(msg)
        tier = params.get("tier", "")
        _check("tier", tier, ("", *Tier, NO_TIER))
        order = params.get("order", "asc")
        _check("order", order, ("asc", "desc"))
        return cls(
            q=q,
            namespace=namespace,
            class_name=params.get("class", ""),
            tier=tier,
            state=_member("state", params.get("state", ""), AgentState),
            expires=_member("expires", params.get("expires", ""), Expiry),
            sort=_member("sort", params.get("sort", ""), Sort),
            descending=order == "desc",
            page=_number("page", params.get("page", "1"), 1_000_000),
            size=_number("size", params.get("size", str(SIZES[0])), SIZES[1]),
        )

    @property
    def words(self) -> tuple[str, ...]:
        """What is searched for, in lower case."""
        return tuple(self.q.lower().split())

    @property
    def is_narrow(self) -> bool:
        """Whether something other than the namespace leaves rows out."""
        return bool(self.q or self.class_name or self.tier or self.state or self.expires)

    def changed(self, **changes: object) -> Question:
        """The same with something else, on its first page unless that is what changes."""
        return replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]

    @property
    def query(self) -> str:
        """As the query of a URL, without what has its default; empty if all of it has."""
        defaults, told = Question(), {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != getattr(defaults, each.name):
                told[_NAMES.get(each.name, each.name)] = "desc" if value is True else str(value)
        return urlencode(told)


_NAMES: Final = {"class_name": "class", "descending": "order"}


def read_query(text: str) -> dict[str, str]:
    """The parameters of a query; the first counts where one comes twice.

    Raises:
        InputError: It is malformed or has too many.
    """
    try:
        pairs = parse_qsl(text, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        msg = f"the query of the URL cannot be read ({error}); begin anew from the overview"
        raise InputError(msg) from error
    return dict(reversed(pairs))


def _member(name: str, text: str, kind: type[_E]) -> _E | None:
    _check(name, text, ("", *kind))
    return kind(text) if text else None


def _number(name: str, text: str, most: int) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)):
        number = int(text)
        if 1 <= number <= most:
            return number
    msg = f"{name} {quoted(text)} is not a number from 1 to {most}; correct it"
    raise InputError(msg)


def _check(name: str, text: str, allowed: Sequence[str]) -> None:
    if text not in allowed:
        told = ", ".join(each for each in allowed if each)
        msg = f"{name} {quoted(text)} is none of {told}; choose one of them"
        raise InputError(msg)
