"""Puts the signer together from the parts of an operator."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from agentid.services.identities import ACTOR
from agentid.services.issuance import Issuance
from agentid.services.revocations import Revocations
from agentid.signer.deciding import Deciding
from agentid.signer.loop import SignerLoop
from agentid.signer.service import PodCertificates
from agentid.signer.settling import Settling
from agentid.signer.surroundings import Surroundings
from agentid.signer.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.factory import Parts
    from agentid.kube.objects import ObjectKey

__all__ = ["make_signer"]


def make_signer(parts: Parts, look_at: Callable[[ObjectKey], None]) -> SignerLoop:
    """Make the signer of one replica; nothing runs yet.

    Args:
        parts: Of the operator, which it shares.
        look_at: Has an identity looked at soon.
    """
    leads = parts.leader.is_leader
    revocations = Revocations(
        ledger=parts.ledger, metrics=parts.metrics, witness=parts.witness, actor=ACTOR
    )
    loop = SignerLoop(
        client=parts.client,
        service=PodCertificates(
            deciding=Deciding(
                world=parts.world,
                entitlements=parts.entitlements,
                client=parts.client,
                surroundings=Surroundings(parts.client, parts.world.pods, parts.clock),
                guarded_since=lambda: parts.doors.guarded_since,
            ),
            issuance=Issuance(ledger=parts.ledger, clock=parts.clock, rates=parts.rates),
            ledger=parts.ledger,
            client=parts.client,
            clock=parts.clock,
            metrics=parts.metrics,
            witness=parts.witness,
        ),
        settling=Settling(
            ledger=parts.ledger, revocations=revocations, clock=parts.clock, leads=leads
        ),
        telling=Telling(
            world=parts.world,
            notices=parts.notices,
            clock=parts.clock,
            look_at=look_at,
        ),
        standby=parts.standby,
        metrics=parts.metrics,
        clock=parts.clock,
        random=random.random,
        leads=leads,
        tracer=parts.tracer,
    )
    parts.metrics.observe_requests(loop.waiting)
    return loop
