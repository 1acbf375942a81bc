"""Pods, the reviews that an API server sends of them, and a desk that answers them from memory."""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING, Any, Final

from agentid.admission.directory import Directory
from agentid.admission.review import Review
from agentid.admission.reviewer import Reviewer
from agentid.api.vocabulary import DeliveryMode
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentid.admission.verdict import Verdict
    from agentid.clock import Clock
    from agentid.kube.objects import ObjectKey

__all__ = ["Desk", "answer_of", "container", "patched", "pod", "review_of"]

Json = dict[str, Any]

NAMESPACE: Final = "finance"
SYSTEM: Final = "agentid-system"


def container(name: str = "agent", **fields: Any) -> Json:  # noqa: ANN401 - JSON
    """A container."""
    return {"name": name, "image": "localhost/busybox:1", **fields}


def pod(
    label: str | None = "reader",
    *,
    annotations: Mapping[str, str] | None = None,
    containers: Sequence[Json] = (),
    **spec: Any,  # noqa: ANN401 - JSON
) -> Json:
    """A pod as it is before anything is mounted."""
    metadata: Json = {"name": "reader-0", "namespace": NAMESPACE}
    if label is not None:
        metadata["labels"] = {"app": "reader", "agentid.dev/identity": label}
    if annotations is not None:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": list(containers) or [container()], **spec},
    }


def review_of(body: Json, *, namespace: str = NAMESPACE, **request: Any) -> bytes:  # noqa: ANN401
    """A review as an API server sends it."""
    pods = {"group": "", "version": "v1", "resource": "pods"}
    return json.dumps(
        {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": pods,
                "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
                "requestResource": pods,
                "name": "reader-0",
                "namespace": namespace,
                "operation": "CREATE",
                "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
                "object": body,
                "oldObject": None,
                "dryRun": False,
                "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
                **request,
            },
        }
    ).encode()


def patched(body: Json, patch: Sequence[Mapping[str, object]]) -> Json:
    """What a patch makes of a pod: the `add` of RFC 6902 §4.1, which is all that is used."""
    whole: Any = copy.deepcopy(body)
    for operation in patch:
        assert operation.keys() == {"op", "path", "value"}
        assert operation["op"] == "add"
        *parents, last = str(operation["path"])[1:].split("/")
        target = whole
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        value = copy.deepcopy(operation["value"])
        if isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), value)
        else:
            assert last not in target, f"{operation['path']} would be written over"
            target[last] = value
    assert isinstance(whole, dict)
    return whole


def answer_of(encoded: bytes) -> tuple[Json, list[Json]]:
    """The response in an answer, and its patch decoded."""
    whole = json.loads(encoded)
    assert (whole["apiVersion"], whole["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Json = whole["response"]
    patch = json.loads(base64.b64decode(response.get("patch", "W10=")))
    assert ("patch" in response) == (response.get("patchType") == "JSONPatch")
    return response, patch


class Desk:
    """A reviewer over a directory that tests fill; nobody is asked but who is put in `elsewhere`.

    It knows issuer `test`, class `batch`, which allows every delivery, and what `put` is told.
    """

    def __init__(self, clock: Clock, doors: frozenset[DeliveryMode] | None = None) -> None:
        self.directory = Directory(clock)
        self.elsewhere: dict[ObjectKey, Json] = {}
        self.asked: list[ObjectKey] = []
        self.trouble: Exception | None = None
        self.reviewer = Reviewer(self.directory, self._ask, SYSTEM)
        self._version = 0
        self.directory.open_doors(frozenset(DeliveryMode) if doors is None else doors, {})
        self.put_issuer()
        self.put_class()

    async def _ask(self, key: ObjectKey) -> Json | None:
        self.asked.append(key)
        if self.trouble is not None:
            raise self.trouble
        return self.elsewhere.get(key)

    def stamped(self, body: Json, **metadata: Any) -> Json:  # noqa: ANN401 - JSON
        """An object as the API server would tell it, newer than all before."""
        self._version += 1
        stamp = {"uid": body["metadata"]["name"], "resourceVersion": str(self._version)}
        return {**body, "metadata": {**body["metadata"], "generation": 1, **stamp, **metadata}}

    def put_issuer(self, **spec: Any) -> None:  # noqa: ANN401 - JSON
        """The issuer `test` is there."""
        self.directory.put_issuer(self.stamped(issuer("test", **spec)))

    def put_class(self, **spec: Any) -> None:  # noqa: ANN401 - JSON
        """The class `batch` is there."""
        self.directory.put_class(self.stamped(agent_class("batch", **spec)))

    def put(
        self,
        name: str = "reader",
        *,
        metadata: Mapping[str, object] | None = None,
        mode: str = "PodCertificate",
        status: Mapping[str, object] | None = None,
        **spec: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """An identity is there; returned as the API server would tell it."""
        body = identity(name, "batch", **{"delivery": {"mode": mode}, **spec})
        told = self.stamped(body, namespace=NAMESPACE, **(metadata or {}))
        if status is not None:
            told["status"] = dict(status)
        self.directory.put_identity(told)
        return told

    async def review(
        self, body: Json, *, namespace: str = NAMESPACE, creates: bool = True
    ) -> Verdict:
        """The verdict on a pod."""
        return await self.reviewer.review(Review("u-1", creates, namespace, body))

    async def mounted(self, body: Json) -> Json:
        """What becomes of a pod that is let through."""
        verdict = await self.review(body)
        assert verdict.allowed, verdict.message
        return patched(body, verdict.patch)

    async def refusal(self, body: Json, *, namespace: str = NAMESPACE) -> tuple[str, str]:
        """Reason and message of a refusal."""
        verdict = await self.review(body, namespace=namespace)
        assert not verdict.allowed
        assert not verdict.patch
        return verdict.reason, verdict.message
