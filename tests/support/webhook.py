"""A webhook that serves on the loopback what a fake API server tells it."""

from __future__ import annotations

import asyncio
import base64
import io
import ipaddress
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from agentid.admission.lookup import LOOKUP_SECONDS, Lookup
from agentid.admission.settings import Limits, Settings
from agentid.admission.webhook import Webhook
from agentid.clock import SystemClock
from agentid.testing.api_server import FakeApiServer
from tests.support.manifests import agent_class, identity, issuer
from tests.support.reviewing import answer_of, review_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = [
    "READER_PATH",
    "WEBHOOK",
    "Pair",
    "Site",
    "configuration",
    "eventually",
    "serving_pair",
    "until",
    "webhook_site",
]

WEBHOOK: Final = "pods.agentid.dev"
"""What the webhook is called in its configuration, and in what API servers count."""

SECRET_PATH: Final = "/api/v1/namespaces/agentid-system/secrets/agentid-admission"
_GROUP: Final = "/apis/agentid.dev/v1alpha1"
READER_PATH: Final = f"{_GROUP}/namespaces/finance/agentidentities/reader"
_KINDS: Final = 5
_PATIENCE: Final = 10.0
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A serving certificate that trusts itself, and its key; PEM."""

    certificate: bytes
    key: bytes

    @property
    def secret(self) -> dict[str, Any]:
        """The Secret that holds it."""
        data = {"tls.crt": self.certificate, "tls.key": self.key}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "agentid-admission", "namespace": "agentid-system"},
            "data": {name: base64.b64encode(each).decode() for name, each in data.items()},
        }

    @property
    def trusting(self) -> ssl.SSLContext:
        """A client that trusts it and nothing else."""
        return ssl.create_default_context(cadata=self.certificate.decode())


def serving_pair(*, age: timedelta = timedelta(0)) -> Pair:
    """A certificate for the loopback, of a day, made that long ago."""
    now = SystemClock().now() - age
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agentid-admission")])
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number(), now, now + _DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def configuration(
    port: int,
    pair: Pair,
    name: str = "agentid-pods",
    **webhook: Any,  # noqa: ANN401 - JSON
) -> dict[str, Any]:
    """What has an API server call a webhook on the loopback: the chart's, by URL.

    Args:
        port: Where it serves.
        pair: What it serves with.
        name: Of the configuration.
        webhook: Fields of the webhook that are to be different.
    """
    rule = {
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
        "operations": ["CREATE"], "scope": "Namespaced",
    }  # fmt: skip
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": WEBHOOK,
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/pods",
                    "caBundle": base64.b64encode(pair.certificate).decode(),
                },
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "reinvocationPolicy": "IfNeeded",
                "timeoutSeconds": 3,
                "rules": [rule],
                "objectSelector": {
                    "matchExpressions": [{"key": "agentid.dev/identity", "operator": "Exists"}]
                },
                **webhook,
            }
        ],
    }


@dataclass(frozen=True, slots=True)
class Site:
    """A webhook that runs, and what is around it.

    Attributes:
        server: What it watches; `finance/reader` is there, delivered through a Secret.
        webhook: It.
        port: Where it serves, once it does.
        pair: What it serves with at first.
        session: Of a client that trusts that.
    """

    server: FakeApiServer
    webhook: Webhook
    port: asyncio.Future[int]
    pair: Pair
    session: aiohttp.ClientSession

    async def url(self, path: str = "/pods?timeout=3s") -> str:
        """Where reviews go."""
        async with asyncio.timeout(_PATIENCE):
            return f"https://127.0.0.1:{await self.port}{path}"

    async def post(
        self, body: bytes, *, path: str = "/pods?timeout=3s", kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send a body; status and body of the answer."""
        headers = {"Content-Type": kind}
        data = io.BytesIO(body)
        headers["Content-Length"] = str(len(body))
        async with self.session.post(await self.url(path), data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def review(self, pod: dict[str, Any], **request: Any) -> dict[str, Any]:  # noqa: ANN401
        """The response to a review of a pod."""
        status, body = await self.post(review_of(pod, **request))
        assert status == 200, body
        return answer_of(body)[0]

    def count(self, name: str, **labels: str) -> float:
        """A counter of the webhook's, 0 if it has not counted yet."""
        found = self.webhook.metrics.registry.get_sample_value(f"agentid_admission_{name}", labels)
        return found or 0.0

    def publish(self, pair: Pair) -> None:
        """Store another serving certificate."""
        self.server.put(SECRET_PATH, pair.secret)


@asynccontextmanager
async def webhook_site(
    *, limits: Limits | None = None, publish: bool = True, drain: float = 1.0
) -> AsyncIterator[Site]:
    """Serve while the context is open."""
    clock, pair = SystemClock(), serving_pair()
    settings = Settings(
        namespace="agentid-system",
        host="127.0.0.1",
        port=0,
        limits=limits or Limits(),
        drain=drain,
    )
    async with (
        FakeApiServer() as server,
        server.client() as client,
        server.client(timeout=LOOKUP_SECONDS) as asker,
    ):
        server.put(f"{_GROUP}/agentissuers/test", issuer("test"))
        server.put(f"{_GROUP}/agentclasses/batch", agent_class("batch"))
        reader = identity("reader", "batch")
        reader["metadata"]["namespace"] = "finance"
        server.put(READER_PATH, reader)
        if publish:
            server.put(SECRET_PATH, pair.secret)
        lookup = Lookup(asker, clock)
        webhook = Webhook(
            settings, client, lookup, "agentid-system", clock=clock, random=lambda: 0.0
        )
        work = [asyncio.create_task(one) for one in webhook.sources.work()]
        try:
            await until(lambda: not webhook.sources.missing)
            # From now on it asks for nothing by itself.
            await until(
                lambda: sum("watch=" in path for _, path, _, _ in server.requests) == _KINDS
            )
            connector = aiohttp.TCPConnector(limit=0, ssl=pair.trusting)
            async with (
                webhook.serve() as port,
                aiohttp.ClientSession(connector=connector) as session,
            ):
                yield Site(server, webhook, port, pair, session)
        finally:
            await lookup.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    """Return once a condition holds; fails after ten seconds."""

    async def holds() -> bool:
        return bool(condition())

    await eventually(holds)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """The same of one that has to be asked about."""
    for _ in range(1_000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    message = "not so within ten seconds"
    raise AssertionError(message)
