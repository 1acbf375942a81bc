"""Pods that ask for an identity, as a watch of those with our label tells them.

A pod counts as gone when it is deleted, when it has finished, and when its label is taken away or
names another identity: from then on nothing of the identity belongs in it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agentid.api.fields import parse_time
from agentid.constants import LABEL_IDENTITY
from agentid.errors import InputError
from agentid.kube.objects import metadata_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.policy.observed import PodRefusal

__all__ = ["Pod", "Pods", "Refusals"]

_MIRROR: Final = "kubernetes.io/config.mirror"
"""The annotation of a pod that a kubelet shows for a file of its own."""

_FINISHED: Final = frozenset({"Succeeded", "Failed"})

_GONE: Final = 65_536
"""UIDs of pods that are gone, remembered so that nobody has to ask for them again."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pod:
    """What counts of a pod.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        uid: Its UID: a namesake that comes later has another one.
        service_account: Name of the ServiceAccount that it runs as.
        node: Name of its node, empty while it has none.
        identity: The AgentIdentity that its label names, empty without the label.
        created: When it was created.
        terminating: Whether its deletion was asked for; it may still run.
        finished: Whether all its containers have ended for good.
        mirror: Whether it is a kubelet's own, a static pod.
    """

    namespace: str
    name: str
    uid: str
    service_account: str
    node: str
    identity: str
    created: datetime
    terminating: bool = False
    finished: bool = False
    mirror: bool = False

    @classmethod
    def of(cls, body: Mapping[str, object]) -> Pod:
        """Read a pod as the API server told it; what is missing is empty."""
        metadata, spec, status = metadata_of(body), body.get("spec"), body.get("status")
        fields = spec if isinstance(spec, dict) else {}
        labels, annotations = metadata.get("labels"), metadata.get("annotations")
        phase = status.get("phase") if isinstance(status, dict) else None
        return cls(
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata.get("name") or ""),
            uid=uid_of(body),
            service_account=str(fields.get("serviceAccountName") or "default"),
            node=str(fields.get("nodeName") or ""),
            identity=str(labels.get(LABEL_IDENTITY) or "") if isinstance(labels, dict) else "",
            created=_created(metadata.get("creationTimestamp")),
            terminating=metadata.get("deletionTimestamp") is not None,
            finished=phase in _FINISHED,
            mirror=isinstance(annotations, dict) and _MIRROR in annotations,
        )

    def carries(self, namespace: str, identity: str) -> bool:
        """Whether certificates of this identity may be in use in it."""
        return not self.finished and (self.namespace, self.identity) == (namespace, identity)


def _created(text: object) -> datetime:
    try:
        return parse_time(text) if isinstance(text, str) else _EPOCH
    except InputError:
        return _EPOCH


class Pods:
    """The pods with our label, newest version of each.

    Attributes:
        synced: Whether all there are were told; before that, one that is missing may be there.
    """

    def __init__(self) -> None:
        self.synced = False
        self._pods: dict[str, Pod] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._pods)

    def __iter__(self) -> Iterator[Pod]:
        """Yield all there are at this moment."""
        return iter(tuple(self._pods.values()))

    def put(self, pod: Pod) -> Pod | None:
        """Take in a pod as the API server told it; returns what was known of it before."""
        before = self._pods.get(pod.uid)
        self._pods[pod.uid] = pod
        self._gone.pop(pod.uid, None)
        return before

    def drop(self, uid: str) -> Pod | None:
        """Forget a pod that is gone; returns what was known of it."""
        self._gone[uid] = None
        if len(self._gone) > _GONE:
            self._gone.popitem(last=False)
        return self._pods.pop(uid, None)

    def clear(self) -> None:
        """Forget all there are, of which none is known to be gone: they are told anew."""
        self.synced = False
        self._pods = {}

    def get(self, uid: str) -> Pod | None:
        """The pod of this UID, None if none is known."""
        return self._pods.get(uid)

    def is_gone(self, uid: str) -> bool:
        """Whether the pod of this UID was seen to go; False says nothing."""
        return uid in self._gone


_REFUSALS: Final = 16_384
"""Identities whose refusals are remembered; a pod may name any that there is not."""


class Refusals:
    """The last refusal for each identity, by namespace and name; of the latest ones."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], PodRefusal] = OrderedDict()

    def put(self, namespace: str, identity: str, refusal: PodRefusal) -> bool:
        """Take in a refusal; True if it is news, which an older one or the same again is not."""
        before = self._last.get((namespace, identity))
        if before is not None and (
            refusal.time < before.time
            or (refusal.pod, refusal.reason, refusal.message)
            == (before.pod, before.reason, before.message)
        ):
            return False
        self._last[namespace, identity] = refusal
        self._last.move_to_end((namespace, identity))
        if len(self._last) > _REFUSALS:
            self._last.popitem(last=False)
        return True

    def get(self, namespace: str, identity: str) -> PodRefusal | None:
        """The last one for an identity, None if there is none."""
        return self._last.get((namespace, identity))

    def drop(self, namespace: str, identity: str) -> None:
        """Forget those of an identity that is gone."""
        self._last.pop((namespace, identity), None)
