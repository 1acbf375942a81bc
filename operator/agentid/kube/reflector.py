"""What is there now and what changes, of one kind, for ever.

Nothing is cached but which objects are known, and in which version: about 300 bytes for each.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agentid.errors import ForbiddenError, NotFoundError, UnavailableError, WatchExpiredError
from agentid.kube.backoff import Backoff
from agentid.kube.objects import EventType, JsonObject, ObjectKey, resource_version_of, uid_of
from agentid.kube.resources import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.client import Client
    from agentid.kube.resources import Resource, Selector

__all__ = ["Change", "ChangeType", "reflect"]

_LONGEST_WAIT: Final = timedelta(seconds=10)
"""Between two tries at most. Other replicas' revocations come this way, so a server that is back
must not be left alone for minutes; one request in ten seconds harms none that is not."""

_SETTLED_AFTER: Final = 10.0
"""Seconds a watch has to last for the outages before it to be forgotten."""


class ChangeType(StrEnum):
    """What is reported."""

    ADDED = "Added"
    MODIFIED = "Modified"
    DELETED = "Deleted"
    SYNCED = "Synced"
    """Everything there is was reported; comes after each list, the first and any later one."""
    CURRENT = "Current"
    """Nothing has changed that was not reported. The API server says so about once a minute."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        type: What happened.
        key: Which object; None when SYNCED or CURRENT.
        object: The object after it. When DELETED: the object before it, or, when its deletion was
            found by listing again, nothing but `metadata.namespace`, `name` and `uid`. Empty when
            SYNCED or CURRENT.
    """

    type: ChangeType
    key: ObjectKey | None
    object: JsonObject


@dataclass(frozen=True, slots=True)
class _Known:
    uid: str
    version: str


async def reflect(  # noqa: PLR0913 - a part each, or a choice
    client: Client,
    resource: Resource,
    namespace: str | None = None,
    *,
    clock: Clock,
    random: Callable[[], float],
    selector: Selector = EVERYTHING,
    tell_current: bool = False,
    on_outage: Callable[[AgentIdError, float], None] | None = None,
    patience: float = 0.0,
) -> AsyncGenerator[Change, None]:
    """Yield all objects as ADDED, then SYNCED, then every change; without end.

    A watch that ends is taken up where it was. When the API server has forgotten that moment, the
    kind is listed again, and only what differs is yielded: no change is lost, though several of one
    object may show as one. An object that was deleted and made anew meanwhile shows as DELETED and
    ADDED. While the API server is away, it is tried again with growing waits.

    Args:
        client: The API server.
        resource: The kind.
        namespace: Where; by default everywhere.
        clock: For waits.
        random: A number in [0, 1) at each call.
        selector: Which objects; one that stops matching shows as DELETED.
        tell_current: Whether to yield CURRENT.
        on_outage: Told about every failure, and the seconds until the next try.
        patience: Seconds from the first try on in which even a refusal is an outage: an API server
            that has just started knows no RBAC yet.

    Raises:
        ForbiddenError: We may not list or watch this. Only before SYNCED and after the patience:
            later it is an outage like others.
        NotFoundError: There is no such kind; likewise.
    """
    reflection = _Reflection(client, resource, namespace, selector, tell_current=tell_current)
    waits = Backoff(ceiling=_LONGEST_WAIT)
    failures = 0
    first = clock.monotonic()
    while True:
        began = clock.monotonic()
        trouble: AgentIdError | None = None
        try:
            async with aclosing(reflection.follow()) as changes:
                async for change in changes:
                    yield change
        except (UnavailableError, WatchExpiredError) as error:
            trouble = error
        except (ForbiddenError, NotFoundError) as error:
            if not reflection.synced and clock.monotonic() - first >= patience:
                raise
            trouble = error
        # A busy API server ends watches that are behind, and who waited would be further behind.
        behind = trouble is None and reflection.told
        if behind or clock.monotonic() - began >= _SETTLED_AFTER:
            failures = 0
            if not isinstance(trouble, UnavailableError):
                continue  # every watch ends some time, and one may have slept for too long
        failures += 1
        wait = waits.seconds(failures, random(), getattr(trouble, "retry_after", None))
        if on_outage is not None and trouble is not None:
            on_outage(trouble, wait)
        await clock.sleep(wait)


class _Reflection:
    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None,
        selector: Selector,
        *,
        tell_current: bool,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._selector = selector
        self._tell_current = tell_current
        self._known: dict[ObjectKey, _Known] = {}
        self._version = ""
        self.synced = False
        self.told = False

    async def follow(self) -> AsyncGenerator[Change, None]:
        """List if need be, then watch until the watch ends; `told` says whether it told of any."""
        self.told = False
        try:
            if not self._version:
                async with aclosing(self._list()) as changes:
                    async for change in changes:
                        yield change
            watch = self._client.watch(
                self._resource,
                self._namespace,
                resource_version=self._version,
                selector=self._selector,
            )
            async with aclosing(watch) as events:
                async for event in events:
                    if event.type is not EventType.BOOKMARK:
                        self.told = True
                        for change in self._learn(event.type, event.object):
                            yield change
                    elif self._tell_current:
                        yield Change(ChangeType.CURRENT, None, {})
                    self._version = resource_version_of(event.object) or self._version
        except WatchExpiredError:
            self._version = ""
            raise

    async def _list(self) -> AsyncGenerator[Change, None]:
        found: set[ObjectKey] = set()
        version = ""
        listing = self._client.pages(self._resource, self._namespace, selector=self._selector)
        async with aclosing(listing) as pages:
            async for page in pages:
                version = page.resource_version
                for item in page.items:
                    found.add(ObjectKey.of(item))
                    for change in self._learn(EventType.ADDED, item):
                        yield change
        for key in [key for key in self._known if key not in found]:
            yield Change(ChangeType.DELETED, key, _remains(key, self._known.pop(key)))
        self._version = version
        self.synced = True
        yield Change(ChangeType.SYNCED, None, {})

    def _learn(self, event: EventType, body: JsonObject) -> list[Change]:
        key = ObjectKey.of(body)
        before = self._known.pop(key, None)
        if event is EventType.DELETED:
            return [Change(ChangeType.DELETED, key, body)]
        now = self._known[key] = _Known(uid_of(body), resource_version_of(body))
        if before is None:
            return [Change(ChangeType.ADDED, key, body)]
        if before.uid != now.uid:
            gone = Change(ChangeType.DELETED, key, _remains(key, before))
            return [gone, Change(ChangeType.ADDED, key, body)]
        return [] if before == now else [Change(ChangeType.MODIFIED, key, body)]


def _remains(key: ObjectKey, known: _Known) -> JsonObject:
    return {"metadata": {"namespace": key.namespace, "name": key.name, "uid": known.uid}}
