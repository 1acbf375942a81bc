"""What the ledger and the issuers want of a cluster, in their words.

The ports are declared there (`ledger.configmaps.ConfigMapClient`,
`issuers.authorities.AuthorityStore`); these classes satisfy them without either side knowing the
other. The composition root puts them together, and a type checker sees that they fit.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentid.errors import AlreadyExistsError, ConflictError, NotFoundError
from agentid.kube.objects import metadata_of, resource_version_of
from agentid.kube.reflector import reflect
from agentid.kube.resources import CONFIG_MAPS, SECRETS, Selector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from agentid.clock import Clock
    from agentid.errors import AgentIdError
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.reflector import Change

__all__ = ["ConfigMaps", "SecretFiles", "SecretVersion"]

_PATIENCE: Final = 30.0
"""Seconds in which a refusal is not believed. An API server answers requests before it knows all
roles; ours, restarted with it, would end and be restarted ever later by the kubelet."""


class ConfigMaps:
    """The ConfigMaps of a cluster; raises what `Client` raises."""

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        random: Callable[[], float],
        on_outage: Callable[[AgentIdError, float], None] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._on_outage = on_outage

    async def create_config_map(self, namespace: str, manifest: Mapping[str, object]) -> JsonObject:
        """Create one in the namespace and return it as stored."""
        metadata = manifest.get("metadata")
        placed = {**(metadata if isinstance(metadata, dict) else {}), "namespace": namespace}
        return await self._client.create(CONFIG_MAPS, {**manifest, "metadata": placed})

    async def get_config_map(self, namespace: str, name: str) -> JsonObject:
        """Return one as it is now."""
        return await self._client.get(CONFIG_MAPS, name, namespace)

    def list_config_maps(self, namespace: str, selector: str) -> AsyncGenerator[JsonObject, None]:
        """Yield all that a label selector selects, each once."""
        return self._client.list(CONFIG_MAPS, namespace, selector=Selector(labels=selector))

    async def delete_config_map(self, namespace: str, name: str) -> None:
        """Delete one."""
        await self._client.delete(CONFIG_MAPS, name, namespace)

    async def follow_config_maps(
        self, namespace: str, selector: str, *, tell_current: bool = False
    ) -> AsyncGenerator[Change, None]:
        """Yield all that are selected, SYNCED, then every change; without end.

        Args:
            namespace: Where.
            selector: A label selector.
            tell_current: Whether to yield CURRENT as well.
        """
        changes = reflect(
            self._client,
            CONFIG_MAPS,
            namespace,
            clock=self._clock,
            random=self._random,
            selector=Selector(labels=selector),
            tell_current=tell_current,
            on_outage=self._on_outage,
            patience=_PATIENCE,
        )
        async with aclosing(changes):
            async for change in changes:
                yield change


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """The files of a Secret as they were read.

    Attributes:
        files: By name.
        version: The resourceVersion of the Secret.
        labels: Of the Secret.
    """

    files: Mapping[str, bytes] = field(repr=False)
    version: str
    labels: Mapping[str, object] = field(default_factory=dict)


class SecretFiles:
    """The files in one Secret, exchanged together or not at all."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        labels: Mapping[str, str],
    ) -> None:
        """Touch nothing yet.

        Args:
            client: The API server.
            namespace: Where the Secret is.
            name: What it is called.
            labels: What it carries when it is made here; the policies go by them.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._labels = dict(labels)

    async def read(self) -> SecretVersion | None:
        """Return the files, None if there is no such Secret.

        A file that cannot be decoded is left out; whoever needs it reports that it is missing.

        Raises:
            UnavailableError: The API server is away.
        """
        try:
            body = await self._client.get(SECRETS, self._name, self._namespace)
        except NotFoundError:
            return None
        data = body.get("data")
        found = {}
        for file, text in (data if isinstance(data, dict) else {}).items():
            try:
                found[file] = base64.b64decode(str(text), validate=True)
            except binascii.Error:
                continue
        labels = metadata_of(body).get("labels")
        return SecretVersion(
            found, resource_version_of(body), labels if isinstance(labels, dict) else {}
        )

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Store the files in a new Secret; False if there is one of this name already.

        Raises:
            UnavailableError: The API server is away; it may have stored them.
        """
        try:
            await self._client.create(SECRETS, self._manifest(data))
        except AlreadyExistsError:
            return False
        return True

    async def replace(self, data: Mapping[str, bytes], version: str) -> bool:
        """Store other files in place of those of a version; False if they have changed since.

        Raises:
            UnavailableError: The API server is away; it may have stored them.
        """
        try:
            await self._client.replace(SECRETS, self._manifest(data, resourceVersion=version))
        except (ConflictError, NotFoundError):
            return False
        return True

    def _manifest(self, data: Mapping[str, bytes], **metadata: str) -> JsonObject:
        return {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "metadata": {
                "namespace": self._namespace,
                "name": self._name,
                "labels": self._labels,
                **metadata,
            },
            "type": "Opaque",
            "data": {file: base64.b64encode(content).decode() for file, content in data.items()},
        }
