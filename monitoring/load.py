"""Gives operator and responder something to do, so that their metrics have something to tell."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from e2e.install import NAMESPACE, samples
from e2e.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from e2e.providers import Cluster

__all__ = ["LIMITS", "federate", "load", "partner"]

Json = dict[str, object]

LIMITS: Final = ("--client-rate", "60", "--client-burst", "100")
"""Of the responder: what a burst of ours exceeds, and what we do otherwise does not."""

_PARTNER: Final = "acme.example.net"

_BURST: Final = 150
_ROUND: Final = 7.0
"""Seconds from one change in the cluster to the next."""

_INCIDENTS: Final = {4: True, 16: False, 28: True, 40: False}
"""Rounds in which certificates are to be taken back, and whether their agents are held."""

_CONSIDERED: Final = 3
"""Rounds from a dry run to its execution."""

_ROTATION: Final = 12
"""The round in which the authority is to be replaced."""

_READ_AGAIN: Final = 15.0
"""Seconds after which verifiers look which certificates there are."""

_LABEL: Final = "example.com/round"
_SIZES: Final = (12, 5, 8, 3, 10, 6)
_KEPT: Final = 5
"""Rounds after which agents are deleted."""

_KINDS: Final = (
    ("finance", "assistant", "erp.reports", "read"),
    ("finance", "clerk", "erp.orders", "update"),
    ("support", "assistant", "crm.tickets", "read"),
    ("sandbox", "task-worker", "docs.reports", "read"),
)
_SCHEDULES: Final[dict[str, Json]] = {
    "clerk": {
        "schedule": {
            "timeZone": "Europe/Berlin",
            "windows": [{"days": ["Mon", "Tue", "Wed"], "start": "08:00", "end": "18:00"}],
        }
    }
}
"""What the starter class asks of its agents."""


def partner(cluster: Cluster) -> None:
    """Make a second issuer, as whose the responder answers who names nobody: the first by name."""
    spec = {"trustDomain": _PARTNER, "ca": {"builtin": {}}}
    issuer = _object("AgentIssuer", {"name": "acme"}, spec)
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(issuer))
    cluster.kubectl("wait", "agentissuer", "acme", "--for=condition=Ready", "--timeout=60s")


def federate(cluster: Cluster, https: str) -> None:
    """Let the sample issuer federate with the other one, which the responder serves."""
    path = r"jsonpath={.data.ca\.crt}"
    published = ("get", "configmap", "agentid-bundle-acme", "-n", NAMESPACE, "-o", path)
    entry = {
        "trustDomain": _PARTNER,
        "url": f"{https}/bundle/{_PARTNER}",
        "profile": "https_spiffe",
        "endpointSpiffeID": f"spiffe://{_PARTNER}/agentid/responder",
        "bundle": cluster.kubectl(*published).stdout,
    }
    patch = json.dumps({"spec": {"federation": [entry]}})
    cluster.kubectl("patch", "agentissuer", "default", "--type=merge", "-p", patch)


async def load(cluster: Cluster, http: str, https: str, seconds: float) -> None:
    """Change agents, and ask as verifiers do, for so long.

    Args:
        cluster: With the sample issuer and the starter classes.
        http: Where the responder serves CRLs and OCSP.
        https: Where it serves bundles and feeds.
        seconds: How long.
    """
    until = time.monotonic() + seconds
    samples(cluster, "agents")
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_change(cluster, until))
        tasks.create_task(_verify(cluster, session, http, https, until))
        tasks.create_task(_burst(session, f"{http}/crl/default/all.pem", until))
        for patience in (1e9, 40.0, 25.0):
            tasks.create_task(_follow(session, f"{https}/feed/default", until, patience))


async def _change(cluster: Cluster, until: float) -> None:
    for number in itertools.count():
        if time.monotonic() > until:
            return
        began = time.monotonic()
        for arguments, body in _round(number):
            done = await asyncio.to_thread(cluster.kubectl, *arguments, stdin=body, check=False)
            if done.returncode:
                say(f"kubectl {arguments[0]}: {done.stderr.strip()}")
        await asyncio.sleep(max(0.0, _ROUND - (time.monotonic() - began)))


def _round(number: int) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """What kubectl does in a round: its arguments and what it reads."""
    agents = ("agentidentities", "-A", "-l")
    yield ("create", "-f", "-"), _list(_agents(number))
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if number % 2:
        renew = f"agentid.dev/renew-requested={stamp}"
        yield ("annotate", *agents, f"{_LABEL}={number - 1}", "--overwrite", renew), None
    if number >= _KEPT:
        yield ("delete", *agents, f"{_LABEL}={number - _KEPT}", "--wait=false"), None
    if number in _INCIDENTS:
        yield ("create", "-f", "-"), json.dumps(_revocation(number))
    if number - _CONSIDERED in _INCIDENTS:
        execute = json.dumps({"spec": {"dryRun": False}})
        name = f"incident-{number - _CONSIDERED}"
        yield ("patch", "agentrevocation", name, "--type=merge", "-p", execute), None
    if number == _ROTATION:
        yield ("annotate", "agentissuer", "default", f"agentid.dev/rotate-requested={stamp}"), None


def _agents(number: int) -> Iterator[Json]:
    for index in range(_SIZES[number % len(_SIZES)]):
        yield _agent(number, f"agent-{number}-{index}", *_KINDS[index % len(_KINDS)])
    if number % 3 == 0:
        # Its class does not allow it to write.
        yield _agent(number, f"greedy-{number}", "finance", "assistant", "erp.orders", "delete")
    if number % 6 == 0:
        # Its Secret is somebody else's.
        name = f"late-{number}"
        taken = {"name": f"{name}-agentid", "namespace": "finance"}
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": taken}
        yield _agent(number, name, *_KINDS[0])
    if number % 4 == 1:
        yield _agent(number, f"classless-{number}", "support", "watcher", "crm.tickets", "read")
    if number % 5 == 0:
        yield _agent(number, f"paused-{number}", *_KINDS[0], suspend=True)


def _agent(
    number: int, name: str, namespace: str, kind: str, system: str, operation: str, **more: object
) -> Json:
    metadata = {"name": name, "namespace": namespace, "labels": {_LABEL: str(number)}}
    permissions = {"systems": [system], "operations": [operation], **_SCHEDULES.get(kind, {})}
    return _object(
        "AgentIdentity", metadata,
        {
            "className": kind, "sponsor": "platform@example.com", "purpose": "Works for a picture",
            "subject": {"serviceAccountName": name}, "permissions": permissions, **more,
        },
    )  # fmt: skip


def _revocation(number: int) -> Json:
    """An incident as a dry run."""
    return _object(
        "AgentRevocation", {"name": f"incident-{number}"},
        {
            "reason": "keyCompromise", "explanation": "For a picture",
            "contact": "security@example.com", "hold": _INCIDENTS[number],
            "select": {"labelSelector": {"matchLabels": {_LABEL: str(number)}}},
        },
    )  # fmt: skip


def _object(kind: str, metadata: Mapping[str, object], spec: Mapping[str, object]) -> Json:
    return {
        "apiVersion": "agentid.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec,
    }  # fmt: skip


def _list(items: Iterator[Json]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


@dataclass(frozen=True, slots=True)
class _Certificate:
    """A certificate and who signed it."""

    leaf: x509.Certificate
    issuing: x509.Certificate

    def question(self, nonce: bytes | None) -> bytes:
        """An OCSP request about it."""
        builder = ocsp.OCSPRequestBuilder().add_certificate(self.leaf, self.issuing, SHA256())
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    def paths(self) -> Iterator[str]:
        """Where its CRLs are; a certificate that lives for minutes names none."""
        for each in self.leaf.extensions:
            if isinstance(each.value, x509.CRLDistributionPoints):
                for point in each.value:
                    for name in point.full_name or []:
                        yield urlsplit(str(name.value)).path


async def _verify(
    cluster: Cluster, session: aiohttp.ClientSession, http: str, https: str, until: float
) -> None:
    """Ask in waves: OCSP with and without a nonce, CRLs as a cache does, now and then a bundle."""
    known: Sequence[_Certificate] = ()
    read = -math.inf
    for number in itertools.count():
        now = time.monotonic()
        if now > until:
            return
        if now - read > _READ_AGAIN or not known:
            known, read = await asyncio.to_thread(_certificates, cluster), now
        if known:
            await _ask(session, http, https, known[number % len(known)], number)
        await asyncio.sleep(0.12 + 0.08 * math.sin(now / 20))


async def _ask(
    session: aiohttp.ClientSession, http: str, https: str, about: _Certificate, number: int
) -> None:
    headers = {"Content-Type": "application/ocsp-request"}
    nonce = None if number % 3 else os.urandom(16)
    await _read(session.post(f"{http}/ocsp", data=about.question(nonce), headers=headers))
    for path in about.paths():
        async with session.get(http + path) as answer:
            etag = answer.headers.get("ETag", "")
        if number % 2:
            await _read(session.get(http + path, headers={"If-None-Match": etag}))
    if number % 12 == 0:
        await _read(session.get(f"{https}/bundle/agents.example.com"))
    if number % 40 == 0:
        await _read(session.get(f"{http}/crl/0000000000000000/none.crl"))


async def _burst(session: aiohttp.ClientSession, url: str, until: float) -> None:
    """Now and then more at once than the responder takes from one address."""
    while time.monotonic() < until:
        await asyncio.sleep(min(45.0, max(0.0, until - time.monotonic())))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_BURST):
                tasks.create_task(_read(session.get(url)))


async def _follow(session: aiohttp.ClientSession, url: str, until: float, patience: float) -> None:
    """Follow a deny feed; come back when the patience, in seconds, has run out."""
    while (left := until - time.monotonic()) > 0:
        timeout = aiohttp.ClientTimeout(total=min(patience, left))
        try:
            async with session.get(url, timeout=timeout) as answer:
                async for _ in answer.content:
                    pass
        except TimeoutError:
            continue
        await asyncio.sleep(1)  # it was refused, or has ended


async def _read(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> None:
    async with request as answer:
        await answer.read()


def _certificates(cluster: Cluster) -> Sequence[_Certificate]:
    """Those of the Secrets that there are."""
    told = cluster.kubectl("get", "secrets", "-A", "-l", "agentid.dev/managed=true", "-o", "json")
    found = []
    for secret in json.loads(told.stdout)["items"]:
        chain = base64.b64decode((secret.get("data") or {}).get("tls.crt", ""))
        if chain:
            leaf, issuing, *_ = x509.load_pem_x509_certificates(chain)
            found.append(_Certificate(leaf, issuing))
    return found
