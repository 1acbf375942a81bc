"""`agentid responder`: CRLs, OCSP, bundles and the deny feed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

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
from agentid.errors import InputError
from agentid.telemetry.logs import configure_logging

__all__ = ["responder"]

_INVENTORY: Final = "Inventory page"


def responder(
    *,
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTID_NAMESPACE",
            help="Where the operator publishes. Default: the responder's own.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(envvar="AGENTID_HOST", help="Address of HTTP and HTTPS.")
    ] = "0.0.0.0",  # noqa: S104 - verifiers come from outside the pod
    http_port: Annotated[
        int, typer.Option(envvar="AGENTID_HTTP_PORT", help="CRLs, OCSP, authorities, policies.")
    ] = 8081,
    https_port: Annotated[
        int, typer.Option(envvar="AGENTID_HTTPS_PORT", help="Bundles and the deny feed.")
    ] = 8443,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="AGENTID_TLS_CERT",
            help="Chain in PEM for https_web, in place of the issuers' SVIDs; read again when it "
            "changes.",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(envvar="AGENTID_TLS_KEY", help="Its key in PEM.")
    ] = None,
    probe_host: ProbeHost = "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: ProbePort = 8080,
    inventory_port: Annotated[
        int | None,
        typer.Option(
            envvar="AGENTID_INVENTORY_PORT",
            help="HTTPS port of a read-only page for people who may list AgentIdentities, such "
            "as 8444. Default: no page.",
            rich_help_panel=_INVENTORY,
        ),
    ] = None,
    inventory_review: Annotated[
        float,
        typer.Option(
            help="Seconds that the API server's word counts on who somebody is, and what they "
            "may see.",
            rich_help_panel=_INVENTORY,
        ),
    ] = 30,
    log_level: LogLevel = "info",
    rate: Annotated[
        float, typer.Option(help="Requests a second of all; 0: any.", rich_help_panel=LIMITS)
    ] = 10_000,
    burst: Annotated[
        int, typer.Option(help="Requests at once of all.", rich_help_panel=LIMITS)
    ] = 20_000,
    client_rate: Annotated[
        float,
        typer.Option(help="Requests a second of one address; 0: any.", rich_help_panel=LIMITS),
    ] = 2_000,
    client_burst: Annotated[
        int, typer.Option(help="Requests at once of one address.", rich_help_panel=LIMITS)
    ] = 4_000,
    connections: Annotated[
        int, typer.Option(help="Connections on each port.", rich_help_panel=LIMITS)
    ] = 2_048,
    client_connections: ClientConnections = 512,
    feeds: Annotated[
        int, typer.Option(help="Clients that follow a deny feed.", rich_help_panel=LIMITS)
    ] = 256,
    idle_seconds: IdleSeconds = 20,
    body_seconds: Annotated[
        float, typer.Option(help="For a request's body.", rich_help_panel=LIMITS)
    ] = 5,
    write_seconds: WriteSeconds = 20,
    ocsp_window: Annotated[
        float,
        typer.Option(help="Seconds between two thisUpdate of OCSP.", rich_help_panel=PERIODS),
    ] = 60,
    ocsp_validity: Annotated[
        float,
        typer.Option(help="Seconds from thisUpdate to nextUpdate.", rich_help_panel=PERIODS),
    ] = 600,
    max_age: Annotated[
        float,
        typer.Option(
            help="Seconds that an HTTP cache may keep CRLs and OCSP answers: so much later it "
            "may tell of a revocation.",
            rich_help_panel=PERIODS,
        ),
    ] = 30,
    stale_after: Annotated[
        float,
        typer.Option(
            help="Seconds of silence of the ledger until OCSP answers tryLater; a healthy one "
            "is silent for up to 120.",
            rich_help_panel=PERIODS,
        ),
    ] = 180,
    heartbeat: Annotated[
        float,
        typer.Option(help="Seconds between a feed's signs of life.", rich_help_panel=PERIODS),
    ] = 15,
    drain: Annotated[
        float, typer.Option(help="Seconds for requests at the end.", rich_help_panel=PERIODS)
    ] = 4,
) -> None:
    """Serve CRLs and OCSP over HTTP, bundles and the deny feed over HTTPS, until SIGTERM."""
    from agentid.responder import (  # noqa: PLC0415 - aiohttp is for this subcommand alone
        InventorySettings,
        Limits,
        Periods,
        Settings,
        TlsFiles,
        run_responder,
    )

    if (tls_cert is None) != (tls_key is None):
        message = "--tls-cert and --tls-key belong together; give both or none"
        raise InputError(message)
    files = None if tls_cert is None or tls_key is None else TlsFiles(tls_cert, tls_key)
    inventory = None
    if inventory_port is not None:
        inventory = InventorySettings(inventory_port, timedelta(seconds=inventory_review))
    settings = Settings(
        namespace=namespace,
        host=host,
        http_port=http_port,
        https_port=https_port,
        probe_host=probe_host,
        probe_port=probe_port,
        tls=files,
        inventory=inventory,
        limits=Limits(
            rate=rate,
            burst=burst,
            client_rate=client_rate,
            client_burst=client_burst,
            connections=connections,
            client_connections=client_connections,
            feeds=feeds,
            idle_seconds=idle_seconds,
            body_seconds=body_seconds,
            write_seconds=write_seconds,
        ),
        periods=Periods(
            ocsp_window=timedelta(seconds=ocsp_window),
            ocsp_validity=timedelta(seconds=ocsp_validity),
            max_age=timedelta(seconds=max_age),
            stale_after=timedelta(seconds=stale_after),
            heartbeat=timedelta(seconds=heartbeat),
            drain=timedelta(seconds=drain),
        ),
    )
    configure_logging(log_level)
    uvloop.run(run_responder(settings, clock=SystemClock()))
