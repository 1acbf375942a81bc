"""Checks of the node plane: whether pods with the delivery CSI get their identities; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentid.api.vocabulary import DeliveryMode
from agentid.cli.doctor.admission import asking
from agentid.cli.doctor.facts import NODE_PLUGIN, Unreadable
from agentid.cli.doctor.findings import Finding, Severity
from agentid.constants import CSI_DRIVER, GROUP
from agentid.services.issuer_trust import AUTHORITIES, TRUST_CONFIG_MAP
from agentid.services.issuing_credentials import ISSUER_SECRET, ISSUER_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.cli.doctor.facts import Facts, NodePlane
    from agentid.kube.objects import JsonObject

__all__ = ["node_plane"]

_ABOUT: Final = "node plane"
_APPLY: Final = "install agentid's manifests, or its chart with node.enabled, once more"


def node_plane(facts: Facts) -> Iterator[Finding]:
    """Kubelets know the driver, every node has its plugin, and plugins reach who issues."""
    plane = facts.node_plane
    if isinstance(plane, Unreadable):
        yield Finding(Severity.UNKNOWN, _ABOUT, plane.why)
        return
    if plane.driver is None:
        yield _absent(facts)
        return
    if isinstance(facts.services, Unreadable):
        yield Finding(Severity.UNKNOWN, _ABOUT, facts.services.why)
        return
    faults = [
        *_driver(plane.driver),
        *_plugin(facts, plane),
        *_service(facts.namespace, facts.services, plane),
    ]
    yield from faults
    if not faults:
        found = (
            f"its plugin is ready on all {_count(plane.daemon_set, 'desiredNumberScheduled')} "
            f"nodes, and {facts.services[ISSUER_SERVICE]} of the issuer service"
        )
        yield Finding(Severity.OK, _ABOUT, found)


def _absent(facts: Facts) -> Finding:
    waiting = asking(facts, DeliveryMode.CSI)
    if not waiting:
        return Finding(Severity.OK, _ABOUT, "it is not installed, and no identity asks for it")
    found = f"{waiting} identities ask for delivery.mode CSI, and CSIDriver {CSI_DRIVER} is absent"
    return Finding(Severity.PROBLEM, _ABOUT, found, _APPLY)


def _driver(driver: JsonObject) -> Iterator[Finding]:
    spec = driver.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    modes, requests = spec.get("volumeLifecycleModes"), spec.get("tokenRequests")
    audiences = [
        each.get("audience")
        for each in (requests if isinstance(requests, list) else ())
        if isinstance(each, dict)
    ]
    wrong = {
        "podInfoOnMount is not true: the plugin is not told whose volume it is": (
            spec.get("podInfoOnMount") is not True
        ),
        f"tokenRequests has no audience {GROUP}: no pod can show who it is": (
            GROUP not in audiences
        ),
        "requiresRepublish is not true: pods' tokens run out after ten minutes, and nothing is "
        "renewed": spec.get("requiresRepublish") is not True,
        "volumeLifecycleModes has no Ephemeral: pods may not name the driver": (
            not isinstance(modes, list) or "Ephemeral" not in modes
        ),
        "attachRequired is not false: volumes wait for a controller that nobody runs": (
            spec.get("attachRequired") is not False
        ),
    }
    for found in (sentence for sentence, is_wrong in wrong.items() if is_wrong):
        yield Finding(Severity.PROBLEM, f"CSIDriver {CSI_DRIVER}", f"spec.{found}", _APPLY)


def _plugin(facts: Facts, plane: NodePlane) -> Iterator[Finding]:
    about = f"DaemonSet {facts.namespace}/{NODE_PLUGIN}"
    pods = f"kubectl -n {facts.namespace} get pods -l app.kubernetes.io/component=node -o wide"
    if plane.daemon_set is None:
        found = "it is not installed, so no pod with delivery CSI starts"
        yield Finding(Severity.PROBLEM, about, found, _APPLY)
        return
    wanted = _count(plane.daemon_set, "desiredNumberScheduled")
    ready = _count(plane.daemon_set, "numberReady")
    if not wanted:
        found = "it is meant for no node, so no pod with delivery CSI starts"
        yield Finding(Severity.PROBLEM, about, found, "look at node.nodeSelector of the chart")
    elif not _count(plane.daemon_set, "currentNumberScheduled"):
        found = "it has no pods; a namespace with Pod Security has to admit privileged ones"
        remedy = (
            f"kubectl label namespace {facts.namespace} --overwrite "
            "pod-security.kubernetes.io/enforce=privileged; if that is so already: "
            f"kubectl -n {facts.namespace} describe daemonset {NODE_PLUGIN}"
        )
        yield Finding(Severity.PROBLEM, about, found, remedy)
    elif ready < wanted:
        found = (
            f"it is ready on {ready} of {wanted} nodes; on the others no pod with delivery CSI "
            "starts, and nothing is renewed"
        )
        yield Finding(Severity.PROBLEM, about, found, pods)


def _service(namespace: str, services: Mapping[str, int], plane: NodePlane) -> Iterator[Finding]:
    about = "issuer service"
    named = f"Service {namespace}/{ISSUER_SERVICE}, which node plugins ask"
    if ISSUER_SERVICE not in services:
        yield Finding(Severity.PROBLEM, about, f"there is no {named}", _APPLY)
    elif not services[ISSUER_SERVICE]:
        remedy = f"kubectl -n {namespace} get pods,services"
        yield Finding(Severity.PROBLEM, about, f"nothing ready is behind {named}", remedy)
    mend = (
        "the controller that leads mends it within seconds; its log tells what is in the way: "
        f"kubectl -n {namespace} logs deployment/agentid-controller | grep issu"
    )
    secret = f"Secret {namespace}/{ISSUER_SECRET}"
    if not plane.authorities:
        found = f"it has no certificate: there is no {secret}, or no {AUTHORITIES} in it"
        yield Finding(Severity.PROBLEM, about, found, mend)
    elif plane.told != plane.authorities:
        found = (
            f"{AUTHORITIES} of ConfigMap {namespace}/{TRUST_CONFIG_MAP}, which node plugins trust, "
            f"is not that of {secret}"
        )
        yield Finding(Severity.PROBLEM, about, found, mend)


def _count(body: JsonObject | None, name: str) -> int:
    status = body.get("status") if body is not None else None
    number = status.get(name) if isinstance(status, dict) else None
    return number if isinstance(number, int) else 0
