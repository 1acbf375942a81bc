"""The rules between the fields of an AgentClass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentid.api.duration import format_duration
from agentid.api.rules import Rule, cel_string
from agentid.api.tiers import TIER_LIMITS
from agentid.api.violation import shown
from agentid.api.vocabulary import OPERATIONS, Tier
from agentid.pki.algorithm import KeyAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentid.api.agentclass import AgentClassSpec

__all__ = ["CLASS_RULES"]


def _cel_list(texts: Iterable[str]) -> str:
    return f"[{', '.join(cel_string(text) for text in texts)}]"


def _renews_too_early(spec: AgentClassSpec) -> str | None:
    before = spec.renewal.renew_before
    if before is None or before * 4 <= spec.lifetime * 3:
        return None
    return shown(format_duration(before))


def _unknown_operations(spec: AgentClassSpec) -> str | None:
    known = OPERATIONS | {operation.name for operation in spec.operations}
    unknown = [name for name in spec.permissions.operations if name not in known]
    return shown(", ".join(unknown)) if unknown else None


_IS_KNOWN: Final = (
    f"(o in {_cel_list(sorted(OPERATIONS))}"
    " || (has(self.operations) && self.operations.exists(d, d.name == o)))"
)

_BITS: Final = (
    f"{{{', '.join(f'{cel_string(each)}: {each.strength_bits}' for each in KeyAlgorithm)}}}"
)


def _lifetime_rule(tier: Tier) -> Rule[AgentClassSpec]:
    limit = TIER_LIMITS[tier].lifetime
    path = f"self.tiers.{tier}.lifetime"

    def found(spec: AgentClassSpec) -> str | None:
        asked = spec.tiers.of(tier).lifetime
        return (
            shown(format_duration(asked)) if asked and asked > min(limit, spec.lifetime) else None
        )

    return Rule(
        field=f"tiers.{tier}.lifetime",
        found=found,
        allowed=f"is longer than the {format_duration(limit)} of the tier or than spec.lifetime, "
        "and a class can only be stricter",
        remedy="shorten it, or leave it out",
        cel=f"!has(self.tiers.{tier}) || !has({path}) || (duration({path}) <= "
        f"duration({cel_string(format_duration(limit))}) && "
        f"duration({path}) <= duration(self.lifetime))",
        cel_found=f"""'"' + {path} + '"'""",
    )


def _key_rule(tier: Tier) -> Rule[AgentClassSpec]:
    bits = TIER_LIMITS[tier].strength_bits
    path = f"self.tiers.{tier}.keyAlgorithm"

    def found(spec: AgentClassSpec) -> str | None:
        asked = spec.tiers.of(tier).key_algorithm
        if asked is None or asked.strength_bits >= max(bits, spec.key_algorithm.strength_bits):
            return None
        return shown(str(asked))

    return Rule(
        field=f"tiers.{tier}.keyAlgorithm",
        found=found,
        allowed=f"is weaker than the {bits} bits of the tier or than spec.keyAlgorithm, and a "
        "class can only be stricter",
        remedy="choose a stronger one, or leave it out",
        cel=f"!has(self.tiers.{tier}) || !has({path}) || ({_BITS}[{path}] >= {bits} && "
        f"{_BITS}[{path}] >= {_BITS}[self.keyAlgorithm])",
        cel_found=f"""'"' + {path} + '"'""",
    )


def _delivery_rule(tier: Tier) -> Rule[AgentClassSpec]:
    allowed = TIER_LIMITS[tier].delivery_modes
    path = f"self.tiers.{tier}.deliveryModes"

    def found(spec: AgentClassSpec) -> str | None:
        asked = spec.tiers.of(tier).delivery_modes or ()
        laxer = [mode for mode in asked if mode not in allowed or mode not in spec.delivery.modes]
        return shown(", ".join(laxer)) if laxer else None

    within = f"m in {_cel_list(sorted(allowed))} && m in self.delivery.modes"
    return Rule(
        field=f"tiers.{tier}.deliveryModes",
        found=found,
        allowed="is not allowed for the tier or not in spec.delivery.modes, and a class can only "
        "be stricter",
        remedy="remove it",
        cel=f"!has(self.tiers.{tier}) || !has({path}) || {path}.all(m, {within})",
        cel_found=f"""'"' + {path}.filter(m, !({within}))[0] + '"'""",
    )


def _tier_rules() -> Iterator[Rule[AgentClassSpec]]:
    for tier in Tier:
        yield _lifetime_rule(tier)
        yield _key_rule(tier)
        yield _delivery_rule(tier)


CLASS_RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        field="renewal.renewBefore",
        found=_renews_too_early,
        allowed="is more than three quarters of spec.lifetime, so that certificates would be "
        "renewed without end",
        remedy="shorten it, or leave it out to renew after two thirds",
        cel="!has(self.renewal.renewBefore) || duration(self.renewal.renewBefore).getSeconds() * 4"
        " <= duration(self.lifetime).getSeconds() * 3",
        cel_found="""'"' + self.renewal.renewBefore + '"'""",
    ),
    Rule(
        field="permissions.operations",
        found=_unknown_operations,
        allowed="is neither an operation that every class knows nor defined in spec.operations",
        remedy="define it there with what it implies, or remove it",
        cel=f"!has(self.permissions.operations) || self.permissions.operations.all(o, {_IS_KNOWN})",
        cel_found=f"'\"' + self.permissions.operations.filter(o, !{_IS_KNOWN})[0] + '\"'",
    ),
    *_tier_rules(),
)
