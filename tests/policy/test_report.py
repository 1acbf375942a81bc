"""What the status of an identity says: conditions as kstatus reads them, and no word that moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import Reason
from agentid.api.agentidentity import (
    AgentIdentityStatus,
    DeliveryStatus,
    PodCertificateStatus,
    PodsStatus,
    RefusalStatus,
)
from agentid.api.conditions import PENDING, Condition, ConditionStatus, ConditionType
from agentid.api.vocabulary import DeliveryMode
from agentid.pki.algorithm import KeyAlgorithm
from agentid.policy import Granted
from agentid.policy.observed import Blocked, PodRefusal
from agentid.policy.plan import plan
from agentid.policy.report import after_failure, after_issuing, after_plan
from tests.support.observed import (
    BLOCKED,
    GRACE,
    HOLD,
    HOUR,
    NOW,
    SECOND,
    SECRET,
    Wish,
    certificate,
    held,
    observe,
    status,
)

if TYPE_CHECKING:
    from agentid.policy.observed import Held, Observed

READY, RECONCILING = ConditionType.READY, ConditionType.RECONCILING
STALLED, SUSPENDED = ConditionType.STALLED, ConditionType.SUSPENDED
TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE

A, B = held(1, age=2 * HOUR), held(2, replaces=1)
EXPIRED = held(8, age=25 * HOUR)
IN_USE = (
    "Certificate 01 is in Secret reader-agentid, valid until 2026-03-02T09:59:59Z, "
    "renewed at 2026-03-02T01:59:59Z"
)
HELD_BACK = (
    "spec.suspend is true: every certificate is revoked and none is issued; "
    "set it to false for a new one"
)
STALLED_SPEC = Blocked(Reason.INVALID_SPEC, "spec.sponsor: is not a sponsor", stalled=True)
REFUSAL = (
    'spec.permissions.systems: "erp" is outside the ceiling of AgentClass batch, which allows crm; '
    "remove it or ask the class owner"
)

Told = list[tuple[str, ConditionStatus, str, str]]


def told(of: AgentIdentityStatus) -> Told:
    """The conditions without times."""
    return [(each.type, each.status, each.reason, each.message) for each in of.conditions]


def planned(seen: Observed, at: timedelta = timedelta(0)) -> AgentIdentityStatus:
    """The status after the plan of a pass, which was carried out."""
    todo = plan(seen, NOW + at)
    assert todo.issue is None
    current = None if todo.current is None else certificate(todo.current)
    return after_plan(seen, todo, current, NOW + at)


def issued(seen: Observed, made: Held, at: timedelta = timedelta(0)) -> AgentIdentityStatus:
    """The status after a certificate was issued and delivered."""
    assert isinstance(seen.verdict, Granted)
    delivery = DeliveryStatus(secret_name=SECRET, secret_uid="uid-of-secret")
    return after_issuing(seen, seen.verdict.grant, certificate(made), delivery, NOW + at)


# Conditions

ROWS = [
    pytest.param(
        observe(A, told=status(A)), [(READY, TRUE, Reason.ISSUED, IN_USE)], id="granted"
    ),
    pytest.param(
        observe(A, told=status(A), wish=Wish(suspend=True)),
        [
            (each, value, Reason.SUSPENDED, HELD_BACK)
            for each, value in ((READY, FALSE), (SUSPENDED, TRUE))
        ],
        id="suspended",
    ),
    pytest.param(
        observe(A, told=status(A), hold=HOLD),
        [
            (each, value, Reason.HELD, HOLD.message)
            for each, value in ((READY, FALSE), (STALLED, TRUE))
        ],
        id="held",
    ),
    pytest.param(
        observe(A, told=status(A), allows=1),
        [
            (READY, FALSE, Reason.EXCEEDS_CLASS, REFUSAL),
            (STALLED, TRUE, Reason.EXCEEDS_CLASS, REFUSAL),
        ],
        id="refused",
    ),
    pytest.param(
        observe(A, told=status(A), blocked=BLOCKED),
        [
            (READY, TRUE, Reason.ISSUED, IN_USE),
            (RECONCILING, TRUE, Reason.CLASS_NOT_FOUND, BLOCKED.message),
        ],
        id="blocked-with-a-certificate",
    ),
    pytest.param(
        observe(blocked=BLOCKED),
        [
            (READY, FALSE, Reason.CLASS_NOT_FOUND, BLOCKED.message),
            (RECONCILING, TRUE, Reason.CLASS_NOT_FOUND, BLOCKED.message),
        ],
        id="blocked-without-a-certificate",
    ),
    pytest.param(
        observe(EXPIRED, told=status(EXPIRED), blocked=BLOCKED),
        [
            (READY, FALSE, Reason.CLASS_NOT_FOUND, BLOCKED.message),
            (RECONCILING, TRUE, Reason.CLASS_NOT_FOUND, BLOCKED.message),
        ],
        id="blocked-until-it-expired",
    ),
    pytest.param(
        observe(A, told=status(A), blocked=STALLED_SPEC),
        [
            (READY, FALSE, Reason.INVALID_SPEC, STALLED_SPEC.message),
            (STALLED, TRUE, Reason.INVALID_SPEC, STALLED_SPEC.message),
        ],
        id="blocked-by-its-own-spec",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "wanted"), ROWS)
def test_each_standing_has_its_conditions(seen: Observed, wanted: Told) -> None:
    """Type, status, reason and message, in the order in which a person reads them."""
    assert told(planned(seen)) == wanted


def test_issuing_makes_ready_and_nothing_else() -> None:
    """What was told before, of a failure or a suspension, is over."""
    before = planned(observe(wish=Wish(suspend=True)))
    assert told(issued(observe(told=before), A)) == [(READY, TRUE, Reason.ISSUED, IN_USE)]


def test_several_violations_are_told_at_once() -> None:
    """The message of a refusal lists everything, so that one edit can mend it."""
    message = planned(observe(allows=1, wish=Wish(level=2, sponsor=None))).conditions[0].message
    assert REFUSAL in message
    assert "spec.sponsor: is required by AgentClass batch" in message


@pytest.mark.parametrize(
    ("seen", "stalled", "wanted"),
    [
        pytest.param(
            observe(A, told=status(A)), False,
            [(READY, TRUE, Reason.ISSUED, IN_USE),
             (RECONCILING, TRUE, Reason.LEDGER_UNAVAILABLE, "no answer")],
            id="while-the-certificate-is-good",
        ),
        pytest.param(
            observe(A, told=status(A)), True,
            [(READY, TRUE, Reason.ISSUED, IN_USE),
             (STALLED, TRUE, Reason.LEDGER_UNAVAILABLE, "no answer")],
            id="for-good-while-the-certificate-is-good",
        ),
        pytest.param(
            observe(EXPIRED, told=status(EXPIRED)), False,
            [(READY, FALSE, Reason.LEDGER_UNAVAILABLE, "no answer"),
             (RECONCILING, TRUE, Reason.LEDGER_UNAVAILABLE, "no answer")],
            id="when-the-certificate-has-expired",
        ),
        pytest.param(
            observe(told=status(A)), False,
            [(READY, FALSE, Reason.LEDGER_UNAVAILABLE, "no answer"),
             (RECONCILING, TRUE, Reason.LEDGER_UNAVAILABLE, "no answer")],
            id="when-the-certificate-is-revoked",
        ),
        pytest.param(
            observe(B, told=status()), False,
            [(READY, FALSE, Reason.LEDGER_UNAVAILABLE, "no answer"),
             (RECONCILING, TRUE, Reason.LEDGER_UNAVAILABLE, "no answer")],
            id="when-none-was-delivered",
        ),
    ],
)  # fmt: skip
def test_failure_leaves_ready_as_it_is(seen: Observed, *, stalled: bool, wanted: Told) -> None:
    """Promise 5: what fails is told beside; Ready is about the certificate in use."""
    made = after_failure(seen, Reason.LEDGER_UNAVAILABLE, "no answer", NOW, stalled=stalled)
    assert told(made) == wanted
    good = wanted[0][1] is TRUE
    assert made.certificate == (seen.status.certificate if good else None)
    assert made.delivery == seen.status.delivery


def test_certificate_is_good_through_its_last_second() -> None:
    """NotAfter counts, for Ready as well."""
    seen = observe(A, told=status(A))
    last = A.validity.not_after
    during = after_failure(seen, Reason.LEDGER_UNAVAILABLE, "no answer", last)
    after = after_failure(seen, Reason.LEDGER_UNAVAILABLE, "no answer", last + SECOND)
    assert [during.conditions[0].status, after.conditions[0].status] == [TRUE, FALSE]


@pytest.mark.parametrize("seen", [pytest.param(each.values[0], id=str(each.id)) for each in ROWS])
def test_kstatus_reads_one_answer(seen: Observed) -> None:
    """Ready is always told; Reconciling and Stalled never both, and neither as False.

    kstatus takes Reconciling=True for InProgress and Stalled=True for Failed, whatever Ready says.
    """
    conditions = {each.type: each.status for each in planned(seen).conditions}
    assert READY in conditions
    assert not {RECONCILING, STALLED} <= set(conditions)
    assert set(conditions.values()) - {conditions[READY]} <= {TRUE}


# The rest of the status


def test_says_who_how_strictly_and_where() -> None:
    """SPIFFE ID, tier, certificate and Secret, after the first certificate was delivered."""
    made = issued(observe(wish=Wish(generation=3)), A)
    assert made.observed_generation == 3
    assert {each.observed_generation for each in made.conditions} == {3}
    assert made.spiffe_id == "spiffe://example.org/ns/finance/agent/reader"
    assert made.classification is not None
    assert made.classification.tier == "Low"
    assert made.classification.reasons
    assert made.certificate == certificate(A)
    assert made.delivery == DeliveryStatus(secret_name=SECRET, secret_uid="uid-of-secret")


def test_counts_what_is_active() -> None:
    """Neither expired nor revoked, of this very object; a certificate just made is one more."""
    stranger = held(9, wish=Wish(uid="uid-of-a-namesake"))
    assert issued(observe(A, EXPIRED, stranger, told=status(A)), B).active_certificates == 2
    assert planned(observe(B, A, EXPIRED, stranger, told=status(B))).active_certificates == 2
    assert planned(observe(A, told=status(A), wish=Wish(suspend=True))).active_certificates == 0


def test_counts_a_certificate_of_an_earlier_try_once() -> None:
    """It is on record before it is delivered, and may be when the pass that delivers it begins."""
    assert issued(observe(B, A, told=status(A)), B).active_certificates == 2


@pytest.mark.parametrize(
    ("seen", "at"),
    [
        pytest.param(
            observe(A, told=status(A), wish=Wish(suspend=True)), timedelta(0), id="suspended"
        ),
        pytest.param(
            observe(A, told=status(A, stalled_since=NOW), allows=1), GRACE, id="refused-after-grace"
        ),
    ],
)
def test_what_was_withdrawn_is_not_told_any_more(seen: Observed, at: timedelta) -> None:
    """No certificate, and no Secret that holds one."""
    made = planned(seen, at)
    assert made.certificate is None
    assert made.delivery is None


def test_what_is_known_stays_while_nobody_can_judge() -> None:
    """SPIFFE ID and tier of the last judgement are not forgotten when the class is away."""
    known = issued(observe(), A)
    blocked = planned(observe(A, told=known, blocked=BLOCKED))
    assert blocked.spiffe_id == known.spiffe_id
    assert blocked.classification == known.classification
    assert blocked.certificate == known.certificate
    assert blocked.delivery == known.delivery


def test_refusal_tells_the_tier_even_so() -> None:
    """Whoever is refused learns how it was classified; it may be the reason."""
    refused = planned(observe(allows=1))
    assert refused.classification is not None
    assert refused.spiffe_id is None


# No change, no write


def test_transition_times_move_with_the_status_alone() -> None:
    """A renewal changes the message of Ready, and not since when it holds."""
    first = issued(observe(), A)
    renewed = issued(observe(A, told=first), B, HOUR)
    assert renewed.conditions[0].last_transition_time == NOW
    assert renewed.conditions[0].message != first.conditions[0].message
    suspended = planned(observe(B, A, told=renewed, wish=Wish(suspend=True)), 2 * HOUR)
    assert [each.last_transition_time for each in suspended.conditions] == [NOW + 2 * HOUR] * 2


def test_first_look_ends_pending() -> None:
    """What the API server shows before anybody looked is replaced, with a time of transition."""
    pending = AgentIdentityStatus(conditions=(PENDING,))
    made = issued(observe(told=pending), A)
    assert made.conditions[0].last_transition_time == NOW


def test_conditions_of_others_stay() -> None:
    """A condition that agentid does not know is somebody else's, and comes last."""
    others = Condition(
        type="example.com/Audited",
        status=TRUE,
        last_transition_time=NOW - HOUR,
        reason="Audited",
        message="looked at",
    )
    before = status(A).model_copy(update={"conditions": (others,)})
    for made in (
        planned(observe(A, told=before)),
        after_failure(observe(A, told=before), Reason.LEDGER_UNAVAILABLE, "no answer", NOW),
    ):
        assert made.conditions[-1] == others


@pytest.mark.parametrize("seen", [pytest.param(each.values[0], id=str(each.id)) for each in ROWS])
@given(later=st.integers(0, 100).map(lambda seconds: seconds * SECOND))
def test_same_state_same_status(seen: Observed, later: timedelta) -> None:
    """Looked at again, and later, everything reads as it did: there is nothing to write."""
    once = planned(seen)
    live = () if once.certificate is None else seen.held
    again = replace(seen, status=once, held=live)
    assert planned(again, later) == once


@pytest.mark.parametrize("stalled", [False, True])
def test_same_failure_same_status(*, stalled: bool) -> None:
    """A try that fails as the one before writes nothing."""
    seen = observe(A, told=status(A))
    once = after_failure(seen, Reason.ISSUER_UNAVAILABLE, "away", NOW, stalled=stalled)
    again = after_failure(
        replace(seen, status=once), Reason.ISSUER_UNAVAILABLE, "away", NOW + HOUR, stalled=stalled
    )
    assert again == once


# Pods

BY_PODS = Wish(mode=DeliveryMode.POD_CERTIFICATE)
WIDE = held(3, wish=replace(BY_PODS, level=3), pod="wide")
POD_A = held(1, wish=BY_PODS, pod="a")
POD_B = held(2, wish=BY_PODS, pod="b", age=2 * HOUR)
OLD_POD = held(4, wish=BY_PODS, pod="old", age=25 * HOUR)
OFFER = (
    "Pods that run as ServiceAccount reader and have the label agentid.dev/identity: reader get "
    "certificates as they start"
)
IN_FORCE = "Pods hold certificates that are in force"
NONE_FOR_POD = PodRefusal(NOW, "reader-1", "Suspended", "it is suspended; ask its team")


def test_an_identity_of_pods_is_ready_before_there_is_one() -> None:
    """With what the volume of a pod has to ask for, which the policies read."""
    status_then = planned(observe(wish=BY_PODS))
    assert told(status_then) == [(READY, TRUE, Reason.AVAILABLE, OFFER)]
    assert status_then.pods is None
    assert status_then.certificate is None
    assert status_then.pod_certificate == PodCertificateStatus(
        key_type=KeyAlgorithm.ECDSAP256,
        max_expiration_seconds=86400,
        trust_bundle="agentid.dev:agent:main",
    )


def test_pods_are_told_by_number_and_first_end() -> None:
    """One pod counts once, and one that is gone or has expired not at all."""
    renewed = held(5, wish=BY_PODS, pod="a", age=SECOND)
    seen = observe(
        renewed, POD_A, POD_B, OLD_POD, held(6, wish=BY_PODS, pod="gone"),
        wish=BY_PODS, gone=frozenset({"gone"}),
    )  # fmt: skip
    pods = planned(seen).pods
    assert pods is not None
    assert pods.certificates == 2
    assert pods.earliest_not_after == POD_B.validity.not_after


def test_when_the_last_pod_has_gone_the_status_says_none() -> None:
    """Rather than what it said before."""
    first = planned(observe(POD_A, wish=BY_PODS))
    seen = observe(POD_A, wish=BY_PODS, told=first, gone=frozenset({"a"}))
    pods = planned(seen).pods
    assert pods == PodsStatus(certificates=0)


def test_a_withdrawal_says_when_and_what_to_do() -> None:
    """Before it is carried out; afterwards nothing of it is left."""
    seen = observe(WIDE, wish=BY_PODS)
    first = planned(seen)
    message = (
        f"{OFFER}; certificates that give more than is granted now are revoked at "
        "2026-03-01T12:02:00Z, restart the pods that hold them before"
    )
    assert told(first) == [(READY, TRUE, Reason.AVAILABLE, message)]
    assert first.withdrawal_time == NOW + GRACE
    after = planned(replace(seen, status=first), GRACE)
    assert told(after) == [(READY, TRUE, Reason.AVAILABLE, OFFER)]
    assert after.withdrawal_time is None


def test_what_nobody_can_judge_does_not_begin_the_grace_period_anew() -> None:
    """A class that goes and comes would put the revocation off for ever."""
    first = planned(observe(WIDE, wish=BY_PODS))
    between = planned(observe(WIDE, wish=BY_PODS, told=first, blocked=BLOCKED))
    assert between.withdrawal_time == NOW + GRACE
    assert between.pod_certificate == first.pod_certificate
    stalled = planned(observe(WIDE, wish=BY_PODS, told=first, blocked=STALLED_SPEC))
    assert stalled.pod_certificate is None


def test_a_renewal_of_the_secret_does_not_begin_it_anew() -> None:
    """While pods of an earlier mode hold what is to be revoked."""
    told_then = status(A).model_copy(update={"withdrawal_time": NOW + GRACE})
    made = issued(observe(WIDE, A, told=told_then), B)
    assert made.withdrawal_time == NOW + GRACE


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        pytest.param(observe(POD_A, wish=BY_PODS, blocked=BLOCKED), TRUE, id="in-force"),
        pytest.param(observe(OLD_POD, wish=BY_PODS, blocked=BLOCKED), FALSE, id="expired"),
        pytest.param(
            observe(POD_A, wish=BY_PODS, blocked=BLOCKED, gone=frozenset({"a"})), FALSE, id="gone"
        ),
        pytest.param(observe(POD_A, wish=BY_PODS, blocked=STALLED_SPEC), FALSE, id="stalled"),
    ],
)
def test_while_nobody_can_judge_pods_keep_it_ready(seen: Observed, wanted: ConditionStatus) -> None:
    """Promise 5, for as long as one of them has a certificate in force."""
    ready = next(each for each in planned(seen).conditions if each.type == READY)
    assert ready.status is wanted
    assert (ready.message == IN_FORCE) == (wanted is TRUE)


def test_a_failure_leaves_ready_to_pods_that_work() -> None:
    """The ledger may be away while what they have is good."""
    away = "the ledger is away"
    seen = observe(POD_A, wish=BY_PODS)
    failed = after_failure(seen, Reason.LEDGER_UNAVAILABLE, away, NOW)
    assert told(failed) == [
        (READY, TRUE, Reason.AVAILABLE, IN_FORCE),
        (RECONCILING, TRUE, Reason.LEDGER_UNAVAILABLE, away),
    ]
    later = after_failure(seen, Reason.LEDGER_UNAVAILABLE, away, NOW + 25 * HOUR)
    assert told(later)[0][1] is FALSE


def test_suspended_offers_nothing_to_pods() -> None:
    """What a volume would have to ask for is gone from the status, and nobody is counted."""
    first = planned(observe(POD_A, wish=BY_PODS))
    seen = observe(POD_A, wish=replace(BY_PODS, suspend=True), told=first)
    after = planned(seen)
    assert after.pod_certificate is None
    assert after.pods == PodsStatus(certificates=0)


# The last refusal


def refused(seen: Observed, refusal: PodRefusal | None) -> RefusalStatus | None:
    """What the status says of it."""
    pods = planned(replace(seen, refusal=refusal)).pods
    return None if pods is None else pods.last_refusal


def test_the_last_refusal_is_told_and_stays() -> None:
    """Also when whoever saw it has been restarted; a later one takes its place."""
    seen = observe(wish=BY_PODS)
    first = refused(seen, NONE_FOR_POD)
    assert first == RefusalStatus(
        time=NOW, pod="reader-1", reason="Suspended", message=NONE_FOR_POD.message
    )
    seen = replace(seen, status=planned(replace(seen, refusal=NONE_FOR_POD)))
    assert refused(seen, None) == first
    assert refused(seen, replace(NONE_FOR_POD, time=NOW - HOUR, pod="earlier")) == first
    later = refused(seen, replace(NONE_FOR_POD, time=NOW + SECOND, pod="reader-2"))
    assert later is not None
    assert later.pod == "reader-2"


def test_a_refusal_within_a_second_is_told_once() -> None:
    """Times in a status are whole seconds; what lies behind them is no news at each look."""
    refusal = replace(NONE_FOR_POD, time=NOW + timedelta(microseconds=7))
    seen = replace(observe(wish=BY_PODS), refusal=refusal)
    first = planned(seen)
    assert planned(replace(seen, status=first)) == first


@given(pod=st.text(), reason=st.text(), message=st.text())
def test_no_refusal_breaks_a_status(pod: str, reason: str, message: str) -> None:
    """Texts that come from the cluster are cut to what the status holds."""
    refusal = PodRefusal(NOW, pod * 300, reason * 300, message * 2000)
    shown = refused(observe(wish=BY_PODS), refusal)
    assert shown is not None
    assert pod.startswith(shown.pod[:1])


@pytest.mark.parametrize("at", [timedelta(0), GRACE / 2, GRACE, HOUR])
@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(observe(POD_A, POD_B, wish=BY_PODS), id="granted"),
        pytest.param(observe(POD_A, wish=BY_PODS, blocked=BLOCKED), id="blocked"),
        pytest.param(observe(POD_A, wish=BY_PODS, gone=frozenset({"a"})), id="gone"),
    ],
)
def test_pods_say_the_same_at_every_look(seen: Observed, at: timedelta) -> None:
    """A pass that changes nothing writes nothing."""
    first = planned(seen)
    assert planned(replace(seen, status=first), at) == first
