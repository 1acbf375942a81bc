"""The judgement of an identity, the composed chain with every refusal in its words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import AgentClass, AgentIdentity, DeliveryMode, Instances, Reason, Tier
from agentid.errors import InternalError
from agentid.identity import SpiffeId, TrustDomain
from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.oids import class_policy_oid
from agentid.policy import Grant, Granted, Permissions, Refused, exceeds, judge, takes_away

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRUST_DOMAIN = TrustDomain.parse("agents.example.org")
EVERY_DOOR = frozenset(DeliveryMode)
SCHEDULE = {
    "timeZone": "Europe/Berlin",
    "windows": [{"days": ["Mon", "Tue"], "start": "08:00", "end": "17:00"}],
}


def agent_class(**spec: Any) -> AgentClass:  # noqa: ANN401 (any JSON)
    """A class named batch that allows a good deal."""
    base = {
        "issuerName": "main",
        "namespaces": {"names": ["finance", "team-*"]},
        "lifetime": "24h",
        "permissions": {
            "systems": ["erp.*", "crm"],
            "operations": ["list", "read", "update", "transfer", "place-order"],
            "compliance": ["gdpr"],
        },
        "operations": [{"name": "place-order", "implies": {"riskExposure": "Significant"}}],
    }
    return AgentClass.parse({"metadata": {"name": "batch"}, "spec": base | spec})


def identity(namespace: str = "finance", name: str = "reader", **spec: Any) -> AgentIdentity:  # noqa: ANN401
    """An identity that asks for little."""
    base = {
        "className": "batch",
        "sponsor": "finance@example.com",
        "subject": {"serviceAccountName": "reader"},
        "permissions": {"systems": ["erp.invoices"], "operations": ["read"]},
    }
    return AgentIdentity.parse(
        {"metadata": {"name": name, "namespace": namespace}, "spec": base | spec}
    )


def verdict(
    who: AgentIdentity,
    of: AgentClass | None = None,
    doors: frozenset[DeliveryMode] = EVERY_DOOR,
) -> Granted | Refused:
    """Judge at NOW."""
    return judge(who, of or agent_class(), TRUST_DOMAIN, available_deliveries=doors, now=NOW)


def granted(who: AgentIdentity, of: AgentClass | None = None) -> Grant:
    """Judge, and expect a grant."""
    result = verdict(who, of)
    assert isinstance(result, Granted), result
    return result.grant


def test_grant_holds_everything_that_a_certificate_hangs_on() -> None:
    """A modest identity is granted what it asks for, with the class's template."""
    result = verdict(identity())
    assert isinstance(result, Granted)
    assert result.grant == Grant(
        spiffe_id=SpiffeId.parse("spiffe://agents.example.org/ns/finance/agent/reader"),
        class_name="batch",
        issuer_name="main",
        sponsor="finance@example.com",
        tier=Tier.LOW,
        permissions=Permissions(systems=("erp.invoices",), operations=("read",)),
        lifetime=timedelta(hours=24),
        key_algorithm=KeyAlgorithm.ECDSAP256,
        delivery=DeliveryMode.SECRET,
        instances=Instances.SHARED,
        service_account="reader",
        secret_name="reader-agentid",
        policy_oid=class_policy_oid("batch"),
        cps_uri=None,
        critical=False,
        ephemeral=False,
    )
    assert result.classification.tier is Tier.LOW


def test_tier_caps_the_certificate_and_says_so() -> None:
    """A higher tier shortens the lifetime; the reasons end with what it changed."""
    asking = identity(permissions={"systems": ["erp.pay"], "operations": ["transfer"]})
    result = verdict(asking)
    assert isinstance(result, Granted)
    assert result.classification.tier is Tier.HIGH
    assert result.grant.lifetime == timedelta(hours=4)
    assert result.classification.reasons[-1] == "tier High shortens the lifetime from 24h to 4h"


@pytest.mark.parametrize(
    ("asked", "lifetime"),
    [
        pytest.param("2h", timedelta(hours=2), id="shorter-than-the-tier"),
        pytest.param("10h", timedelta(hours=4), id="cut-by-the-tier"),
    ],
)
def test_identity_may_ask_for_a_shorter_lifetime(asked: str, lifetime: timedelta) -> None:
    """What is asked for counts up to what the tier allows."""
    asking = identity(
        lifetime=asked, permissions={"systems": ["erp.pay"], "operations": ["transfer"]}
    )
    assert granted(asking).lifetime == lifetime


CRITICAL: dict[str, Any] = {
    "classification": {"riskExposure": "Severe", "decisionAuthority": "Autonomous"}
}

REFUSALS = [
    pytest.param(
        identity(namespace="hr"),
        agent_class(),
        EVERY_DOOR,
        Reason.NAMESPACE_NOT_SERVED,
        [
            (
                'metadata.namespace: "hr" is not served by AgentClass batch, which serves '
                "finance, team-*; choose another class or ask the class owner"
            )
        ],
        id="namespace",
    ),
    pytest.param(
        identity(),
        agent_class(namespaces={"names": []}),
        EVERY_DOOR,
        Reason.NAMESPACE_NOT_SERVED,
        [
            (
                'metadata.namespace: "finance" is not served by AgentClass batch, which '
                "serves none; choose another class or ask the class owner"
            )
        ],
        id="class-that-serves-nobody",
    ),
    pytest.param(
        identity(sponsor=None),
        agent_class(),
        EVERY_DOOR,
        Reason.SPONSOR_REQUIRED,
        [
            (
                "spec.sponsor: is required by AgentClass batch; name who answers for the "
                "agent, such as team@example.com"
            )
        ],
        id="sponsor",
    ),
    pytest.param(
        identity(permissions={"systems": ["hr"], "operations": ["read", "delete"]}),
        agent_class(),
        EVERY_DOOR,
        Reason.EXCEEDS_CLASS,
        [
            (
                'spec.permissions.systems: "hr" is outside the ceiling of AgentClass batch, '
                "which allows crm, erp.*; remove it or ask the class owner"
            ),
            (
                'spec.permissions.operations: "delete" is outside the ceiling of AgentClass '
                "batch, which allows list, place-order, read, transfer, update; remove it or "
                "ask the class owner"
            ),
        ],
        id="permissions",
    ),
    pytest.param(
        identity(),
        agent_class(permissions={}),
        EVERY_DOOR,
        Reason.EXCEEDS_CLASS,
        [
            (
                'spec.permissions.systems: "erp.invoices" is outside the ceiling of '
                "AgentClass batch, which allows nothing; remove it or ask the class owner"
            ),
            (
                'spec.permissions.operations: "read" is outside the ceiling of AgentClass '
                "batch, which allows nothing; remove it or ask the class owner"
            ),
        ],
        id="class-that-grants-nothing",
    ),
    pytest.param(
        identity(lifetime="8h"),
        agent_class(lifetime="4h"),
        EVERY_DOOR,
        Reason.EXCEEDS_CLASS,
        [
            (
                "spec.lifetime: 8h is above the 4h ceiling of AgentClass batch; lower it or "
                "ask the class owner"
            )
        ],
        id="lifetime",
    ),
    pytest.param(
        identity(permissions={"systems": ["erp.pay"], "operations": ["transfer"]}),
        agent_class(maxTier="Moderate"),
        EVERY_DOOR,
        Reason.TIER_NOT_ALLOWED,
        [
            (
                "status.classification.tier: High is above the highest tier of AgentClass "
                "batch, which is Moderate; ask for less (status.classification.reasons tells "
                "what raises the tier) or choose another class"
            )
        ],
        id="tier",
    ),
    pytest.param(
        identity(),
        agent_class(delivery={"modes": ["CSI"]}),
        EVERY_DOOR,
        Reason.DELIVERY_NOT_ALLOWED,
        [
            (
                "spec.delivery.mode: Secret is not allowed by AgentClass batch for tier Low, "
                "which allows CSI; choose one of these or ask the class owner"
            )
        ],
        id="door-closed-by-the-class",
    ),
    pytest.param(
        identity(**CRITICAL),
        agent_class(),
        EVERY_DOOR,
        Reason.DELIVERY_NOT_ALLOWED,
        [
            (
                "spec.delivery.mode: Secret is not allowed by AgentClass batch for tier "
                "Critical, which allows CSI, PodCertificate; choose one of these or ask the "
                "class owner"
            )
        ],
        id="door-closed-by-the-tier",
    ),
    pytest.param(
        identity(**CRITICAL),
        agent_class(delivery={"modes": ["Secret"]}),
        EVERY_DOOR,
        Reason.DELIVERY_NOT_ALLOWED,
        [
            (
                "spec.delivery.mode: Secret is not allowed by AgentClass batch for tier "
                "Critical, which allows none; ask the class owner"
            )
        ],
        id="no-door-left",
    ),
    pytest.param(
        identity(delivery={"mode": "CSI"}),
        agent_class(),
        frozenset({DeliveryMode.SECRET}),
        Reason.DELIVERY_UNAVAILABLE,
        [
            (
                "spec.delivery.mode: CSI is served by nothing in this cluster, which serves "
                "Secret; choose one of these or ask the platform team to install it"
            )
        ],
        id="door-that-is-not-there",
    ),
    pytest.param(
        identity(delivery={"mode": "CSI"}),
        agent_class(delivery={"modes": ["Secret"]}),
        frozenset({DeliveryMode.SECRET}),
        Reason.DELIVERY_NOT_ALLOWED,
        [
            (
                "spec.delivery.mode: CSI is not allowed by AgentClass batch for tier Low, "
                "which allows Secret; choose one of these or ask the class owner"
            )
        ],
        id="door-neither-open-nor-there",
    ),
    pytest.param(
        identity(delivery={"mode": "PodCertificate"}, lifetime="59m"),
        agent_class(),
        EVERY_DOOR,
        Reason.DELIVERY_NOT_ALLOWED,
        [
            (
                "spec.delivery.mode: PodCertificate cannot carry a lifetime of 59m: "
                "Kubernetes asks for at least 1h; choose another mode, or a class and "
                "lifetime of at least an hour"
            )
        ],
        id="pod-certificate-too-short",
    ),
    pytest.param(
        identity(namespace="hr", sponsor=None, lifetime="24h", permissions={"systems": ["*"]}),
        agent_class(lifetime="1h", delivery={"modes": ["CSI"]}, maxTier="Low"),
        EVERY_DOOR,
        Reason.EXCEEDS_CLASS,
        [
            (
                'metadata.namespace: "hr" is not served by AgentClass batch, which serves '
                "finance, team-*; choose another class or ask the class owner"
            ),
            (
                "spec.sponsor: is required by AgentClass batch; name who answers for the "
                "agent, such as team@example.com"
            ),
            (
                'spec.permissions.systems: "*" is outside the ceiling of AgentClass batch, '
                "which allows crm, erp.*; remove it or ask the class owner"
            ),
            (
                "spec.lifetime: 24h is above the 1h ceiling of AgentClass batch; lower it or "
                "ask the class owner"
            ),
            (
                "spec.delivery.mode: Secret is not allowed by AgentClass batch for tier Low, "
                "which allows CSI; choose one of these or ask the class owner"
            ),
        ],
        id="everything-at-once",
    ),
]


@pytest.mark.parametrize(("who", "of", "doors", "reason", "sentences"), REFUSALS)
def test_refusal(
    who: AgentIdentity,
    of: AgentClass,
    doors: frozenset[DeliveryMode],
    reason: Reason,
    sentences: list[str],
) -> None:
    """All violations come at once, with the closest reason there is for all of them."""
    result = verdict(who, of, doors)
    assert isinstance(result, Refused)
    assert [violation.sentence for violation in result.violations] == sentences
    assert result.reason is reason
    assert result.classification is not None


def test_schedule_is_part_of_the_ceiling() -> None:
    """A class that allows certain hours refuses an identity that asks for all of them."""
    ceiling = agent_class(permissions={"systems": ["erp.*"], "operations": ["read"],
                                       "schedule": SCHEDULE})  # fmt: skip
    always = verdict(identity(), ceiling)
    assert isinstance(always, Refused)
    assert [violation.field for violation in always.violations] == ["spec.permissions.schedule"]
    inside = {"systems": ["erp.a"], "operations": ["read"], "schedule": SCHEDULE}
    assert isinstance(verdict(identity(permissions=inside), ceiling), Granted)


def test_name_that_makes_no_spiffe_id_is_invalid() -> None:
    """An object without a namespace has no SPIFFE ID; the parser's words are kept."""
    result = verdict(identity(namespace=""), agent_class(namespaces={"names": ["*"]}))
    assert isinstance(result, Refused)
    assert result.reason is Reason.INVALID_SPEC
    assert "makes no SPIFFE ID" in result.violations[0].sentence


def test_class_that_was_not_asked_for_is_a_defect() -> None:
    """Judging against another class than the named one never happens silently."""
    with pytest.raises(InternalError, match=r'judged against AgentClass "batch", but .* other'):
        verdict(identity(className="other"))


def test_sponsor_is_not_needed_where_the_class_says_so() -> None:
    """requireSponsor: false grants without."""
    assert granted(identity(sponsor=None), agent_class(requireSponsor=False)).sponsor is None


def test_delivery_without_a_secret_has_no_secret_name() -> None:
    """Another door leaves no trace of a Secret in the grant."""
    grant = granted(identity(delivery={"mode": "CSI"}, instances="PerPod"))
    assert (grant.delivery, grant.secret_name) == (DeliveryMode.CSI, None)
    assert grant.instances is Instances.PER_POD


@given(
    st.lists(st.sampled_from(["erp.*", "erp.a", "crm", "hr", "*"]), unique=True),
    st.lists(st.sampled_from(["read", "update", "transfer", "grant", "place-order"]), unique=True),
    st.sampled_from(["Low", "Moderate", "High", "Critical"]),
    st.sampled_from(["Public", "ReadWrite", "Administrative"]),
    st.sampled_from(list(DeliveryMode)),
    st.sampled_from([None, "1m", "1h", "5h", "24h"]),
    st.sampled_from(["1m", "1h", "24h"]),
)
def test_nothing_outside_its_class(
    systems: list[str],
    operations: list[str],
    max_tier: str,
    access: str,
    mode: DeliveryMode,
    asked: str | None,
    ceiling: str,
) -> None:
    """Promise 2: whatever is granted does not exceed its class, by the independent check."""
    of = agent_class(maxTier=max_tier, lifetime=ceiling)
    fields: dict[str, Any] = {"lifetime": asked} if asked else {}
    who = identity(
        permissions={"systems": systems, "operations": operations},
        classification={"accessPrivileges": access},
        delivery={"mode": str(mode)},
        **fields,
    )
    result = verdict(who, of)
    if isinstance(result, Granted):
        assert exceeds(result.grant, of, now=NOW) == ()
        assert result.grant.lifetime <= of.spec.lifetime
        assert result.grant.tier <= of.spec.max_tier
    else:
        assert result.violations


NARROWED = [
    pytest.param({"namespaces": {"names": ["hr"]}}, ["metadata.namespace"], id="namespace"),
    pytest.param({"lifetime": "1h"}, ["spec.lifetime"], id="lifetime"),
    pytest.param(
        {"tiers": {"Low": {"lifetime": "2h"}}}, ["spec.lifetime"], id="lifetime-of-the-tier"
    ),
    pytest.param({"delivery": {"modes": ["CSI"]}}, ["spec.delivery.mode"], id="delivery"),
    pytest.param(
        {"permissions": {"systems": ["crm"], "operations": ["read"]}},
        ["spec.permissions.systems"],
        id="permissions",
    ),
    pytest.param({"keyAlgorithm": "ECDSAP521"}, [], id="key-is-mended-by-renewal"),
    pytest.param({"lifetime": "24h", "description": "new"}, [], id="nothing-that-matters"),
]


@pytest.mark.parametrize(("change", "fields"), NARROWED)
def test_class_narrowed_under_a_grant(change: dict[str, Any], fields: list[str]) -> None:
    """What was granted earlier is held against the class of today."""
    found = exceeds(granted(identity()), agent_class(**change), now=NOW)
    assert [violation.field for violation in found] == fields


def test_class_that_now_asks_for_a_sponsor_or_a_lower_tier() -> None:
    """A sponsor asked for later, and a tier refused later, are both found."""
    grant = granted(
        identity(sponsor=None, permissions={"systems": ["erp.a"], "operations": ["transfer"]}),
        agent_class(requireSponsor=False),
    )
    found = exceeds(grant, agent_class(maxTier="Low"), now=NOW)
    assert [violation.field for violation in found] == [
        "spec.sponsor",
        "status.classification.tier",
    ]


TAKEN = [
    pytest.param({}, {}, False, id="nothing-changed"),
    pytest.param({}, {"sponsor": "other@example.com"}, False, id="sponsor"),
    pytest.param({}, {"delivery": {"secretName": "mine"}}, False, id="secret-name"),
    pytest.param(
        {}, {"permissions": {"systems": ["erp.*"], "operations": ["read"]}}, False, id="widened"
    ),
    pytest.param(
        {}, {"permissions": {"systems": ["crm"], "operations": ["read"]}}, True, id="moved"
    ),
    pytest.param({}, {"permissions": {}}, True, id="emptied"),
    pytest.param(
        {},
        {
            "permissions": {
                "systems": ["erp.invoices"],
                "operations": ["read"],
                "schedule": SCHEDULE,
            }
        },
        True,
        id="limited-in-time",
    ),
    pytest.param({}, {"lifetime": "1h"}, True, id="lifetime-cut"),
    pytest.param({"lifetime": "1h"}, {}, False, id="lifetime-extended"),
    pytest.param({}, {"delivery": {"mode": "CSI"}}, True, id="secret-withdrawn"),
    pytest.param({"delivery": {"mode": "CSI"}}, {}, False, id="secret-added"),
    pytest.param(
        {"delivery": {"mode": "CSI"}},
        {"delivery": {"mode": "CSI"}, "instances": "PerPod"},
        True,
        id="spiffe-id-of-its-own-for-each-pod",
    ),
]


@pytest.mark.parametrize(("before", "after", "taken"), TAKEN)
def test_takes_away(before: dict[str, Any], after: dict[str, Any], taken: bool) -> None:  # noqa: FBT001
    """A certificate has to go where an edit takes something away, and may run out elsewhere."""
    old, new = granted(identity(**before)), granted(identity(**after))
    assert takes_away(old, new, now=NOW) is taken


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            {"spiffe_id": SpiffeId.parse("spiffe://other.example/ns/finance/agent/reader")},
            id="spiffe-id",
        ),
        pytest.param({"service_account": "other"}, id="service-account"),
    ],
)
def test_another_agent_takes_away_everything(change: dict[str, Any]) -> None:
    """Nothing that was issued to somebody else may stay in use."""
    old = granted(identity())
    assert takes_away(old, replace(old, **change), now=NOW)


def test_class_change_takes_away_what_the_new_class_does_not_give() -> None:
    """Another class with the same grant takes nothing; a shorter lifetime does."""
    other = AgentClass.parse(
        {"metadata": {"name": "strict"}, "spec": agent_class().spec.to_api() | {"lifetime": "1h"}}
    )
    same = AgentClass.parse({"metadata": {"name": "strict"}, "spec": agent_class().spec.to_api()})
    old = granted(identity())
    assert takes_away(old, granted(identity(className="strict"), other), now=NOW)
    assert not takes_away(old, granted(identity(className="strict"), same), now=NOW)


# What a certificate says beside the permissions


def test_a_class_has_a_policy_of_its_own_unless_it_names_one() -> None:
    """The one that it names comes with the place where it is explained."""
    assert granted(identity()).policy_oid == class_policy_oid("batch")
    named = {"oid": "1.3.6.1.4.1.99999.1", "cpsURI": "https://pki.example.org/cps"}
    grant = granted(identity(), agent_class(certificatePolicy=named))
    assert (grant.policy_oid, grant.cps_uri) == (named["oid"], named["cpsURI"])


def test_the_extension_is_critical_if_the_class_says_so() -> None:
    """By default it is not: next to no verifier knows it."""
    assert not granted(identity()).critical
    assert granted(identity(), agent_class(authorization={"critical": True})).critical


@pytest.mark.parametrize(
    ("lifetime", "limit", "ephemeral"),
    [
        pytest.param("5m", None, True, id="at-the-default"),
        pytest.param("301s", None, False, id="a-second-above"),
        pytest.param("1m", "0s", False, id="switched-off"),
        pytest.param("1h", "1h", True, id="raised"),
    ],
)
def test_a_certificate_that_lives_briefly_is_not_published(
    lifetime: str, limit: str | None, *, ephemeral: bool
) -> None:
    """RFC 9608, up to the lifetime that the class draws the line at."""
    spec: dict[str, Any] = {"lifetime": lifetime}
    if limit is not None:
        spec["revocation"] = {"ephemeralLifetime": limit}
    assert granted(identity(), agent_class(**spec)).ephemeral is ephemeral


def test_a_class_that_migrates_grants_the_second_algorithm() -> None:
    """Gradually; going back is a change like any other."""
    plain = verdict(identity())
    assert isinstance(plain, Granted)
    assert not plain.gradual
    moving = verdict(identity(), agent_class(migration={"keyAlgorithm": "MLDSA65"}))
    assert isinstance(moving, Granted)
    assert moving.gradual
    assert moving.grant.key_algorithm is KeyAlgorithm.MLDSA65


def test_what_is_granted_is_what_the_certificate_says() -> None:
    """The permissions, canonical, with windows in minutes of the week."""
    schedule = {
        "timeZone": "Europe/Berlin",
        "windows": [{"days": ["Mon", "Tue"], "start": "22:00", "end": "02:00"}],
    }
    asking = identity(
        permissions={
            "systems": ["erp.pay", "erp.invoices"],
            "operations": ["read"],
            "schedule": schedule,
        }
    )
    policy = granted(asking).authorized
    assert policy.systems == ("erp.invoices", "erp.pay")
    assert policy.operations == ("read",)
    assert policy.schedule is not None
    assert policy.schedule.time_zone == "Europe/Berlin"
    day = 24 * 60
    assert policy.schedule.windows == ((22 * 60, 26 * 60), (day + 22 * 60, day + 26 * 60))


# The door of pods

BY_PODS: dict[str, Any] = {"delivery": {"mode": "PodCertificate"}}


def test_an_open_door_of_pods_is_granted_without_a_secret() -> None:
    """Nothing names one, and the longest lifetime and every key of kubelets go through."""
    grant = granted(identity(**BY_PODS))
    assert grant.delivery is DeliveryMode.POD_CERTIFICATE
    assert grant.secret_name is None


@pytest.mark.parametrize(
    ("of", "spec", "doors", "reason", "sentence"),
    [
        pytest.param(
            {},
            {},
            frozenset({DeliveryMode.SECRET}),
            Reason.DELIVERY_UNAVAILABLE,
            "which serves Secret; choose one of these or ask the platform team to install it",
            id="closed",
        ),
        pytest.param(
            {"keyAlgorithm": "MLDSA65"},
            {},
            EVERY_DOOR,
            Reason.DELIVERY_NOT_ALLOWED,
            "cannot carry a key of MLDSA65, which kubelets do not make",
            id="a-key-that-no-kubelet-makes",
        ),
        pytest.param(
            {},
            {"lifetime": "59m"},
            EVERY_DOOR,
            Reason.DELIVERY_NOT_ALLOWED,
            "cannot carry a lifetime of 59m: Kubernetes asks for at least 1h",
            id="the-identity-asks-for-less-than-an-hour",
        ),
        pytest.param(
            {"lifetime": "30m"},
            {},
            EVERY_DOOR,
            Reason.DELIVERY_NOT_ALLOWED,
            "cannot carry a lifetime of 30m",
            id="the-class-gives-less-than-an-hour",
        ),
        pytest.param(
            {"delivery": {"modes": ["Secret"]}},
            {"lifetime": "30m"},
            frozenset(),
            Reason.DELIVERY_NOT_ALLOWED,
            "is not allowed by AgentClass batch for tier Low, which allows Secret",
            id="not-allowed-so-nothing-is-said-of-the-rest",
        ),
    ],
)
def test_the_door_of_pods_says_what_it_cannot_carry(
    of: dict[str, Any],
    spec: dict[str, Any],
    doors: frozenset[DeliveryMode],
    reason: Reason,
    sentence: str,
) -> None:
    """At the identity, where its team reads it, and not at each pod."""
    result = verdict(identity(**BY_PODS, **spec), agent_class(**of), doors)
    assert isinstance(result, Refused)
    assert result.reason is reason
    assert len(result.violations) == 1
    assert sentence in result.violations[0].sentence


def test_an_hour_goes_through_the_door_of_pods() -> None:
    """The least that Kubernetes takes."""
    assert granted(identity(**BY_PODS, lifetime="1h")).lifetime == timedelta(hours=1)
