"""What a rotation is decided from: which bundle agents really have beside their certificates."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.api.agentissuer import AgentIssuer
from agentid.api.vocabulary import DeliveryMode
from agentid.identity import SerialNumber
from agentid.ledger.state import LedgerState
from agentid.policy.authorities import Authorities, IssuingAuthority, Root, Stage
from agentid.policy.rotation import Usage
from agentid.services.usage import facts_of
from agentid.services.world import World
from agentid.testing.ca import ThrowawayCA
from agentid.testing.ledger import NOON, make_issued, make_revoked
from tests.support.manifests import identity, issuer

if TYPE_CHECKING:
    from agentid.ledger import Issued, Revoked
    from agentid.policy.rotation import Facts

MINUTE = timedelta(minutes=1)
NEW = "fedcba9876543210"
"""The authority that is staged; `make_issued` names the one that signs."""


def exchange() -> Authorities:
    """A root and its successor, of the second bundle."""
    ca = ThrowawayCA()
    (old,), (first,) = ca.authority_set.records.roots, ca.authority_set.records.issuing
    new = Root("aaaabbbbccccdddd", "fp", old.validity, 2, NOON, has_key=True)
    signing = replace(first, id="0123456789abcdef")
    staged = IssuingAuthority(
        NEW, "fp2", SerialNumber(9), first.validity, new.id, 8, "http://r.test", Stage.STAGED, NOON
    )
    return Authorities((new, old), (staged, signing), 2)


def facts(*records: Issued | Revoked, told: int | None = None, at: timedelta = MINUTE) -> Facts:
    """What is found, with this serial in the status of the identity."""
    state, world = LedgerState(), World()
    for record in records:
        state.apply(record)
    body = identity("reader", "batch")
    body["metadata"] |= {"namespace": "demo", "uid": "uid-of-reader", "resourceVersion": "1"}
    if told is not None:
        body["status"] = {"certificate": {"serial": str(SerialNumber(told))}}
    world.identities.put(body)
    made = issuer("builtin")
    made["metadata"]["uid"] = "u"
    return facts_of(state, world, AgentIssuer.parse(made), exchange(), NOON + at)


OLD, SECOND = make_issued(1), make_issued(2, bundle=2, replaces=SerialNumber(1))


@pytest.mark.parametrize(
    ("found", "sequence"),
    [
        pytest.param(facts(), None, id="no-certificate"),
        pytest.param(facts(OLD, told=1), 1, id="not-replaced"),
        pytest.param(facts(OLD, SECOND, told=1), 1, id="its-successor-may-not-have-arrived"),
        pytest.param(facts(OLD, SECOND, told=2), 2, id="its-successor-was-delivered"),
        pytest.param(facts(OLD, SECOND, told=7), 1, id="an-unknown-serial-says-nothing"),
        pytest.param(facts(OLD, SECOND), 1, id="a-status-without-certificate-says-nothing"),
        pytest.param(
            facts(OLD, replace(SECOND, uid="uid-of-a-namesake"), told=2), 1, id="of-a-namesake"
        ),
        pytest.param(
            facts(OLD, replace(SECOND, door=DeliveryMode.CSI), told=2), 1, id="by-another-door"
        ),
        pytest.param(facts(OLD, make_revoked(1)), None, id="revoked"),
        pytest.param(facts(OLD, told=1, at=timedelta(hours=2)), None, id="expired"),
        pytest.param(facts(replace(OLD, issuer="other")), None, id="of-another-issuer"),
        pytest.param(
            facts(OLD, SECOND, make_issued(3, "writer"), told=2), 1, id="another-agent-waits"
        ),
    ],
)
def test_the_lowest_bundle_in_use(found: Facts, sequence: int | None) -> None:
    """A certificate counts until it is revoked, expired, or its successor is delivered."""
    assert found.delivered == sequence


def test_what_was_signed_counts_until_it_has_expired() -> None:
    """The authority is needed for its CRLs, also while only revoked certificates are left."""
    end = NOON + timedelta(hours=1)
    old = "0123456789abcdef"
    assert facts(OLD, SECOND, told=2).usage == {old: Usage(end, end)}
    assert facts(OLD, make_revoked(1)).usage == {old: Usage(end, None)}
    assert facts(OLD, replace(SECOND, authority=NEW), told=2).usage.keys() == {old, NEW}
