"""Credentials from a kubeconfig, as people at a terminal have them.

Read by the official client's loader, which knows tokens, client certificates, exec plug-ins and
OIDC. Importing this module costs 25 MB; `agentid.kube.credentials.load_credentials` does it late.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from kubernetes.aio import client, config

from agentid.errors import InputError
from agentid.kube.credentials import checked_server, make_ssl_context

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KubeconfigCredentials"]


class KubeconfigCredentials:
    """One context of a kubeconfig; made by `load`.

    Credentials that expire (exec plug-ins, OIDC) are fetched anew when the API server refuses
    them. Not supported, as the loader does not: `provideClusterInfo` of an exec plug-in.
    """

    def __init__(self, path: str, context: str | None) -> None:
        """Remember where to load from; nothing is usable before `load` filled it in."""
        self._path = path
        self._context = context
        self._lock = asyncio.Lock()
        self._headers: dict[str, str] = {}
        self._configuration = client.Configuration()
        self.server = ""
        self.namespace = "default"
        self.ssl_context: ssl.SSLContext | None = None
        self.server_hostname: str | None = None
        self.proxy: str | None = None

    @classmethod
    async def load(cls, path: str, *, context: str | None = None) -> KubeconfigCredentials:
        """Read a kubeconfig, running its exec plug-in if the user has one.

        Args:
            path: A path, or several with colons between, as in KUBECONFIG; `~` is expanded.
            context: Name of the context; by default the current one.

        Raises:
            InputError: There is no such file or context, or it holds nothing usable.
        """
        self = cls(path, context)
        await self._load()
        return self

    async def headers(self) -> Mapping[str, str]:
        """Return the Authorization header, or nothing when a client certificate speaks for us."""
        return self._headers

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Load the file again, once however many requests were refused at the same time."""
        async with self._lock:
            if self._headers == refused:
                await self._load()
        return self._headers != refused

    def as_kopf_fields(self) -> dict[str, object]:
        """Return the credentials as kopf names them; certificates by the paths of their files."""
        scheme, _, token = self._headers.get("Authorization", "").partition(" ")
        found = self._configuration
        return {
            "server": self.server,
            "ca_path": found.ssl_ca_cert,
            "insecure": not found.verify_ssl,
            "scheme": scheme or None,
            "token": token or None,
            "certificate_path": found.cert_file,
            "private_key_path": found.key_file,
            "default_namespace": self.namespace,
            "proxy_url": self.proxy,
        }

    async def _load(self) -> None:
        where = f"kubeconfig {self._path}" + (f", context {self._context}" if self._context else "")
        if not _exists(self._path):
            message = f"{where}: no such file; name one with KUBECONFIG or --kubeconfig"
            raise InputError(message)
        found = client.Configuration()
        try:
            loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=self._path,
                context=self._context,
                client_configuration=found,
                persist_config=False,
            )
            self._apply(found, where)
            self.namespace = loader.current_context["context"].get("namespace") or "default"
        # The loader indexes into what it finds, so a kubeconfig with a hole shows as any of these.
        except (
            config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:
            message = f"{where}: cannot be used ({error}); `kubectl config view` shows what it says"
            raise InputError(message) from error

    def _apply(self, found: client.Configuration, where: str) -> None:
        try:
            server = checked_server(found.host)
        except InputError as error:
            message = f"{where}: {error}"
            raise InputError(message) from error
        authorization = found.api_key.get("BearerToken")
        if server.startswith("https:"):
            if not authorization and not found.cert_file:
                message = (
                    f"{where}: its user offers neither token nor certificate, and an API server "
                    "lets nobody in without; log in again (an exec plug-in's own error is logged)"
                )
                raise InputError(message)
            context = self._make_context(found)
            if self.ssl_context is not None and found.cert_file:
                # An exec plug-in's new certificate: sessions hold on to the context they have.
                self.ssl_context.load_cert_chain(found.cert_file, found.key_file)
            else:
                self.ssl_context = self.ssl_context or context
        self.server = server
        self.server_hostname = found.tls_server_name
        self.proxy = found.proxy
        self._headers = {"Authorization": authorization} if authorization else {}
        self._configuration = found

    @staticmethod
    def _make_context(found: client.Configuration) -> ssl.SSLContext:
        ca_file = found.ssl_ca_cert
        ca_pem = Path(ca_file).read_text("utf-8") if ca_file else None
        context = make_ssl_context(ca_pem=ca_pem, origin=ca_file)
        if not found.verify_ssl:
            # insecure-skip-tls-verify: the user said so, in so many words.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if found.cert_file:
            context.load_cert_chain(found.cert_file, found.key_file)
        return context


def _exists(paths: str) -> bool:
    return any(Path(path).expanduser().exists() for path in paths.split(":") if path)
