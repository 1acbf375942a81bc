"""Options of the subcommands that serve: one place for their names, variables and help."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer

__all__ = [
    "LIMITS",
    "PERIODS",
    "ClientConnections",
    "IdleSeconds",
    "LogLevel",
    "ProbeHost",
    "ProbePort",
    "WriteSeconds",
]

LIMITS: Final = "Limits"
PERIODS: Final = "Periods"

ProbeHost: TypeAlias = Annotated[
    str, typer.Option(envvar="AGENTID_PROBE_HOST", help="Address of probes and metrics.")
]
ProbePort: TypeAlias = Annotated[
    int, typer.Option(envvar="AGENTID_PROBE_PORT", help="Port of probes and metrics.")
]
LogLevel: TypeAlias = Annotated[
    str, typer.Option(envvar="AGENTID_LOG_LEVEL", help="debug, info, warning or error.")
]
ClientConnections: TypeAlias = Annotated[
    int, typer.Option(help="Of these from one address.", rich_help_panel=LIMITS)
]
IdleSeconds: TypeAlias = Annotated[
    float, typer.Option(help="For a request's head, and between two.", rich_help_panel=LIMITS)
]
WriteSeconds: TypeAlias = Annotated[
    float, typer.Option(help="How long a client may take nothing.", rich_help_panel=LIMITS)
]
