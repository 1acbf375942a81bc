"""A namespace for one measurement, that leaves nothing to do for the next."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from agentid.errors import NotFoundError
from agentid.kube.resources import NAMESPACES
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.kube.client import Client

__all__ = ["namespace_of_its_own"]

_PATIENCE: Final = 300.0
"""Seconds for everything in a namespace to go."""


@asynccontextmanager
async def namespace_of_its_own(client: Client, name: str) -> AsyncIterator[None]:
    """Make a namespace, and delete it at the end with everything in it.

    Raises:
        AgentIdError: There is one of this name, or it cannot be made.
        E2EError: It does not go.
    """
    body = {"apiVersion": NAMESPACES.api_version, "kind": NAMESPACES.kind}
    await client.create(NAMESPACES, body | {"metadata": {"name": name}})
    try:
        yield
    finally:
        await client.delete(NAMESPACES, name)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            await client.get(NAMESPACES, name)
        except NotFoundError:
            return
        await asyncio.sleep(0.2)
    msg = (
        f"namespace {name} is still there after {_PATIENCE:.0f} s; see its status: "
        f"kubectl get namespace {name} -o yaml"
    )
    raise E2EError(msg)
