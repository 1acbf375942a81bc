"""The AgentIdentities as watches and answers tell them, in whatever order.

They come in tens of thousands and are looked at rarely, so they are kept as the bytes of their
JSON, a third of the size of what they parse to.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.conditions import Reason
from agentid.api.fields import parse_time
from agentid.errors import InputError
from agentid.kube.objects import ObjectKey, metadata_of, spec_manager_of, uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentid.kube.objects import JsonObject

__all__ = ["Ended", "Identities"]


@dataclass(frozen=True, slots=True)
class _Seen:
    uid: str
    version: int
    asked: int
    class_name: str
    body: bytes
    manager: str | None
    unready: str
    renewal: float | None


class Ended:
    """UIDs of the objects that ended last: the answer to a write may come after the watch told so.

    A UID never comes back, so it could be kept for ever. So many are kept that no write can be
    under way any more when one is forgotten.
    """

    def __init__(self) -> None:
        self._uids: dict[str, None] = {}

    def add(self, uid: str) -> None:
        """Remember one, and forget the one that ended first if there are too many."""
        self._uids[uid] = None
        if len(self._uids) > _ENDED:
            del self._uids[next(iter(self._uids))]

    def __contains__(self, uid: str) -> bool:
        """Whether the object of this UID is one of them."""
        return uid in self._uids


_ENDED: Final = 10_000
"""An answer may take half a minute, in which more than 300 objects a second would have to end."""


class Identities:
    """The AgentIdentities, newest version of each."""

    def __init__(self) -> None:
        self._seen: dict[ObjectKey, _Seen] = {}
        self._ended = Ended()
        # UIDs of those of which an answer told what somebody else changed, with its version: the
        # watch, which tells of it later, has it looked at all the same.
        self._ahead: dict[str, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._seen)

    def __contains__(self, key: ObjectKey) -> bool:
        """Whether one of this key was seen, and not its end."""
        return key in self._seen

    def put(self, body: Mapping[str, object]) -> bool:
        """Take in an object as a watch told it.

        Returns:
            Whether it is news: False for what we wrote ourselves, for an older version, which a
            watch may tell after the answer to a write, and for an object that has `ended`.
        """
        uid = uid_of(body)
        news, ahead = self._put(body), self._ahead.get(uid)
        if ahead is not None and version_of(body) >= ahead:
            del self._ahead[uid]
        return news or ahead is not None

    def learn(self, body: Mapping[str, object]) -> None:
        """Take in an object as an answer told it: to a read, or to a write of ours.

        If somebody else has changed what is asked for, that is news still when a watch tells it.
        """
        before = self._seen.get(ObjectKey.of(body))
        if self._put(body):
            now = self._seen[ObjectKey.of(body)]
            if before is None or (before.uid, before.asked) != (now.uid, now.asked):
                self._ahead[now.uid] = now.version

    def _put(self, body: Mapping[str, object]) -> bool:
        key, uid = ObjectKey.of(body), uid_of(body)
        if uid in self._ended:
            return False
        version = version_of(body)
        known = self._seen.get(key)
        if known is not None and known.uid == uid and version <= known.version:
            return False
        spec = body.get("spec")
        name = spec.get("className") if isinstance(spec, dict) else None
        metadata = {k: v for k, v in metadata_of(body).items() if k != "managedFields"}
        slim = {"metadata": metadata, "spec": spec, "status": body.get("status")}
        unready, renewal = _standing(body.get("status"))
        manager = spec_manager_of(body)
        self._seen[key] = _Seen(
            uid,
            version,
            _asked(metadata, spec),
            str(name or ""),
            orjson.dumps(slim),
            # Few words in tens of thousands of objects: each is kept once.
            None if manager is None else sys.intern(manager),
            sys.intern(unready),
            renewal,
        )
        return True

    def drop(self, key: ObjectKey) -> None:
        """Forget what is known by this key, until something is told of it again."""
        self._seen.pop(key, None)

    def ended(self, body: Mapping[str, object]) -> None:
        """Forget an object that is gone for good; a namesake that was told already stays."""
        key, uid = ObjectKey.of(body), uid_of(body)
        self._ended.add(uid)
        self._ahead.pop(uid, None)
        if (known := self._seen.get(key)) is not None and known.uid == uid:
            del self._seen[key]

    def has_ended(self, uid: str) -> bool:
        """Whether the end of this very object was told lately; False says nothing."""
        return uid in self._ended

    def get(self, key: ObjectKey) -> JsonObject | None:
        """Return an object, without its managedFields, None if there is none."""
        seen = self._seen.get(key)
        if seen is None:
            return None
        body: JsonObject = orjson.loads(seen.body)
        return body

    def uids(self) -> dict[ObjectKey, str]:
        """Return all that there are at this moment, with their UIDs."""
        return {key: seen.uid for key, seen in self._seen.items()}

    def manager_of(self, key: ObjectKey) -> str | None:
        """Who wrote the spec last, by its own account; None where nobody knows."""
        seen = self._seen.get(key)
        return None if seen is None else seen.manager

    def unready(self) -> Counter[str]:
        """How many are not Ready, by the reason that they give, for a gauge."""
        return Counter(seen.unready for seen in self._seen.values() if seen.unready)

    def overdue(self, now: datetime) -> list[float]:
        """For each certificate in use whose renewal time has passed: seconds since then."""
        moment = now.timestamp()
        return [
            moment - seen.renewal
            for seen in self._seen.values()
            if seen.renewal is not None and seen.renewal < moment
        ]

    def __iter__(self) -> Iterator[ObjectKey]:
        """Yield all keys there are at this moment."""
        return iter(tuple(self._seen))

    def of_classes(self, names: frozenset[str]) -> Iterator[ObjectKey]:
        """Yield the keys of identities that name one of these classes at this moment."""
        return (key for key, seen in tuple(self._seen.items()) if seen.class_name in names)


def _asked(metadata: Mapping[str, object], spec: object) -> int:
    """Stands for what others ask of an object: what no write of ours changes."""
    ours = {"resourceVersion", "finalizers"}
    others = {name: value for name, value in metadata.items() if name not in ours}
    return hash(orjson.dumps([others, spec], option=orjson.OPT_SORT_KEYS))


def _standing(status: object) -> tuple[str, float | None]:
    """Why an identity is not Ready, empty if it is; and when its certificate is to be renewed."""
    if not isinstance(status, dict):
        return Reason.PENDING.value, None
    unready, renewal = "", None
    conditions = status.get("conditions")
    for each in conditions if isinstance(conditions, list) else ():
        match each:
            case {"type": "Ready", "status": "False" | "Unknown", "reason": str(reason)}:
                # A reason of a later release must not make a label of its own.
                unready = reason if reason in _REASONS else "Other"
            case _:
                pass
    match status.get("certificate"):
        case {"renewalTime": str(text)}:
            with suppress(InputError):
                renewal = parse_time(text).timestamp()
        case _:
            pass
    return unready, renewal


_REASONS: Final = frozenset(each.value for each in Reason)
