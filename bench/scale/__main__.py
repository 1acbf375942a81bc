"""`make bench-scale`: one life of N identities after another, each on a cluster of its own.

They are created at once; the operator is restarted; their class is changed so that every
certificate is replaced by one of ten minutes; these are renewed; an incident takes all of them
back; and they are deleted. Before that the bare API server does the same writes, the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from agentid.clock import SystemClock
from agentid.errors import AgentIdError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from bench.__main__ import positive
from bench.report import costs, machine, writes
from bench.scale.life import Life, Settings
from bench.scale.plot import draw
from bench.scale.recording import Run
from e2e.errors import E2EError
from e2e.install import install, samples
from e2e.progress import say
from e2e.providers import DevCluster
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.scale.recording import Stage
    from e2e.providers import Cluster

_MEGABYTE = 1_000_000


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument(
        "--numbers", type=positive, nargs="+", default=[1000, 3000, 10_000], help="of identities"
    )
    parser.add_argument(
        "--renewing", type=float, default=600, help="seconds for which renewals are watched"
    )
    parser.add_argument(
        "--quiet", type=float, default=20, help="seconds without a write that end a stage"
    )
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--picture", type=Path, help="where to draw costs against numbers, as SVG")
    return parser.parse_args(given)


def main() -> int:
    """Measure, and print a report after each run."""
    given = arguments()
    runs: list[Run] = []
    print(machine())
    for number in given.numbers:
        with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
            chosen = DevCluster(Path(directory))
            settings = Settings(number, given.renewing, given.quiet, *ports(1))
            try:
                cluster = chosen.up(fsync=True)
                install(cluster)
                samples(cluster, "issuer", "classes")
                runs.append(uvloop.run(_run(cluster, settings)))
            except (E2EError, AgentIdError) as error:
                print(f"\n{error}", file=sys.stderr)
                return 1
            finally:
                chosen.down()
        if given.output is not None:
            given.output.write_text(_as_json(runs), encoding="utf-8")
        if given.picture is not None:
            given.picture.write_text(draw(runs), encoding="utf-8")
    return 0


async def _run(cluster: Cluster, settings: Settings) -> Run:
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    async with Client(credentials, connections=64, field_manager="bench") as client:
        life = Life(cluster, client, settings)
        say(f"{settings.number} identities: the bare API server first")
        run = Run(settings.number, await life.limit())
        print(f"\n{settings.number} IDENTITIES; bare: {run.bare.rate:.0f} /s", flush=True)
        async for stage in life.stages():
            run.stages.append(stage)
            print("\n".join(_lines(stage, run)), flush=True)
    return run


def _lines(stage: Stage, run: Run) -> Iterator[str]:
    rate = stage.number / stage.seconds if stage.seconds else 0.0
    yield f"{stage.name}: {stage.number} in {stage.seconds:.1f} s, {rate:.0f} /s"
    yield f"  {rate / run.bare.rate:.2f} of bare"
    if stage.latency is not None:
        each = stage.latency
        yield f"  p50 {each.p50:.2f} s, p99 {each.p99:.2f} s, worst {each.worst:.2f} s"
    yield f"  event loop late by {1000 * stage.lag:.0f} ms at most"
    yield f"  ledger: {stage.segments} segments, {stage.ledger_bytes / _MEGABYTE:.1f} MB"
    yield from writes(stage.writes, max(stage.number, 1))
    yield from costs(stage.costs, max(stage.number, 1))


def _as_json(runs: Sequence[Run]) -> str:
    def plain(stage: Stage) -> dict[str, object]:
        counted = {f"{verb} {what}": n for (what, verb), n in stage.writes.done.items()}
        return {
            "name": stage.name,
            "seconds": stage.seconds,
            "number": stage.number,
            "latency": None if stage.latency is None else asdict(stage.latency),
            "lag": stage.lag,
            "segments": stage.segments,
            "ledgerBytes": stage.ledger_bytes,
            "writes": counted,
            "costs": {name: asdict(each) for name, each in stage.costs.items()},
        }

    whole = {
        "machine": machine(),
        "runs": [
            {"number": run.number, "bare": run.bare.rate, "stages": [plain(s) for s in run.stages]}
            for run in runs
        ],
    }
    return json.dumps(whole, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
