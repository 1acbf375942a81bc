"""Tiers tighten what a class says, and nothing loosens it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise, product
from typing import Any

import pytest

from agentid.api import DeliveryMode, Tier
from agentid.api.agentclass import AgentClassSpec
from agentid.pki.algorithm import KeyAlgorithm
from agentid.policy import TIER_LIMITS, template_for

HOUR = timedelta(hours=1)
MINIMAL = {"issuerName": "main", "namespaces": {"names": ["*"]}}


def spec(**fields: Any) -> AgentClassSpec:  # noqa: ANN401 (any JSON)
    """A class spec with some fields set."""
    return AgentClassSpec.model_validate(MINIMAL | fields)


def test_no_tier_is_laxer_than_the_one_below() -> None:
    """Lifetimes fall, strengths rise and doors close on the way up."""
    for lower, higher in pairwise(Tier):
        low, high = TIER_LIMITS[lower], TIER_LIMITS[higher]
        assert high.lifetime <= low.lifetime
        assert high.strength_bits >= low.strength_bits
        assert high.delivery_modes <= low.delivery_modes


def test_critical_never_leaves_through_a_secret() -> None:
    """Whatever a class says, the highest tier is not written into a Secret."""
    assert DeliveryMode.SECRET not in TIER_LIMITS[Tier.CRITICAL].delivery_modes


@pytest.mark.parametrize(
    ("tier", "algorithm", "hours"), [*product(Tier, KeyAlgorithm, (1, 2, 8, 24))]
)
def test_template_keeps_class_and_tier(tier: Tier, algorithm: KeyAlgorithm, hours: int) -> None:
    """Over every tier, algorithm and several lifetimes: never laxer than either."""
    limits = TIER_LIMITS[tier]
    template = template_for(tier, spec(keyAlgorithm=str(algorithm), lifetime=f"{hours}h"))
    assert template.lifetime == min(hours * HOUR, limits.lifetime)
    assert template.key_algorithm.strength_bits >= limits.strength_bits
    assert template.key_algorithm.strength_bits >= algorithm.strength_bits
    assert template.delivery_modes <= limits.delivery_modes
    if algorithm.strength_bits >= limits.strength_bits:
        assert template.key_algorithm is algorithm


@pytest.mark.parametrize(
    ("tier", "fields", "lifetime", "algorithm", "modes", "reasons"),
    [
        pytest.param(
            Tier.LOW, {}, HOUR, "ECDSAP256", {"Secret", "PodCertificate", "CSI"}, [],
            id="low-leaves-the-class-alone",
        ),
        pytest.param(
            Tier.CRITICAL, {"lifetime": "24h"}, HOUR, "ECDSAP384", {"PodCertificate", "CSI"},
            [
                "tier Critical shortens the lifetime from 24h to 1h",
                "tier Critical raises the key algorithm from ECDSAP256 to ECDSAP384",
                "tier Critical rules out delivery through Secret",
            ],
            id="critical-tightens-everything",
        ),
        pytest.param(
            Tier.CRITICAL, {"keyAlgorithm": "ECDSAP521", "lifetime": "30m"}, HOUR / 2, "ECDSAP521",
            {"PodCertificate", "CSI"}, ["tier Critical rules out delivery through Secret"],
            id="critical-leaves-what-is-strict-enough",
        ),
        pytest.param(
            Tier.HIGH,
            {
                "lifetime": "24h",
                "tiers": {
                    "High": {
                        "lifetime": "2h", "keyAlgorithm": "ECDSAP384", "deliveryModes": ["CSI"],
                    }
                },
            },
            2 * HOUR, "ECDSAP384", {"CSI"},
            [
                "tier High shortens the lifetime from 24h to 2h",
                "tier High raises the key algorithm from ECDSAP256 to ECDSAP384",
                "tier High rules out delivery through Secret, PodCertificate",
            ],
            id="class-stricter-than-the-tier",
        ),
        pytest.param(
            Tier.MODERATE, {"lifetime": "24h", "tiers": {"High": {"lifetime": "2h"}}},
            12 * HOUR, "ECDSAP256", {"Secret", "PodCertificate", "CSI"},
            ["tier Moderate shortens the lifetime from 24h to 12h"],
            id="rule-of-another-tier-does-not-count",
        ),
        pytest.param(
            Tier.CRITICAL, {"delivery": {"modes": ["Secret"]}}, HOUR, "ECDSAP384", set(),
            [
                "tier Critical raises the key algorithm from ECDSAP256 to ECDSAP384",
                "tier Critical rules out delivery through Secret",
            ],
            id="no-door-is-left",
        ),
    ],
)  # fmt: skip
def test_template_in_words(
    tier: Tier,
    fields: dict[str, Any],
    lifetime: timedelta,
    algorithm: str,
    modes: set[str],
    reasons: list[str],
) -> None:
    """What a tier makes of a class, and the sentences that tell."""
    template = template_for(tier, spec(**fields))
    assert template.lifetime == lifetime
    assert template.key_algorithm == algorithm
    assert set(template.delivery_modes) == modes
    assert list(template.reasons) == reasons
