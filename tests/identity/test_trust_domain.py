"""Trust domain names, SPIFFE-ID §2.1."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import TrustDomain

ALLOWED = string.ascii_lowercase + string.digits + "._-"


@given(st.text(ALLOWED, min_size=1, max_size=255))
def test_every_name_of_the_allowed_characters_round_trips(name: str) -> None:
    """Whatever SPIFFE allows is accepted and comes out as it went in."""
    assert str(TrustDomain.parse(name)) == name


@given(st.text(max_size=300))
def test_other_text_is_refused_with_input_error_alone(text: str) -> None:
    """No text makes the parser raise anything but InputError, nor let a bad name through."""
    try:
        parsed = TrustDomain.parse(text)
    except InputError:
        return
    assert set(parsed.name) <= set(ALLOWED)
    assert 1 <= len(parsed.name) <= 255


@pytest.mark.parametrize("character", [chr(code) for code in range(256)])
def test_each_byte_is_allowed_or_refused_as_the_standard_says(character: str) -> None:
    """The whole domain of single characters: a-z, 0-9, '.', '-', '_', and A-Z which is lowered."""
    if character in ALLOWED + string.ascii_uppercase:
        assert TrustDomain.parse(f"a{character}").name == f"a{character}".lower()
    else:
        with pytest.raises(InputError, match="holds characters other than"):
            TrustDomain.parse(f"a{character}")


def test_names_compare_case_insensitively() -> None:
    """Two spellings of one trust domain are equal and hash alike."""
    assert TrustDomain.parse("Agents.Example.ORG") == TrustDomain.parse("agents.example.org")
    assert len({TrustDomain.parse("A"), TrustDomain.parse("a")}) == 1


def test_the_kelvin_sign_is_not_lowered_to_a_k() -> None:
    """Lowering touches ASCII only, so no look-alike becomes a letter."""
    with pytest.raises(InputError, match=r"\\u212a"):
        TrustDomain.parse("\N{KELVIN SIGN}elvin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", 'found "", but a name is required', id="empty"),
        pytest.param("a" * 256, "longer than the 255 characters", id="too-long"),
        pytest.param("spiffe://a", "bare name, without scheme", id="scheme"),
        pytest.param("a:8443", "bare name, without scheme, port", id="port"),
        pytest.param("user@a", "holds characters other than", id="userinfo"),
        pytest.param("a/b", "holds characters other than", id="path"),
        pytest.param("a\n", r'"a\\n" holds characters', id="newline"),
        pytest.param("\x1b[2Ja", r"\\x1b\[2ja", id="terminal-escape"),
        pytest.param("\N{CYRILLIC SMALL LETTER A}gents", r"\\u0430gents", id="cyrillic-look-alike"),
    ],
)
def test_refusals_say_what_was_found_and_what_is_allowed(text: str, message: str) -> None:
    """Each refusal quotes the text, harmlessly, and names the rule."""
    with pytest.raises(InputError, match=message):
        TrustDomain.parse(text)


def test_the_constructor_checks_as_well() -> None:
    """A trust domain that holds a bad name cannot be made by going round the parser."""
    with pytest.raises(InputError, match="holds characters other than"):
        TrustDomain("Upper")


@pytest.mark.parametrize("text", [None, 7, b"example.org"])
def test_what_is_no_text_is_refused_by_its_type(text: object) -> None:
    """A value of another type, as JSON may hold one, is a refusal and no TypeError."""
    with pytest.raises(InputError, match=f"a value of type {type(text).__name__}"):
        TrustDomain.parse(text)


def test_the_id_of_a_trust_domain_has_no_path() -> None:
    """`id_string` is the SPIFFE ID of the trust domain."""
    assert TrustDomain.parse("example.org").id_string == "spiffe://example.org"


@pytest.mark.parametrize("name", ["example.org", "a", "a-b.c_d", "_x.y", "1a", "1.a", "0x1g"])
def test_host_names_can_be_constrained(name: str) -> None:
    """What is a host name may stand in a name constraint."""
    assert TrustDomain.parse(name).require_host_name() == name


@pytest.mark.parametrize(
    "name",
    [".a", "a.", "a..b", "-a", "a-", "1.2.3.4", "127.1", "5", "a.5", ".", "..", "a" * 64, "a.0x10"],
)
def test_what_a_verifier_would_misread_cannot_be_constrained(name: str) -> None:
    """SPIFFE allows it; as the host of a constraint it would mean something else or nothing."""
    with pytest.raises(InputError, match="cannot be the host of a name constraint"):
        TrustDomain.parse(name).require_host_name()
