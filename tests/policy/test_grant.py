"""Grants survive the ledger, and only they do."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import DeliveryMode, Instances, Tier
from agentid.errors import InputError, InternalError
from agentid.identity import SpiffeId, TrustDomain
from agentid.pki.algorithm import KeyAlgorithm
from agentid.policy import Grant, Permissions, Schedule

names = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
texts = st.lists(names, max_size=4, unique=True).map(sorted).map(tuple)
permission_sets = st.builds(
    Permissions,
    systems=texts,
    operations=texts,
    schedule=st.none()
    | st.builds(
        Schedule,
        st.sampled_from(["UTC", "Europe/Berlin"]),
        st.integers(0, (1 << 10080) - 1),
    ),
    compliance=texts,
)
grants = st.builds(
    Grant,
    spiffe_id=st.builds(SpiffeId.for_agent, st.just(TrustDomain.parse("a.example")), names, names),
    class_name=names,
    issuer_name=names,
    sponsor=st.none() | st.emails(),
    tier=st.sampled_from(Tier),
    permissions=permission_sets,
    lifetime=st.integers(1, 86400).map(lambda seconds: timedelta(seconds=seconds)),
    key_algorithm=st.sampled_from(KeyAlgorithm),
    delivery=st.sampled_from(DeliveryMode),
    instances=st.sampled_from(Instances),
    service_account=names,
    secret_name=st.none() | names,
    policy_oid=names,
    cps_uri=st.none() | names,
    critical=st.booleans(),
    ephemeral=st.booleans(),
)

SAMPLE = Grant(
    spiffe_id=SpiffeId.parse("spiffe://a.example/ns/finance/agent/reader"),
    class_name="batch",
    issuer_name="main",
    sponsor="finance@example.com",
    tier=Tier.LOW,
    permissions=Permissions(("erp",), ("read",), Schedule("UTC", 3), ("gdpr",)),
    lifetime=timedelta(hours=1),
    key_algorithm=KeyAlgorithm.ECDSAP256,
    delivery=DeliveryMode.SECRET,
    instances=Instances.SHARED,
    service_account="reader",
    secret_name="reader-agentid",
    policy_oid="1.2.3",
    cps_uri="https://pki.example.org/cps",
    critical=False,
    ephemeral=False,
)


@given(grants)
def test_json_round_trip(grant: Grant) -> None:
    """What is written is read back, and written again as the same text."""
    text = grant.to_json()
    assert Grant.from_json(text) == grant
    assert Grant.from_json(text).to_json() == text


@given(grants, grants)
def test_equal_exactly_where_the_text_is(one: Grant, two: Grant) -> None:
    """The text decides reissue as well as the value does."""
    assert (one == two) is (one.to_json() == two.to_json())


def test_text_of_a_grant() -> None:
    """The canonical text: plain names, units in them, sorted, no spaces; ledgers hold it."""
    assert SAMPLE.to_json() == (
        '{"class":"batch","cpsURI":"https://pki.example.org/cps","critical":false,'
        '"delivery":"Secret","ephemeral":false,"instances":"Shared","issuer":"main",'
        '"keyAlgorithm":"ECDSAP256","lifetimeSeconds":3600,"permissions":{"compliance":["gdpr"],'
        '"operations":["read"],"schedule":{"timeZone":"UTC","windows":["Mon 00:00/Mon 00:02"]},'
        '"systems":["erp"]},"policyOID":"1.2.3","secretName":"reader-agentid","serviceAccount":"reader",'
        '"spiffeID":"spiffe://a.example/ns/finance/agent/reader",'
        '"sponsor":"finance@example.com","tier":"Low","version":2}'
    )


def test_namespace_and_name_come_from_the_spiffe_id() -> None:
    """A grant says once who the agent is."""
    assert (SAMPLE.agent.namespace, SAMPLE.agent.name) == ("finance", "reader")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        pytest.param("version", 3, "the version is not 2; a newer release", id="newer-version"),
        pytest.param("tier", "Extreme", "'Extreme' is not a valid Tier", id="unknown-tier"),
        pytest.param("delivery", "Email", "'Email' is not a valid DeliveryMode", id="unknown-door"),
        pytest.param("spiffeID", "https://x", "SPIFFE ID: ", id="no-spiffe-id"),
        pytest.param("lifetimeSeconds", 0, "a field is missing or of the wrong type", id="zero"),
        pytest.param("lifetimeSeconds", 10**12, "a field is missing or of the", id="endless"),
        pytest.param("lifetimeSeconds", "3600", "a field is missing or of the", id="text"),
        pytest.param("sponsor", 7, "a field is missing or of the wrong type", id="sponsor-number"),
        pytest.param("permissions", [], "permissions: is not an object", id="permissions-list"),
        pytest.param("class", None, "a field is missing or of the wrong type", id="no-class"),
    ],
)
def test_refuses_damaged_fields(field: str, value: object, message: str) -> None:
    """Each field is checked on the way back in."""
    damaged = json.dumps(json.loads(SAMPLE.to_json()) | {field: value})
    with pytest.raises(InputError, match=message):
        Grant.from_json(damaged)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut"),
        pytest.param("[" * 100_000, id="endless-nesting"),
    ],
)
def test_refuses_what_is_not_json(text: str) -> None:
    """Nothing but InputError leaves the parser."""
    with pytest.raises(InputError, match="grant: the text is not JSON"):
        Grant.from_json(text)


@given(st.text(max_size=200) | st.from_regex(r"\{.*\}", fullmatch=True))
def test_any_other_text_is_an_input_error(text: str) -> None:
    """Whatever a ledger might hold, one exception type comes out."""
    with pytest.raises(InputError, match="grant: "):
        Grant.from_json(text)


def test_grant_that_is_not_an_agents_is_a_defect() -> None:
    """A SPIFFE ID of another shape has no namespace."""
    odd = Grant(**{name: getattr(SAMPLE, name) for name in SAMPLE.__slots__} | {
        "spiffe_id": SpiffeId.parse("spiffe://a.example/workload")
    })  # fmt: skip
    with pytest.raises(InternalError, match="which is not the SPIFFE ID of an agent"):
        _ = odd.agent
