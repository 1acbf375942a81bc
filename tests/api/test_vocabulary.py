"""Ordered enumerations compare by rank."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agentid.api import AccessPrivileges, DecisionAuthority, Lifespan, RiskExposure, Tier

if TYPE_CHECKING:
    from agentid.api.vocabulary import Ordered

ENUMERATIONS = (AccessPrivileges, DecisionAuthority, RiskExposure, Lifespan, Tier)


@pytest.mark.parametrize("enumeration", ENUMERATIONS)
def test_members_ascend_as_they_are_defined(enumeration: type[Ordered]) -> None:
    """Every comparison agrees with the order of definition, whatever the spelling."""
    for lower, higher in pairwise(enumeration):
        assert lower < higher
        assert lower <= higher
        assert higher > lower
        assert higher >= lower
        assert not higher < lower
    assert max(enumeration) is list(enumeration)[-1]


def test_tiers_are_ordered() -> None:
    """The order that the glossary gives."""
    assert sorted(Tier, reverse=True) == ["Critical", "High", "Moderate", "Low"]


def test_different_enumerations_do_not_compare() -> None:
    """A risk is not below a tier; mixing them up is an error, not an alphabet."""
    with pytest.raises(TypeError, match="RiskExposure does not compare with Tier"):
        _ = RiskExposure.MINIMAL < Tier.LOW


def test_ordered_members_do_not_compare_with_text() -> None:
    """A raw string from outside has to be parsed first."""
    with pytest.raises(TypeError, match="Tier does not compare with str"):
        _ = Tier.LOW < "Moderate"
