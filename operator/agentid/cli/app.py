"""The subcommands of `agentid`, and the place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys

import typer

from agentid.cli import crds, incident, inspect, issuer, ledger, operator, responder, verify
from agentid.errors import AgentIdError

__all__ = ["EXIT_ERROR", "main"]

EXIT_ERROR = 2
"""Something could not be done; 1 means that it was done and the answer is no."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Verifiable, short-lived, revocable identities for AI agents.",
)
app.command("crds")(crds.crds)
app.command("inspect")(inspect.inspect)
app.command("operator")(operator.operator)
app.command("responder")(responder.responder)
app.add_typer(incident.app, name="incident", help="Certificates that are revoked together.")
app.command("verify")(verify.verify)
app.add_typer(issuer.app, name="issuer", help="The authorities that sign for agents.")
app.add_typer(ledger.app, name="ledger", help="What was issued and revoked.")


def main() -> None:
    """Run the command; an error of ours is one message and exit code 2, never a traceback."""
    try:
        app()
    except AgentIdError as error:
        typer.echo(f"agentid: {error}", err=True)
        sys.exit(EXIT_ERROR)
