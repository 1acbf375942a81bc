"""The inventory page as its users see it: a responder that serves it, tokens, and a client."""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from agentid.clock import SystemClock
from agentid.pki import KeyAlgorithm
from agentid.testing.ca import ThrowawayCA
from agentid.testing.publications import Published, secret
from e2e.install import NAMESPACE, port_in_log, responder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2e.install import Operator
    from e2e.providers import Cluster

__all__ = ["AUDIENCE", "MANIFEST", "Answer", "Site", "rights", "site_of", "token_of"]

AUDIENCE: Final = "agentid-inventory"
MANIFEST: Final = Path(__file__).parents[2] / "manifests" / "inventory.yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: Of HTTP.
        headers: In lower case.
        text: The body.
    """

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body as JSON."""
        return json.loads(self.text)


class _Stay(HTTPRedirectHandler):
    """Shows redirections in place of following them."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


@dataclass(frozen=True, slots=True)
class Site:
    """A responder with its page.

    Attributes:
        cluster: Where it runs.
        running: Its process and log.
        base: URL of the page, without a slash at the end.
    """

    cluster: Cluster
    running: Operator
    base: str

    def ask(
        self,
        path: str,
        token: str = "",
        *,
        form: Mapping[str, str] | None = None,
        method: str | None = None,
        **headers: str,
    ) -> Answer:
        """One request; headers by their names with `_` for `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            fields["Authorization"] = f"Bearer {token}"
        body = None if form is None else urlencode(form).encode()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # who the server is, test_tls asks
        opener = build_opener(HTTPSHandler(context=context), _Stay)
        request = Request(self.base + path, body, fields, method=method)
        try:
            with opener.open(request, timeout=20) as found:
                return _answer(found.status, dict(found.headers.items()), found.read())
        except HTTPError as error:
            with error:
                return _answer(error.code, dict(error.headers.items()), error.read())

    def told(self, event: str, key: str) -> object:
        """A value of the latest line of the log about an event."""
        lines = (json.loads(line) for line in self.running.log.read_text().splitlines())
        return [line[key] for line in lines if line["event"] == event][-1]

    def login(self, token: str, after: str = "/", **headers: str) -> Answer:
        """Send the form of the login, as a browser would from the page itself."""
        form = {"token": token, "next": after}
        return self.ask("/login", form=form, **{"Origin": self.base, **headers})


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    lowered = {name.lower(): value for name, value in headers.items()}
    return Answer(status, lowered, body.decode())


@contextmanager
def rights(cluster: Cluster) -> Iterator[None]:
    """Grant the responder what the page needs."""
    cluster.kubectl("apply", "--server-side", "-f", str(MANIFEST))
    try:
        yield
    finally:
        cluster.kubectl("delete", "-f", str(MANIFEST), "--ignore-not-found")


@contextmanager
def site_of(cluster: Cluster, name: str, *options: str) -> Iterator[Site]:
    """Run a responder that serves the page, with a certificate of its own."""
    now = SystemClock().now().replace(microsecond=0)
    ca = ThrowawayCA("page.example", now=now, algorithm=KeyAlgorithm.ECDSAP256)
    main = Published(ca, "inventory-test")
    for body in (main.bundle(), secret(main)):
        apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        cluster.kubectl(*apply, stdin=json.dumps(body))
    try:
        with responder(cluster, name, "--inventory-port", "0", *options) as running:
            port = port_in_log(running.log, "inventory_serving")
            yield Site(cluster, running, f"https://127.0.0.1:{port}")
    finally:
        label = "agentid.dev/issuer=inventory-test"
        cluster.kubectl("-n", NAMESPACE, "delete", "configmaps", "-l", label, "--ignore-not-found")
        missing = ("--ignore-not-found",)
        cluster.kubectl("-n", NAMESPACE, "delete", "secret", "agentid-responder", *missing)


def token_of(cluster: Cluster, namespace: str, account: str, *, audience: str = AUDIENCE) -> str:
    """A token of a ServiceAccount, for the page or, without an audience, for the API server."""
    command = ["create", "token", account, "-n", namespace, "--duration=10m"]
    if audience:
        command += ["--audience", audience]
    return cluster.kubectl(*command).stdout.strip()
