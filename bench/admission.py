"""`python -m bench.admission`: reviews of pods that one core of a webhook answers, over TLS.

The webhook runs in a process of its own on the first core that this one may use, with its caches
filled; this process is its clients, on the others. Each kind is sent as fast as it is answered, and
one at a rate that API servers may have, several times, since a neighbour on the machine that takes
a core for some hundredths of a second is all that the slowest answers tell about. What they tell of
the webhook is the difference to the same reviews sent to `bare_https`, which looks at nothing, on
the same core and in turn with it. Its memory is looked at after as many reviews again, and again.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from agentid.admission.directory import Directory
from agentid.admission.handler import ReviewHandler
from agentid.admission.metrics import AdmissionMetrics
from agentid.admission.review import Review
from agentid.admission.reviewer import Reviewer
from agentid.admission.settings import Limits
from agentid.api.vocabulary import DeliveryMode
from agentid.clock import SystemClock
from agentid.serving.bounded import BoundedServer
from agentid.serving.certificates import TlsSlot, read_tls_identity
from agentid.serving.listening import listen
from agentid.telemetry.logs import configure_logging
from bench.bare_https import constant
from bench.exchange import exchange, table
from bench.processes import usage
from tests.support.manifests import agent_class, identity, issuer
from tests.support.reviewing import container, patched, pod, review_of
from tests.support.webhook import serving_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.kube.objects import JsonObject, ObjectKey
    from bench.exchange import Figure

_IDENTITIES: Final = 10_000
_AGENTS: Final = 300
"""Of these, those whose pods are made."""

_ANSWER: Final = 1_300
"""Octets that a server answers that looks at nothing: as many as a pod of one container takes."""

_CONTAINERS: Final = 20
_WARM_UP: Final = 2_000
_MEGABYTE: Final = 1_000_000

Json = dict[str, object]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.admission", description=__doc__)
    parser.add_argument("--reviews", type=int, default=20_000, help="of each kind")
    parser.add_argument("--connections", type=int, default=16, help="kept open, each with one")
    parser.add_argument(
        "--rate", type=int, default=2_000, help="reviews a second of the run that is paced"
    )
    parser.add_argument("--rounds", type=int, default=9, help="of the run that is paced")
    parser.add_argument(
        "--memory", type=int, default=100_000, help="reviews between two looks at memory; 0: none"
    )
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


# The webhook


def _directory(clock: SystemClock, *numbers: int) -> Directory:
    """Identities in a hundred namespaces: those of these numbers."""
    found = Directory(clock)
    found.open_doors(frozenset(DeliveryMode), {})
    found.put_issuer(_stamped(issuer("test")))
    found.put_class(_stamped(agent_class("batch")))
    for number in numbers:
        body = identity(f"agent-{number}", "batch", delivery={"mode": "PodCertificate"})
        found.put_identity(_stamped(body, namespace=f"team-{number % 100}"))
    return found


def _stamped(body: JsonObject, **metadata: object) -> Json:
    given = body["metadata"]
    assert isinstance(given, dict)  # noqa: S101 - for the type checker
    stamp = {"uid": "u", "resourceVersion": "1", "generation": 1}
    return {**body, "metadata": {**given, **stamp, **metadata}}


async def _nobody(_: ObjectKey) -> None:
    """There is no such identity, as an API server would say."""


async def _serve() -> None:
    configure_logging("info")
    clock, pair, tls, limits = SystemClock(), serving_pair(), TlsSlot(), Limits()
    tls.publish(read_tls_identity("bench", pair.certificate, pair.key, svid=False))
    metrics = AdmissionMetrics()
    reviewer = Reviewer(_directory(clock, *range(_IDENTITIES)), _nobody, "agentid-system")
    handler = ReviewHandler(reviewer, metrics, limits, clock=clock, unready=tuple)
    server = BoundedServer(handler, limits, lambda _: None, max_path=256)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with ExitStack() as opened:
        port = await listen(opened, server, "127.0.0.1", 0, tls.context)
        loop, nothing = asyncio.get_running_loop(), constant(bytes(_ANSWER))
        bare = await loop.create_server(nothing, "127.0.0.1", 0, ssl=tls.context)
        opened.callback(bare.close)
        told = {
            "port": port,
            "bare": bare.sockets[0].getsockname()[1],
            "certificate": base64.b64encode(pair.certificate).decode(),
        }
        print(json.dumps(told), flush=True)
        await stop.wait()
        await server.shutdown(1)


# Its clients


async def _requests(kind: str, number: int) -> list[bytes]:
    """Reviews of pods of a few hundred identities, over and over."""
    made = [await _request(kind, agent) for agent in range(min(number, _AGENTS))]
    return [made[each % len(made)] for each in range(number)]


async def _request(kind: str, agent: int) -> bytes:
    label, namespace = f"agent-{agent}", f"team-{agent % 100}"
    containers = [container(env=_ENV, volumeMounts=[_TOKEN])]
    if kind == "many":
        containers = [container(f"c-{each}", env=_ENV) for each in range(_CONTAINERS)]
    body = pod(label, containers=containers, volumes=[_PROJECTED])
    if kind == "refused":
        body["spec"]["serviceAccountName"] = "somebody-else"
    if kind == "complete":
        # As it is after a first look.
        reviewer = Reviewer(_directory(SystemClock(), agent), _nobody, "agentid-system")
        verdict = await reviewer.review(Review("u", creates=True, namespace=namespace, pod=body))
        body = patched(body, verdict.patch)
    review = review_of(body, namespace=namespace)
    head = (
        "POST /pods?timeout=3s HTTP/1.1\r\nHost: agentid-admission.agentid-system.svc\r\n"
        "Accept: application/json, */*\r\nContent-Type: application/json\r\n"
        f"User-Agent: kube-apiserver-admission\r\nContent-Length: {len(review)}\r\n\r\n"
    )
    return head.encode() + review


_ENV: Final = [{"name": f"SETTING_{number}", "value": "x" * 40} for number in range(20)]
_TOKEN: Final = {
    "name": "kube-api-access-x2x4x",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
_PROJECTED: Final = {
    "name": "kube-api-access-x2x4x",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
}

_KINDS: Final = {
    "one": "one container",
    "many": f"{_CONTAINERS} containers",
    "complete": "looked at again",
    "refused": "refused",
}


async def _clients(
    port: int, bare: int, pid: int, context: ssl.SSLContext, options: argparse.Namespace
) -> tuple[list[Figure], list[int]]:
    """The figures, and resident memory after each share of the reviews."""
    found = []
    for kind, name in _KINDS.items():
        requests = await _requests(kind, options.reviews)
        warm_up = requests[:_WARM_UP]
        await exchange("warm-up", port, pid, warm_up, options.connections, context)
        found.append(await exchange(name, port, pid, requests, options.connections, context))
    one = await _requests("one", options.reviews)
    found.append(await exchange("nothing", bare, pid, one, options.connections, context))
    ports: dict[str, int] = {"one": port, "nothing": bare}
    rounds: dict[str, list[Figure]] = {name: [] for name in ports}
    for _ in range(options.rounds):
        for name, at in ports.items():
            figure = await exchange(
                name, at, pid, one, options.connections, context, rate=options.rate
            )
            rounds[name].append(figure)
    for name, figures in rounds.items():
        found += _spread(f"{name}, {options.rate} a second", figures)
    resident = [usage(pid).resident]
    for _ in range(3 if options.memory else 0):
        requests = await _requests("one", options.memory)
        await exchange("memory", port, pid, requests, options.connections, context)
        resident.append(usage(pid).resident)
    return found, resident


def _spread(name: str, rounds: list[Figure]) -> list[Figure]:
    """Of several rounds the best, the median and the worst, by their slowest answers."""
    ordered = sorted(rounds, key=lambda one: one.p99_ms)
    names = {0: "best", len(ordered) // 2: "median", len(ordered) - 1: "worst"}
    return [replace(ordered[at], name=f"{name}, {which}") for at, which in names.items()]


def main() -> None:
    """Measure, and print a table."""
    options = arguments()
    first, *others = sorted(os.sched_getaffinity(0))
    if options.serve:
        os.sched_setaffinity(0, {first})
        uvloop.run(_serve())
        return
    command = [sys.executable, "-m", "bench.admission", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as webhook:
        assert webhook.stdout is not None  # noqa: S101 - for the type checker
        try:
            line = webhook.stdout.readline()
            if not line:
                sys.exit("the webhook ended before it served")
            told = json.loads(line)
            if others:
                os.sched_setaffinity(0, set(others))
            context = ssl.create_default_context(
                cadata=base64.b64decode(told["certificate"]).decode()
            )
            ports = int(told["port"]), int(told["bare"])
            clients = _clients(*ports, webhook.pid, context, options)
            figures, resident = uvloop.run(clients)
        finally:
            webhook.terminate()
    print(table(figures, 30))
    megabytes = ", ".join(f"{each / _MEGABYTE:.1f}" for each in resident)
    print(f"memory, with {options.memory} reviews between two looks: {megabytes} MB")
    if options.output is not None:
        whole = {"reviews": [asdict(one) for one in figures], "resident": resident}
        options.output.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
