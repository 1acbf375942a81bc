"""`agentid operator`: the controller itself."""

from __future__ import annotations

import platform
from typing import Annotated

import typer
import uvloop

from agentid.cli.serving_options import LogLevel, ProbeHost, ProbePort
from agentid.clock import SystemClock
from agentid.telemetry.logs import configure_logging

__all__ = ["operator"]


def operator(
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTID_NAMESPACE",
            help="Where authorities, ledger and Lease are kept. Default: the operator's own.",
        ),
    ] = None,
    process: Annotated[
        str, typer.Option(envvar="POD_NAME", help="Name of this replica.")
    ] = platform.node(),
    probe_host: ProbeHost = "0.0.0.0",  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    probe_port: ProbePort = 8080,
    issuer_port: Annotated[
        int,
        typer.Option(
            envvar="AGENTID_ISSUER_PORT",
            help="Port of the issuer service, by which node plugins get what their pods ask for; 0 "
            "for none.",
        ),
    ] = 8445,
    audit: Annotated[
        str,
        typer.Option(
            envvar="AGENTID_AUDIT",
            help="Where audit events go, one line of JSON each: off, stdout, or a file. Logs go to "
            "standard error in any case.",
        ),
    ] = "off",
    log_level: LogLevel = "info",
) -> None:
    """Run the controller until SIGTERM."""
    # Kopf and what it brings along is for this subcommand alone.
    from agentid.controller import run_operator  # noqa: PLC0415
    from agentid.factory import Settings  # noqa: PLC0415
    from agentid.issuing import IssuingSettings, make_issuing  # noqa: PLC0415
    from agentid.signer import make_signer  # noqa: PLC0415

    configure_logging(log_level)
    uvloop.run(
        run_operator(
            Settings(process=process, namespace=namespace, audit=audit),
            clock=SystemClock(),
            probe_host=probe_host,
            probe_port=probe_port,
            companions=(
                make_signer,
                *((make_issuing(IssuingSettings(issuer_port)),) if issuer_port else ()),
            ),
        )
    )
