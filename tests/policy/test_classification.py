"""Classification: swept over the whole small domain, and monotone in everything."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import AccessPrivileges, DecisionAuthority, Lifespan, RiskExposure, Tier
from agentid.api.agentclass import ClassOperation
from agentid.api.agentidentity import ClassificationSpec
from agentid.api.vocabulary import OPERATIONS
from agentid.policy import Dimensions, Permissions, Schedule, classify
from agentid.policy.classification import tier_of

EVERY = [
    Dimensions(*levels)
    for levels in product(AccessPrivileges, DecisionAuthority, RiskExposure, Lifespan)
]


def at_least(higher: Dimensions, lower: Dimensions) -> bool:
    """Whether no dimension is lower."""
    return (
        higher.access_privileges >= lower.access_privileges
        and higher.decision_authority >= lower.decision_authority
        and higher.risk_exposure >= lower.risk_exposure
        and higher.lifespan >= lower.lifespan
    )


def test_more_never_lowers_tier_or_score() -> None:
    """Over all 192 by 192 pairs: a step up in any dimension lowers neither."""
    judged = [(each, tier_of(each)[0], each.score) for each in EVERY]
    for lower, low_tier, low_score in judged:
        for higher, high_tier, high_score in judged:
            if at_least(higher, lower):
                assert high_tier >= low_tier
                assert high_score >= low_score


def test_every_tier_is_reached_and_the_score_spans_its_range() -> None:
    """No tier is out of reach; the lowest agent scores 0, the highest 100."""
    assert {tier_of(each)[0] for each in EVERY} == set(Tier)
    assert (EVERY[0].score, EVERY[-1].score) == (0, 100)
    assert all(0 <= each.score <= 100 for each in EVERY)


@pytest.mark.parametrize("dimensions", EVERY)
def test_floors_hold(dimensions: Dimensions) -> None:
    """What a single dimension, or two together, make of the tier whatever the rest says."""
    tier = tier_of(dimensions)[0]
    severe = dimensions.risk_exposure is RiskExposure.SEVERE
    administrative = dimensions.access_privileges is AccessPrivileges.ADMINISTRATIVE
    autonomous = dimensions.decision_authority is DecisionAuthority.AUTONOMOUS
    if severe and (administrative or autonomous):
        assert tier is Tier.CRITICAL
    if severe or administrative:
        assert tier >= Tier.HIGH
    if autonomous:
        assert tier >= Tier.MODERATE


CLASS_OPERATIONS = (
    ClassOperation.model_validate(
        {"name": "summarize", "implies": {"accessPrivileges": "ReadOnly"}}
    ),
    ClassOperation.model_validate({"name": "place-order", "implies": {"riskExposure": "Severe"}}),
    ClassOperation.model_validate({"name": "unspecified"}),
)
names = st.sampled_from(["erp", "erp.*", "erp.a", "crm", "*"])
operations = st.sampled_from(
    sorted(OPERATIONS) + [operation.name for operation in CLASS_OPERATIONS] + ["nobody-defines-it"]
)
declarations = st.builds(
    ClassificationSpec,
    access_privileges=st.none() | st.sampled_from(AccessPrivileges),
    decision_authority=st.none() | st.sampled_from(DecisionAuthority),
    risk_exposure=st.none() | st.sampled_from(RiskExposure),
    lifespan=st.none() | st.sampled_from(Lifespan),
)
permission_sets = st.builds(
    Permissions,
    systems=st.lists(names, unique=True).map(sorted).map(tuple),
    operations=st.lists(operations, unique=True).map(sorted).map(tuple),
    schedule=st.none() | st.just(Schedule("UTC", 1)),
    compliance=st.lists(st.sampled_from(["gdpr", "sox"]), unique=True).map(sorted).map(tuple),
)


def joined(one: Permissions, two: Permissions) -> Permissions:
    """Everything that either set holds."""
    always = one.schedule is None or two.schedule is None
    return Permissions(
        tuple(sorted({*one.systems, *two.systems})),
        tuple(sorted({*one.operations, *two.operations})),
        None if always else one.schedule,
        tuple(sorted({*one.compliance, *two.compliance})),
    )


@given(declarations, permission_sets, permission_sets)
def test_more_permissions_never_lower_a_tier(
    declared: ClassificationSpec, some: Permissions, more: Permissions
) -> None:
    """Adding permissions raises every dimension or leaves it."""
    before = classify(declared, some, CLASS_OPERATIONS)
    after = classify(declared, joined(some, more), CLASS_OPERATIONS)
    assert at_least(after.dimensions, before.dimensions)
    assert after.tier >= before.tier
    assert after.score >= before.score


@given(declarations, permission_sets)
def test_declaration_is_a_floor_that_permissions_only_raise(
    declared: ClassificationSpec, permissions: Permissions
) -> None:
    """Neither what is declared nor what is implied is ever undercut."""
    result = classify(declared, permissions, CLASS_OPERATIONS).dimensions
    implied = classify(ClassificationSpec(), permissions, CLASS_OPERATIONS).dimensions
    assert at_least(result, implied)
    assert declared.access_privileges is None or (
        result.access_privileges >= declared.access_privileges
    )
    assert declared.decision_authority is None or (
        result.decision_authority >= declared.decision_authority
    )
    assert declared.risk_exposure is None or result.risk_exposure >= declared.risk_exposure
    assert declared.lifespan is None or result.lifespan is declared.lifespan


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_operation_implies_access(operation: str) -> None:
    """No operation leaves an agent as harmless as one that may do nothing."""
    implied = classify(ClassificationSpec(), Permissions(operations=(operation,)), ())
    assert implied.dimensions.access_privileges >= AccessPrivileges.READ_ONLY


@pytest.mark.parametrize(
    ("declared", "permissions", "tier", "score", "reasons"),
    [
        pytest.param(
            {}, Permissions(), Tier.LOW, 0,
            ["tier Low: the score is 0 of 100"],
            id="an-agent-that-may-do-nothing",
        ),
        pytest.param(
            {}, Permissions(("erp.invoices",), ("list", "read")), Tier.LOW, 10,
            [
                "access privileges ReadOnly: implied by operation list",
                "decision authority Advisory: implied by operation list",
                "risk exposure Minimal: implied by operation list",
                "tier Low: the score is 10 of 100",
            ],
            id="reader",
        ),
        pytest.param(
            {"accessPrivileges": "ReadOnly", "lifespan": "Persistent"},
            Permissions(("erp.*",), ("read", "update")), Tier.MODERATE, 41,
            [
                "access privileges ReadWrite: implied by operation update",
                "decision authority Advisory: implied by operation read",
                "risk exposure Limited: implied by operation update",
                "lifespan Persistent: declared",
                "tier Moderate: the score is 41 of 100",
            ],
            id="writer-that-declares-too-little",
        ),
        pytest.param(
            {"riskExposure": "Severe"}, Permissions(("erp",), ("read",)), Tier.HIGH, 45,
            [
                "access privileges ReadOnly: implied by operation read",
                "decision authority Advisory: implied by operation read",
                "risk exposure Severe: declared",
                "tier High: severe risk (the score of 45 alone makes Moderate)",
            ],
            id="reader-of-something-severe",
        ),
        pytest.param(
            {}, Permissions(("*",), ("grant",)), Tier.CRITICAL, 81,
            [
                "access privileges Administrative: implied by operation grant",
                "decision authority Bounded: implied by operation grant",
                "risk exposure Severe: implied by operation grant",
                "tier Critical: the score is 81 of 100",
            ],
            id="one-that-grants",
        ),
        pytest.param(
            {}, Permissions(("*",), ("read",)), Tier.MODERATE, 33,
            [
                "access privileges ReadOnly: implied by operation read",
                "decision authority Advisory: implied by operation read",
                "risk exposure Significant: implied by system *",
                "tier Moderate: the score is 33 of 100",
            ],
            id="reader-of-everything",
        ),
        pytest.param(
            {}, Permissions(("erp.*",)), Tier.LOW, 11,
            [
                "risk exposure Limited: implied by system erp.*",
                "tier Low: the score is 11 of 100",
            ],
            id="reach-beneath-a-prefix",
        ),
        pytest.param(
            {}, Permissions(compliance=("gdpr",)), Tier.LOW, 11,
            [
                "risk exposure Limited: implied by compliance gdpr",
                "tier Low: the score is 11 of 100",
            ],
            id="regulated-data",
        ),
        pytest.param(
            {}, Permissions(("shop",), ("place-order",)), Tier.HIGH, 55,
            [
                "access privileges ReadWrite: implied by operation place-order",
                "decision authority Advisory: implied by operation place-order",
                "risk exposure Severe: implied by operation place-order",
                "tier High: the score is 55 of 100",
            ],
            id="operation-of-the-class",
        ),
    ],
)  # fmt: skip
def test_classification_in_words(
    declared: dict[str, str],
    permissions: Permissions,
    tier: Tier,
    score: int,
    reasons: list[str],
) -> None:
    """Tier, score and the reasons for them, as a user reads them in the status."""
    result = classify(ClassificationSpec.model_validate(declared), permissions, CLASS_OPERATIONS)
    assert (result.tier, result.score, list(result.reasons)) == (tier, score, reasons)
