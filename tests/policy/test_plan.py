"""What has to be done about an identity: the decision table row by row, and what no row may do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import DeliveryMode
from agentid.api.agentidentity import AgentIdentityStatus
from agentid.api.conditions import Condition, ConditionStatus, ConditionType, Reason
from agentid.identity import RevocationReason, SerialNumber, Validity
from agentid.pki.algorithm import KeyAlgorithm
from agentid.policy import Granted
from agentid.policy.observed import Held, Observed
from agentid.policy.plan import Cause, Plan, Standing, plan, renewal_of
from agentid.policy.rotation import Demands
from tests.support.observed import (
    BLOCKED,
    DAY,
    GRACE,
    HOLD,
    HOUR,
    NOW,
    SECOND,
    SECRET,
    Wish,
    class_up_to,
    held,
    observe,
    status,
)

GONE = RevocationReason.CESSATION_OF_OPERATION
WITHDRAWN = RevocationReason.PRIVILEGE_WITHDRAWN
REPLACED = RevocationReason.SUPERSEDED
OTHERS_FINALIZER = "example.com/held"

A, B, C = held(1, age=3 * HOUR), held(2, age=2 * HOUR, replaces=1), held(3, replaces=2)
STRANGER = held(9, age=4 * HOUR, wish=Wish(uid="uid-of-a-namesake-that-is-gone"))
EXPIRED = held(8, age=25 * HOUR)
SIGNED = replace(A, authority="a1", bundle=2)
NARROW, WIDE = Wish(level=1), Wish(level=3)


def due(of: Held) -> Plan:
    """A plan that leaves a certificate in use until its renewal."""
    again = renewal_of(of, class_up_to(3))
    return Plan(Standing.GRANTED, current=of, look_again=again)


def gone(*certificates: Held) -> Observed:
    """No object, but certificates on record."""
    return Observed(None, None, status(), certificates)


# Revocation: gone, deleting, suspended, held


def told_suspended(generation: int) -> AgentIdentityStatus:
    """The status of an identity that has nothing, and says so."""
    suspended = Condition(
        type=ConditionType.SUSPENDED,
        status=ConditionStatus.TRUE,
        last_transition_time=NOW,
        reason=Reason.SUSPENDED,
        message="suspended",
    )
    return AgentIdentityStatus(observed_generation=generation, conditions=(suspended,))


TAKEN_AWAY = [
    pytest.param(gone(), Plan(Standing.GONE), id="gone-and-nothing-on-record"),
    pytest.param(
        gone(B, A, STRANGER, EXPIRED),
        Plan(Standing.GONE, ((B, GONE), (A, GONE), (STRANGER, GONE), (EXPIRED, GONE))),
        id="gone",
    ),
    pytest.param(
        observe(B, A, STRANGER, told=status(B), wish=Wish(deleting=True)),
        Plan(
            Standing.DELETING,
            ((STRANGER, GONE), (B, GONE), (A, GONE)),
            release=True,
        ),
        id="deleting",
    ),
    pytest.param(
        observe(A, told=status(A), wish=Wish(deleting=True, suspend=True)),
        Plan(Standing.DELETING, ((A, GONE),), release=True),
        id="deleting-comes-before-suspended",
    ),
    pytest.param(
        observe(A, told=status(A), wish=Wish(deleting=True, finalizers=(OTHERS_FINALIZER,))),
        Plan(Standing.DELETING, ((A, GONE),)),
        id="deleting-held-by-somebody-else",
    ),
    pytest.param(
        observe(told=status(A), wish=Wish(deleting=True)),
        Plan(Standing.DELETING, release=True),
        id="deleting-and-nothing-left",
    ),
    pytest.param(
        observe(B, A, STRANGER, EXPIRED, told=status(B), wish=Wish(suspend=True)),
        Plan(
            Standing.SUSPENDED,
            ((STRANGER, GONE), (B, WITHDRAWN), (A, WITHDRAWN), (EXPIRED, WITHDRAWN)),
            withdraw=SECRET,
        ),
        id="suspended",
    ),
    pytest.param(
        observe(told=status(), wish=Wish(suspend=True)),
        Plan(Standing.SUSPENDED),
        id="suspended-for-good",
    ),
    pytest.param(
        observe(told=status(A, secret_name="old"), wish=Wish(suspend=True)),
        Plan(Standing.SUSPENDED, withdraw="old"),
        id="suspended-where-it-was-delivered-and-not-where-it-would-be",
    ),
    pytest.param(
        observe(B, A, STRANGER, EXPIRED, told=status(B), hold=HOLD),
        Plan(
            Standing.HELD,
            ((STRANGER, GONE), (B, HOLD.reason), (A, HOLD.reason), (EXPIRED, HOLD.reason)),
            withdraw=SECRET,
        ),
        id="held",
    ),
    pytest.param(observe(told=status(), hold=HOLD), Plan(Standing.HELD), id="held-for-good"),
    pytest.param(
        observe(A, told=status(A), blocked=BLOCKED, hold=HOLD),
        Plan(Standing.HELD, ((A, HOLD.reason),), withdraw=SECRET),
        id="held-though-nobody-can-judge",
    ),
    pytest.param(
        observe(A, told=status(A), wish=Wish(suspend=True), hold=HOLD),
        Plan(Standing.SUSPENDED, ((A, WITHDRAWN),), withdraw=SECRET),
        id="suspended-comes-before-held",
    ),
    pytest.param(
        observe(A, told=status(A), wish=Wish(deleting=True), hold=HOLD),
        Plan(Standing.DELETING, ((A, GONE),), release=True),
        id="deleting-comes-before-held",
    ),
]


@pytest.mark.parametrize(("world", "wanted"), TAKEN_AWAY)
def test_takes_everything_away_at_once(world: Observed, wanted: Plan) -> None:
    """Promise 4: gone, deleted, suspended or held, it loses every certificate on record at once."""
    assert plan(world, NOW) == wanted


# Granted: a cause to issue

SETTLED = observe(A, told=status(A))
NO_FINALIZER = Wish(finalizers=(OTHERS_FINALIZER,))
AHEAD = held(9, age=-HOUR)
AFTER_RENEWAL = held(1, age=17 * HOUR)
"""Two thirds of a day are sixteen hours, and jitter only makes it earlier."""


@pytest.mark.parametrize(
    ("world", "cause", "replaces"),
    [
        pytest.param(observe(), Cause.FIRST, None, id="nothing-there"),
        pytest.param(observe(EXPIRED), Cause.FIRST, None, id="expired-and-never-delivered"),
        pytest.param(observe(told=status(A)), Cause.EXPIRED, None, id="not-on-record-any-more"),
        pytest.param(
            observe(EXPIRED, told=status(EXPIRED)), Cause.EXPIRED, 8, id="expired-and-on-record"
        ),
        pytest.param(
            observe(AHEAD, told=status(AHEAD)), Cause.PREMATURE, 9, id="made-by-a-clock-ahead"
        ),
        pytest.param(observe(A), Cause.UNCONFIRMED, None, id="made-and-maybe-not-delivered"),
        pytest.param(
            observe(B, A, told=status(A)), Cause.UNCONFIRMED, 1, id="newer-than-what-is-confirmed"
        ),
        pytest.param(
            observe(B, A, told=status(C)), Cause.UNCONFIRMED, None, id="confirmed-and-not-on-record"
        ),
        pytest.param(
            observe(replace(A, doubtful=True), told=status(A)),
            Cause.UNCONFIRMED,
            1,
            id="from-a-damaged-segment",
        ),
        pytest.param(
            observe(A, told=status(A), wish=NARROW), Cause.CHANGED, 1, id="takes-something-away"
        ),
        pytest.param(observe(A, told=status(A), wish=WIDE), Cause.CHANGED, 1, id="gives-more"),
        pytest.param(
            observe(A, told=status(A), wish=Wish(sponsor="ops@example.com")),
            Cause.CHANGED,
            1,
            id="another-sponsor",
        ),
        pytest.param(
            observe(held(1, known=False), told=status(A)),
            Cause.CHANGED,
            1,
            id="issued-by-a-newer-release",
        ),
        pytest.param(
            replace(observe(SIGNED, told=status(A)), demands=Demands(frozenset({"a1"}))),
            Cause.AUTHORITY,
            1,
            id="its-authority-is-on-its-way-out",
        ),
        pytest.param(
            replace(observe(SIGNED, told=status(A)), demands=Demands(bundle=3)),
            Cause.AUTHORITY,
            1,
            id="delivered-without-a-root-that-came-since",
        ),
        pytest.param(
            replace(observe(SIGNED, told=status(A), wish=Wish(level=1)), demands=Demands(bundle=3)),
            Cause.CHANGED,
            1,
            id="changed-comes-before-its-authority",
        ),
        pytest.param(
            replace(
                observe(SIGNED, told=status(A), wish=Wish(requested=NOW)), demands=Demands(bundle=3)
            ),
            Cause.AUTHORITY,
            1,
            id="its-authority-comes-before-requested",
        ),
        pytest.param(
            observe(A, told=status(A), wish=Wish(requested=NOW)), Cause.REQUESTED, 1, id="asked-for"
        ),
        pytest.param(
            observe(AFTER_RENEWAL, told=status(AFTER_RENEWAL)), Cause.RENEWAL, 1, id="its-time"
        ),
        pytest.param(
            observe(B, A, told=status(A), wish=Wish(level=1, requested=NOW)),
            Cause.UNCONFIRMED,
            1,
            id="unconfirmed-comes-before-changed",
        ),
        pytest.param(
            observe(A, told=status(A), wish=Wish(level=1, requested=NOW)),
            Cause.CHANGED,
            1,
            id="changed-comes-before-requested",
        ),
        pytest.param(
            observe(AFTER_RENEWAL, told=status(AFTER_RENEWAL), wish=Wish(requested=NOW)),
            Cause.REQUESTED,
            1,
            id="requested-comes-before-renewal",
        ),
    ],
)
def test_issues_for_the_first_cause_that_holds(
    world: Observed, cause: Cause, replaces: int | None
) -> None:
    """Each cause, alone and in order; the record names what is known to be delivered."""
    known = None if replaces is None else SerialNumber(replaces)
    assert plan(world, NOW) == Plan(Standing.GRANTED, issue=cause, replaces=known)


def test_issuing_puts_the_finalizer_on() -> None:
    """Whoever is given a certificate is held until it is revoked; other holders do not count."""
    assert plan(observe(wish=NO_FINALIZER), NOW).add_finalizer
    assert not plan(observe(wish=Wish()), NOW).add_finalizer
    assert not plan(observe(A, told=status(A), wish=NO_FINALIZER), NOW).add_finalizer


@pytest.mark.parametrize(
    ("since", "cause"),
    [
        pytest.param(A.issued_at - SECOND, None, id="before-it-was-made"),
        pytest.param(A.issued_at, None, id="the-second-it-was-made"),
        pytest.param(A.issued_at + SECOND, Cause.REQUESTED, id="after-it-was-made"),
        pytest.param(NOW, Cause.REQUESTED, id="now"),
        pytest.param(NOW + SECOND, None, id="not-yet"),
    ],
)
def test_a_request_replaces_what_is_older(since: datetime, cause: Cause | None) -> None:
    """A request holds for certificates made before it, once its time has come."""
    assert plan(observe(A, told=status(A), wish=Wish(requested=since)), NOW).issue is cause


def test_renews_at_its_time_and_not_before() -> None:
    """Due to the second, on the latest certificate."""
    at = renewal_of(A, class_up_to(3))
    assert plan(SETTLED, at - SECOND).issue is None
    assert plan(SETTLED, at).issue is Cause.RENEWAL


def test_last_second_of_validity_is_a_renewal_and_the_next_is_not() -> None:
    """NotAfter counts, so a certificate has expired a second later."""
    last = A.validity.not_after
    assert plan(SETTLED, last).issue is Cause.RENEWAL
    assert plan(SETTLED, last + SECOND).issue is Cause.EXPIRED


def test_other_doors_do_not_stand_in_for_the_secret() -> None:
    """A certificate of a pod, newer than the one in the Secret, makes that neither old nor new."""
    pod = replace(held(5, age=HOUR / 2), door=DeliveryMode.POD_CERTIFICATE)
    assert plan(observe(pod, A, told=status(A)), NOW).issue is None
    assert plan(observe(pod), NOW).issue is Cause.UNCONFIRMED


# Granted: what is in use, and what was replaced

NARROWED = held(2, age=timedelta(0), wish=NARROW, replaces=1)
WIDENED = held(2, age=timedelta(0), wish=WIDE, replaces=1)
UNDELIVERED = held(2, age=2 * HOUR, replaces=1)
AFTER_IT = held(3, age=timedelta(0), replaces=1)


@pytest.mark.parametrize(
    ("world", "outdated"),
    [
        pytest.param(observe(NARROWED, A, told=status(NARROWED), wish=NARROW), A, id="narrowed"),
        pytest.param(
            observe(AFTER_IT, UNDELIVERED, A, told=status(AFTER_IT)),
            UNDELIVERED,
            id="never-known-to-be-delivered",
        ),
        pytest.param(
            observe(
                replace(AFTER_IT, replaces=UNDELIVERED.serial),
                replace(UNDELIVERED, doubtful=True),
                told=status(AFTER_IT),
            ),
            replace(UNDELIVERED, doubtful=True),
            id="doubtful",
        ),
        pytest.param(
            observe(AFTER_IT, held(1, known=False), told=status(AFTER_IT)),
            held(1, known=False),
            id="grant-that-cannot-be-read",
        ),
    ],
)
def test_what_was_replaced_for_a_reason_is_revoked_after_the_grace_period(
    world: Observed, outdated: Held
) -> None:
    """Pods get the class's time to swap their files, counted from the new certificate on."""
    current = world.held[0]
    end = current.issued_at + GRACE
    waiting = Plan(Standing.GRANTED, current=current, look_again=end)
    assert plan(world, NOW) == waiting
    assert plan(world, end - SECOND) == waiting
    assert plan(world, end) == replace(due(current), revoke=((outdated, REPLACED),))


FIRST_NARROW = held(2, age=GRACE - SECOND, wish=NARROW, replaces=1)
LATER_NARROW = held(4, age=SECOND, wish=NARROW, replaces=2)


@pytest.mark.parametrize(
    "outdated",
    [
        pytest.param(A, id="delivered"),
        pytest.param(held(3, age=GRACE, replaces=1), id="never-known-to-be-delivered"),
    ],
)
def test_renewals_do_not_prolong_the_grace_period(outdated: Held) -> None:
    """However often a certificate is renewed, what it once replaced goes after one grace period.

    With lifetimes shorter than the grace period, it would otherwise never go.
    """
    world = observe(LATER_NARROW, FIRST_NARROW, outdated, told=status(LATER_NARROW), wish=NARROW)
    assert plan(world, NOW).revoke == ()
    assert plan(world, NOW).look_again == NOW + SECOND
    assert plan(world, NOW + SECOND).revoke == ((outdated, REPLACED),)


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(observe(C, B, A, told=status(C)), id="renewed-twice"),
        pytest.param(
            observe(WIDENED, A, told=status(WIDENED), wish=WIDE), id="widened"
        ),
        pytest.param(
            observe(held(2, wish=Wish(sponsor="ops@example.com"), replaces=1), A,
                    told=status(held(2)), wish=Wish(sponsor="ops@example.com")),
            id="another-sponsor",
        ),
        pytest.param(
            observe(held(3, replaces=2), held(2, age=2 * HOUR, wish=NARROW, replaces=1), A,
                    told=status(held(3))),
            id="narrowed-and-widened-again",
        ),
        pytest.param(
            replace(observe(C, A, told=status(C)), replaced=frozenset({A.serial})),
            id="what-replaced-it-is-revoked-by-now",
        ),
    ],
)  # fmt: skip
def test_what_was_only_renewed_runs_out(world: Observed) -> None:
    """Promise 5: a replaced certificate that gives nothing more than the new one stays good."""
    assert plan(world, NOW + GRACE) == due(world.held[0])


def test_without_a_grace_period_what_was_replaced_is_revoked_at_once() -> None:
    """A class may give no time; then the new certificate is there, and the old one goes."""
    world = observe(NARROWED, A, told=status(NARROWED), wish=NARROW, grace=timedelta(0))
    assert plan(world, NOW).revoke == ((A, REPLACED),)


def test_nothing_is_revoked_before_what_replaces_it_is_delivered() -> None:
    """While the new certificate is unconfirmed, the old one is the only one to rely on."""
    world = observe(NARROWED, A, told=status(A), wish=NARROW)
    assert plan(world, NOW + DAY / 2) == Plan(
        Standing.GRANTED, issue=Cause.UNCONFIRMED, replaces=A.serial
    )


def test_namesakes_leave_nothing_behind() -> None:
    """Promise 4: certificates of an object that had this name are revoked, whatever the verdict."""
    expected = ((STRANGER, GONE),)
    assert plan(observe(A, STRANGER, told=status(A)), NOW) == replace(due(A), revoke=expected)
    assert plan(observe(STRANGER), NOW) == Plan(Standing.GRANTED, expected, issue=Cause.FIRST)
    assert plan(observe(STRANGER, blocked=BLOCKED), NOW) == Plan(Standing.BLOCKED, expected)
    assert plan(observe(STRANGER, allows=1), NOW) == Plan(Standing.REFUSED, expected)


def test_a_status_that_names_a_namesakes_certificate_confirms_nothing() -> None:
    """An object applied with the status of another is given a certificate of its own."""
    assert plan(observe(STRANGER, told=status(STRANGER)), NOW) == Plan(
        Standing.GRANTED, ((STRANGER, GONE),), issue=Cause.EXPIRED
    )


def test_another_secret_is_delivered_to_and_the_old_one_emptied() -> None:
    """The key does not stay behind in a Secret that the identity names no more."""
    world = observe(A, told=status(A), wish=Wish(secret_name="other"))
    assert plan(world, NOW) == Plan(
        Standing.GRANTED, issue=Cause.CHANGED, replaces=A.serial, withdraw=SECRET
    )
    told = status(A, secret_name="elsewhere")
    assert plan(observe(A, told=told), NOW) == replace(due(A), withdraw="elsewhere")


@pytest.mark.parametrize(
    ("world", "again"),
    [
        pytest.param(SETTLED, renewal_of(A, class_up_to(3)), id="renewal"),
        pytest.param(
            observe(A, told=status(A), wish=Wish(requested=NOW + HOUR)), NOW + HOUR, id="requested"
        ),
        pytest.param(
            observe(A, told=status(A), wish=Wish(requested=NOW + 2 * DAY)),
            renewal_of(A, class_up_to(3)),
            id="renewal-before-it-is-requested",
        ),
        pytest.param(
            observe(NARROWED, A, told=status(NARROWED), wish=NARROW), NOW + GRACE, id="grace"
        ),
        pytest.param(
            observe(A, told=status(A), blocked=BLOCKED), A.validity.not_after, id="blocked"
        ),
        pytest.param(observe(blocked=BLOCKED), None, id="blocked-without-a-certificate"),
        pytest.param(observe(A, told=status(A), allows=1), NOW + GRACE, id="refused-in-grace"),
        pytest.param(observe(allows=1), None, id="refused-without-a-certificate"),
        pytest.param(observe(told=status(A), wish=Wish(suspend=True)), None, id="suspended"),
        pytest.param(observe(A, wish=Wish(deleting=True)), None, id="deleting"),
        pytest.param(gone(A), None, id="gone"),
    ],
)
def test_looks_again_when_time_alone_will_change_something(
    world: Observed, again: datetime | None
) -> None:
    """The earliest of renewal, request, grace period and expiry; never, if time changes nothing."""
    assert plan(world, NOW).look_again == again


# Delivered, perhaps, and never told


@pytest.mark.parametrize(
    ("world", "clear"),
    [
        pytest.param(observe(A, wish=Wish(suspend=True)), (SECRET,), id="suspended"),
        pytest.param(observe(A, hold=HOLD), (SECRET,), id="held"),
        pytest.param(
            replace(observe(wish=Wish(suspend=True)), revoked_into=frozenset({SECRET})),
            (SECRET,),
            id="revoked-by-a-pass-that-was-cut-off",
        ),
        pytest.param(
            observe(B, A, told=status(A, secret_name="old"), wish=Wish(suspend=True)),
            (SECRET,),
            id="beside-the-one-that-is-withdrawn",
        ),
        pytest.param(
            replace(
                observe(told=told_suspended(1), wish=Wish(suspend=True)),
                revoked_into=frozenset({SECRET}),
            ),
            (),
            id="told-to-have-nothing",
        ),
        pytest.param(
            replace(
                observe(told=told_suspended(1), wish=Wish(suspend=True, generation=3)),
                revoked_into=frozenset({SECRET}),
            ),
            (SECRET,),
            id="told-so-of-an-earlier-suspension",
        ),
        pytest.param(observe(A, wish=Wish(deleting=True)), (), id="deleting-takes-the-secret-too"),
        pytest.param(observe(A), (), id="granted"),
        pytest.param(observe(held(1, pod="p"), wish=Wish(suspend=True)), (), id="made-for-a-pod"),
    ],
)
def test_a_secret_that_no_status_told_of_is_cleared(
    world: Observed, clear: tuple[str, ...]
) -> None:
    """Promise 4: a crash between a Secret and the status leaves no certificate in it for good."""
    assert plan(world, NOW).clear == clear


# Refused

INSIDE = held(1, wish=NARROW)
"""Its class, up to level 1, allows it though it refuses what is asked for now."""


@pytest.mark.parametrize(
    ("world", "wanted"),
    [
        pytest.param(observe(allows=1), Plan(Standing.REFUSED), id="from-the-start"),
        pytest.param(
            observe(A, told=status(A), allows=1),
            Plan(Standing.REFUSED, current=A, look_again=NOW + GRACE),
            id="just-now",
        ),
        pytest.param(
            observe(A, told=status(A, stalled_since=NOW - GRACE + SECOND), allows=1),
            Plan(Standing.REFUSED, current=A, look_again=NOW + SECOND),
            id="within-the-grace-period",
        ),
        pytest.param(
            observe(A, told=status(A, stalled_since=NOW - GRACE), allows=1),
            Plan(Standing.REFUSED, ((A, WITHDRAWN),), withdraw=SECRET),
            id="after-the-grace-period",
        ),
        pytest.param(
            observe(A, told=status(A), allows=1, grace=timedelta(0)),
            Plan(Standing.REFUSED, ((A, WITHDRAWN),), withdraw=SECRET),
            id="without-a-grace-period",
        ),
        pytest.param(
            observe(INSIDE, told=status(INSIDE, stalled_since=NOW - HOUR), allows=1),
            Plan(Standing.REFUSED, current=INSIDE, look_again=INSIDE.validity.not_after),
            id="what-the-class-still-allows-runs-out",
        ),
        pytest.param(
            observe(
                replace(INSIDE, serial=B.serial), A,
                told=status(B, stalled_since=NOW - HOUR), allows=1,
            ),
            Plan(
                Standing.REFUSED,
                ((A, WITHDRAWN),),
                current=replace(INSIDE, serial=B.serial),
                look_again=INSIDE.validity.not_after,
            ),
            id="only-what-it-no-longer-allows-is-revoked",
        ),
        pytest.param(
            observe(held(1, known=False), told=status(A, stalled_since=NOW - HOUR), allows=3,
                    wish=Wish(sponsor=None)),
            Plan(Standing.REFUSED, ((held(1, known=False), WITHDRAWN),), withdraw=SECRET),
            id="a-grant-that-cannot-be-read-is-outside",
        ),
        pytest.param(
            observe(told=status(A, stalled_since=NOW - HOUR), allows=1),
            Plan(Standing.REFUSED, withdraw=SECRET),
            id="revoked-by-a-pass-that-was-cut-off",
        ),
        pytest.param(
            observe(
                replace(B, replaces=INSIDE.serial), INSIDE,
                told=status(B, stalled_since=NOW - HOUR), allows=1,
            ),
            Plan(
                Standing.REFUSED,
                ((replace(B, replaces=INSIDE.serial), WITHDRAWN),),
                withdraw=SECRET
            ),
            id="what-was-renewed-does-not-lie-in-the-secret-any-more",
        ),
        pytest.param(
            observe(
                replace(INSIDE, serial=B.serial, replaces=A.serial), A,
                told=status(A, stalled_since=NOW - HOUR), allows=1,
            ),
            Plan(
                Standing.REFUSED, ((A, WITHDRAWN),)
            ),
            id="what-may-have-taken-its-place-stays",
        ),
        pytest.param(
            observe(A, allows=1, grace=timedelta(0)),
            Plan(Standing.REFUSED, ((A, WITHDRAWN),), clear=(SECRET,)),
            id="what-no-status-told-of-is-cleared",
        ),
    ],
)  # fmt: skip
def test_refused(world: Observed, wanted: Plan) -> None:
    """What the class no longer allows is revoked after the grace period; the rest runs out."""
    assert plan(world, NOW) == wanted


# Blocked


def test_blocked_takes_nothing_away() -> None:
    """Promise 5: without class or issuer nobody can judge, so what is valid stays."""
    world = observe(B, A, EXPIRED, told=status(B, stalled_since=NOW - DAY), blocked=BLOCKED)
    assert plan(world, NOW) == Plan(Standing.BLOCKED, current=B, look_again=B.validity.not_after)
    assert plan(world, NOW + 2 * DAY) == Plan(Standing.BLOCKED)


def test_a_spec_that_does_not_parse_is_blocked() -> None:
    """There is no identity to look at, and still nothing is taken away."""
    world = replace(observe(A, told=status(A), blocked=BLOCKED), identity=None)
    assert plan(world, NOW).standing is Standing.BLOCKED
    assert plan(world, NOW).current == A


# What no plan does

serials = st.integers(1, 6)
ages = st.integers(0, 30 * 3600).map(lambda seconds: seconds * SECOND)
uids = st.sampled_from([Wish().uid, "uid-of-another"])


@st.composite
def certificates(draw: st.DrawFn) -> tuple[Held, ...]:
    """Certificates on record, newest first, some of namesakes, some damaged, some unreadable."""
    numbers = draw(st.lists(serials, unique=True, max_size=5))
    found = [
        held(
            number,
            age=draw(ages),
            wish=Wish(level=draw(st.integers(1, 3)), uid=draw(uids)),
            replaces=draw(st.none() | serials),
            doubtful=draw(st.booleans()),
            known=draw(st.booleans()),
        )
        for number in numbers
    ]
    return tuple(sorted(found, key=lambda each: each.issued_at, reverse=True))


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    """Anything that a pass may see, and much that it never should."""
    found = draw(certificates())
    if draw(st.integers(0, 9)) == 0:
        return gone(*found)
    told = status(
        draw(st.none() | st.sampled_from([*found, held(7)])),
        secret_name=draw(st.sampled_from([SECRET, "other", None])),
        stalled_since=draw(st.none() | ages.map(lambda age: NOW - age)),
    )
    wish = Wish(
        level=draw(st.integers(1, 3)),
        suspend=draw(st.sampled_from([False, False, True])),
        deleting=draw(st.sampled_from([False, False, False, True])),
        finalizers=draw(st.sampled_from([(), Wish().finalizers, (OTHERS_FINALIZER,)])),
        requested=draw(st.none() | ages.map(lambda age: NOW + HOUR - age)),
    )
    return observe(
        *found,
        told=told,
        wish=wish,
        allows=draw(st.integers(0, 3)),
        grace=draw(st.sampled_from([timedelta(0), GRACE])),
        blocked=draw(st.sampled_from([None, None, BLOCKED])),
        hold=draw(st.sampled_from([None, None, None, HOLD])),
    )


@given(worlds())
def test_a_plan_contradicts_itself_nowhere(world: Observed) -> None:
    """What stays in use is valid, on record and not revoked; nothing is done twice."""
    made = plan(world, NOW)
    revoked = [each for each, _ in made.revoke]
    assert len(set(revoked)) == len(revoked)
    assert set(revoked) <= set(world.held)
    if made.current is not None:
        assert made.current in world.own
        assert made.current not in revoked
        assert made.current.validity.not_after >= NOW
        assert made.issue is None
    if made.issue is not None:
        assert made.standing is Standing.GRANTED
        assert not made.release
    if made.look_again is not None and not made.acts:
        assert made.look_again >= NOW


@given(worlds())
def test_whoever_is_not_granted_gets_nothing(world: Observed) -> None:
    """Promise 2: a certificate is issued on a grant alone, and nobody else is held back for it."""
    made = plan(world, NOW)
    if made.standing is not Standing.GRANTED:
        assert made.issue is None
        assert not made.add_finalizer


@given(worlds())
def test_nothing_survives_an_end(world: Observed) -> None:
    """Promise 4: an end of any kind revokes all; strangers are revoked in any case."""
    made = plan(world, NOW)
    revoked = {each for each, _ in made.revoke}
    strangers = set(world.held) - set(world.own)
    assert strangers <= revoked
    if made.standing in {Standing.GONE, Standing.DELETING, Standing.SUSPENDED, Standing.HELD}:
        assert revoked == set(world.held)


@given(worlds())
def test_nothing_is_taken_away_without_a_verdict(world: Observed) -> None:
    """Promise 5: whoever waits for a class, an issuer or a new certificate keeps the old one."""
    made = plan(world, NOW)
    if made.standing is Standing.BLOCKED or made.issue is not None:
        assert not {each for each, _ in made.revoke} & set(world.own)
    if made.standing is Standing.BLOCKED:
        assert made.withdraw is None
    if made.standing is Standing.GRANTED:
        granted_to = world.identity.secret_name if world.identity else None
        assert made.withdraw != granted_to or made.withdraw is None


@given(worlds())
def test_the_same_world_makes_the_same_plan(world: Observed) -> None:
    """Nothing but the world and the time goes in."""
    assert plan(world, NOW) == plan(world, NOW)


@pytest.mark.parametrize("known", [None, 9])
def test_a_clock_that_was_ahead_costs_one_certificate(known: int | None) -> None:
    """What it made is replaced once, not again and again, and does not run out by itself."""
    ahead = AHEAD
    made = held(2, replaces=known)
    settled = plan(observe(ahead, made, told=status(made)), NOW)
    if known is None:  # both were made while nothing was confirmed: the Secret may hold either
        assert settled.issue is Cause.UNCONFIRMED
        last = held(3, replaces=2)
        settled = plan(observe(ahead, last, made, told=status(last)), NOW)
        made = last
    assert settled.issue is None
    assert settled.current == made
    assert (ahead, RevocationReason.SUPERSEDED) in settled.revoke


@given(st.integers(2, 24 * 3600), st.none() | st.integers(30, 24 * 3600))
def test_no_certificate_is_due_when_it_is_made(lifetime: int, before: int | None) -> None:
    """However short it lives and however early the class renews, or renewing would never end."""
    made = held(1, age=timedelta(0))
    short = replace(made, validity=Validity.of(NOW, lifetime * SECOND, timedelta(minutes=1)))
    wanted = class_up_to(3)
    renewal = wanted.spec.renewal.model_copy(
        update={"renew_before": None if before is None else before * SECOND}
    )
    spec = wanted.spec.model_copy(update={"renewal": renewal})
    due = renewal_of(short, wanted.model_copy(update={"spec": spec}))
    assert short.issued_at <= due <= short.validity.not_after
    assert lifetime < 3 or due > short.issued_at


# Authorities and algorithms


@pytest.mark.parametrize(
    "demands",
    [
        pytest.param(Demands(), id="none"),
        pytest.param(Demands(frozenset({"a2"}), 2), id="of-others"),
    ],
)
def test_a_certificate_that_meets_the_demands_stays(demands: Demands) -> None:
    """Signed by an authority that stays, and delivered with a bundle that is new enough."""
    world = replace(observe(SIGNED, told=status(A)), demands=demands)
    assert plan(world, NOW) == due(SIGNED)


def test_what_a_distrusted_authority_signed_does_not_run_out() -> None:
    """Once replaced it is revoked after the grace period, as if something was taken away."""
    old = replace(A, authority="a1")
    new = replace(B, authority="a2")
    moving = Demands(frozenset({"a1"}))
    world = replace(observe(new, old, told=status(B)), demands=moving)
    late = plan(world, B.issued_at + GRACE)
    assert late.revoke == ((old, REPLACED),)
    assert plan(world, B.issued_at + GRACE - SECOND).revoke == ()
    assert plan(replace(world, demands=Demands()), B.issued_at + GRACE).revoke == ()


def test_a_refused_identity_keeps_nothing_of_a_distrusted_authority() -> None:
    """It can be given no other one, so what it has is taken."""
    world = replace(
        observe(SIGNED, told=status(A), wish=WIDE, allows=2, grace=timedelta(0)),
        demands=Demands(frozenset({"a1"})),
    )
    assert plan(world, NOW).revoke == ((SIGNED, WITHDRAWN),)
    assert plan(replace(world, demands=Demands()), NOW).revoke == ()


def test_another_algorithm_waits_for_the_renewal_while_the_class_migrates() -> None:
    """And for nothing else: any other difference is a change as ever."""
    world = observe(A, told=status(A))
    assert isinstance(world.verdict, Granted)
    strong = replace(world.verdict.grant, key_algorithm=KeyAlgorithm.MLDSA65)
    assert plan(replace(world, verdict=replace(world.verdict, grant=strong)), NOW).issue is (
        Cause.CHANGED
    )
    migrating = replace(world.verdict, grant=strong, gradual=True)
    moving = replace(world, verdict=migrating)
    assert plan(moving, NOW).issue is None
    assert plan(moving, renewal_of(A, class_up_to(3))).issue is Cause.RENEWAL
    other = replace(migrating, grant=replace(strong, sponsor="ops@example.com"))
    assert plan(replace(world, verdict=other), NOW).issue is Cause.CHANGED
