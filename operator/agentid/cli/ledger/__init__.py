"""`agentid ledger`: what was issued and revoked, and whether the record is whole.

Every question is asked of an export: of one in a file (`--from`), with no cluster at all, or of one
that is made of the cluster's segments on the spot.
"""

from __future__ import annotations

import typer

from agentid.cli.ledger import exporting, listing, showing, verifying

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
app.command("list")(listing.list_certificates)
app.command("show")(showing.show)
app.command("verify")(verifying.verify)
app.command("export")(exporting.export)


@app.callback()
def root() -> None:
    """What was issued and revoked."""
