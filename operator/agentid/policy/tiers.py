"""What a tier makes of a certificate, once a class has had its say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.duration import format_duration
from agentid.api.tiers import TIER_LIMITS
from agentid.api.vocabulary import DeliveryMode, Tier
from agentid.pki.algorithm import KeyAlgorithm

if TYPE_CHECKING:
    from datetime import timedelta

    from agentid.api.agentclass import AgentClassSpec

__all__ = ["TIER_LIMITS", "Template", "Tier", "template_for"]

_STRONG: Final = KeyAlgorithm.ECDSAP384
"""What replaces an algorithm that is too weak for its tier: the cheapest that every tier takes."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a certificate of a class looks like for an identity of a tier.

    Attributes:
        lifetime: The longest lifetime.
        key_algorithm: The algorithm of the agent's key.
        delivery_modes: The doors it may leave through; empty if the tier leaves the class none.
        reasons: Where the tier tightened the class, in sentences.
    """

    lifetime: timedelta
    key_algorithm: KeyAlgorithm
    delivery_modes: frozenset[DeliveryMode]
    reasons: tuple[str, ...]


def template_for(tier: Tier, spec: AgentClassSpec) -> Template:
    """Combine the limits of a tier with those of a class: the stricter of the two, each time."""
    limits, rule = TIER_LIMITS[tier], spec.tiers.of(tier)
    reasons: list[str] = []

    lifetime = min(spec.lifetime, limits.lifetime, rule.lifetime or limits.lifetime)
    if lifetime < spec.lifetime:
        shortened = f"{format_duration(spec.lifetime)} to {format_duration(lifetime)}"
        reasons.append(f"tier {tier} shortens the lifetime from {shortened}")

    own = spec.key_algorithm if spec.migration is None else spec.migration.key_algorithm
    algorithm = rule.key_algorithm or own
    if algorithm.strength_bits < limits.strength_bits:
        algorithm = _STRONG
    if algorithm is not own:
        reasons.append(f"tier {tier} raises the key algorithm from {own} to {algorithm}")

    modes = limits.delivery_modes & frozenset(spec.delivery.modes)
    if rule.delivery_modes is not None:
        modes &= frozenset(rule.delivery_modes)
    closed = [mode for mode in DeliveryMode if mode in spec.delivery.modes and mode not in modes]
    if closed:
        reasons.append(f"tier {tier} rules out delivery through {', '.join(closed)}")

    return Template(lifetime, algorithm, modes, tuple(reasons))
