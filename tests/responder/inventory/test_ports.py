"""The page's port beside those of verifiers."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.responder.inventory import Inventory
from agentid.responder.listeners import serve_ports
from agentid.responder.responder import Responder
from agentid.responder.settings import InventorySettings, Settings
from agentid.testing.ca import ThrowawayCA
from agentid.testing.publications import MemoryLedger, Published, secret
from tests.support.inventory_memory import ReviewServer

if TYPE_CHECKING:
    from agentid.clock import Clock


def parts(clock: Clock, port: int = 0) -> tuple[Responder, Inventory, Published]:
    """A responder and its page, and what an operator would publish for them."""
    ca = ThrowawayCA(now=clock.now().replace(microsecond=0))
    settings = Settings(host="127.0.0.1", http_port=0, https_port=0)
    ledger = MemoryLedger()
    responder = Responder(settings, ledger, clock=clock, epoch="e")
    inventory = Inventory(
        ReviewServer(), ledger, InventorySettings(port), clock=clock, count=lambda _: None
    )
    return responder, inventory, Published(ca)


async def test_the_page_waits_for_a_certificate_and_is_served_with_it() -> None:
    """By TLS alone, with the SVID of the issuer; its connections are counted beside the others."""
    responder, inventory, main = parts(SystemClock())
    async with serve_ports(responder, inventory) as ports:
        assert ports.inventory is not None
        assert not ports.inventory.done()
        responder.publications.secret(secret(main))
        base = f"127.0.0.1:{await ports.inventory}"
        context = ssl.create_default_context(cadata=main.ca.bundle.pem.decode())
        context.check_hostname = False
        async with aiohttp.ClientSession() as session:
            async with session.get(f"https://{base}/login", ssl=context) as answer:
                assert answer.status == 200
                assert set(responder.connections()) == {"http", "https", "inventory"}
                assert responder.connections()["inventory"] == 1
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://{base}/login")


async def test_a_port_of_the_page_that_is_taken_is_told() -> None:
    """To who runs the responder, which ends with it."""
    responder, _, main = parts(SystemClock())
    responder.publications.secret(secret(main))
    async with serve_ports(responder) as ports:
        other, inventory, _ = parts(SystemClock(), ports.http)
        other.publications.secret(secret(main))
        async with serve_ports(other, inventory) as second:
            assert second.inventory is not None
            with pytest.raises(InputError, match=f"port {ports.http} of 127.0.0.1 cannot be taken"):
                await second.inventory
            with pytest.raises(InputError, match="cannot be taken"):
                second.check()


@pytest.mark.parametrize("seconds", [0, 0.5, 301])
def test_a_review_period_of_no_use_is_refused(seconds: float) -> None:
    """None would ask the API server at each request, a long one would keep who has left."""
    with pytest.raises(InputError, match="it has to be from 1 to 300 s"):
        InventorySettings(review_period=timedelta(seconds=seconds))
