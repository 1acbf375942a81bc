"""`agentid suspend` and `agentid resume`: take every certificate away, and give another one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from agentid.api.conditions import ConditionType
from agentid.api.duration import parse_duration
from agentid.cli.asking import confirmed
from agentid.cli.bulk import (
    Every,
    Names,
    Report,
    Timeout,
    Wait,
    Yes,
    await_each,
    do_each,
    selected,
)
from agentid.cli.connection import (
    AllNamespaces,
    Context,
    Kubeconfig,
    Labels,
    Namespace,
    connected,
    scope_of,
)
from agentid.cli.output import counted
from agentid.cli.roster import Entry
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.cli.connection import Scope
    from agentid.kube.objects import JsonObject

__all__ = ["resume", "suspend"]


def suspend(
    names: Names = None,
    *,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    labels: Labels = None,
    every: Every = False,
    wait: Wait = True,
    timeout: Timeout = "1m",
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Revoke every certificate of agents at once, and issue none until they are resumed.

    Sets spec.suspend; where identities come from Git, set it there too. Exit 1 if one is not
    suspended in time.
    """
    scope = scope_of(
        names or (), namespace=namespace, everywhere=everywhere, labels=labels, every=every
    )
    seconds = parse_duration(timeout).total_seconds() if wait else None
    done = _set(scope, kubeconfig, context, seconds, suspended=True, yes=yes)
    asyncio.run(done).tell("suspended")


def resume(
    names: Names = None,
    *,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    labels: Labels = None,
    every: Every = False,
    wait: Wait = True,
    timeout: Timeout = "1m",
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Have suspended agents issued a new certificate; what was revoked stays revoked.

    Exit 1 if one gets none in time.
    """
    scope = scope_of(
        names or (), namespace=namespace, everywhere=everywhere, labels=labels, every=every
    )
    seconds = parse_duration(timeout).total_seconds() if wait else None
    done = _set(scope, kubeconfig, context, seconds, suspended=False, yes=yes)
    asyncio.run(done).tell("resumed")


async def _set(
    scope: Scope,
    kubeconfig: Path | None,
    context: str | None,
    seconds: float | None,
    *,
    suspended: bool,
    yes: bool,
) -> Report:
    async with connected(kubeconfig, context) as cluster:
        entries = [
            each
            for each in await selected(cluster, scope)
            if scope.names or _is_suspended(each) is not suspended
        ]
        if not entries:
            which = "that is not suspended" if suspended else "that is suspended"
            typer.echo(f"No agent identity {which} is selected.", err=True)
            raise typer.Exit(1)
        verb = "Suspend" if suspended else "Resume"
        end = " Their certificates are revoked, for good." if suspended else ""
        whom = counted(len(entries), "identity", "identities")
        if not scope.names and not confirmed(f"{verb} {whom}?{end}", yes=yes):
            raise typer.Exit(1)

        async def ask(entry: Entry) -> JsonObject:
            patch = {"spec": {"suspend": suspended}}
            return await cluster.client.patch_merge(
                AGENT_IDENTITIES, entry.name, patch, entry.namespace
            )

        report = await do_each(entries, ask, what=f"{verb.lower()}ing")
        if seconds is None:
            return report
        look = _has_gone if suspended else _has_come
        return await await_each(cluster, scope, report, look, seconds)


def _is_suspended(entry: Entry) -> bool:
    spec = entry.body.get("spec")
    return isinstance(spec, dict) and spec.get("suspend") is True


def _has_gone(entry: Entry) -> bool:
    return entry.condition(ConditionType.SUSPENDED) is not None and entry.is_seen


def _has_come(entry: Entry) -> bool | str:
    if not entry.is_seen:
        return False
    stalled = entry.condition(ConditionType.STALLED)
    return entry.is_ready or (False if stalled is None else stalled.message)
