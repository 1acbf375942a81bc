"""`python -m bench.revoking`: how long after its deletion an agent's certificate is refused.

Agents are made, deleted, and looked for on the CRL that their certificate names and by OCSP, both
over HTTP from a responder that runs beside the operator: what a verifier sees. One at a time, then
at a steady rate, then all at once.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from agentid.clock import SystemClock
from agentid.errors import AgentIdError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.resources import AGENT_IDENTITIES, SECRETS
from bench.__main__ import positive
from bench.figures import Latency
from bench.load import Watcher, many, watching
from bench.lookups import Lookups
from bench.namespaces import namespace_of_its_own
from bench.templates import Template
from e2e.errors import E2EError
from e2e.install import install, operator, port_in_log, responder, samples
from e2e.progress import say
from e2e.providers import DevCluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from e2e.install import Operator
    from e2e.providers import Cluster

_HOME: Final = "bench-revoking"
_TEMPLATE: Final = Path(__file__).parent / "templates" / "agentidentity.yaml"
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a verifier needs to ask about an agent's certificate.

    Attributes:
        serial: Of the certificate.
        crl: Path of the CRL that it names.
        question: An OCSP request about it, DER.
    """

    serial: int
    crl: str
    question: bytes


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.revoking", description=__doc__)
    parser.add_argument("--samples", type=positive, default=100, help="agents deleted one by one")
    parser.add_argument("--rate", type=positive, default=50, help="deletions a second, steadily")
    parser.add_argument("--number", type=positive, default=500, help="agents deleted at once")
    return parser.parse_args(given)


def main() -> int:
    """Measure, and print the report."""
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = DevCluster(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            install(cluster)
            samples(cluster, "issuer", "classes")
            with operator(cluster, "bench"), responder(cluster, "bench-responder") as serving:
                uvloop.run(_measure(cluster, serving, given))
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    return 0


async def _measure(cluster: Cluster, serving: Operator, given: argparse.Namespace) -> None:
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    base = f"http://127.0.0.1:{port_in_log(serving.log, 'http_serving')}"
    async with (
        Client(credentials, connections=64, field_manager="bench") as client,
        aiohttp.ClientSession(base) as http,
        namespace_of_its_own(client, _HOME),
    ):
        look = Lookups(http, _PATIENCE)
        say(f"{given.samples} agents, deleted one at a time")
        leaves = await _made(client, "one", given.samples)
        by_crl, by_ocsp = [], []
        for name, leaf in leaves.items():
            sent = time.monotonic()
            await client.delete(AGENT_IDENTITIES, name, _HOME)
            listed, answer = await asyncio.gather(
                look.listed_at(leaf.crl, frozenset({leaf.serial})),
                look.until_revoked(leaf.question),
            )
            by_crl.append(listed[leaf.serial] - sent)
            by_ocsp.append(answer - sent)
            await asyncio.sleep(0.3)  # the pace of publication is over
        print(f"one at a time: on the CRL {_text(by_crl)}; by OCSP {_text(by_ocsp)}")

        say(f"{given.number} agents, {given.rate} deleted a second")
        late, _ = await _flood(client, look, "steady", given.number, given.rate)
        print(f"{given.rate} a second: on the CRL {_text(late)}")

        say(f"{given.number} agents, deleted at once")
        late, rate = await _flood(client, look, "all", given.number)
        print(f"at once, {rate:.0f} deletions a second: on the CRL {_text(late)}")


async def _flood(
    client: Client, look: Lookups, prefix: str, number: int, rate: int | None = None
) -> tuple[list[float], float]:
    """Delete many; how long after its request each was on its CRL, and how many went a second."""
    leaves = await _made(client, prefix, number)
    by_path: dict[str, set[int]] = {}
    for leaf in leaves.values():
        by_path.setdefault(leaf.crl, set()).add(leaf.serial)
    looks = (look.listed_at(path, frozenset(of)) for path, of in by_path.items())
    watch = asyncio.gather(*looks)
    began: dict[str, float] = {}

    async def delete(turn: int, name: str) -> None:
        if rate is not None:
            await asyncio.sleep(max(0.0, start + turn / rate - time.monotonic()))
        began[name] = time.monotonic()
        await client.delete(AGENT_IDENTITIES, name, _HOME)

    start = time.monotonic()
    await many(partial(delete, turn, name) for turn, name in enumerate(leaves))
    seen = {serial: at for each in await watch for serial, at in each.items()}
    late = [seen[leaf.serial] - began[name] for name, leaf in leaves.items()]
    return late, number / (max(began.values()) - start)


async def _made(client: Client, prefix: str, number: int) -> dict[str, Leaf]:
    template = Template.read(_TEMPLATE)
    bodies = [template.body(_HOME, index, prefix) for index in range(number)]
    names = [str(body["metadata"]["name"]) for body in bodies]  # type: ignore[index]
    seen = Watcher()
    async with watching(client, AGENT_IDENTITIES, _HOME, seen):
        await many(partial(client.create, AGENT_IDENTITIES, body) for body in bodies)
        await seen.until("all Ready", lambda: all(name in seen.ready for name in names))
    return {name: await _leaf(client, name) for name in names}


async def _leaf(client: Client, name: str) -> Leaf:
    body = await client.get(SECRETS, f"{name}-agentid", _HOME)
    data = body["data"]
    if not isinstance(data, dict):
        msg = f"Secret {name}-agentid has no data"
        raise E2EError(msg)
    chain = x509.load_pem_x509_certificates(base64.b64decode(str(data["tls.crt"])))
    points = chain[0].extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    names = next(iter(points)).full_name or []
    request = ocsp.OCSPRequestBuilder().add_certificate(chain[0], chain[1], hashes.SHA1()).build()  # noqa: S303 - names a certificate, as OpenSSL asks
    return Leaf(
        chain[0].serial_number,
        urlsplit(str(names[0].value)).path,
        request.public_bytes(Encoding.DER),
    )


def _text(seconds: list[float]) -> str:
    found = Latency.of(seconds)
    p50, p99, worst = (1000 * each for each in (found.p50, found.p99, found.worst))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
