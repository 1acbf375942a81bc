"""An admin who talks to the API server past every proxy, and tries again while it is away."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from typing import Self

    from e2e.chaos.history import Json
    from e2e.providers import Cluster

__all__ = ["Admin", "RefusedError"]

_OURS: Final = "/apis/agentid.dev/v1alpha1"
_KINDS: Final = {
    "agentidentities": "AgentIdentity", "agentclasses": "AgentClass",
    "agentissuers": "AgentIssuer", "agentrevocations": "AgentRevocation",
}  # fmt: skip
_TRIES: Final = 120
_MERGE: Final = "application/merge-patch+json"
_SECONDS: Final = aiohttp.ClientTimeout(total=10)


class RefusedError(Exception):
    """The API server said no, or nothing."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Admin:
    """Requests with the rights of the kubeconfig."""

    def __init__(self, cluster: Cluster) -> None:
        view = json.loads(
            cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json").stdout
        )
        server, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        path = cluster.directory / "admin.pem"
        path.touch(mode=0o600)
        path.write_bytes(
            base64.b64decode(user["client-certificate-data"])
            + base64.b64decode(user["client-key-data"])
        )
        ca = base64.b64decode(server["certificate-authority-data"]).decode()
        self.server: str = server["server"]
        self.trust = ssl.create_default_context(cadata=ca)
        self._context = ssl.create_default_context(cadata=ca)
        self._context.load_cert_chain(path)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16, ssl=self._context)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        patch: bool = False,
        user: str = "",
    ) -> Json:
        """One request.

        Raises:
            RefusedError: The answer is an error, or there is none; then the code is 0.
        """
        assert self._session is not None  # noqa: S101 - entered
        headers = {"Impersonate-User": user} if user else {}
        if body is not None:
            headers["Content-Type"] = _MERGE if patch else "application/json"
        try:
            async with self._session.request(
                method, self.server + path, headers=headers, timeout=_SECONDS,
                data=None if body is None else json.dumps(body).encode(),
            ) as answer:  # fmt: skip
                text = await answer.text()
                if answer.status >= 300:  # noqa: PLR2004 - HTTP
                    raise RefusedError(answer.status, text[:300])
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RefusedError(0, repr(error)) from error
        found: Json = json.loads(text)
        return found

    async def insist(
        self, method: str, path: str, body: Json | None = None, *, user: str = ""
    ) -> Json:
        """The same, tried again for a minute while there is no answer, or only a fault."""
        for _ in range(_TRIES):
            try:
                return await self.ask(method, path, body, user=user)
            except RefusedError as error:
                # A server that has just started refuses what it does not know yet.
                if 0 < error.code < 429 and error.code != 403:  # noqa: PLR2004 - HTTP
                    raise
            await asyncio.sleep(0.5)
        return await self.ask(method, path, body, user=user)

    async def create(self, plural: str, body: Json, namespace: str = "") -> Json:
        """Create an object of one of our kinds."""
        whole = {"apiVersion": "agentid.dev/v1alpha1", "kind": _KINDS[plural], **body}
        return await self.ask("POST", ours(plural, namespace=namespace), whole)

    async def patch(self, plural: str, name: str, patch: Json, namespace: str = "") -> Json:
        """Merge-patch an object of one of our kinds."""
        return await self.ask("PATCH", ours(plural, name, namespace), patch, patch=True)

    async def delete(self, plural: str, name: str, namespace: str = "") -> Json:
        """Ask for the deletion of an object of one of our kinds."""
        return await self.ask("DELETE", ours(plural, name, namespace))


def ours(plural: str, name: str = "", namespace: str = "") -> str:
    """The path of objects of our kinds."""
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{_OURS}{place}/{plural}" + (f"/{name}" if name else "")
