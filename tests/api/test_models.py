"""Models: defaults, statuses that cannot be read, and the way back to the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from agentid.api import (
    AgentClass,
    AgentIdentity,
    AgentIssuer,
    DeliveryMode,
    Instances,
    Tier,
)
from agentid.identity import TrustDomain
from agentid.pki.algorithm import KeyAlgorithm

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def identity(
    status: object = None, annotations: dict[str, str] | None = None, **spec: object
) -> AgentIdentity:
    """An identity as the API server sends it."""
    return AgentIdentity.parse(
        {
            "apiVersion": "agentid.dev/v1alpha1",
            "kind": "AgentIdentity",
            "metadata": {
                "name": "reader",
                "namespace": "finance",
                "uid": "0b5c",
                "generation": 3,
                "resourceVersion": "17",
                "creationTimestamp": "2026-03-01T12:00:00Z",
                "annotations": annotations or {},
                "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"className": "assistant", "subject": {"serviceAccountName": "reader"}} | spec,
            "status": status,
        }
    )


def test_identity_defaults() -> None:
    """What is left out has the documented default."""
    parsed = identity()
    assert parsed.spec.delivery.mode is DeliveryMode.SECRET
    assert parsed.spec.instances is Instances.SHARED
    assert parsed.spec.suspend is False
    assert parsed.spec.permissions.systems == ()
    assert parsed.spec.lifetime is None
    assert parsed.secret_name == "reader-agentid"


def test_metadata_is_read_as_far_as_it_is_looked_at() -> None:
    """Names, counters and times arrive typed; the rest is dropped."""
    metadata = identity().metadata
    assert (metadata.name, metadata.namespace, metadata.uid) == ("reader", "finance", "0b5c")
    assert (metadata.generation, metadata.resource_version) == (3, "17")
    assert metadata.creation_timestamp == NOON
    assert metadata.deletion_timestamp is None


def test_class_defaults() -> None:
    """A class of two lines has the documented defaults and grants nothing."""
    parsed = AgentClass.parse(
        {"metadata": {"name": "c"}, "spec": {"issuerName": "main", "namespaces": {"names": []}}}
    )
    spec = parsed.spec
    assert spec.lifetime == timedelta(hours=1)
    assert spec.key_algorithm is KeyAlgorithm.ECDSAP256
    assert spec.revocation.grace_period == timedelta(minutes=2)
    assert spec.renewal.renew_before is None
    assert spec.delivery.modes == tuple(DeliveryMode)
    assert spec.require_sponsor is True
    assert spec.max_tier is Tier.CRITICAL
    assert spec.permissions.operations == ()
    assert not spec.namespaces.serve("default")


def test_issuer_defaults() -> None:
    """An issuer with `builtin: {}` has the documented algorithms and lifetimes."""
    parsed = AgentIssuer.parse(
        {"metadata": {"name": "i"}, "spec": {"trustDomain": "a.example", "ca": {"builtin": {}}}}
    )
    assert parsed.trust_domain == TrustDomain.parse("a.example")
    assert parsed.spec.ca.to_api() == {
        "builtin": {
            "rootAlgorithm": "ECDSAP384",
            "rootLifetime": "87600h",
            "intermediateAlgorithm": "ECDSAP256",
            "intermediateLifetime": "2160h",
        }
    }


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        pytest.param({}, "reader-agentid", id="default"),
        pytest.param({"delivery": {"secretName": "mine"}}, "mine", id="chosen"),
        pytest.param({"delivery": {"mode": "CSI"}}, None, id="no-secret"),
    ],
)
def test_secret_name(spec: dict[str, Any], name: str | None) -> None:
    """There is a Secret exactly where the door is one."""
    assert identity(**spec).secret_name == name


@pytest.mark.parametrize(
    ("names", "namespace", "served"),
    [
        pytest.param(["*"], "anything", True, id="star"),
        pytest.param(["finance"], "finance", True, id="exact"),
        pytest.param(["finance"], "finance-dev", False, id="exact-is-no-prefix"),
        pytest.param(["team-*"], "team-a", True, id="prefix"),
        pytest.param(["team-*"], "team-", True, id="prefix-alone"),
        pytest.param(["team-*"], "team", False, id="shorter-than-prefix"),
        pytest.param(["team-*"], "steam-a", False, id="prefix-is-anchored"),
        pytest.param([], "finance", False, id="empty-serves-none"),
    ],
)
def test_namespaces_served(names: list[str], namespace: str, served: bool) -> None:  # noqa: FBT001
    """Names are exact, prefixes are anchored, and an empty list serves nobody."""
    parsed = AgentClass.parse(
        {"metadata": {"name": "c"}, "spec": {"issuerName": "i", "namespaces": {"names": names}}}
    )
    assert parsed.spec.namespaces.serve(namespace) is served


def test_unknown_fields_are_dropped() -> None:
    """An operator older than its CRD goes on reading what is stored."""
    assert identity(newField={"a": 1}).spec.class_name == "assistant"


CERTIFICATE = {
    "serial": "0a1b",
    "fingerprint": "ab" * 32,
    "notBefore": "2026-03-01T11:59:00Z",
    "notAfter": "2026-03-01T12:59:59Z",
    "renewalTime": "2026-03-01T12:39:00Z",
    "issuer": "main",
}


def test_status_survives_the_way_to_the_api_and_back() -> None:
    """What was read is written unchanged."""
    status = {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-03-01T12:00:00Z",
                "reason": "Issued",
                "message": "issued",
            }
        ],
        "spiffeID": "spiffe://example.org/ns/finance/agent/reader",
        "classification": {"tier": "Low", "score": 10, "reasons": ["why"]},
        "certificate": CERTIFICATE,
        "delivery": {"secretName": "reader-agentid"},
        "activeCertificates": 1,
    }
    assert identity(status).status.to_api() == status


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(None, id="absent"),
        pytest.param({}, id="empty"),
        pytest.param("text", id="text"),
        pytest.param(["list"], id="list"),
        pytest.param({"conditions": "none"}, id="conditions-are-text"),
        pytest.param({"certificate": {"serial": "xyz"}}, id="certificate-in-pieces"),
        pytest.param({"observedGeneration": "three"}, id="generation-in-words"),
    ],
)
def test_unreadable_status_counts_as_absent(status: object) -> None:
    """A status is written anew by the next look, so it never stops one."""
    parsed = identity(status).status
    assert (parsed.certificate, parsed.conditions, parsed.observed_generation) == (None, (), None)


def test_readable_part_of_a_status_is_kept() -> None:
    """A tier from a newer release does not cost the memory of the certificate."""
    status = {"certificate": CERTIFICATE, "classification": {"tier": "Extreme", "score": 101}}
    parsed = identity(status).status
    assert parsed.classification is None
    assert parsed.certificate is not None
    assert parsed.certificate.serial == "0a1b"


@pytest.mark.parametrize(
    ("text", "requested"),
    [
        pytest.param("2026-03-01T11:00:00Z", NOON - timedelta(hours=1), id="past"),
        pytest.param("2026-03-01T12:45:00+01:00", NOON - timedelta(minutes=15), id="offset"),
        pytest.param("2026-03-01T12:00:00Z", NOON, id="now"),
        pytest.param("2026-03-01T12:00:01Z", NOON + timedelta(seconds=1), id="still-to-come"),
        pytest.param("2026-03-01T11:00:00", None, id="no-offset"),
        pytest.param("2026-03-01", None, id="a-day"),
        pytest.param("now", None, id="a-word"),
        pytest.param("9999-12-31T23:59:59-14:00", None, id="beyond-what-can-be-told"),
        pytest.param("", None, id="empty"),
    ],
)
def test_renewal_requested(text: str, requested: datetime | None) -> None:
    """A time asks for a renewal once it has come; anything else asks for nothing."""
    parsed = identity(annotations={"agentid.dev/renew-requested": text})
    assert parsed.renewal_requested == requested


def test_no_annotation_asks_for_nothing() -> None:
    """Without the annotation there is no request."""
    assert identity().renewal_requested is None


def test_models_are_frozen() -> None:
    """Nobody changes a resource that somebody else holds."""
    with pytest.raises(ValidationError, match="frozen"):
        identity().spec.suspend = True
