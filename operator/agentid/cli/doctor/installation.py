"""Checks of what was installed: API server, CRDs, policies, rights, webhooks; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agentid.api.crd import crd_manifests
from agentid.cli.doctor.admission import Mode, bundle_fault, is_ours, mode_of
from agentid.cli.doctor.facts import FORBIDDEN, RIGHTS, WEBHOOK_RIGHT, Unreadable
from agentid.cli.doctor.findings import Finding, Severity
from agentid.constants import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.cli.doctor.facts import Facts
    from agentid.kube.objects import JsonObject

__all__ = ["POLICIES", "api_server", "clock", "crds", "policies", "rights", "webhooks"]

_OLDEST: Final = (1, 34)
"""Kubernetes that agentid is tested with, and newer."""

_SKEW: Final = 5.0
"""Seconds. Certificates are back-dated by more; but Leases and requested renewals go by clocks."""

POLICIES: Final[Mapping[str, Mapping[str, str]]] = {
    "ValidatingAdmissionPolicy": {
        "agentid-class-use": "anybody who may create identities can use every class",
        "agentid-controller-configmaps": "the controller could change any ConfigMap",
        "agentid-controller-secrets": "the controller could overwrite any Secret",
        "agentid-ledger": "others than the controller could write and delete the ledger",
        "agentid-managed-configmaps": "others than the controller could change trust bundles",
        "agentid-managed-secrets": "others than the controller could change agents' Secrets",
        "agentid-pod-certificate-requests": "nothing tells who asks for the certificate of a pod, "
        "so none is issued to pods",
        "agentid-pod-labels": "a pod that runs could be given the label of an identity",
        "agentid-pod-volumes": "a pod could start without the identity that it asks for",
    },
    "MutatingAdmissionPolicy": {
        "agentid-finalizer": "an identity that is deleted at once may go unrevoked for a moment",
    },
}
"""What `manifests/policies` installs, and what is open where one of them is missing."""

_APPLY: Final = "install agentid's manifests, or its chart, once more"


def api_server(facts: Facts) -> Iterator[Finding]:
    """The API server is new enough."""
    if isinstance(facts.version, Unreadable):
        yield Finding(Severity.UNKNOWN, "API server", facts.version.why)
        return
    found = re.match(r"v?(\d+)\.(\d+)", facts.version)
    if found is not None and (int(found[1]), int(found[2])) >= _OLDEST:
        yield Finding(Severity.OK, "API server", f"it is {facts.version}")
        return
    yield Finding(
        Severity.PROBLEM,
        "API server",
        f"it is {facts.version or 'of an unknown version'}, and agentid needs Kubernetes "
        f"{_OLDEST[0]}.{_OLDEST[1]} or newer",
        "upgrade the cluster",
    )


def clock(facts: Facts) -> Iterator[Finding]:
    """This machine and the API server agree on the time."""
    seconds = facts.skew.total_seconds()
    if abs(seconds) <= _SKEW:
        yield Finding(Severity.OK, "clock", "this machine and the API server agree on the time")
        return
    way = "ahead of" if seconds > 0 else "behind"
    yield Finding(
        Severity.WARNING,
        "clock",
        f"this machine is {abs(seconds):.0f} s {way} the API server",
        "set the clock that is wrong (timedatectl); what is told here of remaining times is off by "
        "as much",
    )


def crds(facts: Facts) -> Iterator[Finding]:
    """Every kind is served, in the version and with the schema of this program."""
    if isinstance(facts.crds, Unreadable):
        yield Finding(Severity.UNKNOWN, "CRDs", facts.crds.why)
        return
    for wanted in crd_manifests():
        metadata, spec = wanted["metadata"], wanted["spec"]
        name = str(metadata["name"]) if isinstance(metadata, dict) else ""
        there = facts.crds.get(name)
        if there is None:
            yield Finding(
                Severity.PROBLEM, f"CRD {name}", "it is not installed",
                "agentid crds | kubectl apply --server-side -f -",
            )  # fmt: skip
        else:
            yield _crd(name, there, _version(spec))


def _crd(name: str, there: JsonObject, wanted: JsonObject) -> Finding:
    about, apply = f"CRD {name}", "agentid crds | kubectl apply --server-side -f -"
    status, version = there.get("status"), _version(there.get("spec"))
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for condition in conditions if isinstance(conditions, list) else ():
        if condition.get("type") in {"Established", "NamesAccepted"} and (
            condition.get("status") != "True"
        ):
            said = f"{condition.get('type')} is {condition.get('status')}"
            return Finding(
                Severity.PROBLEM, about, f"{said}: {condition.get('message')}",
                "remove the CRD of somebody else that has these names",
            )  # fmt: skip
    if not version.get("served"):
        found = f"version {VERSION} is not served, so this program cannot read its objects"
        return Finding(Severity.PROBLEM, about, found, f"install the CRDs of this release: {apply}")
    if version.get("schema") != wanted.get("schema"):
        found = "its schema is of another release than this program"
        remedy = f"use the program of the release that runs, or upgrade the CRDs: {apply}"
        return Finding(Severity.WARNING, about, found, remedy)
    return Finding(Severity.OK, about, f"{VERSION} is served, with the schema of this release")


def _version(spec: object) -> JsonObject:
    versions = spec.get("versions") if isinstance(spec, dict) else None
    for each in versions if isinstance(versions, list) else ():
        if isinstance(each, dict) and each.get("name") == VERSION:
            return each
    return {}


def policies(facts: Facts) -> Iterator[Finding]:
    """Every admission policy is installed and bound, and refuses when it fails itself."""
    for kind, wanted in POLICIES.items():
        there, bound = facts.policies[kind], facts.policies[f"{kind}Binding"]
        if isinstance(there, Unreadable) or isinstance(bound, Unreadable):
            trouble = there if isinstance(there, Unreadable) else bound
            if isinstance(trouble, Unreadable):
                yield _no_policies(kind, trouble)
            continue
        by_policy = {
            str(spec.get("policyName")): each
            for each in bound.values()
            if isinstance(spec := each.get("spec"), dict)
        }
        for name, risk in wanted.items():
            yield _policy(kind, name, risk, there.get(name), by_policy.get(name))


def _no_policies(kind: str, trouble: Unreadable) -> Finding:
    if trouble.absent and kind == "MutatingAdmissionPolicy":
        said = "this API server has none; the controller adds the finalizer itself"
        return Finding(Severity.OK, kind, said)
    return Finding(Severity.UNKNOWN, kind, trouble.why)


def _policy(
    kind: str, name: str, risk: str, there: JsonObject | None, bound: JsonObject | None
) -> Finding:
    about = f"{kind} {name}"
    # The controller makes up for the finalizer, for nothing else.
    bad = Severity.WARNING if kind.startswith("Mutating") else Severity.PROBLEM
    if there is None:
        return Finding(bad, about, f"it is not installed: {risk}", _APPLY)
    if bound is None:
        return Finding(bad, about, f"nothing binds it, so it is not in force: {risk}", _APPLY)
    spec, binding = there.get("spec"), bound.get("spec")
    if isinstance(spec, dict) and spec.get("failurePolicy") == "Ignore":
        return Finding(bad, about, f"failurePolicy is Ignore: {risk} when it fails", _APPLY)
    actions = binding.get("validationActions") if isinstance(binding, dict) else None
    if isinstance(actions, list) and "Deny" not in actions:
        return Finding(bad, about, f"its binding does not deny, so only logs: {risk}", _APPLY)
    status = there.get("status")
    checked = status.get("typeChecking") if isinstance(status, dict) else None
    warnings = checked.get("expressionWarnings") if isinstance(checked, dict) else None
    if warnings:
        said = " ".join(str(warnings[0].get("warning")).split())
        return Finding(
            Severity.WARNING, about, f"the API server doubts an expression: {said}", _APPLY
        )
    return Finding(Severity.OK, about, "it is in force")


def rights(facts: Facts) -> Iterator[Finding]:
    """The controller's ServiceAccount has the rights it needs, and none that would be dangerous."""
    about = f"rights of {facts.namespace}/{facts.account}"
    if isinstance(facts.rights, Unreadable):
        yield Finding(Severity.UNKNOWN, about, facts.rights.why)
        return
    needed = [right for right in RIGHTS if right != WEBHOOK_RIGHT or mode_of(facts) is Mode.WEBHOOK]
    missing = [right for right in needed if not facts.rights.get(right)]
    if missing:
        named = ", ".join(str(each) for each in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""  # noqa: PLR2004
        yield Finding(Severity.PROBLEM, about, f"it may not {named}{more}", _APPLY)
    else:
        yield Finding(Severity.OK, about, f"it has the {len(needed)} that it needs")
    for right in FORBIDDEN:
        if facts.rights.get(right):
            yield Finding(
                Severity.PROBLEM,
                about,
                f"it may {right} in the whole cluster, which agentid never needs",
                "find the binding: kubectl get clusterrolebindings -o wide | grep "
                f"{facts.account}; and take it away",
            )


def webhooks(facts: Facts) -> Iterator[Finding]:
    """Webhooks that look at our kinds, or call us, can be reached and are trusted.

    What mounts identities is looked at by `admission.mounting`.
    """
    if isinstance(facts.webhooks, Unreadable):
        yield Finding(Severity.UNKNOWN, "webhooks", facts.webhooks.why)
        return
    others = [hook for hook in facts.webhooks if not is_ours(hook)]
    if not others:
        yield Finding(Severity.OK, "webhooks", "none of somebody else's concerns agentid")
    for hook in others:
        yield _webhook(facts, hook)


def _webhook(facts: Facts, hook: JsonObject) -> Finding:
    about = f"{hook.get('configuration')} ({hook.get('name')})"
    config = hook.get("clientConfig")
    config = config if isinstance(config, dict) else {}
    service = config.get("service")
    bad = Severity.WARNING if hook.get("failurePolicy") == "Ignore" else Severity.PROBLEM
    if (fault := bundle_fault(config.get("caBundle"), facts.now)) is not None:
        remedy = "put the CA of its server into clientConfig.caBundle"
        return Finding(bad, about, fault, remedy)
    if isinstance(service, dict) and service.get("namespace") == facts.namespace:
        name = str(service.get("name"))
        if isinstance(facts.services, Unreadable):
            return Finding(Severity.UNKNOWN, about, facts.services.why)
        if not facts.services.get(name):
            found = f"nothing ready is behind Service {facts.namespace}/{name}"
            return Finding(bad, about, found, f"kubectl -n {facts.namespace} get pods,services")
    return Finding(Severity.OK, about, "it can be called")
