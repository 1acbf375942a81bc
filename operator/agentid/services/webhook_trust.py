"""The caBundle of our webhook configuration: whom the API server believes to be our webhook.

Nothing else of the configuration is ever written, and no other configuration is looked at.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import NotFoundError
from agentid.kube.objects import resource_version_of
from agentid.kube.resources import MUTATING_WEBHOOK_CONFIGURATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentid.kube.client import Client

__all__ = ["Hook", "Hooks", "WebhookTrust"]

_log = structlog.stdlib.get_logger(__name__)

_RESOURCE: Final = MUTATING_WEBHOOK_CONFIGURATIONS


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of the configuration that calls our Service.

    Attributes:
        index: Its place in `webhooks`.
        bundle: Its caBundle, empty where it has none or one that is no base64.
    """

    index: int
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Hooks:
    """Our webhooks as they were read.

    Attributes:
        version: The resourceVersion of the configuration.
        hooks: Those that call our Service.
    """

    version: str
    hooks: tuple[Hook, ...]


class WebhookTrust:
    """The caBundles of one configuration; raises what `Client` raises."""

    def __init__(self, client: Client, *, name: str, namespace: str, service: str) -> None:
        """Touch nothing yet.

        Args:
            client: The API server.
            name: Of the MutatingWebhookConfiguration.
            namespace: Of the Service.
            service: The Service; webhooks that call another, or a URL, are somebody else's.
        """
        self._client = client
        self._name = name
        self._service = (namespace, service)

    async def read(self) -> Hooks | None:
        """Return our webhooks, None if there is no such configuration or none of ours in it."""
        try:
            body = await self._client.get(_RESOURCE, self._name)
        except NotFoundError:
            return None
        found = tuple(self._ours(body))
        return Hooks(resource_version_of(body), found) if found else None

    async def set(self, bundle: bytes, seen: Hooks) -> bool:
        """Have all of them trust a bundle, and return whether any did not yet.

        Raises:
            PreconditionError: The configuration has changed since it was read.
        """
        changed = [each for each in seen.hooks if each.bundle != bundle]
        if not changed:
            return False
        encoded = base64.b64encode(bundle).decode("ascii")
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version}
        await self._client.patch_json(
            _RESOURCE,
            self._name,
            [
                test,
                *(
                    {
                        "op": "add",  # which replaces, where there is one
                        "path": f"/webhooks/{each.index}/clientConfig/caBundle",
                        "value": encoded,
                    }
                    for each in changed
                ),
            ],
        )
        _log.info("webhook_trust_set", configuration=self._name, webhooks=len(changed))
        return True

    def _ours(self, body: Mapping[str, object]) -> Iterator[Hook]:
        webhooks = body.get("webhooks")
        for index, webhook in enumerate(webhooks if isinstance(webhooks, list) else ()):
            match webhook:
                case {
                    "clientConfig": {
                        "service": {"namespace": str(namespace), "name": str(name)},
                        **rest,
                    }
                } if (namespace, name) == self._service:
                    yield Hook(index, _decoded(rest.get("caBundle")))


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text or ""), validate=True)
    except binascii.Error:
        return b""
