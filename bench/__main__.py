"""`make bench`: what identities cost, beside what the bare API server takes in the same run."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from agentid.clock import SystemClock
from agentid.errors import AgentIdError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from bench.bare import bare
from bench.processes import control_plane, usage
from bench.report import Round, as_json, as_text
from bench.run import Plan, measure
from bench.templates import Template, all_known
from e2e.errors import E2EError
from e2e.install import install, operator, samples
from e2e.progress import say
from e2e.providers import provider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from e2e.providers import Cluster

_TEMPLATES = Path(__file__).parent / "templates"
_OURS = _TEMPLATES / "agentidentity.yaml"

_SERVED: Final = 10.0
"""Seconds until a kind that --setup defines is served."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--number", type=positive, default=1000, help="objects of each template")
    parser.add_argument("--samples", type=int, default=100, help="objects created one at a time")
    parser.add_argument(
        "--rounds", type=positive, default=1, help="how often all of it is measured"
    )
    parser.add_argument(
        "--template",
        type=Path,
        action="append",
        help="a manifest with ${NAME}, ${NAMESPACE}, ${INDEX}; may be given several times",
    )
    parser.add_argument(
        "--setup", type=Path, action="append", default=[], help="manifests to apply first"
    )
    parser.add_argument(
        "--ready-condition", default="Ready", metavar="TYPE", help="whose truth makes it Ready"
    )
    parser.add_argument(
        "--pid",
        type=_process,
        action="append",
        default=[],
        metavar="NAME=PID",
        help="another process to measure, such as another system's controller",
    )
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    return parser.parse_args(given)


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ArgumentTypeError: It is less.
    """
    number = int(text)
    if number < 1:
        msg = f"{text} is less than 1"
        raise argparse.ArgumentTypeError(msg)
    return number


def _process(text: str) -> tuple[str, int]:
    name, _, pid = text.partition("=")
    if not name or not pid.isdecimal():
        msg = f'"{text}" is not of the form NAME=PID, such as cert-manager=1234'
        raise argparse.ArgumentTypeError(msg)
    return name, int(pid)


def main() -> int:
    """Measure, and print the report."""
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        try:
            templates = [Template.read(path) for path in given.template or [_OURS]]
            processes = dict(given.pid)
            for pid in processes.values():
                usage(pid)
            chosen = provider(Path(directory))
            try:
                _measure(chosen.up(fsync=True), templates, processes, given)
            finally:
                chosen.down()
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    return 0


def _measure(
    cluster: Cluster,
    templates: Sequence[Template],
    processes: Mapping[str, int],
    given: argparse.Namespace,
) -> None:
    say(f"{cluster.name} answers; agentid is installed into it")
    install(cluster)
    samples(cluster, "issuer", "classes")
    for path in given.setup:
        cluster.kubectl("apply", "--server-side", "-f", str(path))
    uvloop.run(_known(cluster, templates))
    everyone = {"this client": os.getpid(), **control_plane(cluster.directory), **processes}
    plan = Plan(given.number, given.samples, given.ready_condition)
    rounds = []
    for number in range(1, given.rounds + 1):
        say(f"round {number} of {given.rounds}")
        rounds.append(uvloop.run(_round(cluster, templates, plan, everyone)))
    print("\n" + as_text(rounds))
    if given.output is not None:
        given.output.write_text(as_json(rounds), encoding="utf-8")


async def _client(cluster: Cluster) -> Client:
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    return Client(credentials, connections=64, field_manager="bench")


async def _known(cluster: Cluster, templates: Sequence[Template]) -> None:
    """Refuse what cannot be measured before minutes go into what can."""
    async with await _client(cluster) as client:
        await all_known(client, templates, _SERVED)


async def _round(
    cluster: Cluster, templates: Sequence[Template], plan: Plan, processes: Mapping[str, int]
) -> Round:
    async with await _client(cluster) as client:
        say("  the bare API server, while no operator runs")
        limit = await bare(client, Template.read(_OURS), "bench-bare", plan.number, processes)
        results = []
        with operator(cluster, "bench") as running:
            measured = {"operator": running.process.pid, **processes}
            for place, template in enumerate(templates):
                say(f"  {template.name}: {plan.samples} one at a time, then {plan.number} at once")
                results.append(await measure(client, template, f"bench-{place}", plan, measured))
    return Round(limit, results)


if __name__ == "__main__":
    sys.exit(main())
