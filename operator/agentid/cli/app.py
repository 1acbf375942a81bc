"""The subcommands of `agentid`, and the place where an error becomes a line and an exit code."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from typing import Final

import typer
from typer.completion import get_completion_inspect_parameters

from agentid.cli import (
    admission,
    bundle,
    completion,
    crds,
    explain,
    incident,
    init,
    inspect,
    issuer,
    ledger,
    listing,
    node,
    operator,
    renew,
    responder,
    revoke,
    show,
    suspend,
    verify,
)
from agentid.cli.advice import in_one_line
from agentid.cli.completion import COMPLETE_VARIABLE
from agentid.cli.doctor import command as doctor
from agentid.cli.program import program_name
from agentid.errors import AgentIdError

__all__ = ["EXIT_ERROR", "app", "complete", "main"]

EXIT_ERROR: Final = 2
"""Something could not be done; 1 means that it was done and the answer is no."""

_AGENTS: Final = "Agents"
_PLATFORM: Final = "Platform and security"
_FILES: Final = "Without a cluster"
_PROCESSES: Final = "Processes"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Verifiable, short-lived, revocable identities for AI agents.",
    epilog="Exit codes: 0 done; 1 done, and the answer is no; 2 could not be done.",
)
app.command("list", rich_help_panel=_AGENTS)(listing.list_identities)
app.command("show", rich_help_panel=_AGENTS)(show.show)
app.command("explain", rich_help_panel=_AGENTS)(explain.explain)
app.command("init", rich_help_panel=_AGENTS)(init.init)
app.command("renew", rich_help_panel=_AGENTS)(renew.renew)
app.command("suspend", rich_help_panel=_AGENTS)(suspend.suspend)
app.command("resume", rich_help_panel=_AGENTS)(suspend.resume)
app.command("revoke", rich_help_panel=_PLATFORM)(revoke.revoke)
app.command("doctor", rich_help_panel=_PLATFORM)(doctor.doctor)
app.command("bundle", rich_help_panel=_PLATFORM)(bundle.bundle)
app.add_typer(issuer.app, name="issuer", rich_help_panel=_PLATFORM)
app.add_typer(ledger.app, name="ledger", rich_help_panel=_PLATFORM)
app.add_typer(incident.app, name="incident", rich_help_panel=_PLATFORM)
app.command("inspect", rich_help_panel=_FILES)(inspect.inspect)
app.command("verify", rich_help_panel=_FILES)(verify.verify)
app.command("crds", rich_help_panel=_FILES)(crds.crds)
app.command("completion", rich_help_panel=_FILES)(completion.completion)
app.command("operator", rich_help_panel=_PROCESSES)(operator.operator)
app.command("admission", rich_help_panel=_PROCESSES)(admission.admission)
app.command("node", rich_help_panel=_PROCESSES)(node.node)
app.command("responder", rich_help_panel=_PROCESSES)(responder.responder)


def complete() -> None:
    """Complete `kubectl agentid`: kubectl runs this with the words so far, the last one unfinished.

    Prints what may come, and the directive by which kubectl offers no files
    (k8s.io/kubectl/pkg/cmd/plugin, plugin_completion.go).
    """
    words = ["agentid", *sys.argv[1:]]
    os.environ[COMPLETE_VARIABLE] = "complete_bash"
    os.environ["COMP_WORDS"] = shlex.join(words)
    os.environ["COMP_CWORD"] = str(len(words) - 1)
    with contextlib.suppress(SystemExit):
        main()
    typer.echo(":4")


def main() -> None:
    """Run the command; an error of ours is one line and exit code 2, never a traceback."""
    name = program_name()
    if COMPLETE_VARIABLE in os.environ:
        get_completion_inspect_parameters()  # has typer's shells registered
    try:
        app(prog_name=name, complete_var=COMPLETE_VARIABLE)
    except AgentIdError as error:
        typer.echo(f"{name}: {in_one_line(error)}", err=True)
        sys.exit(EXIT_ERROR)
