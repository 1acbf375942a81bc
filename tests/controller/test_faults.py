"""Authorities that cannot be used, a ledger that was tampered with, a stop amid work."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from e2e.install import install, operator, start_operator
from e2e.providers import DevCluster
from tests.support.api import Api, condition, until
from tests.support.manifests import agent_class, identity, issuer
from tests.support.probing import leads, metric, ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

SYSTEM = "agentid-system"
SECRET = "reader-agentid"
Json = dict[str, Any]


@pytest.fixture
def alone(api: Api, tmp_path: Path) -> Iterator[Api]:
    """A cluster of the test's own, for what would trouble others."""
    if api.cluster.name != "devcluster":
        pytest.fail("this test damages the cluster, so it needs one of its own: CLUSTER=devcluster")
    devcluster = DevCluster(tmp_path / "alone")
    try:
        cluster = devcluster.up()
        install(cluster)
        made = Api(cluster)
        made.create("agentissuers", issuer())
        made.create("agentclasses", agent_class("reader"))
        yield made
    finally:
        devcluster.down()


def authority(api: Api, name: str) -> Json | None:
    """The Secret of an issuer's authorities, as the admin sees it."""
    command = ("get", "secret", f"agentid-ca-{name}", "-n", SYSTEM, "--ignore-not-found")
    told = api.cluster.kubectl(*command, "-o", "json").stdout
    found: Json | None = json.loads(told) if told else None
    return found


def ready_of(api: Api, name: str) -> Json:
    """The condition Ready of an issuer."""
    body = api.object("agentissuers", name) or {}
    return condition(body.get("status") or {}, "Ready")


def restored(secret: Json) -> str:
    """A Secret as a backup holds it."""
    about = {"name": secret["metadata"]["name"], "namespace": secret["metadata"]["namespace"]}
    return json.dumps(secret | {"metadata": about | {"labels": secret["metadata"]["labels"]}})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param({"root.crt": b"-----BEGIN CERTIFICATE-----\n"}, "root-", id="truncated"),
        pytest.param({"issuing.key": None}, ".key: it is missing", id="file-missing"),
        pytest.param({"issuing.key": "root.key"}, "it is not the private key of", id="wrong-key"),
    ],
)
def test_damaged_authorities_are_told_and_left_as_they_are(
    api: Api, namespace: str, damage: dict[str, Any], said: str
) -> None:
    """Nothing is signed and nothing overwritten; once the Secret is mended, work goes on."""
    name = f"issuer-{namespace}"
    api.create("agentissuers", issuer(name, trustDomain=f"{namespace}.test"))
    api.create("agentclasses", agent_class(name, issuerName=name))
    api.free_lease()
    with operator(api.cluster, "before"):
        until("the issuer", lambda: ready_of(api, name).get("status") == "True")
    whole = authority(api, name)
    assert whole is not None
    data = dict(whole["data"])

    def stored(file: str) -> str:
        """The file of this role and ending: the ids of authorities stand between."""
        role, ending = file.split(".")
        (found,) = (name for name in data if name.startswith(role) and name.endswith(ending))
        return str(found)

    for file, content in damage.items():
        if content is None:
            del data[stored(file)]
        else:
            source = data[stored(content)] if isinstance(content, str) else None
            data[stored(file)] = source or base64.b64encode(content).decode()
    api.cluster.kubectl("replace", "--force", "-f", "-", stdin=restored(whole | {"data": data}))
    damaged = authority(api, name)
    api.create("agentidentities", identity("reader", name), namespace)
    api.free_lease()
    with operator(api.cluster, "after"):
        until("the fault", lambda: ready_of(api, name).get("reason") == "AuthorityInvalid")
        message = ready_of(api, name)["message"]
        assert f"Secret {SYSTEM}/agentid-ca-{name}" in message
        assert said in message
        told = api.until_reason(namespace, "reader", "Ready", "IssuerNotReady")
        assert said in told["message"]
        assert authority(api, name) == damaged
        assert [
            each["role"]
            for each in (api.object("agentissuers", name) or {})["status"]["authorities"]
        ] == ["Root", "Issuing"], "they are remembered"
        api.cluster.kubectl("replace", "--force", "-f", "-", stdin=restored(whole))
        api.until_ready(namespace, "reader", 60)
        until("the issuer", lambda: ready_of(api, name).get("status") == "True")


def test_lost_authorities_are_not_made_anew(api: Api, namespace: str) -> None:
    """A root that verifiers trust is not exchanged for another one without anybody's asking."""
    name = f"issuer-{namespace}"
    api.create("agentissuers", issuer(name, trustDomain=f"{namespace}.test"))
    api.free_lease()
    with operator(api.cluster, "before"):
        until("the issuer", lambda: ready_of(api, name).get("status") == "True")
    whole = authority(api, name)
    assert whole is not None
    api.cluster.kubectl("delete", "secret", f"agentid-ca-{name}", "-n", SYSTEM)
    api.free_lease()
    with operator(api.cluster, "after"):
        until("the fault", lambda: ready_of(api, name).get("reason") == "AuthorityInvalid")
        assert "restore it from a backup" in ready_of(api, name)["message"]
        assert authority(api, name) is None
        api.cluster.kubectl("create", "-f", "-", stdin=restored(whole))
        until("the issuer", lambda: ready_of(api, name).get("status") == "True", 60)


def test_a_flipped_byte_on_the_ledger_is_found(alone: Api) -> None:
    """At the next start: an alarm that stands, a log line, and exit code 1 of `ledger verify`."""
    kubectl = alone.cluster.kubectl
    with operator(alone.cluster, "before"):
        alone.create("agentidentities", identity("reader", "reader"), "default")
        alone.until_ready("default", "reader")
        serial = alone.serial("default", "reader")
        alone.patch("agentidentities", "reader", {"spec": {"purpose": "Another"}}, "default")
    selected = ("get", "configmaps", "-n", SYSTEM, "-l", "agentid.dev/ledger=segment")
    segments = json.loads(kubectl(*selected, "-o", "json").stdout)["items"]
    segment = next(each for each in segments if serial in each["data"]["segment.jsonl"])
    text = segment["data"]["segment.jsonl"]
    segment["data"]["segment.jsonl"] = text.replace('"tier":"', '"tier":"x', 1).replace(
        "erp.invoices", "erp.invoicex", 1
    )
    assert segment["data"]["segment.jsonl"] != text
    controller = f"--as=system:serviceaccount:{SYSTEM}:agentid-controller"
    name = segment["metadata"]["name"]
    kubectl("delete", "configmap", name, "-n", SYSTEM, controller)
    kubectl("create", "-f", "-", controller, stdin=restored(segment))
    (port,) = ports(1)
    alone.free_lease()
    with operator(alone.cluster, "after", port) as running:
        until("leadership", lambda: leads(port))
        assert metric(port, "agentid_ledger_alarms") >= 1
        alone.until_ready("default", "reader")
        alone.delete("agentidentities", "reader", "default")
        until("the end", lambda: alone.identity("default", "reader") is None)
        log = running.log.read_text()
    assert "ledger_alarm" in log
    assert name in log
    verified = subprocess.run(
        [sys.executable, "-m", "agentid", "ledger", "verify"],
        env={**os.environ, "KUBECONFIG": str(alone.cluster.kubeconfig)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.returncode == 1, verified.stdout
    assert name in verified.stdout + verified.stderr


def test_asked_to_stop_in_the_middle_of_work_it_ends_in_order(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Exit code 0 within ten seconds of SIGTERM, and nothing on record that was never delivered."""
    name = make_class()
    api.free_lease()
    (port,) = ports(1)
    running = start_operator(api.cluster, "stopped", port)
    until("leadership", lambda: leads(port))
    for number in range(150):
        api.create("agentidentities", identity(f"reader-{number}", name), namespace)
    assert running.stop(10) == 0, running.log.read_text()[-3000:]
    log = running.log.read_text()
    assert "operator_stopped" in log
    assert "Traceback" not in log
    with operator(api.cluster, "after"):
        for number in range(150):
            api.until_ready(namespace, f"reader-{number}")
        ledger = api.ledger()
        for number in range(150):
            serial = api.serial(namespace, f"reader-{number}")
            assert ledger.unrevoked(namespace, f"reader-{number}") == [serial]
            assert api.delivered(namespace, f"reader-{number}-agentid") == serial


def test_a_clock_that_is_set_forward_and_back(
    api: Api, namespace: str, make_class: Callable[..., str], tmp_path: Path
) -> None:
    """Renewals catch up; at no time does a certificate stay that its clock says is not valid."""
    name = make_class(lifetime="1h")
    skew = tmp_path / "skew"
    skew.write_text("0")
    api.free_lease()
    running = start_operator(
        api.cluster,
        "skewed",
        module="tests.support.skewed",
        environment={"CLOCK_SKEW": str(skew)},
    )
    try:
        api.create("agentidentities", identity("reader", name), namespace)
        api.until_ready(namespace, "reader")
        serials = [api.serial(namespace, "reader")]
        for step in ("3600", "0"):
            skew.write_text(step)
            until(
                f"a certificate by a clock {step} s ahead",
                lambda: api.serial(namespace, "reader") not in serials,
                90,
            )
            serials.append(api.serial(namespace, "reader"))
        first, ahead, last = serials
        until("the end of the one not valid yet", lambda: ahead in api.ledger().revoked)
        ledger = api.ledger()
        validity = ledger.issued[last].not_after - ledger.issued[last].not_before
        assert validity <= timedelta(hours=1, minutes=1)
        assert ledger.issued[last].not_before <= datetime.now(UTC) < ledger.issued[last].not_after
        assert first not in ledger.revoked, "it was renewed, and no more"
        assert api.delivered(namespace, SECRET) == last
        newest = ledger.of(namespace, "reader")[-1]
        assert str(newest.serial) == ahead, "the times on records are no order"
        assert len(ledger.of(namespace, "reader")) == len(serials), "each step costs one serial"
    finally:
        assert running.stop(10) == 0, running.log.read_text()[-3000:]
