"""Who is in a set of peers, and who is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.workload import NOBODY, Peers, TrustDomain, any_of, exactly, matching

TD = "spiffe://example.org"
READER = f"{TD}/ns/finance/agent/reader"
POD = f"{READER}/pod/6b2f"


@pytest.mark.parametrize(
    ("peers", "peer", "is_in"),
    [
        pytest.param(NOBODY, READER, False, id="nobody"),
        pytest.param(Peers(), READER, False, id="nothing-said"),
        pytest.param(any_of(), READER, False, id="any-of-none"),
        pytest.param(exactly(), READER, False, id="exactly-none"),
        pytest.param(matching(), READER, False, id="matching-none"),
        pytest.param(any_of("example.org"), READER, True, id="domain"),
        pytest.param(any_of(TrustDomain("example.org")), READER, True, id="parsed-domain"),
        pytest.param(any_of("EXAMPLE.org"), READER, True, id="domain-in-capitals"),
        pytest.param(any_of("example.org"), "spiffe://a.example.org/x", False, id="subdomain"),
        pytest.param(any_of("example.org"), "spiffe://example.org.evil/x", False, id="longer"),
        pytest.param(exactly(READER), READER, True, id="same"),
        pytest.param(exactly(SpiffeId.parse(READER)), READER, True, id="parsed"),
        pytest.param(exactly(READER), POD, False, id="exactly-is-not-its-pods"),
        pytest.param(exactly(POD), POD, True, id="one-pod"),
        pytest.param(exactly(READER), f"{TD}/ns/finance/agent/Reader", False, id="path-exactly"),
        pytest.param(exactly(READER), f"{READER}s", False, id="prefix"),
        pytest.param(matching(READER), READER, True, id="pattern-without-star"),
        pytest.param(matching(READER), POD, True, id="pattern-fits-its-pods"),
        pytest.param(matching(f"{READER}/pod/*"), POD, True, id="pods-alone"),
        pytest.param(matching(f"{READER}/pod/*"), READER, False, id="pods-alone-not-shared"),
        pytest.param(matching(f"{READER}/pod/6b2f"), POD, True, id="pod-by-pattern"),
        pytest.param(matching(f"{READER}/pod/6b2e"), POD, False, id="another-pod"),
        pytest.param(matching(f"{TD}/ns/finance/agent/*"), READER, True, id="star"),
        pytest.param(matching(f"{TD}/ns/finance/agent/*"), POD, True, id="star-and-pod"),
        pytest.param(matching(f"{TD}/ns/*/agent/reader"), READER, True, id="any-namespace"),
        pytest.param(matching(f"{TD}/ns/*/agent/*"), f"{TD}/ns/a/b/agent/c", False, id="one-level"),
        pytest.param(matching(f"{TD}/ns/*"), READER, False, id="star-is-one-segment"),
        pytest.param(matching(f"{TD}/*"), f"{TD}/x", True, id="short-path"),
        pytest.param(matching(f"{TD}/*/*/*/*"), f"{TD}/a/b/c/d", True, id="all-stars"),
        pytest.param(matching(f"{TD}/x/y"), f"{TD}/x/y/pod/1", False, id="pod-of-no-agent"),
        pytest.param(matching(f"{TD}/ns/finance/agent/re*er"), READER, True, id="inside"),
        pytest.param(matching(f"{TD}/ns/finance/agent/reader*"), READER, True, id="star-is-none"),
        pytest.param(matching(f"{TD}/ns/finance/agent/read*der"), READER, False, id="overlap"),
        pytest.param(matching(f"{TD}/ns/finance/agent/*x"), READER, False, id="other-end"),
        pytest.param(matching(f"{TD}/ns/finance/agent/x*"), READER, False, id="other-start"),
        pytest.param(matching("spiffe://other.org/ns/*/agent/*"), READER, False, id="other-domain"),
        pytest.param(exactly(f"{TD}/x") | exactly(READER), READER, True, id="union"),
        pytest.param(any_of("other.org") | matching(f"{TD}/x"), READER, False, id="union-neither"),
        pytest.param(NOBODY | exactly(READER), READER, True, id="union-with-nobody"),
    ],
)
def test_who_is_in_the_set(peers: Peers, peer: str, *, is_in: bool) -> None:
    """A set holds what it says, and a pattern of an agent holds its pods."""
    assert (SpiffeId.parse(peer) in peers) is is_in


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "does not begin with spiffe://", id="empty"),
        pytest.param("*", "does not begin with spiffe://", id="star-alone"),
        pytest.param("example.org/ns/*", "does not begin with spiffe://", id="no-scheme"),
        pytest.param("spiffe://*/ns/finance", "holds characters other than", id="any-domain"),
        pytest.param("spiffe://*.org/ns/finance", "holds characters other than", id="subdomains"),
        pytest.param("spiffe://example.org", r"has no path; .*any_of\('example.org'\)", id="bare"),
        pytest.param("spiffe://example.org/", "is malformed", id="empty-segment"),
        pytest.param("spiffe://example.org/a//b", "is malformed", id="empty-between"),
        pytest.param("spiffe://example.org/a/../b", "is malformed", id="up"),
        pytest.param("spiffe://example.org/a/%2e", "is malformed", id="escaped"),
        pytest.param("spiffe://example.org/[ab]", "is malformed", id="set-of-letters"),
        pytest.param("spiffe://example.org/a?", "is malformed", id="question-mark"),
        pytest.param("spiffe://example.org/a/**", "one '\\*' is allowed", id="two-stars"),
        pytest.param("spiffe://example.org/a*b*c", "one '\\*' is allowed", id="two-stars-apart"),
    ],
)
def test_a_pattern_that_is_none_is_refused(text: str, message: str) -> None:
    """With the pattern and what is wrong with it."""
    with pytest.raises(InputError, match=f"^pattern .*{message}"):
        matching(text)


def test_a_set_says_what_is_in_it() -> None:
    """For a line of a log."""
    peers = matching(f"{TD}/ns/*/agent/x") | exactly(READER) | any_of("other.org")
    assert str(peers) == f"{TD}/ns/*/agent/x, {READER}, spiffe://other.org"
    assert str(NOBODY) == "nobody"


@pytest.mark.parametrize("make", [any_of, exactly, matching])
def test_what_is_no_text_is_refused(make: object) -> None:
    """Callers may be untyped."""
    assert callable(make)
    with pytest.raises(InputError, match=r"NoneType|does not begin"):
        make(None)


_SEGMENT = st.from_regex(r"\A[a-z0-9][a-zA-Z0-9._-]{0,8}\Z")
_PATH = st.lists(_SEGMENT, min_size=1, max_size=6)


@given(_PATH, st.data())
def test_a_pattern_made_of_an_id_fits_it(path: list[str], data: st.DataObject) -> None:
    """Whatever part of a segment a star takes the place of; and no ID with a segment more."""
    at = data.draw(st.integers(0, len(path) - 1))
    segment = path[at]
    start = data.draw(st.integers(0, len(segment)))
    end = data.draw(st.integers(start, len(segment)))
    pattern = [*path[:at], f"{segment[:start]}*{segment[end:]}", *path[at + 1 :]]
    peers = matching(f"{TD}/{'/'.join(pattern)}")
    assert SpiffeId.parse(f"{TD}/{'/'.join(path)}") in peers
    assert SpiffeId.parse(f"{TD}/{'/'.join([*path, 'more'])}") not in peers
    assert SpiffeId.parse(f"spiffe://other.org/{'/'.join(path)}") not in peers
