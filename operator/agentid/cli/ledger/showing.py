"""`agentid ledger show`: everything on record about one certificate, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentid.cli.connection import (
    OPERATOR_NAMESPACE,
    Context,
    Kubeconfig,
    OperatorNamespace,
)
from agentid.cli.ledger.listing import hex_prefix, warn
from agentid.cli.ledger.source import FromFile, Source, opened
from agentid.cli.output import plain
from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.ledger.export import read_export
from agentid.ledger.inventory import Query, State, grant_of, take_stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentid.ledger.inventory import Item
    from agentid.ledger.records import Issued, Revoked
    from agentid.policy.grant import Grant

__all__ = ["show"]

_MOST = 5  # serials that are named when several begin alike


def show(
    serial: Annotated[str, typer.Argument(help="Hexadecimal; its beginning will do.")],
    from_file: FromFile = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell everything on record about one certificate; exit 1 if there is no such serial."""
    now = SystemClock().now()
    wanted = hex_prefix(serial, "serial")
    source = Source(operator_namespace, kubeconfig, context)
    with opened(from_file, source) as stream:
        inventory = take_stock(read_export(stream), Query(serial=wanted), now=now)
    warn(inventory)
    # A serial that is the beginning of a longer one is meant itself.
    found = [item for item in inventory.items if str(item.serial) == wanted] or inventory.items
    if len(found) != 1:
        typer.echo(_none(wanted) if not found else _several(wanted, found), err=True)
        raise typer.Exit(1)
    for label, text in _lines(found[0], now):
        typer.echo(f"{label:<18} {plain(text)}")


def _none(wanted: str) -> str:
    return (
        f"No serial on record begins with {wanted}: it was never issued or revoked here, or it has "
        "expired and left the ledger."
    )


def _several(wanted: str, items: list[Item] | tuple[Item, ...]) -> str:
    named = ", ".join(str(item.serial) for item in items[:_MOST])
    more = "" if len(items) <= _MOST else ", …"
    return f"{len(items)} serials begin with {wanted}: {named}{more}; give more digits."


def _lines(item: Item, now: datetime) -> Iterator[tuple[str, str]]:
    yield "serial", str(item.serial)
    yield "state", _state(item, now)
    if item.revoked is not None:
        yield from _revocation(item.revoked)
    if item.issued is not None:
        yield from _certificate(item.issued)
    else:
        yield "certificate", "not on record; only its revocation is"
    if item.doubtful:
        yield "doubtful", "a damaged segment says so: enough to revoke it, not to rely on it"
    for name in item.segments:
        yield "on record in", name


def _state(item: Item, now: datetime) -> str:
    match item.state(now):
        case State.REVOKED:
            return "revoked"
        case State.EXPIRED:
            return "expired, never revoked"
        case State.LIVE if item.issued is not None and now < item.issued.not_before:
            return "live, not valid yet"
        case State.LIVE:
            return "live"


def _revocation(revoked: Revoked) -> Iterator[tuple[str, str]]:
    yield "revoked at", _time(revoked.revoked_at)
    yield "revoked for", revoked.reason.value
    yield "revoked by", revoked.actor


def _certificate(record: Issued) -> Iterator[tuple[str, str]]:
    yield "who", f"agent {record.name} in namespace {record.namespace}"
    if (pod := record.pod) is not None:
        yield "pod", f"{pod.name}, uid {pod.uid}, on node {pod.node}"
    yield "SPIFFE ID", record.spiffe_id
    yield "AgentIdentity", f"{record.namespace}/{record.name}, uid {record.uid}"
    grant = grant_of(record.grant)
    if isinstance(grant, InputError):
        yield "granted", str(grant)
    else:
        yield from _granted(grant)
    yield "valid from", _time(record.not_before)
    yield "valid until", _time(record.not_after)
    yield "issued at", _time(record.issued_at)
    yield "issuer", record.issuer
    yield "authority", record.authority
    shard = "none, no CRL speaks of it" if record.shard is None else str(record.shard)
    yield "CRL shard", shard
    yield "bundle", f"sequence {record.bundle}"
    yield "delivered by", record.door.value
    yield "replaces", "none" if record.replaces is None else str(record.replaces)
    yield "SHA-256", record.fingerprint


def _granted(grant: Grant) -> Iterator[tuple[str, str]]:
    permissions = grant.permissions
    yield "class", f"{grant.class_name}, tier {grant.tier.value}"
    yield "sponsor", grant.sponsor or "nobody is named"
    yield (
        "policy",
        f"{grant.policy_oid}, see {grant.cps_uri}" if grant.cps_uri else grant.policy_oid,
    )
    yield "systems", ", ".join(permissions.systems) or "none"
    yield "operations", ", ".join(permissions.operations) or "none"
    if (schedule := permissions.schedule) is None:
        yield "hours", "always"
    else:
        windows = schedule.to_json()["windows"]
        shown = ", ".join(map(str, windows)) if isinstance(windows, list) else ""
        yield "hours", f"{shown or 'never'} in {schedule.time_zone}"
    yield "compliance", ", ".join(permissions.compliance) or "none"
    yield "key", grant.key_algorithm.value


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
