"""What the doctor finds: of an installation that is well, and of each that is not."""

from __future__ import annotations

import base64
import copy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentid.api import AgentClass, AgentIssuer, AgentRevocation
from agentid.api.crd import crd_manifests
from agentid.api.fields import format_time
from agentid.api.vocabulary import DeliveryMode
from agentid.cli.app import app
from agentid.cli.doctor.command import diagnose, lines
from agentid.cli.doctor.facts import (
    FORBIDDEN,
    RIGHTS,
    WEBHOOK_RIGHT,
    Crl,
    Doors,
    Facts,
    NodePlane,
    Right,
    Unreadable,
)
from agentid.cli.doctor.findings import Finding, Severity
from agentid.cli.doctor.installation import POLICIES
from agentid.cli.output import render_lines
from agentid.ledger import Alarm, AlarmKind, VerifyReport
from agentid.testing.ca import ThrowawayCA
from tests.cli.test_roster import entry

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
COMMANDS = {each.name for each in app.registered_commands} | {
    each.name for each in app.registered_groups
}
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROOT = Path(__file__).parents[2]

Json = dict[str, Any]


def condition(kind: str, status: str = "True", reason: str = "Available") -> Json:
    """A condition that says so."""
    return {
        "type": kind, "status": status, "reason": reason, "message": f"{kind} says why",
        "lastTransitionTime": format_time(NOW),
    }  # fmt: skip


def authority(
    role: str, left: timedelta, state: str = "Signing", life: timedelta = 90 * DAY
) -> Json:
    """An authority that has so much time left."""
    return {
        "role": role, "state": state, "id": "0a15f73a785927c8", "subject": "CN=x", "serial": "01",
        "algorithm": "ECDSAP384", "fingerprint": "e0" * 32,
        "notBefore": format_time(NOW + left - life), "notAfter": format_time(NOW + left),
    }  # fmt: skip


def issuer(*conditions: Json, authorities: tuple[Json, ...] = ()) -> AgentIssuer:
    """An issuer; by default one that is well."""
    return AgentIssuer.parse(
        {
            "metadata": {"name": "main"},
            "spec": {"trustDomain": "example.org", "ca": {"builtin": {}}},
            "status": {
                "conditions": conditions or [condition("Ready")],
                "bundleSequence": 2,
                "authorities": authorities
                or [authority("Root", 400 * DAY, life=500 * DAY), authority("Issuing", 80 * DAY)],
            },
        }
    )


def a_class(*conditions: Json) -> AgentClass:
    """A class."""
    return AgentClass.parse(
        {
            "metadata": {"name": "reader"},
            "spec": {"issuerName": "main", "namespaces": {"names": ["*"]}},
            "status": {"conditions": conditions or [condition("Ready")]},
        }
    )


def incident() -> AgentRevocation:
    """One that stalls."""
    return AgentRevocation.parse(
        {
            "metadata": {"name": "leak"},
            "spec": {"reason": "superseded", "select": {"namespaces": ["a"]}},
            "status": {"conditions": [condition("Stalled", reason="TooManyHeld")]},
        }
    )


def crds() -> dict[str, Json]:
    """The definitions as an API server keeps them."""
    found: dict[str, Json] = {}
    for manifest in copy.deepcopy(crd_manifests()):
        kept: Json = {**manifest, "status": {"conditions": [condition("Established")]}}
        found[kept["metadata"]["name"]] = kept
    return found


def policies() -> dict[str, Any]:
    """Policies and bindings as `manifests/` has them."""
    found: dict[str, Any] = {kind: {} for name in POLICIES for kind in (name, f"{name}Binding")}
    for path in sorted((ROOT / "manifests" / "policies").glob("*.yaml")):
        for body in yaml.safe_load_all(path.read_text("utf-8")):
            found[body["kind"]][body["metadata"]["name"]] = body
    return found


def lease(silent: timedelta = timedelta(seconds=1), ahead: timedelta = timedelta(0)) -> Json:
    """A Lease that was written so long ago, by a clock that is so far ahead."""
    return {
        "metadata": {"managedFields": [{"time": format_time(NOW - silent)}]},
        "spec": {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "renewTime": (NOW - silent + ahead).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


def report(*alarms: Alarm) -> VerifyReport:
    """What a verification of the ledger found."""
    return VerifyReport((), alarms, 3, 7, 100, frozenset())


TRUSTED = ThrowawayCA(seed="webhook").bundle.pem


def mounting(bundle: bytes = TRUSTED) -> Json:
    """Our webhook that mounts identities, as it is configured."""
    service = {"namespace": "agentid-system", "name": "agentid-admission"}
    return {
        "configuration": "MutatingWebhookConfiguration agentid-pods",
        "name": "pods.agentid.dev",
        "failurePolicy": "Ignore",
        "clientConfig": {"service": service, "caBundle": base64.b64encode(bundle).decode()},
    }


def by_policy(*absent: str) -> Json:
    """The policies of a cluster where the API server mounts identities."""
    found: dict[str, Any] = copy.deepcopy(dict(HEALTHY.policies))
    for kind, name in (("Mutating", "agentid-pods"), ("Validating", "agentid-pod-identities")):
        for each in (f"{kind}AdmissionPolicy", f"{kind}AdmissionPolicyBinding"):
            if each not in absent:
                found[each][name] = {"metadata": {"name": name}, "spec": {"policyName": name}}
    return found


HEALTHY_RIGHTS = dict.fromkeys(RIGHTS, True) | dict.fromkeys(FORBIDDEN, False)
NO_WEBHOOK_RIGHT: Json = {"rights": HEALTHY_RIGHTS | {WEBHOOK_RIGHT: False}}
CLOSED = Doors(frozenset(), {DeliveryMode.POD_CERTIFICATE: "the API server is too old"})
PEM_OF_ANOTHER = ThrowawayCA(seed="another").bundle.pem

SERVICES = {"agentid-responder": 2, "agentid-admission": 2, "agentid-issuer": 2}


def rendered_node(kind: str) -> Json:
    """An object of the node plugin as `manifests/` has it."""
    bodies = yaml.safe_load_all((ROOT / "manifests" / "node.yaml").read_text("utf-8"))
    found: Json = next(each for each in bodies if each["kind"] == kind)
    return found


def daemons(wanted: int, ready: int, current: int | None = None) -> Json:
    """The DaemonSet, on so many nodes."""
    status = {
        "desiredNumberScheduled": wanted, "numberReady": ready,
        "currentNumberScheduled": wanted if current is None else current,
    }  # fmt: skip
    return {**rendered_node("DaemonSet"), "status": status}


PLANE = NodePlane(rendered_node("CSIDriver"), daemons(3, 3), b"authorities", b"authorities")


def plane(**change: object) -> Json:
    """The node plane, but for this."""
    return {"node_plane": replace(PLANE, **change)}  # type: ignore[arg-type]  # by name


def driver(**spec: object) -> Json:
    """The node plane, but for this of the CSIDriver's spec."""
    body = rendered_node("CSIDriver")
    return plane(driver={**body, "spec": body["spec"] | spec})


HEALTHY = Facts(
    now=NOW,
    skew=timedelta(0),
    version="v1.37.2",
    namespace="agentid-system",
    account="agentid-controller",
    crds=crds(),
    policies=policies(),
    rights=HEALTHY_RIGHTS,
    webhooks=(mounting(),),
    lease=lease(),
    issuers={"main": issuer()},
    classes={"reader": a_class()},
    malformed={},
    unknown={},
    identities=(entry("x"),),
    incidents={},
    crls=(Crl("agentid-crl-main-0", NOW, NOW + HOUR),),
    bundles={"main": 2},
    ledger=report(),
    services=SERVICES,
    doors=Doors(frozenset({DeliveryMode.POD_CERTIFICATE}), {}),
    webhook_bundle=TRUSTED,
    node_plane=PLANE,
)


def troubles(facts: Facts) -> list[Finding]:
    """What is not as it should be."""
    return [each for each in diagnose(facts) if each.severity is not Severity.OK]


def test_a_healthy_installation_has_no_trouble() -> None:
    """And everything that was looked at is told to whoever asks for it."""
    assert troubles(HEALTHY) == []
    findings = tuple(diagnose(HEALTHY))
    assert render_lines(lines(findings, wide=False)) == f"{'checked':<18} {len(findings)} ok"
    told = render_lines(lines(findings, wide=True))
    assert f"{'ok':<18} controller: one leads" in told
    assert f"{'ok':<18} mounting of identities: a webhook does it, and 2 of it are ready" in told
    assert f"{'ok':<18} ledger: it is whole: 7 records in 3 segments" in told


def test_the_lists_are_those_of_the_manifests() -> None:
    """A policy or a right that is added there is looked at here."""
    named = {kind: set(found) for kind, found in policies().items() if not kind.endswith("Binding")}
    assert named == {kind: set(wanted) for kind, wanted in POLICIES.items()}

    granted: set[Right] = set()
    text = (ROOT / "manifests" / "rbac" / "controller.yaml").read_text("utf-8")
    for body in yaml.safe_load_all(text):
        for rule in body.get("rules", ()):
            granted |= {
                Right(verb, group, resource, body["kind"] == "Role", name)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    assert set(RIGHTS) == granted


def without(facts: Facts, part: str, name: str) -> Json:
    """A part of the facts without one of its entries."""
    kept: Json = copy.deepcopy(getattr(facts, part))
    del kept[name]
    return kept


def changed(part: str, change: Callable[[Any], None]) -> Json:
    """A part of the facts, changed."""
    kept: Json = copy.deepcopy(getattr(HEALTHY, part))
    change(kept)
    return {part: kept}


CRD = "agentidentities.agentid.dev"
VAP, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
USE = "agentid-class-use"
HOOK: Json = {"configuration": "ValidatingWebhookConfiguration x", "name": "x.example.com"}
MOUNTING = "mounting of identities"
PLANE_, DRIVER = "node plane", "CSIDriver csi.agentid.dev"
PLUGIN = "DaemonSet agentid-system/agentid-node"
OURS = {"service": {"namespace": "agentid-system", "name": "agentid-webhook"}}


@pytest.mark.parametrize(
    ("change", "severity", "about", "words"),
    [
        pytest.param({"version": "v1.33.9"}, "problem", "API server", "needs Kubernetes 1.34",
                     id="old-server"),
        pytest.param({"version": ""}, "problem", "API server", "of an unknown version",
                     id="no-version"),
        pytest.param({"skew": -timedelta(minutes=2)}, "warning", "clock", "120 s behind the API",
                     id="clock"),
        pytest.param({"crds": without(HEALTHY, "crds", CRD)}, "problem", f"CRD {CRD}",
                     "it is not installed", id="no-crd"),
        pytest.param(
            changed("crds", lambda it: it[CRD]["spec"]["versions"][0].update(name="v1alpha0")),
            "problem", f"CRD {CRD}", "version v1alpha1 is not served", id="old-version"),
        pytest.param(
            changed("crds", lambda it: it[CRD]["spec"]["versions"][0].update(schema={})),
            "warning", f"CRD {CRD}", "its schema is of another release", id="old-schema"),
        pytest.param(
            changed("crds", lambda it: it[CRD]["status"].update(
                conditions=[condition("NamesAccepted", "False")])),
            "problem", f"CRD {CRD}", "NamesAccepted is False", id="names-taken"),
        pytest.param(changed("policies", lambda it: it[VAP].pop(USE)), "problem", f"{VAP} {USE}",
                     "it is not installed: anybody who may create", id="no-policy"),
        pytest.param(changed("policies", lambda it: it[BINDING].pop(USE)), "problem",
                     f"{VAP} {USE}", "nothing binds it", id="no-binding"),
        pytest.param(
            changed("policies", lambda it: it[BINDING][USE]["spec"].update(
                validationActions=["Audit"])),
            "problem", f"{VAP} {USE}", "only logs", id="audit-only"),
        pytest.param(
            changed("policies", lambda it: it[VAP][USE]["spec"].update(failurePolicy="Ignore")),
            "problem", f"{VAP} {USE}", "failurePolicy is Ignore", id="ignore"),
        pytest.param(
            changed("policies", lambda it: it[VAP][USE].update(
                status={"typeChecking": {"expressionWarnings": [{"warning": "no such\nfield"}]}})),
            "warning", f"{VAP} {USE}", "doubts an expression: no such field", id="type-check"),
        pytest.param(
            changed("policies", lambda it: it["MutatingAdmissionPolicy"].clear()), "warning",
            "MutatingAdmissionPolicy agentid-finalizer", "it is not installed", id="no-finalizer"),
        pytest.param({"rights": dict.fromkeys((*RIGHTS[:2], *FORBIDDEN), False)
                      | dict.fromkeys(RIGHTS[2:], True)}, "problem",
                     "rights of agentid-system/agentid-controller",
                     "it may not get agentidentities.agentid.dev, list agentidentities.agent",
                     id="rights"),
        pytest.param({"rights": dict.fromkeys((*RIGHTS, FORBIDDEN[0]), True)}, "problem",
                     "rights of agentid-system/agentid-controller",
                     "it may get secrets in the whole cluster", id="too-many-rights"),
        pytest.param({"webhooks": (mounting(), {**HOOK, "clientConfig": OURS})}, "problem",
                     "ValidatingWebhookConfiguration x (x.example.com)",
                     "nothing ready is behind Service agentid-system/agentid-web", id="webhook"),
        pytest.param({"webhooks": (mounting(), {**HOOK, "clientConfig": {"caBundle": "AAAA"}})},
                     "problem",
                     "ValidatingWebhookConfiguration x (x.example.com)",
                     "its caBundle holds no certificate", id="webhook-ca"),
        pytest.param({"services": {"agentid-responder": 2, "agentid-issuer": 2}}, "problem",
                     MOUNTING, "nothing ready is behind Service agentid-system/agentid-admission",
                     id="no-admission"),
        pytest.param({"services": SERVICES | {"agentid-admission": 1}}, "warning",
                     MOUNTING, "one alone is ready", id="one-admission"),
        pytest.param({"webhook_bundle": None}, "problem", MOUNTING,
                     "there is no Secret agentid-system/agentid-admission", id="no-secret"),
        pytest.param({"webhook_bundle": b""}, "problem", MOUNTING,
                     "its caBundle holds no certificate", id="empty-secret"),
        pytest.param({"webhooks": (mounting(b""),)}, "problem", MOUNTING,
                     "is not ca.crt of Secret agentid-system/agentid-admission", id="no-ca-bundle"),
        pytest.param({"webhooks": (mounting(PEM_OF_ANOTHER),)}, "problem", MOUNTING,
                     "is not ca.crt of Secret", id="another-ca-bundle"),
        pytest.param({"policies": by_policy()}, "warning", MOUNTING,
                     "both a webhook and a policy do it", id="twice"),
        *(
            pytest.param({"webhooks": (), "policies": by_policy(kind), **NO_WEBHOOK_RIGHT},
                         "problem", MOUNTING, f"and {kind} agentid-pod", id=f"without-{kind}")
            for kind in (f"{BINDING}", "MutatingAdmissionPolicyBinding", VAP)
        ),
        pytest.param(NO_WEBHOOK_RIGHT, "problem",
                     "rights of agentid-system/agentid-controller",
                     "it may not patch mutatingwebhookconfigurations", id="no-right-for-ca-bundle"),
        pytest.param({"doors": CLOSED, "identities": (
                      entry("x"), entry("y", delivery={"mode": "PodCertificate"}))}, "problem",
                     "pod certificates", "1 identities ask for delivery.mode PodCertificate, and "
                     "the API server is too old", id="closed-door"),
        pytest.param({**plane(driver=None), "identities": (
                      entry("x"), entry("y", delivery={"mode": "CSI"}))}, "problem", PLANE_,
                     "1 identities ask for delivery.mode CSI, and CSIDriver csi.agentid.dev is abs",
                     id="no-driver"),
        *(
            pytest.param(driver(**{name: value}), "problem", DRIVER, f"spec.{name} {words}",
                         id=f"driver-{name}")
            for name, value, words in (
                ("podInfoOnMount", False, "is not true"),
                ("tokenRequests", [{"audience": "vault"}], "has no audience agentid.dev"),
                ("requiresRepublish", False, "is not true"),
                ("volumeLifecycleModes", ["Persistent"], "has no Ephemeral"),
                ("attachRequired", True, "is not false"),
            )
        ),
        pytest.param(plane(daemon_set=None), "problem", PLUGIN, "it is not installed",
                     id="no-plugin"),
        pytest.param(plane(daemon_set=daemons(0, 0)), "problem", PLUGIN, "meant for no node",
                     id="plugin-nowhere"),
        pytest.param(plane(daemon_set=daemons(3, 0, 0)), "problem", PLUGIN,
                     "it has no pods; a namespace with Pod Security", id="plugin-refused"),
        pytest.param(plane(daemon_set=daemons(3, 2)), "problem", PLUGIN, "ready on 2 of 3 nodes",
                     id="plugin-not-ready"),
        pytest.param({"services": {"agentid-responder": 2, "agentid-admission": 2}}, "problem",
                     "issuer service", "there is no Service agentid-system/agentid-issuer",
                     id="no-issuer-service"),
        pytest.param({"services": SERVICES | {"agentid-issuer": 0}}, "problem", "issuer service",
                     "nothing ready is behind Service agentid-system/agentid-issuer",
                     id="issuer-service-down"),
        pytest.param(plane(authorities=b""), "problem", "issuer service",
                     "there is no Secret agentid-system/agentid-issuer", id="no-issuer-secret"),
        pytest.param(plane(told=b""), "problem", "issuer service",
                     "ConfigMap agentid-system/agentid-issuer-ca, which node plugins trust, is not",
                     id="nobody-trusts-the-issuer"),
        pytest.param(plane(told=b"others"), "problem", "issuer service",
                     "is not that of Secret agentid-system/agentid-issuer", id="others-trusted"),
        pytest.param({"lease": None}, "problem", "controller", "none has ever run there",
                     id="no-lease"),
        pytest.param({"lease": lease(HOUR)}, "problem", "controller",
                     "one renewed its Lease 60m ago, and then no more", id="stale-lease"),
        pytest.param(changed("lease", lambda it: it["spec"].update(holderIdentity="")), "problem",
                     "controller", "the last one has stopped", id="no-holder"),
        pytest.param(changed("lease", lambda it: it.update(spec={})), "problem", "controller",
                     "does not say when it was renewed", id="strange-lease"),
        pytest.param({"lease": lease(ahead=-HOUR)}, "problem", "clock of the controller",
                     "it is 3600 s behind the API server", id="clock-of-controller"),
        pytest.param(
            {"ledger": report(Alarm(AlarmKind.MISSING, "s", "segment s is not there"))}, "problem",
            "ledger", "Missing: segment s is not there", id="ledger"),
        pytest.param({"issuers": {}}, "warning", "issuers", "there is none", id="no-issuer"),
        pytest.param({"issuers": {"main": issuer(condition("Stalled", reason="AuthorityInvalid"))}},
                     "problem", "AgentIssuer main", "AuthorityInvalid: Stalled says why",
                     id="stalled-issuer"),
        pytest.param({"issuers": {"main": issuer(condition("Ready"), condition(
                      "AuthoritiesCurrent", "False", "RotationBlocked"))}},
                     "problem", "AgentIssuer main", "RotationBlocked", id="rotation-blocked"),
        pytest.param({"issuers": {"main": issuer(condition("Ready"), condition(
                      "BundleWithheld", "True", "BundleOlder"))}},
                     "problem", "AgentIssuer main", "BundleOlder", id="bundle-withheld"),
        pytest.param({"issuers": {"main": issuer(authorities=(authority("Issuing", -HOUR),))}},
                     "problem", "AgentIssuer main", "has expired", id="expired-authority"),
        pytest.param({"issuers": {"main": issuer(authorities=(authority("Issuing", 20 * DAY),))}},
                     "warning", "AgentIssuer main", "ends in 20d, and no successor is there",
                     id="overdue-authority"),
        pytest.param({"crls": ()}, "problem", "CRLs", "none is published", id="no-crls"),
        pytest.param({"crls": (Crl("c", NOW - 2 * HOUR, NOW - HOUR),)}, "problem", "CRL c",
                     "it ended 60m ago", id="stale-crl"),
        pytest.param({"crls": (Crl("c", NOW - 2 * HOUR, NOW + HOUR),)}, "warning", "CRL c",
                     "should have been signed anew", id="late-crl"),
        pytest.param({"crls": (Crl("c", NOW, NOW, "CRL: no"),)}, "problem", "CRL c", "CRL: no",
                     id="bad-crl"),
        pytest.param({"bundles": {}}, "problem", "bundle of AgentIssuer main",
                     "it is not published", id="no-bundle"),
        pytest.param({"bundles": {"main": 1}}, "problem", "bundle of AgentIssuer main",
                     "sequence 1 is published, and 2 is the newest", id="old-bundle"),
        pytest.param({"services": {"agentid-admission": 2, "agentid-issuer": 2}}, "problem",
                     "responder agentid-responder.agentid-system.svc",
                     "there is no Service agentid-system/agentid-responder", id="no-responder"),
        pytest.param({"services": SERVICES | {"agentid-responder": 0}}, "problem",
                     "responder agentid-responder.agentid-system.svc", "nothing ready is behind",
                     id="responder-down"),
        pytest.param(
            {"ledger": report(Alarm(AlarmKind.LATER_FORMAT, "s", "segment s: format 2 was"))},
            "problem", "ledger", "nothing is issued: segment s: format 2 was",
            id="ledger-of-a-later-release",
        ),
        pytest.param({"unknown": {("AgentClass", "spec.quota"): ("x", "y", "z")}}, "warning",
                     "AgentClass x and 2 more", "spec.quota is not known to this release",
                     id="unknown-field"),
        pytest.param({"malformed": {"AgentClass x": "spec.lifetime: is required"}}, "problem",
                     "AgentClass x", "it does not parse: spec.lifetime", id="malformed"),
        pytest.param({"classes": {"x": a_class(condition("Ready", "False", "IssuerNotFound"))}},
                     "problem", "AgentClass x", "IssuerNotFound", id="class"),
        pytest.param({"classes": {"reader": a_class(condition("Ready", "Unknown", "Pending"))}},
                     "warning", "AgentClass reader", "no controller has looked", id="class-unseen"),
        pytest.param({"incidents": {"leak": incident()}}, "problem", "AgentRevocation leak",
                     "Stalled says why", id="incident"),
        pytest.param(
            {"identities": (entry("x"), entry("y", ready=("False", "ExceedsClass")))}, "warning",
            "identities", "1 of 2 are not Ready: ExceedsClass", id="identities"),
    ],
)  # fmt: skip
def test_a_trouble_is_found(change: Json, severity: str, about: str, words: str) -> None:
    """It alone, with what it means and how to mend it."""
    (found,) = troubles(replace(HEALTHY, **change))
    assert (found.severity.value, found.about) == (severity, about)
    assert words in found.found
    assert found.remedy
    for command in re.findall(r"agentid ([a-z]+)", found.remedy):
        assert command in COMMANDS, "what is said to be typed can be typed"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"webhooks": (mounting(), {**HOOK, "clientConfig": {"url": "https://x"}})},
                     id="url"),
        pytest.param({"webhooks": (), "policies": by_policy(), **NO_WEBHOOK_RIGHT},
                     id="mounted-by-policies"),
        pytest.param({"webhooks": (), "webhook_bundle": None, **NO_WEBHOOK_RIGHT},
                     id="mounted-by-nobody"),
        pytest.param({"doors": CLOSED}, id="a-closed-door-that-nobody-wants"),
        pytest.param({**plane(driver=None, daemon_set=None, authorities=b"", told=b""),
                      "services": {"agentid-responder": 2, "agentid-admission": 2}},
                     id="no-node-plane-that-nobody-wants"),
        pytest.param(
            {"issuers": {"main": issuer(authorities=(
                authority("Issuing", 20 * DAY), authority("Issuing", 89 * DAY, "Staged")))}},
            id="successor-is-staged"),
        pytest.param({"identities": (entry("x", ready=("False", "Suspended")),)}, id="suspended"),
        pytest.param(
            {"policies": {**HEALTHY.policies, **{
                kind: Unreadable("404", absent=True) for kind in HEALTHY.policies
                if kind.startswith("Mutating")}}},
            id="server-without-mutating-policies"),
        pytest.param({"skew": timedelta(seconds=4)}, id="clocks-nearly-agree"),
    ],
)  # fmt: skip
def test_what_is_meant_to_be_so_is_no_trouble(change: Json) -> None:
    """Nobody is sent looking for nothing."""
    assert troubles(replace(HEALTHY, **change)) == []


PARTS = (
    "version", "crds", "rights", "webhooks", "lease", "issuers", "classes", "identities",
    "incidents", "crls", "bundles", "ledger", "services",
    "doors", "webhook_bundle", "node_plane",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_what_may_not_be_read_is_told(part: str) -> None:
    """It is neither a trouble nor well, and stops nothing else."""
    change: Json = {part: Unreadable("403 Forbidden: no")}
    found = troubles(replace(HEALTHY, **change))
    assert found, part
    assert {each.severity for each in found} == {Severity.UNKNOWN}
    assert {each.found for each in found} == {"403 Forbidden: no"}


def test_a_webhook_whose_ca_has_expired() -> None:
    """Nobody would trust its answers any more."""
    pem = ThrowawayCA(seed="expired").bundle.pem
    hook = {**HOOK, "clientConfig": {"caBundle": base64.b64encode(pem).decode()}}
    later = replace(HEALTHY, webhooks=(hook,), now=NOW + 40_000 * DAY)
    found = [each for each in troubles(later) if "x.example.com" in each.about]
    assert [each.found for each in found] == ["every certificate in its caBundle has expired"]
