"""`agentid ledger list`: certificates on record, by whatever is known of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentid.api.duration import parse_duration
from agentid.api.vocabulary import Tier
from agentid.cli.connection import (
    OPERATOR_NAMESPACE,
    Context,
    Kubeconfig,
    OperatorNamespace,
)
from agentid.cli.ledger import rendering
from agentid.cli.ledger.source import FromFile, Source, opened
from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.ledger.export import read_export
from agentid.ledger.inventory import Query, SortKey, State, take_stock

if TYPE_CHECKING:
    from agentid.ledger.inventory import Inventory

__all__ = ["hex_prefix", "list_certificates", "moment", "warn"]

_HEX: Final = re.compile(r"[0-9a-f]{1,40}", re.ASCII)


class Which(StrEnum):
    """States to ask for."""

    LIVE = "live"
    REVOKED = "revoked"
    EXPIRED = "expired"
    ALL = "all"


class Output(StrEnum):
    """How certificates are printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"


def list_certificates(
    *,
    identity: Annotated[
        str | None,
        typer.Option(help="NAMESPACE/NAME; either may be left out, the slash may not."),
    ] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Of the AgentClass.")] = None,
    tier: Annotated[
        Tier | None, typer.Option(case_sensitive=False, help="Of the class, when it was issued.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Name of the AgentIssuer.")] = None,
    authority: Annotated[str | None, typer.Option(help="Its id, or how that begins.")] = None,
    serial: Annotated[str | None, typer.Option(help="How it begins, hexadecimal.")] = None,
    state: Annotated[Which, typer.Option(help="What became of it by now.")] = Which.ALL,
    issued_after: Annotated[
        str | None, typer.Option(help="2026-11-01, 2026-11-01T12:00:00Z, or 90m for 90 min ago.")
    ] = None,
    issued_before: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    valid_at: Annotated[
        str | None, typer.Option(help="Good at that moment: valid, and not revoked yet.")
    ] = None,
    sort: Annotated[SortKey, typer.Option(help="Ascending.")] = SortKey.ISSUED,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="How to print it; jsonl: one on a line.")
    ] = Output.TABLE,
    from_file: FromFile = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List the certificates on record; one that expired long ago is on it no more."""
    now = SystemClock().now()
    wanted_namespace, wanted_name = _identity(identity)
    query = Query(
        namespace=wanted_namespace,
        name=wanted_name,
        class_name=class_name,
        tier=tier,
        issuer=issuer,
        authority=None if authority is None else hex_prefix(authority, "--authority"),
        serial=None if serial is None else hex_prefix(serial, "--serial"),
        issued_after=moment(issued_after, now, "--issued-after"),
        issued_before=moment(issued_before, now, "--issued-before"),
        valid_at=moment(valid_at, now, "--valid-at"),
        state=None if state is Which.ALL else State(state.value),
    )
    source = Source(operator_namespace, kubeconfig, context)
    with opened(from_file, source) as stream:
        inventory = take_stock(read_export(stream), query, now=now, by=sort)
    warn(inventory)
    match output:
        case Output.TABLE | Output.WIDE:
            table = rendering.table(inventory.items, now, wide=output is Output.WIDE)
            typer.echo(table or "No certificate on record is as asked for.", err=not table)
        case Output.JSON:
            typer.echo(rendering.as_json(inventory.items, now))
        case Output.JSONL:
            for line in rendering.as_lines(inventory.items, now):
                typer.echo(line)


def warn(inventory: Inventory) -> None:
    """Say on standard error that the answer comes from a ledger that is not whole."""
    if alarms := inventory.report.alarms:
        typer.echo(
            f"Warning: the ledger is not whole, {len(alarms)} alarms; the first: {alarms[0]}. "
            "`agentid ledger verify` tells all.",
            err=True,
        )


def hex_prefix(text: str, what: str) -> str:
    """The beginning of a serial or an id, as the ledger spells it; colons and case do not matter.

    Raises:
        InputError: It is no hexadecimal.
    """
    found = text.replace(":", "").lower()
    if not _HEX.fullmatch(found):
        message = f"{what} {quoted(text)} is not 1 to 40 hexadecimal digits; leave out any 0x"
        raise InputError(message)
    return found


def moment(text: str | None, now: datetime, what: str) -> datetime | None:
    """A time that somebody typed.

    Raises:
        InputError: It is none.
    """
    if text is None:
        return None
    try:
        return now - parse_duration(text)
    except InputError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _no_time(text, what) from error
    if found.tzinfo is None and len(text) > len("2026-11-01"):
        raise _no_time(text, what)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _no_time(text: str, what: str) -> InputError:
    return InputError(
        f"{what} {quoted(text)} is not a time; write a day such as 2026-11-01, which begins at "
        "00:00 UTC, a time with its zone such as 2026-11-01T12:00:00Z, or how long ago: 90m"
    )


def _identity(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    namespace, slash, name = text.partition("/")
    if not slash or "/" in name or not (namespace or name):
        message = (
            f"--identity {quoted(text)} is not NAMESPACE/NAME; write NAMESPACE/ for all of a "
            "namespace, and /NAME for that name in all"
        )
        raise InputError(message)
    return namespace or None, name or None
