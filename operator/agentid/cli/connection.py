"""How a command reaches the API server: the options that say which one, and the client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from agentid.clock import Clock, SystemClock
from agentid.errors import InputError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.resources import Selector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = [
    "OPERATOR_NAMESPACE",
    "AllNamespaces",
    "Cluster",
    "Context",
    "Kubeconfig",
    "Labels",
    "Namespace",
    "OperatorNamespace",
    "Scope",
    "connected",
    "scope_of",
]

OPERATOR_NAMESPACE: Final = "agentid-system"
"""Where `manifests/` put the operator."""

_TIMEOUT: Final = 20.0
"""Seconds that a person is kept waiting for one answer."""

_CLUSTER: Final = "Cluster"

Kubeconfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="File to reach the cluster with. Default: KUBECONFIG, then ~/.kube/config.",
        rich_help_panel=_CLUSTER,
    ),
]
Context: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: the current one.",
        rich_help_panel=_CLUSTER,
    ),
]
Namespace: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Where the identities are. Default: that of the context."
    ),
]
AllNamespaces: TypeAlias = Annotated[
    bool, typer.Option("--all-namespaces", "-A", help="In every namespace.")
]
Labels: TypeAlias = Annotated[
    str | None,
    typer.Option("--selector", "-l", help="By labels, such as team=invoicing,env!=test."),
]
OperatorNamespace: TypeAlias = Annotated[
    str,
    typer.Option(
        "--operator-namespace",
        envvar="AGENTID_NAMESPACE",
        help="Where the operator keeps ledger, Lease and publications.",
    ),
]


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server that can be asked.

    Attributes:
        client: The way to it.
        namespace: That of the kubeconfig's context.
        clock: This machine's.
    """

    client: Client
    namespace: str
    clock: Clock


@asynccontextmanager
async def connected(kubeconfig: Path | None, context: str | None) -> AsyncIterator[Cluster]:
    """Reach the cluster that the options name, while the context is open.

    Raises:
        InputError: There is no usable kubeconfig.
    """
    clock = SystemClock()
    credentials = await load_credentials(clock=clock, kubeconfig=kubeconfig, context=context)
    async with Client(
        credentials, timeout=_TIMEOUT, connections=8, field_manager="kubectl-agentid"
    ) as client:
        yield Cluster(client, credentials.namespace, clock)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which AgentIdentities a command is about.

    Attributes:
        names: By name; empty for all that `selector` selects.
        namespace: Where; None for the context's own.
        everywhere: Whether in all namespaces instead.
        selector: By labels.
    """

    names: tuple[str, ...]
    namespace: str | None
    everywhere: bool
    selector: Selector

    def where(self, cluster: Cluster) -> str | None:
        """The namespace to ask in; None for all of them."""
        return None if self.everywhere else self.namespace or cluster.namespace


def scope_of(
    names: Sequence[str],
    *,
    namespace: str | None,
    everywhere: bool,
    labels: str | None,
    every: bool = True,
) -> Scope:
    """Put together what was asked for.

    Args:
        names: Of AgentIdentities.
        namespace: `--namespace`.
        everywhere: `--all-namespaces`.
        labels: `--selector`.
        every: Whether no name and no label mean all of them.

    Raises:
        InputError: The options contradict one another, or name nothing.
    """
    if namespace is not None and everywhere:
        message = "--namespace and --all-namespaces contradict one another; give one of them"
        raise InputError(message)
    if names and (everywhere or labels is not None):
        other = "--all-namespaces" if everywhere else "--selector"
        message = f"names and {other} contradict one another; give one of them"
        raise InputError(message)
    if not (names or labels or every):
        message = "nothing is named; give names, --selector, or --all for all of them"
        raise InputError(message)
    return Scope(tuple(names), namespace, everywhere, Selector(labels=labels or ""))
