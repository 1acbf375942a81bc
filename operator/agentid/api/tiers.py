"""What every tier asks of a certificate, before a class asks for more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentid.api.vocabulary import DeliveryMode, Tier

__all__ = ["TIER_LIMITS", "TierLimits"]


@dataclass(frozen=True, slots=True)
class TierLimits:
    """The limits of one tier.

    Attributes:
        lifetime: The longest lifetime of a certificate.
        strength_bits: The least security strength of its key, NIST SP 800-57 part 1 §5.6.1.
        delivery_modes: The doors it may leave through.
    """

    lifetime: timedelta
    strength_bits: int
    delivery_modes: frozenset[DeliveryMode]


_EVERY_DOOR: Final = frozenset(DeliveryMode)

TIER_LIMITS: Final = {
    Tier.LOW: TierLimits(timedelta(hours=24), 128, _EVERY_DOOR),
    Tier.MODERATE: TierLimits(timedelta(hours=12), 128, _EVERY_DOOR),
    Tier.HIGH: TierLimits(timedelta(hours=4), 128, _EVERY_DOOR),
    # A Secret can be read by whoever may read Secrets in the namespace, for as long as it exists.
    # One hour is the shortest lifetime that a PodCertificateRequest may end in.
    Tier.CRITICAL: TierLimits(timedelta(hours=1), 192, _EVERY_DOOR - {DeliveryMode.SECRET}),
}
"""From tier to tier never laxer; a class may be stricter, never laxer."""
