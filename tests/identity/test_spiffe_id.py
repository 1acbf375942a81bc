"""SPIFFE IDs, SPIFFE-ID §2."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import MAX_SPIFFE_ID_BYTES, AgentPath, SpiffeId, TrustDomain

if TYPE_CHECKING:
    from uuid import UUID

TD = TrustDomain.parse("example.org")
SEGMENT_CHARACTERS = string.ascii_letters + string.digits + "._-"

segments = st.text(SEGMENT_CHARACTERS, min_size=1, max_size=40).filter(
    lambda segment: segment not in {".", ".."}
)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(st.lists(segments, max_size=8))
def test_every_valid_id_round_trips(path: list[str]) -> None:
    """Text to value to text changes nothing."""
    text = "/".join(["spiffe://example.org", *path])
    parsed = SpiffeId.parse(text)
    assert str(parsed) == text
    assert SpiffeId.parse(str(parsed)) == parsed


@given(st.text(max_size=60).map(lambda tail: f"spiffe://example.org{tail}") | st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_input_error(text: str) -> None:
    """Nothing but InputError leaves the parser, and what passes has only allowed characters."""
    try:
        parsed = SpiffeId.parse(text)
    except InputError:
        return
    assert set(parsed.path) <= set(SEGMENT_CHARACTERS + "/")


@given(labels, labels, st.none() | st.uuids())
def test_the_path_of_an_agent_reads_back(namespace: str, name: str, uid: UUID | None) -> None:
    """What `for_agent` writes, `agent` reads."""
    pod_uid = None if uid is None else str(uid)
    made = SpiffeId.for_agent(TD, namespace, name, pod_uid=pod_uid)
    assert SpiffeId.parse(str(made)).agent == AgentPath(namespace, name, pod_uid)


@given(labels, labels, labels, labels)
def test_two_agents_never_share_an_id(ns1: str, name1: str, ns2: str, name2: str) -> None:
    """The mapping from namespace and name to the ID is one to one."""
    same = SpiffeId.for_agent(TD, ns1, name1) == SpiffeId.for_agent(TD, ns2, name2)
    assert same == ((ns1, name1) == (ns2, name2))


def test_an_agent_and_its_pods_have_ids_of_their_own() -> None:
    """The documented shapes, in full."""
    assert str(SpiffeId.for_agent(TD, "finance", "reader")) == (
        "spiffe://example.org/ns/finance/agent/reader"
    )
    assert str(SpiffeId.for_agent(TD, "finance", "reader", pod_uid="0a-1b")) == (
        "spiffe://example.org/ns/finance/agent/reader/pod/0a-1b"
    )


def test_scheme_and_trust_domain_compare_without_case_and_the_path_with_it() -> None:
    """SPIFFE-ID §2: only the path is case-sensitive."""
    assert SpiffeId.parse("SPIFFE://Example.ORG/a") == SpiffeId.parse("spiffe://example.org/a")
    assert SpiffeId.parse("spiffe://example.org/A") != SpiffeId.parse("spiffe://example.org/a")


@pytest.mark.parametrize("character", [chr(code) for code in range(256)])
def test_each_byte_in_a_path_is_allowed_or_refused_as_the_standard_says(character: str) -> None:
    """The whole domain of single characters inside a segment."""
    text = f"spiffe://example.org/a{character}b"
    if character in SEGMENT_CHARACTERS + "/":
        assert SpiffeId.parse(text).path == f"/a{character}b"
    else:
        with pytest.raises(InputError, match="is malformed"):
            SpiffeId.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "does not begin with spiffe://", id="empty"),
        pytest.param("https://example.org/a", "does not begin with spiffe://", id="scheme"),
        pytest.param("spiffe:/example.org/a", "does not begin with spiffe://", id="one-slash"),
        pytest.param("spiffe:///a", "a name is required", id="no-trust-domain"),
        pytest.param("spiffe://example.org/", "is malformed", id="trailing-slash"),
        pytest.param("spiffe://example.org//a", "is malformed", id="empty-segment"),
        pytest.param("spiffe://example.org/./a", "is malformed", id="dot"),
        pytest.param("spiffe://example.org/../a", "is malformed", id="dot-dot"),
        pytest.param("spiffe://example.org/a/..", "is malformed", id="dot-dot-last"),
        pytest.param("spiffe://example.org/a?b", "is malformed", id="query"),
        pytest.param("spiffe://example.org/a#b", "is malformed", id="fragment"),
        pytest.param("spiffe://example.org?b", "holds characters other than", id="query-no-path"),
        pytest.param("spiffe://example.org:1/a", "holds characters other than", id="port"),
        pytest.param("spiffe://u@example.org/a", "holds characters other than", id="userinfo"),
        pytest.param("spiffe://example.org/%61", "is malformed", id="percent-encoding"),
        pytest.param("spiffe://example.org/a\n", r"a\\n", id="newline"),
        pytest.param("spiffe://example.org/ä", r"\\xe4", id="not-ascii"),
    ],
)
def test_malformed_ids_are_refused_by_name(text: str, message: str) -> None:
    """Each refusal says which part is wrong."""
    with pytest.raises(InputError, match=message):
        SpiffeId.parse(text)


@pytest.mark.parametrize("path", ["/...", "/.a", "/a..", "/a.b", "/-", "/_"])
def test_dots_are_special_only_alone(path: str) -> None:
    """A segment that merely holds dots is an ordinary one."""
    assert SpiffeId.parse(f"spiffe://example.org{path}").path == path


def test_2048_bytes_are_accepted_and_one_more_is_not() -> None:
    """The bound is exact, in the parser as in the constructor."""
    prefix = "spiffe://example.org/"
    longest = prefix + "a" * (MAX_SPIFFE_ID_BYTES - len(prefix))
    assert len(str(SpiffeId.parse(longest))) == 2048
    with pytest.raises(InputError, match="longer than the 2048 characters"):
        SpiffeId.parse(longest + "a")
    with pytest.raises(InputError, match="has 2049 characters, 2048 are allowed"):
        SpiffeId(TD, longest.removeprefix("spiffe://example.org") + "a")


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "a b", "ä", "a\n", "x?y"])
def test_names_that_are_no_segment_make_no_id(part: str) -> None:
    """Neither namespace, name nor pod can smuggle in another segment."""
    for namespace, name, pod_uid in ((part, "a", None), ("a", part, None), ("a", "a", part)):
        with pytest.raises(InputError, match="is not a path segment"):
            SpiffeId.for_agent(TD, namespace, name, pod_uid=pod_uid)


def test_names_that_make_the_id_too_long_are_refused() -> None:
    """The longest names Kubernetes allows fit; beyond 2048 bytes the message says what to do."""
    trust_domain = TrustDomain.parse("a" * 255)
    longest = SpiffeId.for_agent(trust_domain, "n" * 63, "a" * 253, pod_uid="0" * 36)
    assert len(str(longest)) == 632
    with pytest.raises(InputError, match="shorten the names it is made of"):
        SpiffeId.for_agent(trust_domain, "n" * 63, "a" * 2000)


@pytest.mark.parametrize("path", ["", "/ns/a", "/ns/a/agent/b/pod", "/x/ns/a/agent/b", "/sa/a"])
def test_other_paths_are_no_agents(path: str) -> None:
    """Only the shape that agentid makes is read as an agent."""
    assert SpiffeId(TD, path).agent is None
