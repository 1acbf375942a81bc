"""`python -m bench.responder`: OCSP answers and CRLs that one core of a responder serves.

The responder runs in a process of its own, with everything in memory; this process is its clients.
What counts is the responder's own CPU time as the kernel counts it, so neither a noisy neighbour
nor clients that are slower than it change the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from agentid.clock import SystemClock
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.ledger import Revoked
from agentid.pki import KeyAlgorithm
from agentid.pki.crl import CrlEntry
from agentid.responder.listeners import serve_ports
from agentid.responder.responder import Responder
from agentid.responder.settings import Limits, Settings
from agentid.testing.ca import ThrowawayCA
from agentid.testing.ledger import make_issued
from agentid.testing.publications import MemoryLedger, Published, secret
from bench.exchange import Figure, exchange, table

if TYPE_CHECKING:
    from collections.abc import Sequence

_CERTIFICATES: Final = 10_000
_REVOKED: Final = 1_000
_SEED: Final = "bench"
_SHARD_ENTRIES: Final = 12_500
"""A shard of eight of 100,000 revocations: 600 KB."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.responder", description=__doc__)
    parser.add_argument("--requests", type=int, default=30_000, help="of each kind")
    parser.add_argument("--connections", type=int, default=16, help="kept open, each with one")
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def _authority() -> Published:
    now = SystemClock().now().replace(microsecond=0, second=0)
    ca = ThrowawayCA(now=now, algorithm=KeyAlgorithm.ECDSAP256, seed=_SEED)
    return Published(ca)


# The responder


async def _serve() -> None:
    main, ledger, clock = _authority(), MemoryLedger(), SystemClock()
    settings = Settings(
        host="127.0.0.1",
        http_port=0,
        https_port=0,
        limits=Limits(rate=0, client_rate=0),
    )
    responder = Responder(settings, ledger, clock=clock, epoch="bench")
    responder.ledger_read()
    now = main.ca.now
    until = now + timedelta(hours=12)
    for number in range(1, _CERTIFICATES + 1):
        ledger.record(
            make_issued(number, f"agent-{number}", authority=main.authority_id, not_after=until)
        )
    for number in range(1, _REVOKED + 1):
        reason = RevocationReason.SUPERSEDED
        ledger.record(Revoked(SerialNumber(number), reason, now, until, "bench"))
    entries = [CrlEntry(SerialNumber(n), now) for n in range(1, _SHARD_ENTRIES + 1)]
    for body in (main.bundle(), main.crl(0, entries), main.crl(1)):
        responder.publications.config_map(body)
    responder.publications.secret(secret(main))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve_ports(responder) as ports:
        authority = main.ca.intermediate.certificate.public_bytes(Encoding.DER)
        told = {
            "port": ports.http,
            "authority": base64.b64encode(authority).decode(),
            "id": main.authority_id,
        }
        print(json.dumps(told), flush=True)
        await stop.wait()


# Its clients


def _ocsp(authority: x509.Certificate, serial: int, nonce: bytes | None = None) -> bytes:
    digest = hashes.SHA256()
    name = hashes.Hash(digest)
    name.update(authority.subject.public_bytes())
    key = hashes.Hash(digest)
    key.update(authority.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name.finalize(), key.finalize(), serial, digest
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: responder\r\n\r\n".encode()


def _post(der: bytes) -> bytes:
    head = (
        "POST /ocsp HTTP/1.1\r\nHost: responder\r\nContent-Type: application/ocsp-request\r\n"
        f"Content-Length: {len(der)}\r\n\r\n"
    )
    return head.encode() + der


async def _clients(
    port: int, pid: int, told: dict[str, str], options: argparse.Namespace
) -> list[Figure]:
    authority = x509.load_der_x509_certificate(base64.b64decode(told["authority"]))
    count, connections = options.requests, options.connections
    few = [_ocsp(authority, number) for number in range(1, 201)]
    cached = [_get("/ocsp/" + base64.b64encode(few[n % 200]).decode()) for n in range(count)]
    again = [_post(few[n % 200]) for n in range(count)]
    nonces = [_post(_ocsp(authority, 1 + n % _CERTIFICATES, n.to_bytes(32))) for n in range(count)]
    crl = [_get(f"/crl/{told['id']}/1.crl")] * count
    large = [_get(f"/crl/{told['id']}/0.crl")] * max(count // 50, 1)
    found = []
    for name, requests in (
        ("OCSP GET, kept answers", cached),
        ("OCSP POST, kept answers", again),
        ("OCSP POST with nonce, signed", nonces),
        ("CRL, empty shard", crl),
        (f"CRL, {_SHARD_ENTRIES} entries", large),
    ):
        await exchange("warm-up", port, pid, requests[: min(400, count)], connections)
        found.append(await exchange(name, port, pid, requests, connections))
    return found


def main() -> None:
    """Measure, and print a table."""
    options = arguments()
    if options.serve:
        uvloop.run(_serve())
        return
    command = [sys.executable, "-m", "bench.responder", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as responder:
        assert responder.stdout is not None  # noqa: S101 - for the type checker
        told: dict[str, str] = {}
        while "port" not in told:  # what it logs comes first
            line = responder.stdout.readline()
            if not line:
                sys.exit("the responder ended before it served")
            try:
                told = json.loads(line)
            except ValueError:
                continue
        try:
            figures = uvloop.run(_clients(int(told["port"]), responder.pid, told, options))
        finally:
            responder.terminate()
    print(table(figures))
    if options.output is not None:
        text = json.dumps([asdict(one) for one in figures], indent=2)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
