"""`agentid renew`: another certificate now, for the same grant."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import typer

from agentid.api.conditions import ConditionType
from agentid.api.duration import parse_duration
from agentid.api.fields import format_time
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
from agentid.cli.servertime import server_time
from agentid.constants import ANNOTATION_RENEW_REQUESTED
from agentid.errors import InputError
from agentid.kube.resources import AGENT_IDENTITIES

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.cli.connection import Scope
    from agentid.cli.roster import Entry
    from agentid.kube.objects import JsonObject

__all__ = ["renew"]

_SECOND: Final = timedelta(seconds=1)

_BY_KUBELETS: Final = (
    "spec.delivery.mode: PodCertificate is renewed by the kubelets, which cannot be told to do it "
    "now; restart the pods for new certificates, such as by kubectl rollout restart"
)


def renew(
    names: Names = None,
    *,
    namespace: Namespace = None,
    everywhere: AllNamespaces = False,
    labels: Labels = None,
    every: Every = False,
    wait: Wait = False,
    timeout: Timeout = "2m",
    yes: Yes = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Have certificates renewed now, long before their time; the old ones run out by themselves.

    With --wait exit 1 if one is not renewed in time. Certificates that nobody may use any longer
    are for agentid revoke.
    """
    scope = scope_of(
        names or (), namespace=namespace, everywhere=everywhere, labels=labels, every=every
    )
    seconds = parse_duration(timeout).total_seconds() if wait else None
    asyncio.run(_renew(scope, kubeconfig, context, seconds, yes=yes)).tell(
        "renewed" if wait else "asked to be renewed"
    )


async def _renew(
    scope: Scope, kubeconfig: Path | None, context: str | None, seconds: float | None, *, yes: bool
) -> Report:
    async with connected(kubeconfig, context) as cluster:
        entries = await selected(cluster, scope)
        if not entries:
            typer.echo("No agent identity is selected.", err=True)
            raise typer.Exit(1)
        if not scope.names and not confirmed(
            f"Renew the certificates of {counted(len(entries), 'identity', 'identities')}?", yes=yes
        ):
            raise typer.Exit(1)
        # The controller compares with its own clock, which goes by the server's rather than ours;
        # the next whole second is later than every certificate there is.
        moment = await server_time(cluster.client) + _SECOND
        patch = {"metadata": {"annotations": {ANNOTATION_RENEW_REQUESTED: format_time(moment)}}}

        async def ask(entry: Entry) -> JsonObject:
            if entry.status.pod_certificate is not None:
                raise InputError(_BY_KUBELETS)
            return await cluster.client.patch_merge(
                AGENT_IDENTITIES, entry.name, patch, entry.namespace
            )

        report = await do_each(entries, ask, what="renewing")
        if seconds is None:
            return report
        serials = {(each.namespace, each.name): _serial(each) for each in entries}

        def look(entry: Entry) -> bool | str:
            if _serial(entry) not in {None, serials[entry.namespace, entry.name]}:
                return True
            return why_never(entry)

        return await await_each(cluster, scope, report, look, seconds)


def why_never(entry: Entry) -> bool | str:
    """Why an identity gets no certificate until somebody changes something; False if it may."""
    for kind in (ConditionType.STALLED, ConditionType.SUSPENDED):
        if (found := entry.condition(kind)) is not None:
            return found.message
    return False


def _serial(entry: Entry) -> str | None:
    return None if entry.status.certificate is None else entry.status.certificate.serial
