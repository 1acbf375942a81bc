"""Bundles in the namespaces that ask for them by label.

What is in other namespaces agentid may write and not read, so it keeps a record of where it has
written. A namespace is on record before anything is written there, and until all of it is removed:
so one that lost its label while nobody watched is still found.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_ISSUER, LABEL_MANAGED
from agentid.errors import AgentIdError, AlreadyExistsError, NotFoundError
from agentid.kube.objects import resource_version_of
from agentid.kube.resources import CONFIG_MAPS
from agentid.services.bundle_documents import bundle_name

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.services.world import World

__all__ = ["RECORD", "NamespaceBundles"]

_log = structlog.stdlib.get_logger(__name__)

RECORD: Final = "agentid-trust-bundle-namespaces"
"""The ConfigMap in the operator's namespace that holds the record; no issuer's bundle has such a
name."""

_RECORD_DATA: Final = "namespaces"

_TOGETHER: Final = 16
"""Namespaces written at a time: half of the requests that the client has in flight at most."""


class NamespaceBundles:
    """Writes a ConfigMap for each issuer into each namespace that asks."""

    def __init__(self, *, world: World, client: Client, namespace: str) -> None:
        """Touch nothing yet.

        Args:
            world: Which namespaces ask.
            client: The API server.
            namespace: The operator's own, where the record is kept.
        """
        self._world = world
        self._client = client
        self._namespace = namespace
        # By namespace, its UID and issuer: what is there.
        self._written: dict[tuple[str, str, str], Mapping[str, str]] = {}
        self._record: frozenset[str] | None = None
        self._version = ""
        self._slots = asyncio.Semaphore(_TOGETHER)

    def forget(self) -> None:
        """Write everything once more; the API server finds out itself what is the same."""
        self._written.clear()
        self._record = None

    async def apply(self, issuer: str, data: Mapping[str, str]) -> bool:
        """Make the ConfigMap of an issuer what is published; True if it is so everywhere.

        Raises:
            AgentIdError: The record cannot be kept, so nothing is written.
        """
        wanted = self._wanted()
        before = await self._on_record(frozenset(wanted))
        late = [
            self._put(name, uid, issuer, data, there=name in before)
            for name, uid in wanted.items()
            if self._written.get((name, uid, issuer)) != data
        ]
        return await self._together(late)

    async def withdraw(self, issuer: str) -> bool:
        """Remove what there is of an issuer that is gone; True if nothing is left.

        Raises:
            AgentIdError: The record cannot be read.
        """
        names = await self._on_record(frozenset())
        for key in [key for key in self._written if key[2] == issuer]:
            del self._written[key]
        return await self._together([self._remove(name, issuer) for name in sorted(names)])

    async def leave(self, issuers: Iterable[str]) -> bool:
        """Remove everything from namespaces that do not ask any more; True if nothing is left.

        Raises:
            AgentIdError: The record cannot be kept.
        """
        record, wanted = await self._on_record(frozenset()), self._wanted()
        left: set[str] = set()
        for name in sorted(record - wanted.keys()):
            if await self._together([self._remove(name, issuer) for issuer in issuers]):
                left.add(name)
        if left:
            await self._keep_record(record - left)
            self._written = {key: each for key, each in self._written.items() if key[0] not in left}
        return not record - left - wanted.keys()

    def _wanted(self) -> dict[str, str]:
        """Namespaces that ask, with their UIDs; in our own the bundle is anyhow."""
        found = dict(self._world.bundle_namespaces)
        found.pop(self._namespace, None)
        return found

    async def _together(self, work: list[Coroutine[None, None, bool]]) -> bool:
        async def one(each: Coroutine[None, None, bool]) -> bool:
            async with self._slots:
                return await each

        return all(await asyncio.gather(*map(one, work)))

    async def _put(
        self, namespace: str, uid: str, issuer: str, data: Mapping[str, str], *, there: bool
    ) -> bool:
        body: JsonObject = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {
                "namespace": namespace,
                "name": bundle_name(issuer),
                "labels": {LABEL_MANAGED: "true", LABEL_ISSUER: issuer},
            },
            "data": dict(data),
        }
        create, replace = self._client.create, self._client.replace
        try:
            if there:
                try:
                    await replace(CONFIG_MAPS, body)
                except NotFoundError:
                    await create(CONFIG_MAPS, body)
            else:
                try:
                    await create(CONFIG_MAPS, body)
                except AlreadyExistsError:
                    await replace(CONFIG_MAPS, body)
        except AgentIdError as error:
            _log.warning(
                "bundle_not_delivered", namespace=namespace, issuer=issuer, error=str(error)
            )
            return False
        if (namespace, uid, issuer) not in self._written:
            _log.debug("bundle_delivered", namespace=namespace, issuer=issuer)
        self._written[namespace, uid, issuer] = data
        return True

    async def _remove(self, namespace: str, issuer: str) -> bool:
        try:
            with suppress(NotFoundError):
                await self._client.delete(CONFIG_MAPS, bundle_name(issuer), namespace)
        except AgentIdError as error:
            _log.warning("bundle_not_removed", namespace=namespace, issuer=issuer, error=str(error))
            return False
        return True

    # The record

    async def _on_record(self, more: frozenset[str]) -> frozenset[str]:
        """Put namespaces on record, and return what was on it before."""
        if self._record is None:
            try:
                body = await self._client.get(CONFIG_MAPS, RECORD, self._namespace)
            except NotFoundError:
                self._record, self._version = frozenset(), ""
            else:
                data = body.get("data")
                text = str(data.get(_RECORD_DATA) or "") if isinstance(data, dict) else ""
                self._record, self._version = frozenset(text.split()), resource_version_of(body)
        before = self._record
        if more - before:
            await self._keep_record(before | more)
        return before

    async def _keep_record(self, names: frozenset[str]) -> None:
        version = {"resourceVersion": self._version} if self._version else {}
        body: JsonObject = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {
                "namespace": self._namespace,
                "name": RECORD,
                "labels": {LABEL_MANAGED: "true"},
                **version,
            },
            "data": {_RECORD_DATA: "\n".join(sorted(names))},
        }
        write = self._client.replace if version else self._client.create
        try:
            stored = await write(CONFIG_MAPS, body)
        except AgentIdError:
            self._record = None
            raise
        self._record, self._version = names, resource_version_of(stored)
