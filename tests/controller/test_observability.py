"""What a running operator says of itself: audit events, traces, Events, metrics; nothing twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.install import responder, start_operator
from monitoring.documented import Family, documented
from tests.support.api import condition, until
from tests.support.auditing import read_events
from tests.support.collecting import collecting
from tests.support.manifests import identity, issuer
from tests.support.probing import ask, leads, metric, ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.install import Operator
    from tests.support.api import Api
    from tests.support.collecting import Collector

pytestmark = pytest.mark.integration

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """An operator, and where it says what it does.

    Attributes:
        operator: It; its log has nothing but logs.
        audit: The file of its audit stream, by a link that leads there.
        collector: Takes its traces.
    """

    operator: Operator
    audit: Path
    collector: Collector

    def events(self, namespace: str) -> list[Json]:
        """The audit events about identities of a namespace."""
        every = read_events(self.audit.read_bytes())
        return [event for event in every if event["object"].get("namespace") == namespace]


@pytest.fixture(scope="module")
def observed(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """An operator with everything turned on."""
    directory = tmp_path_factory.mktemp("observed")
    (directory / "audit.jsonl").touch()
    link = directory / "link"
    link.symlink_to("audit.jsonl")
    (port,) = ports(1)
    with collecting() as collector, contextlib.ExitStack() as stack:
        environment = {
            "AGENTID_AUDIT": str(link),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=platform",
            "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=test",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        started = start_operator(api.cluster, "observed", port, environment=environment)
        stack.callback(started.stop)
        until("the operator leads", lambda: leads(port), 60)
        yield Observed(started, link, collector)
        assert started.process.poll() is None, started.log.read_text()[-4000:]
        assert "agentid.dev/audit" not in started.log.read_text()


def kubernetes_events(api: Api, namespace: str, name: str) -> list[Json]:
    """Events about an object of ours, as `kubectl describe` shows them.

    Others write Events too, some about nothing that has a name.
    """
    told = api.cluster.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "json").stdout
    found: list[Json] = json.loads(told)["items"]
    return [
        each
        for each in found
        if each["regarding"].get("name") == name and each["regarding"]["kind"].startswith("Agent")
    ]


def test_an_issuance_is_one_trace(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """From the event to the status, each step within the whole and after the one before it."""
    name = f"traced-{namespace}"
    api.create("agentidentities", identity(name, make_class()), namespace)
    api.until_ready(namespace, name)
    until("the trace", lambda: observed.collector.traces_of(name))
    ((root, *steps),) = observed.collector.traces_of(name)
    assert root.name == "issue"
    assert root.parent == b""
    assert not root.error
    steps.sort(key=lambda step: (step.begin, -step.end))
    assert [step.name for step in steps if step.name != "judge"] == [
        "queue wait", "gather", "sign", "ledger commit", "secret write", "status write",
    ]  # fmt: skip
    assert "judge" in {step.name for step in steps}
    for step in steps:
        assert root.begin <= step.begin <= step.end <= root.end
        assert step.trace == root.trace
    assert root.about == {
        "agentid.namespace": namespace,
        "agentid.name": name,
        "agentid.spiffe_id": f"spiffe://agents.test/ns/{namespace}/agent/{name}",
        "agentid.serial": api.serial(namespace, name),
        "agentid.class_name": root.about["agentid.class_name"],
        "agentid.issuer": "test",
        "agentid.tier": "Low",
        "agentid.cause": "first",
    }
    assert root.resource["service.name"] == "agentid-operator"
    assert root.resource["service.instance.id"] == "observed"
    assert root.resource["k8s.cluster.name"] == "test"
    assert observed.collector.headers["x-team"] == "platform"


def test_looks_that_do_nothing_are_no_traces(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """A collector is for what happened."""
    name = f"calm-{namespace}"
    api.create("agentidentities", identity(name, make_class()), namespace)
    api.until_ready(namespace, name)
    for number in range(3):
        labels = {"metadata": {"labels": {"touched": str(number)}}}
        api.patch("agentidentities", name, labels, namespace)
    other = f"after-{namespace}"
    api.create("agentidentities", identity(other, make_class()), namespace)
    until("a later trace", lambda: observed.collector.traces_of(other))
    assert len(observed.collector.traces_of(name)) == 1


def test_an_issuance_is_one_audit_event(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """It names the object as judged, who wrote it by its own account, and the ledger's record."""
    class_name = make_class()
    api.create("agentidentities", identity("reader", class_name), namespace)
    api.until_ready(namespace, "reader")
    until("the event", lambda: observed.events(namespace))
    (event,) = observed.events(namespace)
    body = api.identity(namespace, "reader")
    assert body is not None
    (record,) = api.ledger().of(namespace, "reader")
    assert (event["decision"], event["reason"]) == ("Issued", "first")
    assert event["certificate"]["serial"] == str(record.serial) == api.serial(namespace, "reader")
    assert event["certificate"]["fingerprint"] == record.fingerprint
    assert event["grantHash"] == hashlib.sha256(record.grant.encode()).hexdigest()
    assert event["object"]["uid"] == body["metadata"]["uid"]
    assert event["object"]["generation"] == 1
    spec = json.dumps(body["spec"], sort_keys=True, separators=(",", ":")).encode()
    assert event["object"]["specHash"] == hashlib.sha256(spec).hexdigest()
    writers = [
        each["manager"]
        for each in body["metadata"]["managedFields"]
        if "f:spec" in each["fieldsV1"] and "subresource" not in each
    ]
    assert event["actor"] == {"name": "agentid-controller", "fieldManager": writers[0]}
    refs = {each["kind"]: each for each in event["inputs"]}
    found = api.object("agentclasses", class_name)
    assert found is not None
    assert refs["AgentClass"]["uid"] == found["metadata"]["uid"]
    assert refs["AgentIssuer"]["name"] == "test"


def test_a_life_is_told_in_order(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """Issued, taken by a suspension, issued anew, and revoked by the deletion."""
    api.create("agentidentities", identity("reader", make_class()), namespace)
    api.until_ready(namespace, "reader")
    api.patch("agentidentities", "reader", {"spec": {"suspend": True}}, namespace)
    api.until_reason(namespace, "reader", "Ready", "Suspended")
    api.patch("agentidentities", "reader", {"spec": {"suspend": False}}, namespace)
    api.until_ready(namespace, "reader")
    api.delete("agentidentities", "reader", namespace)
    until("its end", lambda: api.identity(namespace, "reader") is None)
    until("all events", lambda: len(observed.events(namespace)) == 5)
    assert [event["decision"] for event in observed.events(namespace)] == [
        "Issued", "Revoked", "Suspended", "Issued", "Revoked",
    ]  # fmt: skip
    told = {e["certificate"]["serial"] for e in observed.events(namespace) if "certificate" in e}
    revoked = {serial for serial in api.ledger().revoked if serial in told}
    assert revoked == told


def test_a_refusal_is_one_audit_event_and_one_event(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """However often it is looked at; another reason is another one, and success has none."""
    class_name = make_class(lifetime="1h")
    api.create("agentidentities", identity("reader", class_name, lifetime="2h"), namespace)
    api.create("agentidentities", identity("happy", class_name), namespace)
    api.until_ready(namespace, "happy")
    api.until_reason(namespace, "reader", "Stalled", "ExceedsClass")
    before = metric(observed.operator.port, "agentid_queue_wait_seconds_count")
    for number in range(5):
        labels = {"metadata": {"labels": {"touched": str(number)}}}
        api.patch("agentidentities", "reader", labels, namespace)
    until(
        "five looks",
        lambda: metric(observed.operator.port, "agentid_queue_wait_seconds_count") > before,
    )
    api.patch("agentidentities", "reader", {"spec": {"sponsor": None, "lifetime": "1h"}}, namespace)
    api.until_reason(namespace, "reader", "Stalled", "SponsorRequired")
    until("both Events", lambda: len(kubernetes_events(api, namespace, "reader")) == 2)
    events = kubernetes_events(api, namespace, "reader")
    assert {each["reason"] for each in events} == {"Stalled"}
    assert {each["type"] for each in events} == {"Warning"}
    assert {each["action"] for each in events} == {"Issue"}
    assert sum("spec.lifetime" in each["note"] for each in events) == 1
    assert sum("spec.sponsor" in each["note"] for each in events) == 1
    assert all("series" not in each for each in events)
    assert kubernetes_events(api, namespace, "happy") == []
    refused = [e for e in observed.events(namespace) if e["decision"] == "Refused"]
    assert [event["reason"] for event in refused] == ["ExceedsClass", "SponsorRequired"]
    assert refused[0]["violations"]
    described = api.cluster.kubectl("describe", "agentidentity", "reader", "-n", namespace).stdout
    assert re.search(r"Warning +Stalled", described)


def test_an_executed_incident_is_an_event(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """About an object of the cluster, so in the namespace default; with what it hit."""
    api.create("agentidentities", identity("reader", make_class()), namespace)
    api.until_ready(namespace, "reader")
    name = f"incident-{namespace}"
    spec = {
        "reason": "keyCompromise", "explanation": "A test", "contact": "security@example.com",
        "dryRun": False, "select": {"namespaces": [namespace]},
    }  # fmt: skip
    api.create("agentrevocations", {"metadata": {"name": name}, "spec": spec})
    until("the Event", lambda: kubernetes_events(api, "default", name), 60)
    (event,) = kubernetes_events(api, "default", name)
    assert (event["reason"], event["type"]) == ("IncidentExecuted", "Normal")
    assert "1 certificate of 1 identity revoked" in event["note"]
    told = [e for e in read_events(observed.audit.read_bytes()) if e["object"]["name"] == name]
    # Before them its first key for tokens began to sign.
    told = told[-3:]
    assert [each["decision"] for each in told] == ["IncidentStarted", "IncidentExecuted"]
    assert told[1]["counts"]["revoked"] == 1


def test_a_distrusted_authority_is_an_event_when_it_is_done(
    api: Api, observed: Observed, namespace: str
) -> None:
    """With the steps in the audit stream."""
    name = f"issuer-{namespace}"
    spec = {"trustDomain": f"{namespace}.test", "rotation": {"propagationTime": "1s"}}
    api.create("agentissuers", issuer(name, **spec))

    def authorities() -> list[Json]:
        status: Json = (api.object("agentissuers", name) or {}).get("status") or {}
        ready = condition(status, "Ready").get("status") == "True"
        return status["authorities"] if ready else []

    until("the issuer", authorities)
    (old,) = [each for each in authorities() if each["role"] == "Issuing"]
    api.patch("agentissuers", name, {"spec": {"distrust": [old["fingerprint"]]}})
    until("the Event", lambda: kubernetes_events(api, "default", name), 60)
    (event,) = kubernetes_events(api, "default", name)
    assert (event["reason"], event["action"]) == ("DistrustFinished", "Distrust")
    assert old["id"] in event["note"]
    told = [e for e in read_events(observed.audit.read_bytes()) if e["object"]["name"] == name]
    told = told[-3:]  # before them its first key for tokens began to sign
    assert [each["decision"] for each in told] == [
        "AuthorityStaged", "AuthorityRotated", "AuthorityDistrusted",
    ]  # fmt: skip
    assert told[2]["authority"] == old["id"]
    port = observed.operator.port
    assert (
        f'agentid_authority_steps_total{{issuer="{name}",step="Promote"}} 1.0'
        in ask(port, "/metrics")[1]
    )


def test_a_stream_that_breaks_takes_nothing_from_agents(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """They get their certificates; the operator says what is wrong, and makes up for it."""
    port, link = observed.operator.port, observed.audit
    swing(link, "/dev/full")
    try:
        api.create("agentidentities", identity("reader", make_class()), namespace)
        api.until_ready(namespace, "reader")
        until("the failure", lambda: metric(port, "agentid_audit_failing") == 1)
        code, said = ask(port, "/readyz")
        assert code == 200, "agents are served all the same"
        assert "the audit stream cannot be written" in said
        assert "No space left on device" in said
    finally:
        swing(link, "audit.jsonl")
    until("the event", lambda: [e["decision"] for e in observed.events(namespace)] == ["Issued"])
    until("the end of the failure", lambda: metric(port, "agentid_audit_failing") == 0)
    assert metric(port, "agentid_audit_lost_total") == 0


def swing(link: Path, target: str) -> None:
    """Have a link lead elsewhere, without a moment in which there is none."""
    fresh = link.with_suffix(".new")
    fresh.symlink_to(target)
    fresh.replace(link)


def served(text: str) -> dict[str, Family]:
    """What a scrape holds, as far as it shows."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("agentid_") and not family.name.endswith("_created"):
            names = {label for sample in family.samples for label in sample.labels}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = Family(family.type, frozenset(names - {"le"}))
    return found


def test_what_is_served_is_what_is_documented(
    api: Api, observed: Observed, namespace: str, make_class: Callable[..., str]
) -> None:
    """By an operator and a responder that run: no metric, kind or label more or less."""
    api.create("agentidentities", identity("reader", make_class()), namespace)
    api.until_ready(namespace, "reader")
    found = served(ask(observed.operator.port, "/metrics")[1])
    (port,) = ports(1)
    with responder(api.cluster, "documented", "--probe-port", str(port)):
        until("the responder", lambda: ask(port, "/readyz")[0] == 200)
        found |= served(ask(port, "/metrics")[1])
    # Webhook, issuer service and node plugin count where they run, which is not here.
    others = ("agentid_admission_", "agentid_issuer_service_", "agentid_node_")
    pages = {name: family for name, family in documented().items() if not name.startswith(others)}
    assert {name: family.kind for name, family in found.items()} == {
        name: family.kind for name, family in pages.items()
    }
    for name, family in found.items():
        assert family.labels in {frozenset(), pages[name].labels}, name
    seen = [name for name, family in found.items() if family.labels]
    assert len(seen) > 15, "most labels were seen with a value"
