"""The pods that are measured: where each is, what it asks for, and when what became of it.

Everything here is pure. Moments are seconds of `time.monotonic`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from agentid.api.vocabulary import DeliveryMode
from agentid.constants import LABEL_IDENTITY
from agentid.kube.objects import ObjectKey
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentid.kube.objects import JsonObject

__all__ = ["DOORS", "Life", "Moment", "Sizes", "lives", "pod_body", "waiting"]

DOORS: Final = (DeliveryMode.POD_CERTIFICATE, DeliveryMode.CSI)
"""By which pods ask, in turn."""

Moment: TypeAlias = Literal["sent", "created", "asked", "issued", "deleted", "gone", "revoked"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is.

    Attributes:
        pods: In all, spread over everything below.
        nodes: On which they are.
        namespaces: In which they are.
        identities: In each namespace, for each door.
    """

    pods: int
    nodes: int
    namespaces: int = 10
    identities: int = 10

    def node_names(self) -> tuple[str, ...]:
        """All nodes."""
        return tuple(f"fleet-{number}" for number in range(self.nodes))

    def namespace_names(self) -> tuple[str, ...]:
        """All namespaces."""
        return tuple(f"fleet-{number}" for number in range(self.namespaces))

    def identity_names(self, door: DeliveryMode) -> tuple[str, ...]:
        """The identities of a door, in each namespace."""
        return tuple(f"{door.value.lower()}-{number}" for number in range(self.identities))


@dataclass(slots=True, eq=False)
class Life:
    """One pod.

    Attributes:
        key: Its namespace and name.
        node: Its node.
        door: How it is given its certificate.
        identity: The AgentIdentity that its label names.
        uid: Its UID, once it is there.
        sent: When its create was sent.
        created: When the API server had it, as its answer or the watch told, whichever came first.
        asked: When its kubelet, or plugin, began to ask.
        issued: When its certificate was seen.
        deleted: When its deletion was asked for.
        gone: When the watch told that it is gone.
        revoked: When the last revocation of its certificates was seen on the ledger.
    """

    key: ObjectKey
    node: str
    door: DeliveryMode
    identity: str
    uid: str = ""
    sent: float | None = None
    created: float | None = None
    asked: float | None = None
    issued: float | None = None
    deleted: float | None = None
    gone: float | None = None
    revoked: float | None = None

    def until(self, later: Moment, earlier: Moment) -> float:
        """Seconds from one moment to another.

        Raises:
            E2EError: One of them has not come.
        """
        begun, ended = self.moment(earlier), self.moment(later)
        if begun is None or ended is None:
            msg = f"pod {self.key} was never seen to be {earlier} and then {later}"
            raise E2EError(msg)
        return ended - begun

    def moment(self, name: Moment) -> float | None:
        """When something became of it, None if that has not been seen."""
        found: float | None = getattr(self, name)
        return found


def lives(sizes: Sizes) -> list[Life]:
    """All pods, none of which is there yet: evenly over namespaces, doors, identities and nodes."""
    return list(_lives(sizes))


def _lives(sizes: Sizes) -> Iterator[Life]:
    namespaces, nodes = sizes.namespace_names(), sizes.node_names()
    for number in range(sizes.pods):
        # In pairs, so that each node and each namespace has as many of one door as of the other.
        pair, door = divmod(number, len(DOORS))
        turn, place = divmod(pair, len(namespaces))
        names = sizes.identity_names(DOORS[door])
        yield Life(
            key=ObjectKey(namespaces[place], f"pod-{number}"),
            node=nodes[pair % len(nodes)],
            door=DOORS[door],
            identity=names[turn % len(names)],
        )


def pod_body(life: Life) -> JsonObject:
    """The pod as its author writes it: a label, and no volume."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": life.key.name,
            "namespace": life.key.namespace,
            "labels": {LABEL_IDENTITY: life.identity},
        },
        "spec": {"nodeName": life.node, "containers": [{"name": "agent", "image": "agent"}]},
    }


def waiting(all_lives: Iterable[Life], at: float) -> Counter[DeliveryMode]:
    """How many pods were there at a moment, and had no certificate yet, by door."""
    return Counter(
        life.door
        for life in all_lives
        if life.created is not None
        and life.created <= at
        and (life.issued is None or life.issued > at)
    )
