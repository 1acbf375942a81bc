"""`agentid admission`: the webhook that mounts identities into pods."""

from __future__ import annotations

from typing import Annotated

import typer
import uvloop

from agentid.cli.serving_options import (
    LIMITS,
    PERIODS,
    ClientConnections,
    IdleSeconds,
    LogLevel,
    ProbeHost,
    ProbePort,
    WriteSeconds,
)
from agentid.clock import SystemClock
from agentid.telemetry.logs import configure_logging

__all__ = ["admission"]


def admission(
    *,
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTID_NAMESPACE",
            help="Where agentid runs, and the serving certificate is kept. Default: the "
            "webhook's own.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(envvar="AGENTID_HOST", help="Address of HTTPS.")] = "0.0.0.0",  # noqa: S104 - API servers come from outside the pod
    port: Annotated[int, typer.Option(envvar="AGENTID_HTTPS_PORT", help="Port of HTTPS.")] = 8443,
    probe_host: ProbeHost = "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: ProbePort = 8080,
    log_level: LogLevel = "info",
    connections: Annotated[
        int, typer.Option(help="Connections at a time.", rich_help_panel=LIMITS)
    ] = 2_048,
    client_connections: ClientConnections = 1_024,
    idle_seconds: IdleSeconds = 120,
    body_seconds: Annotated[
        float, typer.Option(help="For a review's body.", rich_help_panel=LIMITS)
    ] = 3,
    write_seconds: WriteSeconds = 10,
    linger: Annotated[
        float,
        typer.Option(
            help="Seconds that reviews are still taken after SIGTERM, until other machines have "
            "heard of it.",
            rich_help_panel=PERIODS,
        ),
    ] = 3,
    drain: Annotated[
        float, typer.Option(help="Seconds for reviews at the end.", rich_help_panel=PERIODS)
    ] = 4,
) -> None:
    """Mount identities into pods that ask for them, as a webhook, until SIGTERM."""
    from agentid.admission import (  # noqa: PLC0415 - aiohttp is for this subcommand alone
        Limits,
        Settings,
        run_admission,
    )

    settings = Settings(
        namespace=namespace,
        host=host,
        port=port,
        probe_host=probe_host,
        probe_port=probe_port,
        limits=Limits(
            connections=connections,
            client_connections=client_connections,
            idle_seconds=idle_seconds,
            body_seconds=body_seconds,
            write_seconds=write_seconds,
        ),
        linger=linger,
        drain=drain,
    )
    configure_logging(log_level)
    uvloop.run(run_admission(settings, clock=SystemClock()))
