"""`make bench`: what identities cost, beside what the bare API server takes in the same run."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from agentid.clock import SystemClock
from agentid.errors import AgentIdError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from bench.processes import control_plane
from bench.report import as_json, as_text
from bench.run import bare, measure
from bench.templates import Template
from e2e.errors import E2EError
from e2e.install import install, operator, samples
from e2e.progress import say
from e2e.providers import provider

if TYPE_CHECKING:
    from e2e.providers import Cluster

_TEMPLATES = Path(__file__).parent / "templates"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--number", type=int, default=1000, help="objects of each template")
    parser.add_argument("--samples", type=int, default=50, help="objects created one at a time")
    parser.add_argument(
        "--template",
        type=Path,
        action="append",
        help="a manifest with ${NAME}, ${NAMESPACE}, ${INDEX}; may be given several times",
    )
    parser.add_argument(
        "--setup", type=Path, action="append", default=[], help="manifests to apply first"
    )
    parser.add_argument("--output", type=Path, help="where to write the results as JSON")
    return parser.parse_args()


def main() -> int:
    """Measure, and print the report."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = provider(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            _measure(cluster, arguments)
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    return 0


def _measure(cluster: Cluster, arguments: argparse.Namespace) -> None:
    say(f"{cluster.name} answers; agentid is installed into it")
    install(cluster)
    for path in arguments.setup:
        cluster.kubectl("apply", "--server-side", "-f", str(path))
    paths = arguments.template or [_TEMPLATES / "agentidentity.yaml"]
    templates = [Template.read(path) for path in paths]
    uvloop.run(_run(cluster, templates, arguments))


async def _run(cluster: Cluster, templates: list[Template], arguments: argparse.Namespace) -> None:
    number, samples_wanted = arguments.number, arguments.samples
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    async with Client(credentials, connections=64, field_manager="bench") as client:
        say("the bare API server first, before anybody watches")
        ours = Template.read(_TEMPLATES / "agentidentity.yaml")
        limit = await bare(client, ours, "bench-bare", number)
        await asyncio.to_thread(samples, cluster, "issuer", "classes")
        results = []
        with operator(cluster, "bench") as running:
            processes = {"operator": running.process.pid, **control_plane(cluster.directory)}
            for place, template in enumerate(templates):
                say(f"{template.name}: {samples_wanted} one at a time, then {number} at once")
                namespace = f"bench-{place}"
                results.append(
                    await measure(client, template, namespace, number, samples_wanted, processes)
                )
    print("\n" + as_text(results, limit))
    if arguments.output is not None:
        arguments.output.write_text(as_json(results, limit), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
