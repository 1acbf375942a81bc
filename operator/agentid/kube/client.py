"""A thin client of the API server: JSON in, JSON out, one request for one call.

It knows nothing of the kinds it carries; models are parsed by who asked. Why not the official
client: `docs/adr/0004-client-facade.md`.

No write repeats itself. All callers are level-triggered: they come again, and look first. The one
exception is a request refused with 401, which the server did nothing with; it is sent once more
when there are newer credentials. A write that got no answer may have been carried out, and its
`UnavailableError` says so. (A read whose connection breaks is sent once more, by aiohttp.)
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError, UnavailableError, WatchExpiredError
from agentid.kube import failures
from agentid.kube.failures import Call
from agentid.kube.objects import (
    EventType,
    JsonObject,
    ObjectKey,
    Page,
    WatchEvent,
    metadata_of,
    uid_of,
)
from agentid.kube.resources import EVERYTHING, Selector
from agentid.kube.transport import JSON, Request, Transport, WriteHook, decode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from typing import Self

    from agentid.kube.credentials import Credentials
    from agentid.kube.resources import Resource

__all__ = ["Client", "WriteHook"]

PAGE_SIZE: Final = 500
"""Objects in a page of a list, as client-go has it: about a megabyte of AgentIdentities."""

_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Client:
    """Requests to one API server with one set of credentials.

    At most `connections` requests are in flight, others wait their turn within their own time-out;
    watches have connections of their own. To be made in a running event loop, and closed.

    Every method raises `UnavailableError` when the API server is away, overloaded (429, 5xx; with
    the wait it asks for) or silent; `ForbiddenError` for 401 and 403; `InputError` before anything
    is sent when name and namespace do not fit the kind; `ApiError` for any other refusal. What
    else a method raises stands with it. Messages carry verb, resource, namespace/name, the code and
    the server's own words, shortened.

    The methods that yield hold a connection while they are not at their end: who leaves a loop over
    one early closes it, best by `contextlib.aclosing`.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int = 32,
        timeout: float = 30.0,
        field_manager: str = "agentid",
        on_write: WriteHook | None = None,
    ) -> None:
        """Open nothing yet; connections are made as needed.

        Args:
            credentials: Who we are.
            connections: Requests in flight at most. More than about 32 only queue up in the API
                server, whose CPU is what they wait for.
            timeout: Seconds from the call to the end of the answer, waiting for a connection
                included. The API server itself gives up after 60.
            field_manager: Who stands in managedFields for our writes.
            on_write: Told about every write.
        """
        self._transport = Transport(
            credentials, connections=connections, timeout=timeout, on_write=on_write
        )
        self._write_query = {"fieldManager": field_manager}

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests in flight fail with UnavailableError."""
        await self._transport.close()

    # Reads

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> JsonObject:
        """Return one object as it is now.

        Raises:
            NotFoundError: There is none of this name.
        """
        call = _call("get", resource.plural, name, namespace)
        return await self._object(Request(call, "GET", resource.path(namespace, name)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        selector: Selector = EVERYTHING,
        metadata_only: bool = False,
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield all objects that are selected, each once, paged behind the scenes.

        When it takes so long that the API server forgets where it was, it starts again, and leaves
        out what was yielded already, though that may have changed meanwhile. Use `pages` where the
        moment matters.
        """
        yielded: set[str] = set()
        while True:
            pages = self.pages(resource, namespace, selector=selector, metadata_only=metadata_only)
            try:
                async with aclosing(pages):
                    async for page in pages:
                        for item in page.items:
                            uid = uid_of(item)
                            if uid in yielded:
                                continue
                            if page.has_next:
                                yielded.add(uid)
                            yield item
            except WatchExpiredError:
                if not yielded:
                    raise  # not a page's token: starting again would meet the same answer
            else:
                return

    def list_metadata(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        selector: Selector = EVERYTHING,
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield what `list` does, with nothing but `metadata` in each object."""
        return self.list(resource, namespace, selector=selector, metadata_only=True)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        selector: Selector = EVERYTHING,
        metadata_only: bool = False,
    ) -> AsyncGenerator[Page, None]:
        """Yield the pages of one consistent list, as of the moment of the first.

        Raises:
            WatchExpiredError: The API server has forgotten that moment; start again.
        """
        call = Call("list", resource.plural, namespace or "")
        path = resource.path(namespace)
        accept = _METADATA_LIST if metadata_only else JSON
        query = selector.as_query() | {"limit": str(PAGE_SIZE)}
        while True:
            body = await self._object(Request(call, "GET", path, query, accept=accept))
            items, metadata = body.get("items"), metadata_of(body)
            token = str(metadata.get("continue") or "")
            yield Page(
                items=items if isinstance(items, list) else [],
                resource_version=str(metadata.get("resourceVersion") or ""),
                has_next=bool(token),
            )
            if not token:
                return
            query = query | {"continue": token}

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        selector: Selector = EVERYTHING,
        seconds: int = 300,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield what happens after a moment, until the API server ends the watch or goes silent.

        Ending is no error: go on from the last `resourceVersion` seen, bookmarks included.
        `reflector.reflect` does all of that.

        Args:
            resource: What to watch.
            namespace: Where; by default everywhere.
            resource_version: The moment, from a `Page` or an event.
            selector: Which objects.
            seconds: How long the API server keeps the watch open.

        Raises:
            WatchExpiredError: The API server has forgotten that moment; list again.
        """
        call = Call("watch", resource.plural, namespace or "")
        query = selector.as_query() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        request = Request(call, "GET", resource.path(namespace), query)
        async with aclosing(self._transport.stream(request)) as lines:
            async for line in lines:
                yield _event(call, line)

    async def get_raw(self, path: str) -> bytes:
        """Return the body of any path, such as `/readyz` or `/metrics`."""
        return await self._transport.send(Request(Call("get", path), "GET", path, accept="*/*"))

    # Writes

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, object],
        *,
        dry_run: bool = False,
    ) -> JsonObject:
        """Create an object, in the namespace its metadata name, and return it as stored.

        Raises:
            AlreadyExistsError: There is one of this name.
            InvalidError: It breaks its schema.
            NotFoundError: There is no such namespace or kind.
        """
        metadata = metadata_of(body)
        namespace = str(metadata.get("namespace") or "")
        name = str(metadata.get("name") or metadata.get("generateName") or "")
        call = Call("create", resource.plural, namespace, name)
        if resource.namespaced and not namespace:
            message = f"{call}: {resource.plural} live in namespaces; set metadata.namespace"
            raise InputError(message)
        request = Request(
            call, "POST", resource.path(namespace), self._query(dry_run=dry_run), body
        )
        return await self._object(request)

    async def replace(
        self,
        resource: Resource,
        body: Mapping[str, object],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """Replace an object as a whole, and return it as stored.

        With `metadata.resourceVersion` only if it has not changed since; without it whatever it
        is now, for the kinds that allow so (Secrets do, custom resources do not).

        Raises:
            ConflictError: It has changed since.
            InvalidError: It breaks its schema, or changes what must not change.
            NotFoundError: There is none of this name.
        """
        key = ObjectKey.of(body)
        call = Call("update", _target(resource, subresource), key.namespace, key.name)
        path = resource.path(key.namespace, key.name, subresource)
        return await self._object(Request(call, "PUT", path, self._query(dry_run=dry_run), body))

    async def replace_status(
        self, resource: Resource, body: Mapping[str, object], *, dry_run: bool = False
    ) -> JsonObject:
        """Replace an object's status; the cheapest way to write one. Raises what `replace` does."""
        return await self.replace(resource, body, subresource="status", dry_run=dry_run)

    async def patch_json(
        self,
        resource: Resource,
        name: str,
        operations: Sequence[Mapping[str, object]],
        namespace: str | None = None,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """Apply a JSON Patch (RFC 6902), all of it or nothing, and return the object as stored.

        Raises:
            PreconditionError: A `test` did not hold, or a path is not there.
            InvalidError: The result breaks the schema.
            NotFoundError: There is no object of this name.
        """
        call = _call("patch", _target(resource, subresource), name, namespace, json_patch=True)
        path = resource.path(namespace, name, subresource)
        query = self._query(dry_run=dry_run)
        return await self._object(Request(call, "PATCH", path, query, operations, _JSON_PATCH))

    async def patch_merge(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, object],
        namespace: str | None = None,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """Apply a JSON Merge Patch (RFC 7396) and return the object as stored.

        `metadata.resourceVersion` in the patch makes it conditional.

        Raises:
            ConflictError: The object has another resourceVersion than the patch names.
            InvalidError: The result breaks the schema.
            NotFoundError: There is no object of this name.
        """
        call = _call("patch", _target(resource, subresource), name, namespace)
        path = resource.path(namespace, name, subresource)
        query = self._query(dry_run=dry_run)
        return await self._object(Request(call, "PATCH", path, query, patch, _MERGE_PATCH))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> None:
        """Delete an object; its finalizers may keep it for a while yet. Dependants go afterwards.

        Args:
            resource: Of what kind.
            name: Which one.
            namespace: Where.
            uid: Only this very object, no namesake that came after it.
            resource_version: Only if it has not changed since.
            dry_run: Only find out whether it could be done.

        Raises:
            ConflictError: It has another uid or resourceVersion.
            NotFoundError: There is none of this name.
        """
        call = _call("delete", resource.plural, name, namespace)
        options: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {name: value for name, value in wanted.items() if value}:
            options["preconditions"] = preconditions
        query = {"dryRun": "All"} if dry_run else {}
        path = resource.path(namespace, name)
        await self._transport.send(Request(call, "DELETE", path, query, options))

    async def _object(self, request: Request) -> JsonObject:
        return decode(request.call, await self._transport.send(request))

    def _query(self, *, dry_run: bool) -> Mapping[str, str]:
        return self._write_query | {"dryRun": "All"} if dry_run else self._write_query


def _call(
    verb: str, resource: str, name: str, namespace: str | None, *, json_patch: bool = False
) -> Call:
    call = Call(verb, resource, namespace or "", name, json_patch)
    if not name:
        message = f"{call}: no name is given; without one it would go to the whole collection"
        raise InputError(message)
    return call


def _target(resource: Resource, subresource: str) -> str:
    return f"{resource.plural}/{subresource}" if subresource else resource.plural


def _event(call: Call, line: bytes) -> WatchEvent:
    body = decode(call, line)
    found, content = body.get("type"), body.get("object")
    if not isinstance(content, dict):
        content = {}
    if found == "ERROR":
        raise failures.from_status(call, content)
    try:
        return WatchEvent(EventType(str(found)), content)
    except ValueError as error:
        message = f"{call}: an event of the unknown type {found!r}"
        raise UnavailableError(message) from error
