"""`python -m bench.incident`: how long an incident takes, from the request to the last revocation.

Certificates are put on the ledger by this process, one for each of as many AgentIdentities, whose
class does not exist: so an operator leaves them alone, and nothing but the incident is measured.
What is served is asked for over HTTP from a responder beside it, as a verifier would.
The cluster is always one of its own, which is ended afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import logging
import random
import secrets
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from agentid.api.agentissuer import AgentIssuer, AuthorityRole, AuthorityState
from agentid.api.vocabulary import DeliveryMode
from agentid.clock import SystemClock
from agentid.errors import AgentIdError
from agentid.identity import SerialNumber
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.objects import uid_of
from agentid.kube.reflector import reflect
from agentid.kube.resources import (
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    AGENT_REVOCATIONS,
    NAMESPACES,
    SECRETS,
)
from agentid.kube.stores import ConfigMaps
from agentid.ledger import Issued, Ledger, Revoked, new_writer
from agentid.ledger.configmaps import ConfigMapSegments
from agentid.services.issuers import authority_secret
from bench.__main__ import positive
from bench.load import many
from bench.lookups import Lookups
from bench.processes import Meter, control_plane
from e2e.errors import E2EError
from e2e.install import (
    NAMESPACE,
    install,
    operator,
    operator_environment,
    port_in_log,
    responder,
    samples,
)
from e2e.progress import say
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agentid.kube.objects import JsonObject
    from agentid.ledger.intake import Durable
    from e2e.providers import Cluster

_HOME: Final = "bench-incident"
_PATIENCE: Final = 300.0
_ISSUER: Final = "default"
"""The sample issuer."""

_SIGNING: Final = (AuthorityRole.ISSUING, AuthorityState.SIGNING)

_SHARDS: Final = 8
"""CRLs of an authority, unless its issuer asks for another number."""

_ASKED: Final = 100
"""How many certificates OCSP is asked about."""

_SETTLED: Final = 5.0
"""Seconds without a word about identities after which the operator has looked at all of them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds since the AgentRevocation was sent.

    Attributes:
        started: Until its cut-off was durable.
        durable: Until the last revocation was durable on the ledger, as another replica sees it.
        listed: Until every serial stood on the CRL that its certificate would name.
        answered: Until OCSP said revoked of each of a sample.
        told: Until the status said so.
        over: Until the incident was over, the second look included.
        cpu: Seconds of CPU by process, until it was over.
    """

    started: float
    durable: float
    listed: float
    answered: float
    told: float
    over: float
    cpu: dict[str, float]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.incident", description=__doc__)
    parser.add_argument(
        "--number", type=positive, default=10_000, help="certificates in the incident"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="how often it is measured")
    return parser.parse_args(given)


def main() -> int:
    """Measure, and print a line for each round."""
    given = arguments()
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = DevCluster(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            install(cluster)
            samples(cluster, "issuer")
            uvloop.run(_measure(cluster, given.number, given.rounds))
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    return 0


async def _measure(cluster: Cluster, number: int, rounds: int) -> None:
    clock = SystemClock()
    credentials = await load_credentials(clock=clock, kubeconfig=cluster.kubeconfig)
    # Nobody but the operator's ServiceAccount may write to the ledger.
    own = await load_credentials(clock=clock, environ=operator_environment(cluster))
    async with (
        Client(credentials, connections=64, field_manager="bench") as client,
        Client(own) as operators,
        _ledger(operators, clock) as ledger,
    ):
        say(f"{number} identities are made")
        await client.create(
            NAMESPACES,
            {
                "apiVersion": NAMESPACES.api_version,
                "kind": NAMESPACES.kind,
                "metadata": {"name": _HOME},
            },
        )
        with operator(cluster, "incident-0"):
            signs = await _signing(client)
        identities: dict[str, str] = {}
        await many(partial(_create, client, f"agent-{n:05}", identities) for n in range(number))
        for turn in range(1, rounds + 1):
            say(f"round {turn} of {rounds}: {number} certificates go onto the ledger")
            serials = await _seed(ledger, clock, identities, signs)
            with (
                operator(cluster, f"incident-{turn}") as running,
                responder(cluster, f"incident-responder-{turn}") as serving,
            ):
                await _quiet(client, clock)
                processes = {
                    "operator": running.process.pid,
                    "responder": serving.process.pid,
                    **control_plane(cluster.directory),
                }
                base = f"http://127.0.0.1:{port_in_log(serving.log, 'http_serving')}"
                async with aiohttp.ClientSession(base) as http:
                    served = _Served(Lookups(http, _PATIENCE), signs, serials)
                    figures = await _incident(
                        client, clock, ledger, f"bench-{turn}", served, processes
                    )
            cpu = ", ".join(f"{name} {spent:.1f}" for name, spent in figures.cpu.items())
            print(
                f"{number} certificates: cut-off {figures.started:.2f} s, "
                f"durable {figures.durable:.2f} s, on the CRLs {figures.listed:.2f} s, "
                f"by OCSP {figures.answered:.2f} s, told {figures.told:.2f} s, "
                f"over {figures.over:.1f} s; CPU s: {cpu}"
            )


@contextlib.asynccontextmanager
async def _ledger(client: Client, clock: SystemClock) -> AsyncIterator[Ledger]:
    store = ConfigMaps(client, clock=clock, random=random.random)
    writer = new_writer("bench", secrets.token_bytes(5))
    ledger = Ledger(ConfigMapSegments(store, NAMESPACE), clock=clock, writer=writer)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


async def _create(client: Client, name: str, identities: dict[str, str]) -> None:
    body: JsonObject = {
        "apiVersion": AGENT_IDENTITIES.api_version,
        "kind": AGENT_IDENTITIES.kind,
        "metadata": {"name": name, "namespace": _HOME},
        "spec": {"className": "none", "subject": {"serviceAccountName": "default"}},
    }
    identities[name] = uid_of(await client.create(AGENT_IDENTITIES, body))


@dataclass(frozen=True, slots=True)
class Signs:
    """The authority whose certificates are revoked.

    Attributes:
        certificate: Its own.
        id: As the ledger has it.
    """

    certificate: x509.Certificate
    id: str

    def crl(self, serial: SerialNumber) -> str:
        """Path of the CRL that a certificate of this serial names."""
        return f"/crl/{self.id}/{self.shard(serial)}.crl"

    @staticmethod
    def shard(serial: SerialNumber) -> int:
        """The shard that it belongs to."""
        return serial.value % _SHARDS

    def question(self, serial: SerialNumber) -> bytes:
        """An OCSP request about it, DER."""
        name = self.certificate.subject.public_bytes()
        info = x509.SubjectKeyIdentifier.from_public_key(self.certificate.public_key()).digest
        asked = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            sha1(name, usedforsecurity=False).digest(),
            info,
            serial.value,
            hashes.SHA1(),  # noqa: S303 - names a certificate
        )
        return asked.build().public_bytes(Encoding.DER)


async def _signing(client: Client) -> Signs:
    """The authority of the sample issuer, once it signs."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        body = await client.get(AGENT_ISSUERS, _ISSUER)
        for each in AgentIssuer.status_of(body).authorities:
            if (each.role, each.state) == _SIGNING and each.id is not None:
                stored = await client.get(SECRETS, authority_secret(_ISSUER), NAMESPACE)
                data = stored["data"]
                assert isinstance(data, dict)  # noqa: S101 - a Secret
                chain = base64.b64decode(str(data[f"issuing-{each.id}.crt"]))
                return Signs(x509.load_pem_x509_certificates(chain)[0], each.id)
        await asyncio.sleep(0.1)
    msg = f"no authority of {_ISSUER} signs after {_PATIENCE:.0f} s"
    raise E2EError(msg)


@dataclass(frozen=True, slots=True)
class _Served:
    """What a responder is asked about."""

    look: Lookups
    signs: Signs
    serials: frozenset[SerialNumber]

    async def on_crls(self) -> float:
        by_path: dict[str, set[int]] = {}
        for serial in self.serials:
            by_path.setdefault(self.signs.crl(serial), set()).add(serial.value)
        looks = (self.look.listed_at(path, frozenset(of)) for path, of in by_path.items())
        return max(at for each in await asyncio.gather(*looks) for at in each.values())

    async def by_ocsp(self) -> float:
        asked = sorted(self.serials)[:: max(1, len(self.serials) // _ASKED)]
        looks = (self.look.until_revoked(self.signs.question(serial)) for serial in asked)
        return max(await asyncio.gather(*looks))


async def _seed(
    ledger: Ledger, clock: SystemClock, identities: dict[str, str], signs: Signs
) -> frozenset[SerialNumber]:
    now = clock.now()
    begins = now.replace(microsecond=0)
    drawn = {name: SerialNumber.from_random(secrets.token_bytes(16)) for name in identities}
    records = [
        Issued(
            serial=drawn[name],
            fingerprint=sha256(secrets.token_bytes(16)).hexdigest(),
            spiffe_id=f"spiffe://bench.test/ns/{_HOME}/agent/{name}",
            namespace=_HOME,
            name=name,
            uid=uid,
            issuer=_ISSUER,
            authority=signs.id,
            shard=signs.shard(drawn[name]),
            bundle=1,
            not_before=begins,
            not_after=begins + timedelta(hours=8),
            issued_at=now,
            door=DeliveryMode.SECRET,
            grant=f'{{"class":"none","padding":"{"p" * 400}","spiffeID":"{name}"}}',
        )
        for name, uid in identities.items()
    ]
    for start in range(0, len(records), 2000):
        await ledger.append(*records[start : start + 2000])
    return frozenset(record.serial for record in records)


async def _quiet(client: Client, clock: SystemClock) -> None:
    """Wait until the operator has looked at every identity."""
    last = time.monotonic()

    async def follow() -> None:
        nonlocal last
        changes = reflect(client, AGENT_IDENTITIES, _HOME, clock=clock, random=random.random)
        async with contextlib.aclosing(changes):
            async for _ in changes:
                last = time.monotonic()

    following = asyncio.create_task(follow())
    try:
        # The operator has to have started; then nothing may happen for a while.
        await asyncio.sleep(_SETTLED)
        while (rest := last + _SETTLED - time.monotonic()) > 0:  # noqa: ASYNC110 - for silence
            await asyncio.sleep(rest)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _incident(
    client: Client,
    clock: SystemClock,
    ledger: Ledger,
    name: str,
    served: _Served,
    processes: dict[str, int],
) -> Figures:
    left, durable = set(served.serials), asyncio.Event()
    at: dict[str, float] = {}

    def recorded(one: Durable) -> None:
        left.difference_update(each.serial for each in one.records if isinstance(each, Revoked))
        if not left and "durable" not in at:
            at["durable"] = time.monotonic()
            durable.set()

    stop = ledger.subscribe(recorded)
    meter, began = Meter(processes), time.monotonic()
    following = asyncio.create_task(_follow(client, clock, name, at))
    try:
        await client.create(AGENT_REVOCATIONS, _body(name))
        async with asyncio.timeout(_PATIENCE):
            at["listed"], at["answered"] = await asyncio.gather(served.on_crls(), served.by_ocsp())
            await durable.wait()
            await following
    except TimeoutError as error:
        msg = f"the incident is not over after {_PATIENCE:.0f} s; {len(left)} are not revoked"
        raise E2EError(msg) from error
    finally:
        stop()
        following.cancel()
    cpu = {process: used.cpu for process, used in meter.read().items()}
    took = {what: moment - began for what, moment in at.items()}
    return Figures(**took, cpu=cpu)


async def _follow(client: Client, clock: SystemClock, name: str, at: dict[str, float]) -> None:
    """Note when the status of the incident said what."""
    changes = reflect(client, AGENT_REVOCATIONS, clock=clock, random=random.random)
    async with contextlib.aclosing(changes):
        async for change in changes:
            if change.key is None or change.key.name != name or change.object is None:
                continue
            status = change.object.get("status")
            if not isinstance(status, dict):
                continue
            now = time.monotonic()
            if status.get("startedAt"):
                at.setdefault("started", now)
            if status.get("progress") == 100 and status.get("revoked"):  # noqa: PLR2004 - percent
                at.setdefault("told", now)
            if status.get("phase") == "Executed":
                at["over"] = now
                return


def _body(name: str) -> JsonObject:
    return {
        "apiVersion": AGENT_REVOCATIONS.api_version,
        "kind": AGENT_REVOCATIONS.kind,
        "metadata": {"name": name},
        "spec": {"reason": "keyCompromise", "dryRun": False, "select": {"namespaces": [_HOME]}},
    }


if __name__ == "__main__":
    sys.exit(main())
