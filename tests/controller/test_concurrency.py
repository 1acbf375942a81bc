"""Three hundred identities changed at random for a minute: the state equals spec and ledger.

CONCURRENCY_SECONDS and CONCURRENCY_SEED choose another length and another course of events.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentid.clock import SystemClock
from agentid.errors import ApiError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.resources import AGENT_IDENTITIES
from tests.support.api import condition, until
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api, LedgerView

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]

AGENTS = 300
SECONDS = float(os.environ.get("CONCURRENCY_SECONDS", "60"))
SEED = int(os.environ.get("CONCURRENCY_SEED", "1"))
WITHIN = {"systems": ["erp.invoices"], "operations": ["read"]}
MORE = {"systems": ["erp.invoices", "crm.tickets"], "operations": ["list", "read"]}
BEYOND = {"systems": ["hr.salaries"], "operations": ["read"]}

Json = dict[str, Any]


class Turmoil:
    """People who change identities at random, all at once."""

    def __init__(self, client: Client, namespaces: list[str], class_name: str) -> None:
        self.client = client
        self.class_name = class_name
        self.names = [(namespaces[n % len(namespaces)], f"agent-{n}") for n in range(AGENTS)]
        self.random = random.Random(SEED)
        self.changes = 0

    async def run(self) -> None:
        """Create all, then let ten people change whatever they like until the time is over."""
        for namespace, name in self.names:
            await self.change(self.create, namespace, name)
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(self.person(end) for _ in range(10)))

    async def person(self, end: float) -> None:
        """Change one identity after the other."""
        deeds = [self.permit, self.permit, self.suspend, self.renew, self.delete, self.create]
        while time.monotonic() < end:
            namespace, name = self.random.choice(self.names)
            await self.change(self.random.choice(deeds), namespace, name)
            await asyncio.sleep(self.random.random() * 0.4)

    async def change(self, deed: Callable[[str, str], Any], namespace: str, name: str) -> None:
        """Do one deed; that the identity is not there, or there already, is part of the game."""
        self.changes += 1
        try:
            await deed(namespace, name)
        except ApiError:
            return

    async def create(self, namespace: str, name: str) -> None:
        """Create the identity."""
        body = identity(name, self.class_name, permissions=WITHIN)
        body["metadata"]["namespace"] = namespace
        whole = {
            "apiVersion": AGENT_IDENTITIES.api_version,
            "kind": AGENT_IDENTITIES.kind,
            **body,
        }
        await self.client.create(AGENT_IDENTITIES, whole)

    async def permit(self, namespace: str, name: str) -> None:
        """Give it more, less, or more than its class allows."""
        wanted = self.random.choice([WITHIN, MORE, BEYOND])
        await self.patch(namespace, name, {"spec": {"permissions": wanted}})

    async def suspend(self, namespace: str, name: str) -> None:
        """Suspend or resume it."""
        held = self.random.random() < 0.5
        await self.patch(namespace, name, {"spec": {"suspend": held}})

    async def renew(self, namespace: str, name: str) -> None:
        """Ask for a renewal."""
        asked = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        annotations = {"agentid.dev/renew-requested": asked}
        await self.patch(namespace, name, {"metadata": {"annotations": annotations}})

    async def delete(self, namespace: str, name: str) -> None:
        """Delete it."""
        await self.client.delete(AGENT_IDENTITIES, name, namespace)

    async def patch(self, namespace: str, name: str, patch: Json) -> None:
        """Patch it."""
        await self.client.patch_merge(AGENT_IDENTITIES, name, patch, namespace)


def faults(api: Api, turmoil: Turmoil) -> list[str]:
    """Everything in which the cluster and the ledger are not as the specs ask."""
    there = {
        (body["metadata"]["namespace"], body["metadata"]["name"]): body
        for body in api.identities()
        if body["spec"]["className"] == turmoil.class_name
    }
    ledger = api.ledger()
    found = []
    for key in turmoil.names:
        body = there.get(key)
        kept = ledger.unrevoked(*key)
        if body is None:
            found += [f"{key} is gone, and {kept} are in force"] if kept else []
        else:
            found += [f"{key}: {fault}" for fault in _faults(api, body, kept, ledger)]
    return found


def _faults(api: Api, body: Json, kept: list[str], ledger: LedgerView) -> list[str]:
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    if status.get("observedGeneration") != metadata["generation"]:
        return ["the status is of an earlier generation"]
    secret = api.delivered(metadata["namespace"], f"{metadata['name']}-agentid")
    serial = (status.get("certificate") or {}).get("serial", "")
    ready = condition(status, "Ready")
    if spec.get("suspend"):
        wrong = [f"suspended, and {kept} are in force"] if kept else []
        return wrong + ([f"suspended, and {secret} is delivered"] if secret else [])
    if "hr.salaries" in spec["permissions"]["systems"]:
        wrong = [] if condition(status, "Stalled") else ["beyond its class, and not Stalled"]
        return wrong + ([f"{secret} delivered and revoked"] if secret in ledger.revoked else [])
    if ready.get("status") != "True":
        return [f"not Ready: {ready}"]
    newest = str(ledger.of(metadata["namespace"], metadata["name"])[-1].serial)
    if not (secret == serial == newest) or serial in ledger.revoked:
        return [f"Secret {secret}, status {serial}, ledger {newest} (of {kept})"]
    allowed = {str(each.replaces) for each in ledger.issued.values()} | {serial}
    return [f"{stray} was never confirmed, and is in force" for stray in set(kept) - allowed]


def test_turmoil_ends_in_the_state_that_is_asked_for(
    api: Api, make_namespace: Callable[[], str], make_class: Callable[..., str]
) -> None:
    """Whatever comes in whatever order, in the end every agent has what its spec asks for."""
    namespaces = [make_namespace() for _ in range(5)]
    class_name = make_class()

    async def run() -> Turmoil:
        credentials = await load_credentials(clock=SystemClock(), kubeconfig=api.cluster.kubeconfig)
        async with Client(credentials) as client:
            turmoil = Turmoil(client, namespaces, class_name)
            await turmoil.run()
            return turmoil

    turmoil = asyncio.run(run())
    assert turmoil.changes > AGENTS
    last: list[str] = []

    def settled() -> bool:
        last[:] = faults(api, turmoil)
        return not last

    try:
        until("the state that is asked for", settled, 60)
    except AssertionError:
        pytest.fail(f"after {turmoil.changes} changes (seed {SEED}): " + "\n".join(last[:20]))
