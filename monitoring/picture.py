"""`make dashboard-picture`: the dashboard over some minutes of a real operator, for the docs.

Grafana is not needed: the panels, their places, queries, units and thresholds are read from the
dashboard's JSON, a Prometheus that scrapes operator and responder answers the queries, and the
panels are drawn here. A cluster of its own is started and ended.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from e2e.browser import browser
from e2e.errors import E2EError
from e2e.install import install, port_in_log, responder, samples, start_operator
from e2e.progress import say
from e2e.providers import DevCluster
from monitoring import drawing
from monitoring.documented import ROOT
from monitoring.drawing import Line, Span
from monitoring.load import LIMITS, federate, load, partner
from monitoring.png import with_palette
from monitoring.prometheus import free_port, prometheus

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.providers import Cluster
    from monitoring.prometheus import Answer

    Ask = Callable[[str], list[Answer]]


class Target(TypedDict):
    """A query of a panel."""

    expr: str
    legendFormat: str


class Thresholds(TypedDict):
    """From which value on which colour holds."""

    steps: list[dict[str, object]]


class Defaults(TypedDict):
    """How values are shown."""

    unit: str
    thresholds: Thresholds


class FieldConfig(TypedDict):
    """How values are shown, of all fields."""

    defaults: Defaults


class Panel(TypedDict):
    """What is read of a panel; a row has no more than its title and place."""

    type: str
    title: str
    gridPos: dict[str, int]
    fieldConfig: FieldConfig
    targets: list[Target]


class Dashboard(TypedDict):
    """What is read of a dashboard."""

    panels: list[Panel]


__all__ = ["page"]

_DASHBOARD: Final = ROOT / "helm/agentid/files/dashboard.json"
_PICTURE: Final = ROOT / "docs/images/dashboard.png"
_MINUTES: Final = 5.0
_PERIOD: Final = 5
"""Seconds between two scrapes."""

_STEP: Final = 10
"""Seconds between two points."""

_WARM: Final = 60.0
"""Seconds of load that are not shown: what a rate is taken over."""

_VARIABLES: Final = {"$__rate_interval": "60s"}
"""What Grafana puts in unless told otherwise: four scrapes, 15 seconds apart."""


def main() -> int:
    """Take the picture; 1 if that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.picture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="of load")
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as scratch:
        provider = DevCluster(Path(scratch))
        try:
            picture = with_palette(_take(provider.up(), seconds))
        except E2EError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            provider.down()
    _PICTURE.write_bytes(picture)
    say(f"{_PICTURE.relative_to(ROOT)}  {len(picture) // 1024} KiB")
    return 0


def _take(cluster: Cluster, seconds: float) -> bytes:
    install(cluster)
    ports = {"controller": free_port(), "responder": free_port()}
    audit = {"AGENTID_AUDIT": str(cluster.directory / "audit.jsonl")}
    probes = ("--probe-port", str(ports["responder"]))
    with ExitStack() as ended:
        running = start_operator(cluster, "operator", ports["controller"], environment=audit)
        ended.callback(running.stop)
        serving = ended.enter_context(responder(cluster, "responder", *LIMITS, *probes))
        partner(cluster)
        http = f"http://127.0.0.1:{port_in_log(serving.log, 'http_serving')}"
        https = f"https://127.0.0.1:{port_in_log(serving.log, 'https_serving')}"
        samples(cluster, "issuer", "classes")
        federate(cluster, https)
        asked = ended.enter_context(prometheus(ports, _PERIOD))
        say(f"Agents come and go, and verifiers ask, for {seconds / 60:g} minutes")
        start = time.time() + _WARM
        asyncio.run(load(cluster, http, https, _WARM + seconds))
        span = Span(start, time.time(), _STEP)
        document = page(
            json.loads(_DASHBOARD.read_text()), span,
            lambda query: asked.range(query, span.start, span.end, span.step),
        )  # fmt: skip
    return asyncio.run(_photograph(document))


async def _photograph(document: str) -> bytes:
    async with browser() as tab:
        await tab.shape(drawing.WIDTH, 800)
        await tab.open(f"data:text/html;base64,{base64.b64encode(document.encode()).decode()}")
        return await tab.picture()


def page(dashboard: Dashboard, span: Span, ask: Ask) -> str:
    """The dashboard as a page of HTML.

    Args:
        dashboard: As Grafana imports it.
        span: The time that it shows.
        ask: What answers a query in PromQL over that time.
    """
    panels = dashboard["panels"]
    boxes = [drawing.place(panel["gridPos"]) for panel in panels]
    drawn = [_panel(panel, box, span, ask) for panel, box in zip(panels, boxes, strict=True)]
    height = max(box.y + box.height for box in boxes) + 8
    return (
        '<!doctype html><meta charset="utf-8"><title>Dashboard</title>'
        "<style>body{margin:0;background:#f4f5f7}svg{display:block}</style>"
        f'<svg width="{drawing.WIDTH}" height="{height:.0f}" font-family="DejaVu Sans, sans-serif">'
        f"{''.join(drawn)}</svg>"
    )


def _panel(panel: Panel, box: drawing.Box, span: Span, ask: Ask) -> str:
    if panel["type"] == "row":
        return drawing.row(panel["title"], box)
    lines = [
        Line(drawing.legend(target["legendFormat"], each.labels), each.points)
        for target in panel["targets"]
        for each in ask(_substituted(target["expr"]))
    ]
    defaults = panel["fieldConfig"]["defaults"]
    unit, steps = defaults["unit"], defaults["thresholds"]["steps"]
    match panel["type"]:
        case "stat":
            return drawing.stat(panel["title"], lines, span, box, unit=unit, steps=steps)
        case "timeseries":
            return drawing.timeseries(panel["title"], lines, span, box, unit=unit)
        case kind:
            msg = f"{panel['title']}: there is nothing here that draws a {kind}"
            raise E2EError(msg)


def _substituted(expr: str) -> str:
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    return expr


if __name__ == "__main__":
    sys.exit(main())
