"""`agentid admission`: the webhook that mounts identities into pods."""

from __future__ import annotations

from typing import Annotated, Final

import typer
import uvloop

from agentid.clock import SystemClock
from agentid.telemetry.logs import configure_logging

__all__ = ["admission"]

_LIMITS: Final = "Limits"
_PERIODS: Final = "Periods"


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
    probe_host: Annotated[
        str, typer.Option(envvar="AGENTID_PROBE_HOST", help="Address of probes and metrics.")
    ] = "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: Annotated[
        int, typer.Option(envvar="AGENTID_PROBE_PORT", help="Port of probes and metrics.")
    ] = 8080,
    log_level: Annotated[
        str, typer.Option(envvar="AGENTID_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
    connections: Annotated[
        int, typer.Option(help="Connections at a time.", rich_help_panel=_LIMITS)
    ] = 2_048,
    client_connections: Annotated[
        int, typer.Option(help="Of these from one address.", rich_help_panel=_LIMITS)
    ] = 1_024,
    idle_seconds: Annotated[
        float,
        typer.Option(help="For a request's head, and between two.", rich_help_panel=_LIMITS),
    ] = 120,
    body_seconds: Annotated[
        float, typer.Option(help="For a review's body.", rich_help_panel=_LIMITS)
    ] = 3,
    write_seconds: Annotated[
        float,
        typer.Option(help="How long a client may take nothing.", rich_help_panel=_LIMITS),
    ] = 10,
    linger: Annotated[
        float,
        typer.Option(
            help="Seconds that reviews are still taken after SIGTERM, until other machines have "
            "heard of it.",
            rich_help_panel=_PERIODS,
        ),
    ] = 3,
    drain: Annotated[
        float, typer.Option(help="Seconds for reviews at the end.", rich_help_panel=_PERIODS)
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
