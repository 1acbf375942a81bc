"""The authorization extension: one encoding for one value, and nothing else is read."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat import asn1
from hypothesis import given, settings
from hypothesis import strategies as st
from pyasn1.codec.der import decoder as pyasn1_decoder  # type: ignore[import-untyped]
from pyasn1.codec.der import encoder as pyasn1_encoder
from pyasn1.type import char, constraint, namedtype, tag, univ  # type: ignore[import-untyped]

from agentid.errors import InputError, UnknownVersionError
from agentid.pki import schema
from agentid.pki.authorization import (
    MAX_DOCUMENT_BYTES,
    MAX_INLINE_BYTES,
    TIERS,
    AgentAuthorization,
    AuthorizedPolicy,
    AuthorizedSchedule,
    decode,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE = Path(__file__).parents[2] / "docs/reference"
PAGE = (REFERENCE / "authorization-extension.md").read_text("utf-8")
MODULE = (REFERENCE / "agentid-authorization.asn1").read_text("utf-8")

BERLIN = AuthorizedSchedule("Europe/Berlin", ((480, 1080), (1920, 2520)))
POLICY = AuthorizedPolicy(("crm.contacts", "erp.*"), ("list", "read"), BERLIN, ("gdpr",))


def authorization(policy: AuthorizedPolicy = POLICY) -> AgentAuthorization:
    """The one of the published example, or the same with another policy."""
    return AgentAuthorization.of(
        agent_class="assistant", tier="High", sponsor="finance@example.org", policy=policy
    )


EXAMPLE = authorization()


def by_reference() -> AgentAuthorization:
    """The published example by reference."""
    digest = EXAMPLE.policy_hash
    uri = f"http://responder.example.org/policy/{digest.hex()}"
    return AgentAuthorization("assistant", "High", "finance@example.org", None, digest, uri)


# The example that others program by.


def published() -> list[bytes]:
    """The hexadecimal blocks of the page; comments begin in column 51."""
    blocks = re.findall(r"```hex\n(.*?)```", PAGE, re.DOTALL)
    return [bytes.fromhex("".join(line[:50] for line in block.splitlines())) for block in blocks]


def test_the_published_examples_are_what_the_encoder_writes() -> None:
    """Byte for byte, inline and by reference, with the document and its hash."""
    inline, reference = published()
    assert encode(EXAMPLE) == inline
    assert encode(by_reference()) == reference
    assert decode(inline) == EXAMPLE
    assert decode(reference) == by_reference()
    (document,) = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert by_reference().resolve(document.encode()) == POLICY
    assert f"`{EXAMPLE.policy_hash.hex()}`" in PAGE
    assert [f"{len(each)} octets" in PAGE.replace("\n", " ") for each in (inline, reference)] == [
        True,
        True,
    ]


# A second opinion: pyasn1 with the published syntax.


def sized(kind: type[univ.OctetString], most: int, number: int | None = None) -> univ.OctetString:
    """A string of 1 to `most` characters, tagged or not."""
    made = kind().subtype(subtypeSpec=constraint.ValueSizeConstraint(1, most))
    return made if number is None else made.subtype(implicitTag=context(number, constructed=False))


def context(number: int, *, constructed: bool = True) -> tag.Tag:
    """A context tag."""
    form = tag.tagFormatConstructed if constructed else tag.tagFormatSimple
    return tag.Tag(tag.tagClassContext, form, number)


def entries(number: int, most: int) -> univ.SequenceOf:
    """A list of texts."""
    return univ.SequenceOf(componentType=sized(char.UTF8String, 253)).subtype(
        sizeSpec=constraint.ValueSizeConstraint(1, most), implicitTag=context(number)
    )


def minutes(low: int, high: int) -> univ.Integer:
    """A minute of the week."""
    return univ.Integer().subtype(subtypeSpec=constraint.ValueRangeConstraint(low, high))


class Window(univ.Sequence):  # type: ignore[misc]
    """`Window` of the module."""

    componentType = namedtype.NamedTypes(  # noqa: N815 (the name that pyasn1 reads)
        namedtype.NamedType("start", minutes(0, 10079)),
        namedtype.NamedType("end", minutes(1, 10080)),
    )


class Schedule(univ.Sequence):  # type: ignore[misc]
    """`Schedule` of the module."""

    componentType = namedtype.NamedTypes(  # noqa: N815
        namedtype.NamedType("timeZone", sized(char.UTF8String, 64)),
        namedtype.NamedType("windows", univ.SequenceOf(componentType=Window())),
    )


class Syntax(univ.Sequence):  # type: ignore[misc]
    """`AgentAuthorization` of the module."""

    componentType = namedtype.NamedTypes(  # noqa: N815
        namedtype.NamedType("version", univ.Integer()),
        namedtype.NamedType("agentClass", sized(char.UTF8String, 63)),
        namedtype.NamedType("tier", minutes(0, 3)),
        namedtype.NamedType("policyHash", univ.OctetString()),
        namedtype.OptionalNamedType("sponsor", sized(char.UTF8String, 253, 0)),
        namedtype.OptionalNamedType("systems", entries(1, 128)),
        namedtype.OptionalNamedType("operations", entries(2, 64)),
        namedtype.OptionalNamedType("schedule", Schedule().subtype(implicitTag=context(3))),
        namedtype.OptionalNamedType("compliance", entries(4, 32)),
        namedtype.OptionalNamedType("policyURI", sized(char.IA5String, 512, 5)),
    )


def test_the_second_opinion_has_the_fields_of_the_module() -> None:
    """Its syntax is that of the published module, field by field and tag by tag."""
    (body,) = re.findall(r"\nAgentAuthorization ::= SEQUENCE \{\n(.*?)\}\n", MODULE, re.DOTALL)
    fields = re.findall(r"^  ([a-z][A-Za-z]+) +(?:\[(\d)\] )?", body, re.MULTILINE)
    wanted = [
        (each.name, str(each.asn1Object.tagSet[0].tagId) if each.isOptional else "")
        for each in Syntax.componentType.namedTypes
    ]
    assert fields == wanted


def seen_by_pyasn1(der: bytes) -> dict[str, object]:
    """The fields as pyasn1 reads them, after it wrote the same bytes again."""
    value, rest = pyasn1_decoder.decode(der, asn1Spec=Syntax())
    assert rest == b""
    assert pyasn1_encoder.encode(value) == der
    schedule = value["schedule"]
    return {
        "version": int(value["version"]),
        "class": str(value["agentClass"]),
        "tier": TIERS[int(value["tier"])],
        "hash": bytes(value["policyHash"]),
        "sponsor": str(value["sponsor"]) if value["sponsor"].isValue else None,
        "schedule": AuthorizedSchedule(
            str(schedule["timeZone"]),
            tuple((int(each["start"]), int(each["end"])) for each in schedule["windows"]),
        )
        if schedule.isValue
        else None,
        "uri": str(value["policyURI"]) if value["policyURI"].isValue else None,
    } | {
        name: tuple(map(str, value[name])) if value[name].isValue else ()
        for name in ("systems", "operations", "compliance")
    }


# Values at random.

texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=24)
entry_lists = st.sets(texts, max_size=5).map(lambda found: tuple(sorted(found)))
schedules = st.builds(
    lambda zone, cuts: AuthorizedSchedule(zone, tuple(pairwise(sorted(cuts)))[::2]),
    texts,
    st.sets(st.integers(0, 10080), min_size=2, max_size=12),
)
policies = st.builds(AuthorizedPolicy, entry_lists, entry_lists, st.none() | schedules, entry_lists)
authorizations = st.builds(
    lambda name, tier, sponsor, policy, base: AgentAuthorization.of(
        agent_class=name, tier=tier, sponsor=sponsor, policy=policy, base_uri=base
    ),
    texts,
    st.sampled_from(TIERS),
    st.none() | texts,
    policies,
    st.just("http://responder.example.org"),
)


@given(authorizations)
def test_what_is_encoded_reads_back_here_and_in_pyasn1(made: AgentAuthorization) -> None:
    """Every value has one encoding, which a strict decoder of others reads alike."""
    assert decode(encode(made)) == made
    policy = made.policy or AuthorizedPolicy()
    assert seen_by_pyasn1(encode(made)) == {
        "version": 1,
        "class": made.agent_class,
        "tier": made.tier,
        "hash": made.policy_hash,
        "sponsor": made.sponsor,
        "systems": policy.systems,
        "operations": policy.operations,
        "schedule": policy.schedule,
        "compliance": policy.compliance,
        "uri": made.policy_uri,
    }


@settings(max_examples=400)
@given(
    authorizations,
    st.lists(st.tuples(st.integers(0, 4095), st.binary(max_size=3)), min_size=1, max_size=3),
)
def test_altered_bytes_are_refused_or_are_another_value(
    made: AgentAuthorization, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever is put in, cut out or overwritten: InputError, or a value with just these bytes."""
    der = bytearray(encode(made))
    for at, new in changes:
        start = at % len(der) if der else 0
        der[start : start + (at // 1024)] = new
    try:
        read = decode(bytes(der))
    except InputError:
        return
    assert encode(read) == bytes(der)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """And with InputError alone."""
    with pytest.raises(InputError, match=r"^agent authorization"):
        decode(data)


# What is not canonical.


def raw(change: Callable[[schema.AgentAuthorization], None]) -> bytes:
    """The example with a change that the value would not allow."""
    read = schema.decode(schema.AgentAuthorization, EXAMPLE.der, what="example")
    change(read)
    return asn1.encode_der(read)


def put(**fields: object) -> Callable[[schema.AgentAuthorization], None]:
    """Set fields."""

    def change(read: schema.AgentAuthorization) -> None:
        for name, value in fields.items():
            setattr(read, name, value)

    return change


def windows(*spans: tuple[int, int]) -> Callable[[schema.AgentAuthorization], None]:
    """Another schedule."""
    listed = [schema.AuthorizedWindow(start=start, end=end) for start, end in spans]
    return put(schedule=schema.AuthorizedSchedule(time_zone="UTC", windows=listed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(put(systems=["erp.*", "crm"]), "systems are not sorted", id="unsorted"),
        pytest.param(put(operations=["read", "read"]), "hold an entry twice", id="twice"),
        pytest.param(put(systems=[]), "policy hash is not that of the policy", id="empty-list"),
        pytest.param(put(systems=[""]), "1 to 253 visible ASCII", id="empty-entry"),
        pytest.param(put(systems=["a b"]), "visible ASCII characters", id="space"),
        pytest.param(put(systems=["\x1b[2J"]), r"\\x1b\[2J", id="escape"),
        pytest.param(put(systems=["ерп"]), "visible ASCII characters", id="look-alike"),
        pytest.param(put(systems=["a" * 254]), "1 to 253 visible", id="long-entry"),
        pytest.param(
            put(compliance=[f"{at:02}" for at in range(33)]), "33 compliance, at most 32", id="many"
        ),
        pytest.param(put(agent_class=""), "the class .* is not 1 to 63", id="no-class"),
        pytest.param(put(agent_class="a" * 64), "the class .* is not 1 to 63", id="long-class"),
        pytest.param(put(sponsor=""), "the sponsor .* is not 1 to 253", id="empty-sponsor"),
        pytest.param(put(tier=4), "the tier 4 is not one of 0 to 3", id="tier-4"),
        pytest.param(put(tier=-1), "the tier -1 is not one of 0 to 3", id="tier-negative"),
        pytest.param(put(tier=1 << 9000), "tier a number of 9001 bits", id="tier-huge"),
        pytest.param(put(policy_hash=bytes(31)), "hash of 31 octets", id="short-hash"),
        pytest.param(put(policy_hash=bytes(32)), "hash is not that of the policy", id="other-hash"),
        pytest.param(
            put(policy_uri=asn1.IA5String("http://a/")), "both a policy and the URI", id="both"
        ),
        pytest.param(windows(), "0 windows, from 1 to 112", id="no-window"),
        pytest.param(windows((5, 5)), "from 5 to 5, which is not a span", id="empty-window"),
        pytest.param(windows((9, 5)), "from 9 to 5, which is not a span", id="backwards"),
        pytest.param(windows((-1, 5)), "from -1 to 5", id="before-monday"),
        pytest.param(windows((0, 10081)), "within the 10080 minutes", id="after-sunday"),
        pytest.param(windows((0, 1 << 5000)), "a number of 5001 bits", id="huge-window"),
        pytest.param(windows((5, 9), (1, 3)), "not in order", id="windows-unsorted"),
        pytest.param(windows((1, 5), (5, 9)), "or two of them meet", id="windows-meet"),
        pytest.param(windows((1, 6), (5, 9)), "or two of them meet", id="windows-overlap"),
        pytest.param(
            windows(*((at * 3, at * 3 + 1) for at in range(113))), "113 windows", id="many-windows"
        ),
    ],
)
def test_what_is_not_canonical_is_refused(
    change: Callable[[schema.AgentAuthorization], None], message: str
) -> None:
    """Each fault by its name; what the encoder never writes is never read."""
    with pytest.raises(InputError, match=message):
        decode(raw(change))


def test_a_list_that_is_there_and_empty_is_refused() -> None:
    """Absent is the one way to say nothing, also where the hash fits."""
    nothing = authorization(AuthorizedPolicy())
    read = schema.decode(schema.AgentAuthorization, nothing.der, what="example")
    read.systems = []
    with pytest.raises(InputError, match="not the one encoding of what it says"):
        decode(asn1.encode_der(read))


@pytest.mark.parametrize(
    ("der", "message"),
    [
        pytest.param(b"", "does not parse", id="nothing"),
        pytest.param(b"\x30\x00", "it is empty", id="empty"),
        pytest.param(EXAMPLE.der + b"\0", "does not parse", id="trailing"),
        pytest.param(EXAMPLE.der[:-1], "does not parse", id="cut-short"),
        pytest.param(b"\x30\x03\x0c\x01a", "the version does not parse", id="no-version"),
        pytest.param(b"\x30\x04\x02\x02\x00\x01", "the version does not parse", id="version-ber"),
        pytest.param(b"\x30\x80" + EXAMPLE.der[3:] + b"\0\0", "does not parse", id="indefinite"),
        pytest.param(b"\x30" * 2049, "2049 bytes, at most 2048", id="huge"),
    ],
)
def test_what_is_no_der_is_refused(der: bytes, message: str) -> None:
    """BER, garbage and too much."""
    with pytest.raises(InputError, match=message):
        decode(der)


@pytest.mark.parametrize("version", [0, 2, -1, 1 << 64, 1 << 9000])
def test_another_version_grants_nothing_whatever_follows(version: int) -> None:
    """It is told apart from garbage, and what follows is not looked at."""
    body = asn1.encode_der(version) + b"\x0c\x05never\x30\x00"
    der = b"\x30\x82" + len(body).to_bytes(2) + body
    if len(body) < 0x80:
        der = bytes((0x30, len(body), *body))
    with pytest.raises(UnknownVersionError, match=r"is of version .*; it grants nothing here"):
        decode(der)


# The policy document.


def test_the_document_is_canonical_json() -> None:
    """Sorted keys, no white space, every key there."""
    document = POLICY.document(agent_class="assistant", tier="High", sponsor=None)
    again = json.dumps(json.loads(document), sort_keys=True, separators=(",", ":"))
    assert document == again.encode()
    assert json.loads(document) == {
        "class": "assistant",
        "compliance": ["gdpr"],
        "operations": ["list", "read"],
        "schedule": {"timeZone": "Europe/Berlin", "windows": [[480, 1080], [1920, 2520]]},
        "sponsor": None,
        "systems": ["crm.contacts", "erp.*"],
        "tier": "High",
        "version": 1,
    }


LARGE = AuthorizedPolicy(systems=tuple(f"system-{at:03}.example" for at in range(128)))
BASE = "http://responder.example.org"


def referring() -> AgentAuthorization:
    """An authorization whose policy does not fit."""
    return AgentAuthorization.of(
        agent_class="assistant", tier="Low", sponsor=None, policy=LARGE, base_uri=BASE
    )


def test_a_large_policy_is_named_by_uri_and_hash() -> None:
    """Above 2 KiB the certificate carries no list; the document brings the policy back."""
    made = referring()
    document = LARGE.document(agent_class="assistant", tier="Low", sponsor=None)
    assert made.policy is None
    assert made.policy_hash == sha256(document).digest()
    assert made.policy_uri == f"{BASE}/policy/{made.policy_hash.hex()}"
    assert decode(encode(made)).resolve(document) == LARGE


def test_the_size_of_the_extension_decides() -> None:
    """The largest policy that fits is inline, one octet more goes by reference."""
    full = tuple(f"{at}" * 215 for at in range(8))
    seen = set()
    for last in range(150, 254):
        policy = AuthorizedPolicy(systems=(*full, "9" * last))
        made = AgentAuthorization.of(
            agent_class="assistant",
            tier="High",
            sponsor="finance@example.org",
            policy=policy,
            base_uri=BASE,
        )
        assert len(made.der) <= MAX_INLINE_BYTES
        seen.add((made.policy is None, len(made.der)))
    assert max(size for reference, size in seen if not reference) == MAX_INLINE_BYTES
    assert any(reference for reference, _ in seen)


def test_without_a_place_to_serve_it_a_large_policy_is_refused() -> None:
    """Nothing is cut away in silence."""
    with pytest.raises(InputError, match=r"at most 2048 fit .*; give the policy by reference"):
        authorization(LARGE)


def document_of(**changes: object) -> bytes:
    """A document with changes."""
    written = json.loads(LARGE.document(agent_class="assistant", tier="Low", sponsor=None))
    return json.dumps(written | changes, sort_keys=True, separators=(",", ":")).encode()


def resolving(document: bytes) -> AuthorizedPolicy:
    """Resolve a document through a certificate that carries its hash."""
    uri = f"{BASE}/policy/x"
    made = AgentAuthorization("assistant", "Low", None, None, sha256(document).digest(), uri)
    return made.resolve(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(b"", "it is not JSON", id="empty"),
        pytest.param(b"[" * 60_000, "it is not JSON", id="deep"),
        pytest.param(b"\xff", "it is not JSON", id="not-utf-8"),
        pytest.param(b"[]", "are not there", id="array"),
        pytest.param(b" " + document_of(), "not written canonically", id="white-space"),
        pytest.param(document_of(tier="High"), "another class, tier or sponsor", id="tier"),
        pytest.param(document_of(**{"class": "x"}), "another class, tier or sponsor", id="class"),
        pytest.param(document_of(sponsor="x"), "another class, tier or sponsor", id="sponsor"),
        pytest.param(document_of(more=1), "not written canonically", id="more"),
        pytest.param(document_of(systems=["b", "a"]), "systems are not sorted", id="unsorted"),
        pytest.param(document_of(systems=[1]), "something else than strings", id="number"),
        pytest.param(document_of(schedule=1), "the schedule is not an object", id="schedule"),
        pytest.param(
            document_of(schedule={"timeZone": "UTC", "windows": [[1]]}), "pair", id="window"
        ),
        pytest.param(document_of(version=True), "not written canonically", id="version-true"),
        pytest.param(
            document_of()[:-1] + b',"systems":["*"]}', "not written canonically", id="key-twice"
        ),
        pytest.param(b" " * (MAX_DOCUMENT_BYTES + 1), "65537 bytes, at most 65536", id="huge"),
    ],
)
def test_a_document_that_agentid_does_not_write_is_refused(document: bytes, message: str) -> None:
    """Also where the hash fits."""
    with pytest.raises(InputError, match=message):
        resolving(document)


def test_a_document_of_another_version_grants_nothing() -> None:
    """It is told apart, as in the extension."""
    with pytest.raises(UnknownVersionError, match=r"is of version 2, .*; it grants nothing here"):
        resolving(document_of(version=2))


def test_another_document_than_the_one_that_was_hashed_is_refused() -> None:
    """Whoever serves documents cannot widen a policy."""
    wider = document_of(systems=["*"])
    with pytest.raises(InputError, match=r"its SHA-256 is .*; do not use it"):
        referring().resolve(wider)


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["systems", "operations", "schedule", "compliance", "version", "windows"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_document_is_refused_with_input_error(document: bytes) -> None:
    """Nothing else comes out."""
    with pytest.raises(InputError, match=r"."):
        resolving(document)


# Values that cannot be.


def test_either_the_policy_or_its_uri() -> None:
    """Both would leave open which holds, neither would leave open what."""
    digest = EXAMPLE.policy_hash
    for policy, uri in ((POLICY, "http://a/"), (None, None)):
        with pytest.raises(InputError, match="either the policy or its URI"):
            AgentAuthorization("a", "Low", None, policy, digest, uri)


@pytest.mark.parametrize("uri", ["", "ftp://a/b", "http://", "http://a/ b", "http://" + "a" * 600])
def test_a_policy_uri_is_http_and_short(uri: str) -> None:
    """What a verifier would fetch is bounded."""
    with pytest.raises(InputError, match="is not an http or https URI of at most 512"):
        AgentAuthorization("a", "Low", None, None, bytes(32), uri)


def test_a_tier_is_one_of_four() -> None:
    """By its name."""
    with pytest.raises(InputError, match='"low" is no tier; use one of Low, Moderate'):
        AgentAuthorization("a", "low", None, None, bytes(32), "http://a/")


def test_a_window_covers_its_minutes_and_not_its_end() -> None:
    """The end of one day's work is no work."""
    assert [BERLIN.covers(minute) for minute in (479, 480, 1079, 1080, 2519)] == [
        False,
        True,
        True,
        False,
        True,
    ]
