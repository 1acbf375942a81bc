"""How does a person ask? The `agentid` command; each subcommand is a module of this package."""

from agentid.cli.app import complete, main

__all__ = ["complete", "main"]
