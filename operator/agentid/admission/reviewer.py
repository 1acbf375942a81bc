"""Decides on a pod: a chain of questions, the first that is answered with no refuses it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import structlog

from agentid.admission.mounting import mount_into
from agentid.admission.pod import Pod
from agentid.admission.verdict import Outcome, Refusal, Verdict
from agentid.api.model import MAX_NAME_LENGTH
from agentid.api.violation import Violation, shown
from agentid.constants import LABEL_IDENTITY
from agentid.errors import AgentIdError
from agentid.kube.objects import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentid.admission.directory import Directory, Entitlement
    from agentid.admission.review import Review
    from agentid.kube.objects import JsonObject

__all__ = ["KUBERNETES_NAMESPACE", "Reviewer"]

_log = structlog.stdlib.get_logger(__name__)

KUBERNETES_NAMESPACE: Final = "kube-system"
"""Nothing is mounted here, nor in agentid's own namespace: a mistake of ours must not keep from
starting what would mend it."""

_NAME: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
"""Names of objects (RFC 1123 subdomain); a label value may hold more."""

_LABEL_FIELD: Final = f"metadata.labels[{LABEL_IDENTITY}]"

_AS_IT_IS: Final = Verdict(Outcome.NOT_SELECTED)


class Reviewer:
    """Answers reviews.

    Args:
        directory: What is known.
        lookup: Asks the API server about an identity that is not; raises AgentIdError.
        own_namespace: Where agentid runs.
    """

    def __init__(
        self,
        directory: Directory,
        lookup: Callable[[ObjectKey], Awaitable[JsonObject | None]],
        own_namespace: str,
    ) -> None:
        self._directory = directory
        self._lookup = lookup
        self._excluded = frozenset({KUBERNETES_NAMESPACE, own_namespace})

    async def review(self, review: Review) -> Verdict:
        """Answer a review; nothing is changed by it, whether it is a dry run or not.

        Raises:
            InputError: The pod is none that an API server would send.
        """
        if not review.creates:
            return _AS_IT_IS
        pod = Pod.of(review.pod)
        if pod.label is None:
            return _AS_IT_IS
        refusal = self._barred(review.namespace, pod) or _malformed(pod.label)
        if refusal is not None:
            return Verdict.refused(refusal)
        key = ObjectKey(review.namespace, pod.label)
        found = self._directory.find(key) or await self._look_up(key)
        if isinstance(found, Refusal):
            return Verdict.refused(found, str(key))
        return _decide(pod, found)

    def _barred(self, namespace: str, pod: Pod) -> Refusal | None:
        if namespace in self._excluded:
            return Refusal(
                Outcome.NAMESPACE_EXCLUDED,
                f"{_LABEL_FIELD}: no identity is mounted in namespace {namespace}, where "
                "Kubernetes or agentid itself runs; run the agent in another namespace, or take "
                "the label off",
            )
        if pod.mirror:
            return Refusal(
                Outcome.STATIC_POD,
                f"{_LABEL_FIELD}: a static pod runs as no ServiceAccount, so it can have no "
                "identity; run the agent as a Deployment or a DaemonSet, or take the label off",
            )
        return None

    async def _look_up(self, key: ObjectKey) -> Entitlement | Refusal:
        try:
            body = await self._lookup(key)
        except AgentIdError as error:
            _log.warning("identity_not_looked_up", identity=str(key), error=str(error))
            return Refusal(
                Outcome.UNAVAILABLE,
                f"{_LABEL_FIELD}: it could not be found out whether there is an AgentIdentity "
                f"{key}; create the pod again, as controllers of pods do by themselves",
            )
        if body is not None:
            return self._directory.entitle(key, body)
        return self._directory.missing(key)


def _malformed(label: str) -> Refusal | None:
    if len(label) <= MAX_NAME_LENGTH and _NAME.fullmatch(label):
        return None
    violation = Violation(
        _LABEL_FIELD,
        shown(label),
        "is not the name of an AgentIdentity: lower-case letters, digits, '-' and '.', a letter or "
        f"digit at both ends, at most {MAX_NAME_LENGTH} characters",
        "name one of the pod's namespace, or take the label off",
    )
    return Refusal(Outcome.MALFORMED_LABEL, violation.sentence)


def _decide(pod: Pod, found: Entitlement) -> Verdict:
    identity = found.identity
    if found.service_account is not None and pod.service_account != found.service_account:
        violation = Violation(
            "spec.serviceAccountName",
            shown(pod.service_account),
            f"is not whom AgentIdentity {identity} is for, which is {shown(found.service_account)}",
            "run the pod as that ServiceAccount, or name the AgentIdentity of this one in label "
            f"{LABEL_IDENTITY}",
        )
        return Verdict.refused(Refusal(Outcome.WRONG_SERVICE_ACCOUNT, violation.sentence), identity)
    if isinstance(found.given, Refusal):
        return Verdict.refused(found.given, identity)
    done = mount_into(pod, found.given, identity)
    if isinstance(done, Refusal):
        return Verdict.refused(done, identity)
    return Verdict(
        Outcome.MOUNTED if done.patch else Outcome.COMPLETE,
        patch=done.patch,
        warnings=(*found.warnings, *done.warnings),
        identity=identity,
    )
