"""The crash sweep: killed at every write of a life, the operator converges and forgets nothing."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.pki.crl import read_crl
from e2e.install import operator, start_operator
from tests.support.api import condition, until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.pki.crl_view import CrlView
    from tests.support.api import Api

pytestmark = pytest.mark.integration

SECRET = "reader-agentid"
KILLED = -9

ISSUANCE = ["create configmaps", "create secrets", "update agentidentities/status"]
RENEWAL = ["create configmaps", "update secrets", "update agentidentities/status"]
SUSPENSION = RENEWAL
DELETION = ["create configmaps", "patch agentidentities"]

_replicas = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def quiet(api: Api) -> None:
    """Nothing of other tests is left for an operator to write about."""
    api.free_lease()
    with operator(api.cluster, "quiet"):
        for body in api.identities():
            metadata = body["metadata"]
            if "deletionTimestamp" not in metadata:
                api.delete("agentidentities", metadata["name"], metadata["namespace"])
        until("the end of all identities", lambda: not api.identities(), 60)


def ready(api: Api, namespace: str, class_name: str) -> None:
    """Bring the identity `reader` to Ready by an operator that nothing happens to."""
    api.create("agentidentities", identity("reader", class_name), namespace)
    api.free_lease()
    with operator(api.cluster, "undisturbed"):
        api.until_ready(namespace, "reader")


def create(api: Api, namespace: str, class_name: str) -> None:
    """Ask for a first certificate while no operator runs, of a class that one has looked at."""
    api.free_lease()
    with operator(api.cluster, "undisturbed"):
        until("the class", lambda: class_is_ready(api, class_name))
    api.create("agentidentities", identity("reader", class_name), namespace)


def class_is_ready(api: Api, name: str) -> bool:
    """Whether an operator has told that a class can be used."""
    body = api.object("agentclasses", name) or {}
    return condition(body.get("status") or {}, "Ready").get("status") == "True"


def renew(api: Api, namespace: str, class_name: str) -> None:
    """Ask for a renewal while no operator runs."""
    ready(api, namespace, class_name)
    asked = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    patch = {"metadata": {"annotations": {"agentid.dev/renew-requested": asked}}}
    api.patch("agentidentities", "reader", patch, namespace)


def suspend(api: Api, namespace: str, class_name: str) -> None:
    """Suspend while no operator runs."""
    ready(api, namespace, class_name)
    api.patch("agentidentities", "reader", {"spec": {"suspend": True}}, namespace)


def delete(api: Api, namespace: str, class_name: str) -> None:
    """Delete while no operator runs."""
    ready(api, namespace, class_name)
    api.delete("agentidentities", "reader", namespace)


def crash(api: Api, namespace: str, count: Path, at: int, when: str, **more: str) -> list[str]:
    """Run an operator that kills itself at a write, and return the writes up to then.

    What it writes elsewhere, such as a serving certificate of its own, is not counted.
    """
    api.free_lease()
    count.unlink(missing_ok=True)
    variables = {"CRASH_AT": str(at), "CRASH": when, "CRASH_COUNT": str(count), **more}
    crashing = start_operator(
        api.cluster,
        f"crashing-{next(_replicas)}",
        module="tests.support.crashing",
        environment={"CRASH_IN": namespace, **variables},
    )
    try:
        assert crashing.process.wait(30) == KILLED, crashing.log.read_text()[-3000:]
    finally:
        crashing.process.kill()
        crashing.process.wait()
    return count.read_text().splitlines()


def delivered_is_on_record(api: Api, namespace: str) -> None:
    """Promise 3, at this very moment: what lies in the Secret is on the ledger."""
    serial = api.delivered(namespace, SECRET)
    assert serial == "" or serial in api.ledger().issued


def issued(api: Api, namespace: str, before: list[str]) -> None:
    """One certificate is in use; what was made on the way to it and never used is revoked."""
    api.until_ready(namespace, "reader")

    def converged() -> bool:
        serial = api.serial(namespace, "reader")
        kept = api.ledger().unrevoked(namespace, "reader")
        return api.delivered(namespace, SECRET) == serial and kept == [*before, serial]

    until("one certificate in use and no stray one", converged)


def suspended(api: Api, namespace: str, before: list[str]) -> None:
    """Nothing is in force, and nothing lies in the Secret."""
    api.until_reason(namespace, "reader", "Suspended", "Suspended")
    assert api.ledger().unrevoked(namespace, "reader") == []
    assert set(before) <= api.ledger().revoked.keys()
    assert api.delivered(namespace, SECRET) == ""


def gone(api: Api, namespace: str, before: list[str]) -> None:
    """The object is gone, and everything it held is revoked."""
    until("the end", lambda: api.identity(namespace, "reader") is None)
    assert api.ledger().unrevoked(namespace, "reader") == []
    assert set(before) <= api.ledger().revoked.keys()


@dataclass(frozen=True)
class Life:
    """A stretch of an identity's life: how it begins, what it writes, and how it has to end."""

    bring_about: Callable[[Api, str, str], None]
    writes: list[str]
    check: Callable[[Api, str, list[str]], None]


LIVES = {
    "create": Life(create, ISSUANCE, issued),
    "renew": Life(renew, RENEWAL, issued),
    "suspend": Life(suspend, SUSPENSION, suspended),
    "delete": Life(delete, DELETION, gone),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("life", "at"),
    [
        pytest.param(life, number, id=f"{name}-{number}")
        for name, life in LIVES.items()
        for number in range(1, len(life.writes) + 1)
    ],
)
def test_killed_at_a_write_it_converges(
    api: Api,
    namespace: str,
    make_class: Callable[..., str],
    tmp_path: Path,
    life: Life,
    at: int,
    when: str,
) -> None:
    """SIGKILL before or after any write loses no revocation, no serial and no certificate."""
    life.bring_about(api, namespace, make_class())
    before = api.ledger().unrevoked(namespace, "reader")
    made = crash(api, namespace, tmp_path / "writes", at, when)
    assert made == life.writes[:at], "the sweep covers exactly the writes of this life"
    delivered_is_on_record(api, namespace)
    api.free_lease()
    with operator(api.cluster, "after"):
        life.check(api, namespace, before)
        delivered_is_on_record(api, namespace)
        # Leave nothing for the operators of later tests to write about.
        if api.identity(namespace, "reader") is not None:
            api.delete("agentidentities", "reader", namespace)
            gone(api, namespace, before)


def test_suspended_before_any_status_told_of_its_secret_it_is_emptied(
    api: Api, namespace: str, make_class: Callable[..., str], tmp_path: Path
) -> None:
    """Promise 4: killed between Secret and status, and suspended: nothing stays in the Secret."""
    create(api, namespace, make_class())
    assert crash(api, namespace, tmp_path / "writes", 3, "before") == ISSUANCE
    serial = api.delivered(namespace, SECRET)
    assert serial
    suspend_now = {"spec": {"suspend": True}}
    api.patch("agentidentities", "reader", suspend_now, namespace)
    api.free_lease()
    with operator(api.cluster, "after"):
        suspended(api, namespace, [serial])
        api.delete("agentidentities", "reader", namespace)
        gone(api, namespace, [serial])


def crls(api: Api) -> list[CrlView]:
    """All CRLs that are published."""
    told = api.cluster.kubectl(
        "get", "configmaps", "-n", "agentid-system", "-l", "agentid.dev/publication=crl",
        "-o", "json",
    ).stdout  # fmt: skip
    items = json.loads(told)["items"]
    return [read_crl(base64.b64decode(each["binaryData"]["crl"])) for each in items]


def crl_of(api: Api, serial: str) -> CrlView | None:
    """The CRL that names a certificate, if any does."""
    return next((one for one in crls(api) if any(str(e.serial) == serial for e in one)), None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_as_it_publishes_a_crl_it_publishes_it_once(
    api: Api, namespace: str, make_class: Callable[..., str], tmp_path: Path, when: str
) -> None:
    """Promise 4: what is on the ledger comes onto the CRL, and no number is given twice."""
    ready(api, namespace, make_class())
    api.free_lease()
    with operator(api.cluster, "undisturbed"):
        until("eight shards and the root", lambda: len(crls(api)) > 8)
    api.delete("agentidentities", "reader", namespace)
    (serial,) = api.ledger().unrevoked(namespace, "reader")
    assert crl_of(api, serial) is None
    assert crash(api, namespace, tmp_path / "writes", 1, when, CRASH_OF="crls") == [
        "update configmaps"
    ]
    left = crl_of(api, serial)
    assert (left is None) is (when == "before")
    api.free_lease()
    with operator(api.cluster, "after"):
        gone(api, namespace, [serial])
        until("the CRL", lambda: crl_of(api, serial) is not None)
        found = crl_of(api, serial)
        assert left is None or (found is not None and found.number == left.number)
