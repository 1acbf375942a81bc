"""The parts of the page, made once, and what it says about itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentid.responder.inventory.access import Access
from agentid.responder.inventory.answers import Answers
from agentid.responder.inventory.catalogue import Catalogue
from agentid.responder.inventory.handler import Handler
from agentid.responder.inventory.sessions import Sessions
from agentid.responder.limits import Throttle
from agentid.responder.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentid.clock import Clock
    from agentid.responder.inventory.access import Reviewer
    from agentid.responder.register import LedgerSource
    from agentid.responder.settings import InventorySettings

__all__ = ["Inventory"]

_REQUESTS = replace(Limits(), rate=200, burst=400, client_rate=50, client_burst=100)
"""Of anybody, by address. Behind `kubectl port-forward` all people have one."""

_PAGES = replace(Limits(), rate=20, burst=60, client_rate=5, client_burst=30)
"""Of who may look, by user. A page takes up to 20 ms from the loop that answers verifiers too; a
person asks for a few in a minute."""

_REVIEWS = replace(Limits(), rate=20, burst=40, client_rate=2, client_burst=20)
"""Tokens that nobody has seen before: each costs the API server two requests."""


class Inventory:
    """The page.

    Args:
        reviewer: The API server, for reviews.
        ledger: Followed by who runs the responder.
        settings: Of the page.
        clock: For times and waits.
        count: Told the HTTP status of each answer.

    Attributes:
        catalogue: What there is; to be filled by `following.follow`.
        handler: Answers requests.
        port: To listen on.
    """

    def __init__(
        self,
        reviewer: Reviewer,
        ledger: LedgerSource,
        settings: InventorySettings,
        *,
        clock: Clock,
        count: Callable[[int], None],
    ) -> None:
        self.catalogue = Catalogue(ledger, clock.monotonic)
        access = Access(
            reviewer,
            keep=settings.review_period.total_seconds(),
            monotonic=clock.monotonic,
            throttle=Throttle(_REVIEWS, clock.monotonic),
        )
        self.port = settings.port
        self.handler = Handler(
            Answers(self.catalogue, access, clock.now),
            access,
            Sessions(clock.monotonic),
            requests=Throttle(_REQUESTS, clock.monotonic),
            pages=Throttle(_PAGES, clock.monotonic),
            count=count,
        )

    def remarks(self) -> Sequence[str]:
        """What a person should look at; nothing of it keeps the responder from its work."""
        return [
            f"the inventory page cannot read {kind}: {why}; apply manifests/inventory.yaml"
            for kind, why in self.catalogue.missing.items()
            if why
        ]
