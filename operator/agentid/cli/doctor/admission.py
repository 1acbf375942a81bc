"""Checks of how pods get their identities: which door is open, and who mounts what; pure."""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography import x509

from agentid.api.vocabulary import DeliveryMode
from agentid.cli.doctor.facts import Unreadable
from agentid.cli.doctor.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentid.cli.doctor.facts import Facts
    from agentid.kube.objects import JsonObject

__all__ = ["Mode", "asking", "bundle_fault", "doors", "is_ours", "mode_of", "mounting"]

_PODS: Final = "agentid-pods"
"""The webhook configuration, or the policy, that mounts identities in pods."""

_IDENTITIES: Final = "agentid-pod-identities"
"""The policy that refuses pods with a reason, where a policy mounts."""

_SERVICE: Final = "agentid-admission"
_CONFIGURATION: Final = f"MutatingWebhookConfiguration {_PODS}"
_POLICY: Final = "MutatingAdmissionPolicy"
_APPLY: Final = "install agentid's manifests, or its chart, once more"


class Mode(StrEnum):
    """How identities are mounted, as the chart's admission.mode says it."""

    WEBHOOK = "Webhook"
    POLICY = "Policy"
    NONE = "None"


def mode_of(facts: Facts) -> Mode:
    """How it is in this cluster; what cannot be looked at counts as absent."""
    if any(_ours(facts)):
        return Mode.WEBHOOK
    return Mode.POLICY if _has(facts, _POLICY, _PODS) else Mode.NONE


def _has(facts: Facts, kind: str, name: str) -> bool:
    there = facts.policies[kind]
    return not isinstance(there, Unreadable) and name in there


def doors(facts: Facts) -> Iterator[Finding]:
    """Pods can have certificates of their own, or no identity asks for that."""
    about = "pod certificates"
    if isinstance(facts.doors, Unreadable):
        yield Finding(Severity.UNKNOWN, about, facts.doors.why)
        return
    why = facts.doors.closed.get(DeliveryMode.POD_CERTIFICATE)
    if why is None:
        yield Finding(Severity.OK, about, "this cluster serves delivery.mode PodCertificate")
        return
    waiting = asking(facts, DeliveryMode.POD_CERTIFICATE)
    if waiting:
        said = f"{waiting} identities ask for delivery.mode PodCertificate, and {why}"
        remedy = "set their spec.delivery.mode to Secret until the cluster serves it"
        yield Finding(Severity.PROBLEM, about, said, remedy)
    else:
        yield Finding(Severity.OK, about, f"none asks for delivery.mode PodCertificate, and {why}")


def asking(facts: Facts, mode: DeliveryMode) -> int:
    """How many identities ask for a delivery; none where they may not be read."""
    if isinstance(facts.identities, Unreadable):
        return 0
    return sum(_delivery(each.body) == mode for each in facts.identities)


def _delivery(body: JsonObject) -> str:
    match body:
        case {"spec": {"delivery": {"mode": str(mode)}}}:
            return mode
        case _:
            return DeliveryMode.SECRET


def mounting(facts: Facts) -> Iterator[Finding]:
    """Whoever mounts identities is there as a whole, and the API server believes it."""
    about = "mounting of identities"
    if isinstance(facts.webhooks, Unreadable):
        yield Finding(Severity.UNKNOWN, about, facts.webhooks.why)
        return
    match mode_of(facts):
        case Mode.WEBHOOK if _has(facts, _POLICY, _PODS):
            yield Finding(
                Severity.WARNING,
                about,
                f"both a webhook and a policy do it: {_CONFIGURATION} and {_POLICY} {_PODS}",
                "choose one by the chart's admission.mode, and delete the other",
            )
        case Mode.WEBHOOK:
            yield from _webhook(facts)
        case Mode.POLICY:
            yield from _policy(facts)
        case Mode.NONE:
            said = "nobody does it, so whoever writes a pod writes the volume too"
            yield Finding(Severity.OK, about, said)


def _policy(facts: Facts) -> Iterator[Finding]:
    about = "mounting of identities"
    wanted = ((_POLICY, _PODS), ("ValidatingAdmissionPolicy", _IDENTITIES))
    for kind, name in wanted:
        for each in (kind, f"{kind}Binding"):
            if not _has(facts, each, name):
                found = f"policies do it, and {each} {name} is not installed"
                yield Finding(Severity.PROBLEM, about, found, _APPLY)
                return
    yield Finding(Severity.OK, about, "policies of the API server do it")


def _webhook(facts: Facts) -> Iterator[Finding]:
    about = "mounting of identities"
    if isinstance(facts.services, Unreadable):
        yield Finding(Severity.UNKNOWN, about, facts.services.why)
        return
    if isinstance(facts.webhook_bundle, Unreadable):
        yield Finding(Severity.UNKNOWN, about, facts.webhook_bundle.why)
        return
    if (fault := _distrust(facts, facts.webhook_bundle)) is not None:
        remedy = (
            "the controller that leads mends it within seconds; its log tells what is in the way: "
            f"kubectl -n {facts.namespace} logs deployment/agentid-controller | grep admission"
        )
        yield Finding(Severity.PROBLEM, about, fault, remedy)
        return
    ready = facts.services.get(_SERVICE, 0)
    if not ready:
        found = (
            f"nothing ready is behind Service {facts.namespace}/{_SERVICE}, so every pod that asks "
            "for an identity is refused"
        )
        remedy = f"kubectl -n {facts.namespace} get pods,services"
        yield Finding(Severity.PROBLEM, about, found, remedy)
    elif ready == 1:
        found = "a webhook does it, and one alone is ready: pods are refused while it is exchanged"
        remedy = "set the chart's admission.replicas to 2 or more"
        yield Finding(Severity.WARNING, about, found, remedy)
    else:
        yield Finding(Severity.OK, about, f"a webhook does it, and {ready} of it are ready")


def _distrust(facts: Facts, bundle: bytes | None) -> str | None:
    """Why the API server does not believe the webhook, None if it does."""
    secret = f"Secret {facts.namespace}/{_SERVICE}"
    if bundle is None:
        return f"the controller has made no certificate for the webhook: there is no {secret}"
    if (fault := bundle_fault(base64.b64encode(bundle), facts.now)) is not None:
        return f"ca.crt of {secret}: {fault}"
    if any(
        _config(hook).get("caBundle") != base64.b64encode(bundle).decode() for hook in _ours(facts)
    ):
        return (
            f"the caBundle of {_CONFIGURATION} is not ca.crt of {secret}, so the API server may "
            "refuse the webhook"
        )
    return None


def _ours(facts: Facts) -> Iterator[JsonObject]:
    for hook in facts.webhooks if not isinstance(facts.webhooks, Unreadable) else ():
        if is_ours(hook):
            yield hook


def is_ours(hook: JsonObject) -> bool:
    """Whether a webhook is the one that mounts identities."""
    return hook.get("configuration") == _CONFIGURATION


def _config(hook: JsonObject) -> Mapping[str, object]:
    config = hook.get("clientConfig")
    return config if isinstance(config, dict) else {}


def bundle_fault(bundle: object, now: datetime) -> str | None:
    """Why a caBundle, base64, lets the API server trust nobody; None if it does not."""
    if bundle is None:
        return None  # roots of the system
    text = bundle if isinstance(bundle, bytes) else str(bundle).encode()
    try:
        certificates = x509.load_pem_x509_certificates(base64.b64decode(text))
    except (binascii.Error, ValueError):
        return "its caBundle holds no certificate, so the API server trusts no answer"
    if all(each.not_valid_after_utc < now for each in certificates):
        return "every certificate in its caBundle has expired"
    return None
