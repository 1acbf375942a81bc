"""`agentid bundle`: whom verifiers of a trust domain trust."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from agentid.cli.connection import (
    OPERATOR_NAMESPACE,
    Context,
    Kubeconfig,
    OperatorNamespace,
    connected,
)
from agentid.errors import InputError, NotFoundError
from agentid.kube.resources import AGENT_ISSUERS, CONFIG_MAPS
from agentid.services.bundle_documents import (
    AUTHORITIES_DATA,
    BUNDLE_DATA,
    ROOTS_DATA,
    bundle_name,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bundle"]


class BundleFormat(StrEnum):
    """What is printed of a bundle."""

    PEM = "pem"
    SPIFFE = "spiffe"
    INTERMEDIATES = "intermediates"


_FILES = {
    BundleFormat.PEM: ROOTS_DATA,
    BundleFormat.SPIFFE: BUNDLE_DATA,
    BundleFormat.INTERMEDIATES: AUTHORITIES_DATA,
}


def bundle(
    issuer: Annotated[str, typer.Argument(help="Name of the AgentIssuer.")],
    *,
    form: Annotated[
        BundleFormat,
        typer.Option(
            "--format",
            help="pem: the roots. spiffe: the SPIFFE bundle document, JSON. intermediates: what "
            "issues below the roots, PEM.",
        ),
    ] = BundleFormat.PEM,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Read the copy in this namespace, labelled agentid.dev/trust-bundle=enabled.",
        ),
    ] = None,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print the trust bundle of an issuer, as it is published.

    Its roots are what a verifier trusts; agentid verify takes them.
    """
    where = namespace or operator_namespace
    text = asyncio.run(_read(issuer, where, _FILES[form], kubeconfig, context))
    typer.echo(text, nl=not text.endswith("\n"))


async def _read(
    issuer: str, namespace: str, file: str, kubeconfig: Path | None, context: str | None
) -> str:
    async with connected(kubeconfig, context) as cluster:
        name = bundle_name(issuer)
        try:
            body = await cluster.client.get(CONFIG_MAPS, name, namespace)
        except NotFoundError as error:
            await cluster.client.get(AGENT_ISSUERS, issuer)
            message = (
                f"ConfigMap {namespace}/{name}: not there, so the bundle of {issuer} is not "
                f"published in that namespace; agentid issuer show {issuer} tells how the "
                "issuer is, and a namespace gets a copy by agentid.dev/trust-bundle=enabled"
            )
            raise InputError(message) from error
        data = body.get("data")
        text = data.get(file) if isinstance(data, dict) else None
        if not isinstance(text, str):
            message = (
                f"ConfigMap {namespace}/{name}: has no {file}; the copy in the operator's "
                "namespace has everything"
            )
            raise InputError(message)
        return text
