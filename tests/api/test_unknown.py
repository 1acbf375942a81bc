"""Fields that this release does not know: found wherever they are, and refused where it matters."""

from __future__ import annotations

from typing import Any

import pytest

from agentid.api import AgentClass
from agentid.api.agentclass import AgentClassSpec
from agentid.api.agentidentity import AgentIdentity, AgentIdentitySpec
from agentid.api.agentissuer import AgentIssuer, AgentIssuerSpec, AuthorityState
from agentid.api.agentrevocation import AgentRevocation, AgentRevocationSpec
from agentid.api.unknown import unknown_fields
from agentid.errors import SpecError
from tests.support.manifests import agent_class, identity, issuer


@pytest.mark.parametrize(
    ("model", "spec", "found"),
    [
        pytest.param(
            AgentIdentitySpec, identity("a", "b")["spec"], (), id="identity-of-this-release"
        ),
        pytest.param(AgentClassSpec, agent_class("a")["spec"], (), id="class-of-this-release"),
        pytest.param(AgentIssuerSpec, issuer("a")["spec"], (), id="issuer-of-this-release"),
        pytest.param(AgentClassSpec, {"quota": 3}, ("spec.quota",), id="top"),
        pytest.param(
            AgentIdentitySpec,
            {"permissions": {"systems": ["a"], "budget": {"tokens": 1}}, "delivery": {"sds": True}},
            ("spec.permissions.budget", "spec.delivery.sds"),
            id="nested",
        ),
        pytest.param(
            AgentRevocationSpec,
            {"select": {"identities": [{"namespace": "a"}, {"namespace": "a", "uid": "1"}]}},
            ("spec.select.identities[1].uid",),
            id="in-a-list",
        ),
        pytest.param(
            AgentRevocationSpec,
            {"select": {"labelSelector": {"matchLabels": {"anything": "goes"}}}},
            (),
            id="keys-of-a-map-are-no-fields",
        ),
        pytest.param(
            AgentClassSpec,
            {"tiers": {"Low": {"lifetime": "1h"}, "High": {"quota": 1}}},
            ("spec.tiers.High.quota",),
            id="under-a-name-of-its-own",
        ),
        pytest.param(AgentClassSpec, ["no", "object"], (), id="no-object"),
    ],
)
def test_they_are_found(model: Any, spec: object, found: tuple[str, ...]) -> None:  # noqa: ANN401
    """With their paths, at any depth; and none that there is."""
    assert unknown_fields(model, spec) == found


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(AgentClass, agent_class("a", quota=3), id="class"),
        pytest.param(AgentIdentity, identity("a", "b", quota=3), id="identity"),
        pytest.param(AgentIssuer, issuer("a", quota=3), id="issuer"),
    ],
)
def test_other_kinds_are_read_without_them(kind: Any, body: dict[str, Any]) -> None:  # noqa: ANN401
    """An operator that is older than its definitions goes on; `agentid doctor` tells of them."""
    assert kind.parse(body).spec


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param(
            {"select": {"namespaces": ["a"], "nodes": ["b"]}}, "spec.select.nodes", id="select"
        ),
        pytest.param(
            {"select": {"namespaces": ["a"]}, "notBefore": "x"}, "spec.notBefore", id="spec"
        ),
    ],
)
def test_an_incident_with_one_is_not_executed(spec: dict[str, Any], field: str) -> None:
    """Promise 5: without the field it would hit more than was meant, for good."""
    body = {"metadata": {"name": "leak"}, "spec": {"reason": "superseded", **spec}}
    with pytest.raises(SpecError, match=rf"{field}.* is not known.* use a release of agentid"):
        AgentRevocation.parse(body)


def test_an_item_of_the_status_that_cannot_be_read_costs_no_other() -> None:
    """That an issuer had a root is what keeps another from being made in its place."""
    known = {
        "role": "Root", "state": "Signing", "subject": "CN=root", "serial": "01",
        "algorithm": "ECDSAP384", "fingerprint": "ab" * 32,
        "notBefore": "2026-11-01T12:00:00Z", "notAfter": "2036-11-01T12:00:00Z",
    }  # fmt: skip
    status = AgentIssuer.status_of(
        {"status": {"authorities": [{**known, "state": "Sealed"}, known], "bundleSequence": 4}}
    )
    assert [each.state for each in status.authorities] == [AuthorityState.SIGNING]
    assert status.bundle_sequence == 4
