"""Who we are to the API server, and how we know that it is the one we mean.

Two sources: the ServiceAccount directory that the kubelet mounts into every pod, and a kubeconfig.
The operator uses the first, outside a pod too (`AGENTID_SERVICEACCOUNT_DIR`), so that it runs with
the same rights on a desk as in a cluster. The command line uses the second, and pays for it: the
official client's loader, which knows every kind of kubeconfig, costs 25 MB, hence it is imported
only then.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.clock import Clock

__all__ = [
    "ENV_SERVICE_ACCOUNT_DIR",
    "Credentials",
    "ServiceAccountCredentials",
    "load_credentials",
    "make_ssl_context",
]

ENV_SERVICE_ACCOUNT_DIR: Final = "AGENTID_SERVICEACCOUNT_DIR"
"""Names the directory with token, ca.crt and namespace, where it is not the kubelet's."""

_MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_LOOK_AGAIN_AFTER: Final = 10.0
"""Seconds between two looks at the token file. The kubelet swaps a token when 80 % of its life (an
hour by default) has passed, so minutes would do; a look costs some microseconds."""

_TOKEN_MAX: Final = 16 * 1024
"""Bytes. The API server reads at most 1 MiB of headers, a bound token has about 1 KiB."""


class Credentials(Protocol):
    """What a connection to the API server needs.

    Attributes:
        server: Base URL, without a slash at the end.
        namespace: The namespace we live in, or that the kubeconfig's context names.
        ssl_context: How the server proves itself, with our client certificate if there is one;
            None when the server is spoken to in clear text.
        server_hostname: The name the server's certificate is held against, when it is not the
            URL's; None otherwise.
        proxy: URL of an HTTP proxy, or None.
    """

    @property
    def server(self) -> str: ...  # noqa: D102 - documented as attributes above, as are the next
    @property
    def namespace(self) -> str: ...  # noqa: D102
    @property
    def ssl_context(self) -> ssl.SSLContext | None: ...  # noqa: D102
    @property
    def server_hostname(self) -> str | None: ...  # noqa: D102
    @property
    def proxy(self) -> str | None: ...  # noqa: D102

    async def headers(self) -> Mapping[str, str]:
        """Return the headers that authenticate a request; called for each, hence cheap."""

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Look for other credentials than those just refused with 401.

        Returns:
            Whether `headers` has something else to offer now, so that another try makes sense.
        """

    def as_kopf_fields(self) -> dict[str, object]:
        """Return the keyword arguments of a `kopf.ConnectionInfo` for these credentials, today's.

        A session from `agentid.kube.session.open_session` in a `kopf.AiohttpSession` serves better:
        it follows the token when it is rotated.
        """


class ServiceAccountCredentials:
    """The credentials the kubelet mounts: files `token`, `ca.crt` and `namespace`.

    Token and CA are read again when their files change; should the new content be unusable (the
    kubelet swaps a directory, an editor may not), what was read before stays in use.
    """

    server_hostname = None
    proxy = None

    def __init__(self, server: str, directory: Path, *, clock: Clock) -> None:
        """Read the files.

        Raises:
            InputError: A file is missing or does not hold what its name says.
        """
        self.server = checked_server(server)
        self._directory = directory
        self._clock = clock
        self._ca_pem = self._read("ca.crt")
        self.ssl_context: ssl.SSLContext | None = None
        if self.server.startswith("https:"):
            self.ssl_context = make_ssl_context(ca_pem=self._ca_pem, origin=directory / "ca.crt")
        self.namespace = self._read("namespace")
        self._headers = self._read_headers()
        self._stamp = self._stamp_now()
        self._looked = clock.monotonic()

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, clock: Clock, directory: Path | None = None
    ) -> ServiceAccountCredentials:
        """Find server and directory as a pod finds them.

        Args:
            environ: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, and perhaps
                AGENTID_SERVICEACCOUNT_DIR.
            clock: For how long the token has not been looked at.
            directory: Goes before AGENTID_SERVICEACCOUNT_DIR and the kubelet's place.

        Raises:
            InputError: Server or directory cannot be told, or a file is not right.
        """
        host = environ.get("KUBERNETES_SERVICE_HOST", "")
        port = environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            message = (
                "KUBERNETES_SERVICE_HOST is not set, so this is no pod; "
                "set it with KUBERNETES_SERVICE_PORT, or use a kubeconfig"
            )
            raise InputError(message)
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        directory = directory or Path(environ.get(ENV_SERVICE_ACCOUNT_DIR) or _MOUNTED)
        return cls(f"https://{host}:{port}", directory, clock=clock)

    async def headers(self) -> Mapping[str, str]:
        """Return the Authorization header, with the token as the file has it."""
        if self._clock.monotonic() - self._looked >= _LOOK_AGAIN_AFTER:
            self._look_again()
        return self._headers

    async def renew(self, refused: Mapping[str, str]) -> bool:
        """Look at the token's file at once; True when it differs from the one refused."""
        self._look_again()
        return self._headers != refused

    def as_kopf_fields(self) -> dict[str, object]:
        """Return server, CA, token and namespace as kopf names them."""
        return {
            "server": self.server,
            "ca_data": self._ca_pem if self.ssl_context else None,
            "scheme": "Bearer",
            "token": self._headers["Authorization"].removeprefix("Bearer "),
            "default_namespace": self.namespace,
        }

    def _look_again(self) -> None:
        self._looked = self._clock.monotonic()
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        try:
            headers, ca_pem = self._read_headers(), self._read("ca.crt")
            if self.ssl_context is not None and ca_pem != self._ca_pem:
                # The old CA stays trusted until a restart: both are in force while one follows
                # the other, and a context cannot forget.
                self.ssl_context.load_verify_locations(cadata=ca_pem)
        except (InputError, ssl.SSLError):
            return  # half-written; the stamp is kept, so the next look tries again
        self._headers, self._ca_pem, self._stamp = headers, ca_pem, stamp

    def _stamp_now(self) -> tuple[tuple[int, int, int], ...]:
        # Through the symlinks: the kubelet swaps `..data`, so the inode changes with the content.
        found = []
        for name in ("token", "ca.crt"):
            try:
                stat = (self._directory / name).stat()
            except OSError:
                return ()
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def _read_headers(self) -> dict[str, str]:
        token = self._read("token")
        if len(token) > _TOKEN_MAX or not token.isascii() or not token.isprintable():
            message = (
                f"{self._directory / 'token'}: a ServiceAccount token is one line of ASCII text of "
                f"at most {_TOKEN_MAX} bytes, found {len(token)} characters of something else"
            )
            raise InputError(message)
        return {"Authorization": f"Bearer {token}"}

    def _read(self, name: str) -> str:
        # A read of a few kilobytes from a tmpfs: not worth a thread.
        path = self._directory / name
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f"{path}: cannot be read as text ({error}); the directory of a ServiceAccount "
                f"holds token, ca.crt and namespace, {ENV_SERVICE_ACCOUNT_DIR} says where it is"
            )
            raise InputError(message) from error
        if not text:
            message = (
                f"{path}: is empty; the kubelet, or whoever made the directory, has to fill it"
            )
            raise InputError(message)
        return text


async def load_credentials(
    *,
    clock: Clock,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Credentials:
    """Return the credentials that the environment offers.

    In this order: a kubeconfig that was asked for, or one of its contexts; the ServiceAccount, when
    the environment is a pod's; the kubeconfig of KUBECONFIG or of the home directory.

    Raises:
        InputError: None of them is there, or the first one found is not right.
    """
    if kubeconfig is None and context is None and environ.get("KUBERNETES_SERVICE_HOST"):
        return ServiceAccountCredentials.from_environment(environ, clock=clock)
    from agentid.kube.kubeconfig import KubeconfigCredentials  # noqa: PLC0415 - 25 MB, see above

    path = str(kubeconfig) if kubeconfig else environ.get("KUBECONFIG", "")
    return await KubeconfigCredentials.load(path or "~/.kube/config", context=context)


def checked_server(server: str) -> str:
    """Return the base URL without a slash at the end.

    Raises:
        InputError: It is no http or https URL with a host.
    """
    try:
        parts = urlsplit(server)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        message = f"the API server's address is a URL such as https://10.0.0.1:6443, found {server}"
        raise InputError(message)
    return server.rstrip("/")


def make_ssl_context(*, ca_pem: str | None, origin: object) -> ssl.SSLContext:
    """Return a context that trusts these authorities alone, or the system's when there are none.

    Raises:
        InputError: The text, which came from `origin`, holds no certificate.
    """
    try:
        context = ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        message = f"{origin}: holds no CA certificate in PEM ({error}); it is the cluster's own CA"
        raise InputError(message) from error
    # Python 3.13 turned on RFC 5280's letter (key identifiers, keyUsage on a CA). Which CA a
    # cluster has is not ours to choose, and kubectl does not ask for it either.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
