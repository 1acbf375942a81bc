"""`agentid node`: the CSI driver, the Workload API and SDS, on every node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from agentid import __version__
from agentid.cli.serving_options import LIMITS, LogLevel, ProbeHost, ProbePort
from agentid.clock import SystemClock
from agentid.telemetry.logs import configure_logging

__all__ = ["node"]

_PLACES: Final = "Places on the node"


def node(
    *,
    node_name: Annotated[
        str, typer.Option(envvar="NODE_NAME", help="The node's name, from the downward API.")
    ],
    issuer_url: Annotated[
        str,
        typer.Option(
            envvar="AGENTID_ISSUER_URL",
            help="Of the issuer service, such as https://agentid-issuer.agentid-system.svc:8445.",
        ),
    ],
    issuer_ca: Annotated[
        Path,
        typer.Option(
            envvar="AGENTID_ISSUER_CA",
            help="Whom to trust as the issuer service, in PEM; read again when it changes.",
        ),
    ] = Path("/var/run/agentid-node/ca.crt"),
    token: Annotated[
        Path,
        typer.Option(
            envvar="AGENTID_NODE_TOKEN",
            help="The plugin's own token for the issuer service; read for each request.",
        ),
    ] = Path("/var/run/agentid-node/token"),
    kubelet: Annotated[
        Path,
        typer.Option(help="The kubelet's folder on the node.", rich_help_panel=_PLACES),
    ] = Path("/var/lib/kubelet"),
    probe_host: ProbeHost = "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: ProbePort = 8080,
    log_level: LogLevel = "info",
    publish_seconds: Annotated[
        float,
        typer.Option(
            help="How long a pod's start waits for its certificate until the kubelet is told to "
            "try again.",
            rich_help_panel=LIMITS,
        ),
    ] = 20,
    volume_mib: Annotated[
        int,
        typer.Option(
            help="MiB of memory that one pod's files take at most.", rich_help_panel=LIMITS
        ),
    ] = 8,
) -> None:
    """Give the pods of a node their identities, until SIGTERM; mounts outlive it."""
    from agentid.node.driver import DriverSettings  # noqa: PLC0415 - gRPC is for this alone
    from agentid.node.mounts import Tmpfs  # noqa: PLC0415
    from agentid.node.run import run_node  # noqa: PLC0415
    from agentid.node.serving import Places  # noqa: PLC0415
    from agentid.node.settings import NodeSettings  # noqa: PLC0415

    settings = NodeSettings(
        driver=DriverSettings(
            root=kubelet / "plugins" / "csi.agentid.dev",
            targets=kubelet / "pods",
            volume=Tmpfs(bytes_=volume_mib * 1024 * 1024, inodes=64),
            publish_seconds=publish_seconds,
        ),
        places=Places(kubelet / "plugins_registry", node_name, __version__),
        issuer_url=issuer_url.rstrip("/"),
        issuer_ca=issuer_ca,
        token=token,
        probe_host=probe_host,
        probe_port=probe_port,
    )
    clock = SystemClock()
    configure_logging(log_level)
    uvloop.run(run_node(settings, clock=clock))
