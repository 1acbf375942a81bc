"""What a class limits, on a real API server: places of identities, and certificates a minute."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from e2e.install import operator
from tests.support.api import until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api

pytestmark = pytest.mark.integration


def reason(api: Api, namespace: str, name: str) -> str:
    """Of the condition Ready."""
    found: str = api.condition(namespace, name, "Ready").get("reason", "")
    return found


def made_for(api: Api, namespace: str) -> int:
    """How many certificates are on record for a namespace."""
    return sum(each.namespace == namespace for each in api.ledger().issued.values())


@pytest.mark.usefixtures("running")
def test_beyond_its_places_an_identity_waits_and_comes_when_one_goes(
    api: Api, make_namespace: Callable[[], str], make_class: Callable[..., str]
) -> None:
    """It is told the numbers, takes nothing from another namespace, and proceeds by itself."""
    red, blue = make_namespace(), make_namespace()
    name = make_class(limits={"identities": 3, "identitiesPerNamespace": 2})
    for number in (1, 2):
        api.create("agentidentities", identity(f"agent-{number}", name), red)
        api.until_ready(red, f"agent-{number}")
    api.create("agentidentities", identity("agent-3", name), red)
    ready = api.until_reason(red, "agent-3", "Ready", "QuotaExceeded")
    assert "to 2 (spec.limits.identitiesPerNamespace)" in ready["message"]
    assert api.condition(red, "agent-3", "Reconciling")["status"] == "True"
    assert api.files(red, "agent-3-agentid") is None
    api.create("agentidentities", identity("agent-1", name), blue)
    api.until_ready(blue, "agent-1")
    api.create("agentidentities", identity("agent-2", name), blue)
    ready = api.until_reason(blue, "agent-2", "Ready", "QuotaExceeded")
    assert "to 3 (spec.limits.identities)" in ready["message"]
    assert api.ledger().of(blue, "agent-2") == api.ledger().of(red, "agent-3") == []
    # agent-3 is older, so that the place is its own; suspending frees one as deleting does.
    patch = {"spec": {"suspend": True}}
    api.patch("agentidentities", "agent-1", patch, red)
    api.until_ready(red, "agent-3")
    assert reason(api, blue, "agent-2") == "QuotaExceeded"
    api.delete("agentidentities", "agent-2", red)
    api.until_ready(blue, "agent-2")
    api.patch("agentidentities", "agent-1", {"spec": {"suspend": False}}, red)
    api.until_reason(red, "agent-1", "Ready", "QuotaExceeded")
    api.patch("agentclasses", name, {"spec": {"limits": {"identities": 4}}})
    api.until_ready(red, "agent-1")


@pytest.mark.usefixtures("running")
def test_turning_to_a_full_class_gives_nothing_of_it(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """It stays Ready with what it has of its old class, and gets no other certificate."""
    wide, full = make_class(), make_class(limits={"identities": 0})
    api.create("agentidentities", identity("reader", wide), namespace)
    api.until_ready(namespace, "reader")
    serial = api.serial(namespace, "reader")
    api.patch("agentidentities", "reader", {"spec": {"className": full}}, namespace)
    api.until_reason(namespace, "reader", "Reconciling", "QuotaExceeded")
    assert api.condition(namespace, "reader", "Ready")["status"] == "True"
    assert api.serial(namespace, "reader") == serial
    assert made_for(api, namespace) == 1


@pytest.mark.usefixtures("running")
def test_churning_is_no_way_around_the_rate(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Whatever a tenant creates, deletes, suspends or asks for; what waits has its turn."""
    name = make_class(limits={"issuancesPerMinutePerNamespace": 3})
    began = time.monotonic()
    for number in range(3):
        api.create("agentidentities", identity(f"agent-{number}", name), namespace)
        api.until_ready(namespace, f"agent-{number}")
    for number in range(3):
        api.create("agentidentities", identity(f"late-{number}", name), namespace)
        api.until_reason(namespace, f"late-{number}", "Ready", "RateLimited")
    now = datetime.now(UTC) + timedelta(seconds=1)
    asked = {"agentid.dev/renew-requested": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    api.patch("agentidentities", "agent-0", {"metadata": {"annotations": asked}}, namespace)
    reconciling = api.until_reason(namespace, "agent-0", "Reconciling", "RateLimited")
    assert "to 3 a minute" in reconciling["message"]
    assert api.condition(namespace, "agent-0", "Ready")["status"] == "True"
    for suspend in (True, False):
        api.patch("agentidentities", "agent-1", {"spec": {"suspend": suspend}}, namespace)
        expected = "Suspended" if suspend else "RateLimited"
        api.until_reason(namespace, "agent-1", "Ready", expected)
    api.delete("agentidentities", "agent-2", namespace)
    until("its end", lambda: api.identity(namespace, "agent-2") is None)
    for again in ("agent-2", "renamed"):
        api.create("agentidentities", identity(again, name), namespace)
        api.until_reason(namespace, again, "Ready", "RateLimited")
    if time.monotonic() - began < 55:
        assert made_for(api, namespace) == 3
    for number in range(3):
        api.until_ready(namespace, f"late-{number}", 90)


def test_a_restart_gives_neither_places_nor_a_fresh_minute(
    api: Api, make_namespace: Callable[[], str], make_class: Callable[..., str]
) -> None:
    """Who had a place keeps it, also beyond a lower limit; who waited is not written to."""
    fast, full = make_namespace(), make_namespace()
    rated = make_class(limits={"issuancesPerMinutePerNamespace": 2})
    placed = make_class(limits={"identities": 2}, delivery={"modes": ["Secret", "PodCertificate"]})
    api.free_lease()
    with operator(api.cluster, "before-limits"):
        for number in (1, 2):
            api.create("agentidentities", identity(f"agent-{number}", placed), full)
            api.until_ready(full, f"agent-{number}")
        api.create("agentidentities", identity("agent-3", placed), full)
        api.until_reason(full, "agent-3", "Ready", "QuotaExceeded")
        began = time.monotonic()
        for number in (1, 2):
            api.create("agentidentities", identity(f"agent-{number}", rated), fast)
            api.until_ready(fast, f"agent-{number}")
        before = api.identity(full, "agent-3")
    api.create("agentidentities", identity("agent-3", rated), fast)
    api.create("agentidentities", identity("agent-4", placed), full)
    with operator(api.cluster, "after-limits"):
        api.until_reason(full, "agent-4", "Ready", "QuotaExceeded")
        api.until_reason(fast, "agent-3", "Ready", "RateLimited")
        assert time.monotonic() - began < 60, "the minute is over before it could be seen"
        assert made_for(api, fast) == made_for(api, full) == 2
        for number in (1, 2):
            assert api.condition(full, f"agent-{number}", "Ready")["status"] == "True"
        after = api.identity(full, "agent-3")
        assert before is not None
        assert after is not None
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        api.until_ready(fast, "agent-3", 90)
        api.patch("agentclasses", placed, {"spec": {"limits": {"identities": 1}}})
        until(
            "the lower limit",
            lambda: "to 1 (" in api.condition(full, "agent-3", "Ready")["message"],
        )
        for number in (1, 2):
            assert api.condition(full, f"agent-{number}", "Ready")["status"] == "True"
        api.delete("agentidentities", "agent-1", full)
        until("its end", lambda: api.identity(full, "agent-1") is None)
        assert reason(api, full, "agent-3") == "QuotaExceeded", "one is all that there may be"
        api.delete("agentidentities", "agent-2", full)
        api.until_ready(full, "agent-3")
        assert reason(api, full, "agent-4") == "QuotaExceeded"
