"""Which tier an agent is in, computed from what it declares and what its permissions imply.

Four ordered dimensions; what is declared is a floor, what the permissions imply can only raise it.
A weighted sum makes the score, the score and a few floors make the tier. Every step is monotone, so
more privilege never lowers a tier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from agentid.api.agentclass import Implications
from agentid.api.vocabulary import (
    AccessPrivileges,
    DecisionAuthority,
    Lifespan,
    Operation,
    Ordered,
    RiskExposure,
    Tier,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentid.api.agentclass import ClassOperation
    from agentid.api.agentidentity import ClassificationSpec
    from agentid.policy.permissions import Permissions

__all__ = ["Classification", "Dimensions", "classify", "tier_of"]

_READS: Final = Implications(access_privileges=AccessPrivileges.READ_ONLY)
_WRITES: Final = Implications(
    access_privileges=AccessPrivileges.READ_WRITE, risk_exposure=RiskExposure.LIMITED
)

_IMPLIED: Final = {
    Operation.LIST: _READS,
    Operation.SEARCH: _READS,
    Operation.READ: _READS,
    Operation.CREATE: _WRITES,
    Operation.UPDATE: _WRITES,
    Operation.DELETE: _WRITES,
    # Runs something whose effect nobody can read off the permission.
    Operation.EXECUTE: Implications(
        access_privileges=AccessPrivileges.READ_WRITE,
        decision_authority=DecisionAuthority.SUPERVISED,
        risk_exposure=RiskExposure.LIMITED,
    ),
    # Takes a person's place in a control that asks for one.
    Operation.APPROVE: Implications(
        access_privileges=AccessPrivileges.READ_WRITE,
        decision_authority=DecisionAuthority.BOUNDED,
        risk_exposure=RiskExposure.SIGNIFICANT,
    ),
    # Moves value out of reach: what is transferred does not come back by an undo.
    Operation.TRANSFER: Implications(
        access_privileges=AccessPrivileges.READ_WRITE,
        decision_authority=DecisionAuthority.SUPERVISED,
        risk_exposure=RiskExposure.SIGNIFICANT,
    ),
    Operation.CONFIGURE: Implications(
        access_privileges=AccessPrivileges.ADMINISTRATIVE,
        risk_exposure=RiskExposure.SIGNIFICANT,
    ),
    # Whoever can grant can give itself everything else.
    Operation.GRANT: Implications(
        access_privileges=AccessPrivileges.ADMINISTRATIVE,
        decision_authority=DecisionAuthority.BOUNDED,
        risk_exposure=RiskExposure.SEVERE,
    ),
}
"""What each operation that every class knows implies, at the least."""

_WEIGHTS: Final = (30, 25, 35, 10)
"""Points for the highest level of access, authority, risk and lifespan; 100 together. Risk weighs
most, since it is the damage itself; lifespan least, since certificates are short-lived anyway."""

_TIER_SCORES: Final = ((75, Tier.CRITICAL), (50, Tier.HIGH), (25, Tier.MODERATE), (0, Tier.LOW))
"""The least score of each tier, highest first."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """An agent's place in each dimension, declared and implied taken together."""

    access_privileges: AccessPrivileges
    decision_authority: DecisionAuthority
    risk_exposure: RiskExposure
    lifespan: Lifespan

    @property
    def score(self) -> int:
        """All four in one number from 0 to 100, rounded down."""
        levels = (
            self.access_privileges,
            self.decision_authority,
            self.risk_exposure,
            self.lifespan,
        )
        # In 18ths of a point (3 * 3 * 2 steps), so that rounding happens once.
        parts = (
            weight * level.rank * 18 // (len(type(level)) - 1)
            for weight, level in zip(_WEIGHTS, levels, strict=True)
        )
        return sum(parts) // 18


@dataclass(frozen=True, slots=True)
class Classification:
    """The tier of an agent, and why.

    Attributes:
        tier: How strictly its certificate is handled.
        score: 0 to 100.
        dimensions: What the tier was computed from.
        reasons: In sentences: one for each dimension, then one for the tier.
    """

    tier: Tier
    score: int
    dimensions: Dimensions
    reasons: tuple[str, ...]


def tier_of(dimensions: Dimensions) -> tuple[Tier, str]:
    """Decide the tier, and say why in a sentence."""
    score = dimensions.score
    by_score = next(tier for least, tier in _TIER_SCORES if score >= least)
    floor, cause = max(_floors(dimensions), default=(Tier.LOW, ""), key=lambda each: each[0].rank)
    if floor > by_score:
        return floor, f"tier {floor}: {cause} (the score of {score} alone makes {by_score})"
    return by_score, f"tier {by_score}: the score is {score} of 100"


def _floors(dimensions: Dimensions) -> Iterator[tuple[Tier, str]]:
    """The tiers that a single dimension, or two together, ask for whatever the rest says."""
    severe = dimensions.risk_exposure >= RiskExposure.SEVERE
    administrative = dimensions.access_privileges >= AccessPrivileges.ADMINISTRATIVE
    autonomous = dimensions.decision_authority >= DecisionAuthority.AUTONOMOUS
    if severe and administrative:
        yield Tier.CRITICAL, "administrative access with severe risk"
    if severe and autonomous:
        yield Tier.CRITICAL, "autonomous decisions with severe risk"
    if severe:
        yield Tier.HIGH, "severe risk"
    if administrative:
        yield Tier.HIGH, "administrative access"
    if autonomous:
        yield Tier.MODERATE, "autonomous decisions"


Level = TypeVar("Level", bound=Ordered)


def classify(
    declared: ClassificationSpec,
    permissions: Permissions,
    class_operations: Iterable[ClassOperation],
) -> Classification:
    """Classify an agent.

    Args:
        declared: What the team says; absent dimensions start at the lowest level.
        permissions: What the agent asks for.
        class_operations: The operations that its class defines. One that nobody defines counts as
            a class-defined operation that states nothing.

    Returns:
        The classification; higher or equal if anything is added to the arguments.
    """
    own = {operation.name: operation.implies for operation in class_operations}
    implied = [
        (name, _IMPLIED[Operation(name)] if name in _IMPLIED else own.get(name, Implications()))
        for name in permissions.operations
    ]
    access = [(f"operation {name}", each.access_privileges) for name, each in implied]
    authority = [(f"operation {name}", each.decision_authority) for name, each in implied]
    risk = [(f"operation {name}", each.risk_exposure) for name, each in implied]
    risk += _risk_of_reach(permissions)

    reasons: list[str] = []
    dimensions = Dimensions(
        _highest("access privileges", declared.access_privileges, access, reasons)
        or AccessPrivileges.PUBLIC,
        _highest("decision authority", declared.decision_authority, authority, reasons)
        or DecisionAuthority.ADVISORY,
        _highest("risk exposure", declared.risk_exposure, risk, reasons) or RiskExposure.MINIMAL,
        _highest("lifespan", declared.lifespan, [], reasons) or Lifespan.TASK,
    )
    tier, reason = tier_of(dimensions)
    return Classification(tier, dimensions.score, dimensions, (*reasons, reason))


def _risk_of_reach(permissions: Permissions) -> Iterator[tuple[str, RiskExposure]]:
    for name in permissions.systems:
        if name == "*":
            yield "system *", RiskExposure.SIGNIFICANT
        elif name.endswith("*"):
            yield f"system {name}", RiskExposure.LIMITED
    for tag in permissions.compliance:
        yield f"compliance {tag}", RiskExposure.LIMITED


def _highest(
    dimension: str,
    declared: Level | None,
    implied: list[tuple[str, Level]],
    reasons: list[str],
) -> Level | None:
    """The highest of what is declared and implied; adds a reason unless there is neither."""
    source, level = max(implied, default=("", None), key=lambda each: each[1].rank)
    if declared is not None and (level is None or declared >= level):
        reasons.append(f"{dimension} {declared}: declared")
        return declared
    if level is not None:
        reasons.append(f"{dimension} {level}: implied by {source}")
    return level
