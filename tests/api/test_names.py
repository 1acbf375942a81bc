"""Syntaxes mean the same in Python and in RE2, and the same as the values they name."""

from __future__ import annotations

import re
import zoneinfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agentid.api import names
from agentid.api.agentissuer import AgentIssuerSpec
from agentid.api.fields import Text, re2
from agentid.errors import InputError
from agentid.identity import TrustDomain

SYNTAXES = {
    name: next(each for each in getattr(names, name).__metadata__ if isinstance(each, Text))
    for name in names.__all__
    if any(isinstance(each, Text) for each in getattr(getattr(names, name), "__metadata__", ()))
}
PURPOSE: TypeAdapter[str] = TypeAdapter(names.Purpose)
TRUST_DOMAIN = next(
    each for each in AgentIssuerSpec.model_fields["trust_domain"].metadata if isinstance(each, Text)
)


@pytest.mark.parametrize("text", [*SYNTAXES.values(), TRUST_DOMAIN], ids=[*SYNTAXES, "TrustDomain"])
def test_pattern_is_portable(text: Text) -> None:
    r"""No look-around, back-reference, \d, \w, \s or anchor, which differ from engine to engine."""
    outside_classes = re.sub(r"\[[^]]+]", "[]", text.pattern)
    assert not re.search(r"\(\?|[$^]", outside_classes)
    assert not re.search(r"\\[a-tv-zA-Z1-9]", text.pattern)


def test_re2_spelling_of_ranges() -> None:
    """Code points are spelled as RE2 reads them, and the whole is anchored."""
    assert re2("[\\u0000-\\u001f]+") == "^(?:[\\x{0000}-\\x{001f}]+)$"


@given(st.text(max_size=40))
def test_accepted_names_hold_no_control_and_no_foreign_characters(text: str) -> None:
    """Nothing but visible ASCII passes any syntax except that of a purpose."""
    for name, syntax in SYNTAXES.items():
        try:
            syntax.validate(text)
        except ValueError:
            continue
        if name != "Purpose":
            assert text.isascii()
            assert text.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Liest Rechnungen für die Finanz", id="german"),
        pytest.param("請求書を読む", id="japanese"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0646\u062f", id="persian-with-joiner"),
        pytest.param("reads 📬", id="emoji"),
    ],
)
def test_purpose_may_be_in_any_language(text: str) -> None:
    """Letters of every script are fine, and so are the joiners that some of them need."""
    assert PURPOSE.validate_python(text) == text


ACTING_OR_HIDDEN = [*range(0x20), *range(0x7F, 0xA0), 0x200B, 0x2028, 0x202E, 0x2066, 0xFEFF]


@pytest.mark.parametrize("code", ACTING_OR_HIDDEN)
def test_purpose_holds_nothing_that_acts_or_hides(code: int) -> None:
    """Control, direction and invisible characters are refused one by one."""
    with pytest.raises(ValidationError, match="holds control characters"):
        PURPOSE.validate_python(f"reads{chr(code)}mail")


host_names = (
    st.from_regex(r"[a-z0-9_.-]{0,70}", fullmatch=True)
    | st.from_regex(r"([a-z]\.)?(0x)?[0-9a-fx_-]{0,4}", fullmatch=True)
    | st.text(max_size=20)
)


@given(host_names)
@example("0x")
@example("a.0xff")
@example("10.0.0.1")
@example(f"{'l' * 64}.org")
@example("a-.org")
def test_trust_domain_is_what_the_value_type_accepts(text: str) -> None:
    """The field, and its syntax alone, accept exactly the lower-case host names of TrustDomain."""
    try:
        expected = TrustDomain.parse(text).require_host_name() == text
    except InputError:
        expected = False
    try:
        accepted = TRUST_DOMAIN.validate(text) == text
    except ValueError:
        accepted = False
    assert accepted == expected
    assert (0 < len(text) <= TRUST_DOMAIN.max_length and TRUST_DOMAIN.matches(text)) == expected


def test_every_zone_of_the_database_loads() -> None:
    """All zones that agentid ships can be used."""
    shipped = sorted(names._zone_names())
    assert {"Europe/Berlin", "UTC", "America/New_York", "Asia/Kolkata"} <= set(shipped)
    for name in shipped:
        assert isinstance(names.load_zone(name), zoneinfo.ZoneInfo)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "localtime",
        "posixrules",
        "Europe/berlin",
        "../UTC",
        "/etc/localtime",
        "UTC\x00",
        "UTC\n",
    ],
)
def test_names_that_are_no_zone(name: str) -> None:
    """No path, no alias of one machine, no other case."""
    with pytest.raises(InputError, match="is not a time zone of the IANA database"):
        names.load_zone(name)
