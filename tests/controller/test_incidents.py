"""Incidents on a real API server: told, executed once, held, released, and lost in no crash."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from e2e.install import operator, start_operator
from tests.support.api import condition, until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.api import Api

pytestmark = pytest.mark.integration

SECRET = "reader-agentid"
MANY = 300

_numbers = itertools.count(1)

Json = dict[str, Any]
Declare = "Callable[..., str]"


@pytest.fixture
def declare(api: Api) -> Iterator[Callable[..., str]]:
    """Makes AgentRevocations that go with the test; takes fields of the spec."""
    made: list[str] = []

    def make(**spec: object) -> str:
        name = f"incident-{next(_numbers)}"
        fields = {"reason": "keyCompromise", "explanation": "A laptop was stolen", **spec}
        api.create("agentrevocations", {"metadata": {"name": name}, "spec": fields})
        made.append(name)
        return name

    yield make
    for name in made:
        if api.object("agentrevocations", name) is not None:
            api.delete("agentrevocations", name)


def status_of(api: Api, name: str) -> Json:
    """The status of an incident."""
    found = api.object("agentrevocations", name) or {}
    status: Json = found.get("status") or {}
    return status


def until_phase(api: Api, name: str, phase: str, seconds: float = 40) -> Json:
    """Wait until an incident has come so far, and return its status."""
    until(f"{name} {phase}", lambda: status_of(api, name).get("phase") == phase, seconds)
    return status_of(api, name)


def actor(api: Api, name: str) -> str:
    """Who stands on the records of an incident."""
    body = api.object("agentrevocations", name)
    assert body is not None
    return f"AgentRevocation {name} ({body['metadata']['uid']})"


def revoked_by(api: Api, who: str) -> set[str]:
    """Serials that somebody revoked."""
    return {serial for serial, each in api.ledger().revoked.items() if each.actor == who}


def settled(api: Api, namespace: str, class_name: str, name: str = "reader", **labels: str) -> str:
    """Create an identity, wait for its certificate, and return the serial."""
    body = identity(name, class_name)
    body["metadata"]["labels"] = labels
    api.create("agentidentities", body, namespace)
    api.until_ready(namespace, name)
    return api.serial(namespace, name)


# First, since no operator runs yet that the module shares.
def test_killed_amid_an_incident_it_forgets_nobody(
    api: Api,
    namespace: str,
    make_class: Callable[..., str],
    declare: Callable[..., str],
    tmp_path: Path,
) -> None:
    """SIGKILL amid 300 identities, twice: each serial is revoked once, and all get another one."""
    of_class = make_class(lifetime="8h")
    names = [f"agent-{number:03}" for number in range(MANY)]
    api.free_lease()
    with operator(api.cluster, "before"):
        for each in names:
            api.create("agentidentities", identity(each, of_class), namespace)
        for each in names:
            api.until_ready(namespace, each, 120)
    before = {api.serial(namespace, each) for each in names}
    assert len(before) == MANY
    name = declare(select={"namespaces": [namespace]}, dryRun=False)
    # First the cut-off is written and the ledger is not; then amid the new certificates.
    for at, done in ((2, set()), (60, before)):
        api.free_lease()
        crashing = start_operator(
            api.cluster,
            f"incident-crashing-{at}",
            module="tests.support.crashing",
            environment={
                "CRASH_AT": str(at), "CRASH": "before", "CRASH_COUNT": str(tmp_path / "writes"),
            },
        )  # fmt: skip
        try:
            assert crashing.process.wait(60) == -9, crashing.log.read_text()[-3000:]
        finally:
            crashing.process.kill()
            crashing.process.wait()
        assert revoked_by(api, actor(api, name)) == done
        assert status_of(api, name)["phase"] == "Executing"
    started = status_of(api, name)["startedAt"]
    api.free_lease()
    with operator(api.cluster, "after"):
        end = until_phase(api, name, "Executed", 60)
        assert (end["matched"], end["revoked"], end["identities"]) == (MANY, MANY, MANY)
        assert end["startedAt"] == started
        assert (len(end["hits"]), end["more"]) == (50, MANY - 50)
        until(
            "new certificates for all",
            lambda: all(
                api.status(namespace, each).get("certificate", {}).get("serial", "") not in before
                for each in names
            ),
            120,
        )
        for each in names:
            api.until_ready(namespace, each, 60)
    assert revoked_by(api, actor(api, name)) == before


@pytest.mark.usefixtures("running")
def test_an_incident_from_dry_run_to_release(
    api: Api,
    make_namespace: Callable[[], str],
    make_class: Callable[..., str],
    declare: Callable[..., str],
) -> None:
    """What is told is what is hit; who is held gets nothing until the release, nor does who is new.

    What is outside of it stays as it was.
    """
    namespace, elsewhere, of_class = make_namespace(), make_namespace(), make_class()
    hit = settled(api, namespace, of_class, team="red")
    spared = settled(api, namespace, of_class, "writer", team="blue")
    other = settled(api, elsewhere, of_class, team="red")
    select = {"namespaces": [namespace], "labelSelector": {"matchLabels": {"team": "red"}}}
    name = declare(select=select, hold=True, contact="soc@example.com")

    told = until_phase(api, name, "DryRun")
    assert (told["matched"], told["identities"], told["revoked"]) == (1, 1, 0)
    (shown,) = told["hits"]
    assert (shown["namespace"], shown["name"], shown["serial"]) == (namespace, "reader", hit)
    assert shown["why"] == f"namespace {namespace}, labels"
    assert shown["spiffeID"] == f"spiffe://agents.test/ns/{namespace}/agent/reader"
    assert condition(told, "Ready")["reason"] == "DryRun"
    assert revoked_by(api, actor(api, name)) == set()

    api.patch("agentrevocations", name, {"spec": {"dryRun": False}})
    until("the revocation", lambda: revoked_by(api, actor(api, name)) == {hit}, 5)
    ready = api.until_reason(namespace, "reader", "Ready", "Held")
    assert ready["status"] == "False"
    assert ready["message"].startswith(f"AgentRevocation {name} (A laptop was stolen) holds")
    assert "Ask soc@example.com" in ready["message"]
    assert api.condition(namespace, "reader", "Stalled")["reason"] == "Held"
    until("the empty Secret", lambda: api.delivered(namespace, SECRET) == "")
    assert api.ledger().unrevoked(namespace, "reader") == []

    late = identity("late", of_class)
    late["metadata"]["labels"] = {"team": "red"}
    api.create("agentidentities", late, namespace)
    api.until_reason(namespace, "late", "Ready", "Held")
    done = until_phase(api, name, "Executed")
    assert (done["matched"], done["revoked"], done["progress"]) == (1, 1, 100)
    assert condition(done, "Ready")["status"] == "True"
    assert condition(done, "Reconciling") == {}

    api.patch("agentrevocations", name, {"spec": {"release": True}})
    until_phase(api, name, "Released")
    for each in ("reader", "late"):
        api.until_ready(namespace, each)
    assert api.serial(namespace, "reader") not in {"", hit}
    assert api.delivered(namespace, SECRET) == api.serial(namespace, "reader")
    assert revoked_by(api, actor(api, name)) == {hit}
    assert api.serial(namespace, "writer") == spared
    assert api.serial(elsewhere, "reader") == other
    assert not {spared, other} & api.ledger().revoked.keys()


@pytest.mark.usefixtures("running")
def test_without_a_hold_a_new_certificate_comes_at_once(
    api: Api, namespace: str, make_class: Callable[..., str], declare: Callable[..., str]
) -> None:
    """Executed as it is created; the new certificate is not hit, nor is one after the end."""
    of_class = make_class()
    hit = settled(api, namespace, of_class)
    name = declare(select={"classNames": [of_class]}, dryRun=False)
    until("another certificate", lambda: api.serial(namespace, "reader") not in {"", hit}, 10)
    new = api.serial(namespace, "reader")
    until_phase(api, name, "Executed")
    settled(api, namespace, of_class, "writer")
    assert api.serial(namespace, "reader") == new == api.delivered(namespace, SECRET)
    assert revoked_by(api, actor(api, name)) == {hit}
    assert api.ledger().revoked[hit].reason == "keyCompromise"


@pytest.mark.usefixtures("running")
def test_a_hold_by_serial_ends_with_its_object(
    api: Api, namespace: str, make_class: Callable[..., str], declare: Callable[..., str]
) -> None:
    """Who was hit is held by name, nobody else; deleting the object lets go and revives nothing."""
    of_class = make_class()
    hit = settled(api, namespace, of_class)
    spared = settled(api, namespace, of_class, "writer")
    name = declare(select={"serials": [hit.upper()]}, dryRun=False, hold=True)
    api.until_reason(namespace, "reader", "Ready", "Held")
    assert status_of(api, name)["held"] == [{"namespace": namespace, "name": "reader"}]
    who = actor(api, name)
    until_phase(api, name, "Executed")
    api.delete("agentrevocations", name)
    api.until_ready(namespace, "reader")
    assert api.serial(namespace, "reader") not in {"", hit}
    assert revoked_by(api, who) == {hit}
    assert api.serial(namespace, "writer") == spared
