"""`python -m bench.fleet`: thousands of pods with identities on nodes that kwok pretends.

Half of the pods are given their certificates by PodCertificateRequest, half by the issuer service,
asked for as their nodes do. Then all are deleted, until nothing of theirs is in force. The cluster
is always one of its own, with storage as durable as in production, and is ended afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from agentid.clock import SystemClock
from agentid.errors import AgentIdError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from bench.__main__ import positive
from bench.counting import quiet
from bench.fleet.lag import lagging
from bench.fleet.lives import Sizes, lives
from bench.fleet.nodes import nodes_of
from bench.fleet.phases import Fleet, following
from bench.fleet.recorded import unrevoked
from bench.fleet.report import Phase, as_json, as_text, coming, going
from bench.fleet.site import declare, running
from bench.histograms import Histogram
from bench.processes import Meter
from e2e.errors import E2EError
from e2e.install import install
from e2e.progress import say
from e2e.providers import DevCluster
from tests.support.api import Api
from tests.support.probing import ask
from tests.support.webhook import WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.fleet.report import Coming, Going
    from bench.fleet.site import Site
    from e2e.providers import Cluster

_CALLS: Final = "apiserver_admission_webhook_admission_duration_seconds"
_REVIEWS: Final = "agentid_admission_review_seconds"
_ENDED: Final = r'^apiserver_terminated_watchers_total\{.*resource="pods"\} (\d+)$'
_SETTLE: Final = 3.0
"""Seconds for work that comes after the last pod; CPU is read after them."""

_QUIET: Final = 20.0
"""Seconds without a write after which a phase has written all: the ledger looks for segments to
merge every 15 s."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--pods", type=positive, default=5000, help="made as fast as it goes")
    parser.add_argument("--nodes", type=positive, default=50, help="on which they are")
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    return parser.parse_args(given)


def main() -> int:
    """Measure, and print the report."""
    given = arguments()
    sizes = Sizes(given.pods, given.nodes)
    quietly = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quietly)
    with tempfile.TemporaryDirectory(prefix="agentid-bench-") as directory:
        chosen = DevCluster(Path(directory))
        try:
            cluster = chosen.up(fsync=True)
            install(cluster)
            with running(cluster, sizes) as site:
                came, first, went, second = uvloop.run(_measure(cluster, site, sizes))
        except (E2EError, AgentIdError) as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
        finally:
            chosen.down()
    print("\n" + as_text(sizes, came, first, went, second))
    if given.output is not None:
        whole = as_json(sizes, came, first, went, second)
        given.output.write_text(whole, encoding="utf-8")
    return 0


async def _measure(
    cluster: Cluster, site: Site, sizes: Sizes
) -> tuple[Coming, Phase, Going, Phase]:
    credentials = await load_credentials(clock=SystemClock(), kubeconfig=cluster.kubeconfig)
    changed = asyncio.Event()
    async with Client(credentials, connections=64, field_manager="bench") as client:
        say(f"{sizes.nodes} nodes, operator, webhook and identities")
        await declare(client, site, sizes)
        async with nodes_of(
            sizes, client, credentials, site.plugins, site.issuer_port, changed
        ) as nodes:
            fleet = Fleet(client, lives(sizes), nodes, changed)
            async with following(fleet, client):
                say(f"{sizes.pods} pods come")
                before = await _counted(client, site)
                first = await _phase(client, site, fleet.come)
                after = await _counted(client, site)
                came = coming(
                    fleet.lives,
                    webhook=after.webhook.since(before.webhook),
                    reviews=after.reviews.since(before.reviews),
                    repeated={
                        "pods": fleet.refused,
                        "PodCertificateRequests": nodes.kubelets.repeated,
                        "tokens": nodes.tries.tokens,
                        "issuer service": nodes.tries.issuer,
                        "watches of pods": after.ended - before.ended,
                    },
                )
                say("and go")
                second = await _phase(client, site, fleet.go)
                certificates = fleet.recorded.certificates
                went = going(fleet.lives, certificates=certificates, told=nodes.told)
    _nothing_is_left(cluster, sizes.pods)
    return came, first, went, second


async def _phase(client: Client, site: Site, work: Callable[[], Awaitable[None]]) -> Phase:
    before = await quiet(client, _QUIET)
    meter = Meter({"this client": os.getpid(), **site.processes})
    gauges = {
        "operator": (site.operator_probes, "agentid_event_loop_lag_seconds"),
        "webhook": (site.webhook_probes, "agentid_admission_event_loop_lag_seconds"),
    }
    async with lagging(gauges) as lag:
        await work()
        await asyncio.sleep(_SETTLE)
    costs = meter.read()
    return Phase((await quiet(client, _QUIET)).since(before), costs, lag)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What servers have counted so far.

    Attributes:
        webhook: Calls of the webhook, as the API server counts them.
        reviews: The same as the webhook does.
        ended: Watches of pods, of anybody, that the API server ended since they were too slow.
    """

    webhook: Histogram
    reviews: Histogram
    ended: int


async def _counted(client: Client, site: Site) -> _Counted:
    server = (await client.get_raw("/metrics")).decode()
    _, webhook = await asyncio.to_thread(ask, site.webhook_probes, "/metrics")
    return _Counted(
        Histogram.parse(server, _CALLS, {"name": WEBHOOK}),
        Histogram.parse(webhook, _REVIEWS),
        sum(int(number) for number in re.findall(_ENDED, server, re.MULTILINE)),
    )


def _nothing_is_left(cluster: Cluster, pods: int) -> None:
    """See by other eyes that whatever was issued is revoked.

    Raises:
        E2EError: Something is in force, or less was issued than there were pods.
    """
    view = Api(cluster).ledger()
    left = list(unrevoked(view))
    if left:
        msg = (
            f"{len(left)} certificates of pods that are gone are not revoked, such as "
            f"{left[0].serial} of {left[0].spiffe_id}"
        )
        raise E2EError(msg)
    issued = sum(each.pod is not None for each in view.issued.values())
    if issued < pods:
        msg = f"the ledger has {issued} certificates of {pods} pods"
        raise E2EError(msg)


if __name__ == "__main__":
    sys.exit(main())
