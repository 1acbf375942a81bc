"""Every command explains itself; the page made of that is `docs/reference/cli.md`."""

from __future__ import annotations

from typer.main import get_command

from agentid.cli.app import app
from website.commandline import commands, render


def test_every_option_has_a_help() -> None:
    """Nobody has to guess."""
    for path, command in commands(get_command(app), "agentid"):
        for each in command.params:
            assert each.help, f"{path}: {each.name}"


def test_every_command_is_on_the_page() -> None:
    """Also those in groups."""
    page = render()
    for path in ("agentid list", "agentid issuer rotate", "agentid ledger verify"):
        assert f"\n## {path}\n" in page
