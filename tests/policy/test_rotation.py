"""How authorities follow one another: each step at its time, and no step that breaks a verifier."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.identity import SerialNumber, Validity
from agentid.policy.authorities import (
    Authorities,
    Delivered,
    Distrusted,
    DropRoot,
    IssuingAuthority,
    NoteDistrust,
    Promote,
    Remove,
    Revoke,
    RevokedAuthority,
    Root,
    Stage,
    StageGiven,
    StageIssuing,
    StageRoot,
    delivered,
    distrust_noted,
    dropped,
    promoted,
    removed,
    revoked,
)
from agentid.policy.rotation import (
    DISTRUST_PATIENCE,
    RETENTION,
    Demands,
    Facts,
    Given,
    Usage,
    Wish,
    demands,
    due_time,
    next_step,
    waits_for,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY, SECOND = (
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(seconds=1),
)
NEVER: Facts = Facts({}, None, frozenset(), 0)
WISH = Wish(intermediate_lifetime=90 * DAY, propagation_time=15 * MINUTE)


def root(
    name: str,
    *,
    since: int = 1,
    at: datetime = NOW,
    key: bool = True,
    delivered_at: datetime | None = None,
) -> Root:
    """A root of ten years."""
    validity = Validity.of(at, 3650 * DAY, MINUTE)
    return Root(name, f"fp-{name}", validity, since, at, key, delivered_at=delivered_at)


def issuing(
    name: str,
    stage: Stage = Stage.SIGNING,
    *,
    below: str = "r1",
    at: datetime = NOW,
    since: datetime | None = None,
) -> IssuingAuthority:
    """An issuing authority of ninety days."""
    return IssuingAuthority(
        name,
        f"fp-{name}",
        SerialNumber(int(name[1:]) + 100),
        Validity.of(at, 90 * DAY, MINUTE),
        below,
        8,
        "http://responder.test",
        stage,
        since or at,
    )


CALM = Authorities((root("r1", delivered_at=NOW),), (issuing("i1"),), 1)
STAGED = replace(CALM, issuing=(issuing("i2", Stage.STAGED), issuing("i1")))
NEW_ROOT = Authorities(
    (root("r2", since=2), root("r1", at=NOW - 365 * DAY)),
    (issuing("i2", Stage.STAGED, below="r2"), issuing("i1", at=NOW - DAY)),
    2,
)
EVERYWHERE = delivered(NEW_ROOT, Delivered("r2"), NOW + 5 * MINUTE)
PROMOTED = replace(
    EVERYWHERE,
    issuing=(
        issuing("i2", below="r2"),
        issuing("i1", Stage.RETIRED, at=NOW - DAY, since=NOW),
    ),
)
SERVED = Facts({}, None, frozenset({"i1", "i2"}), 2)
LATER = NOW + HOUR
LIVE = Usage(LATER + HOUR, LATER + HOUR)


def served(delivered: int | None = None, **usage: Usage) -> Facts:
    """What is served, and what is in use."""
    return Facts(usage, delivered, frozenset({"i1", "i2"}), 3)


def distrusting(*names: str) -> Wish:
    """A wish to be rid of some."""
    return replace(WISH, distrust=frozenset(f"fp-{name}" for name in names))


def noted(have: Authorities, *names: str, at: datetime = NOW) -> Authorities:
    """The same, and since when somebody is distrusted."""
    return distrust_noted(have, NoteDistrust(distrusting(*names).distrust), at)


ROWS = [
    pytest.param(CALM, WISH, NEVER, NOW, None, id="nothing-is-due"),
    pytest.param(
        CALM, WISH, NEVER, NOW + 60 * DAY - SECOND * 100, None, id="a-third-is-not-reached"
    ),
    pytest.param(
        CALM,
        WISH,
        NEVER,
        NOW + 60 * DAY,
        StageIssuing("r1", "the issuing authority expires at 2027-01-30T11:59:59Z"),
        id="a-third-is-left",
    ),
    pytest.param(
        CALM,
        replace(WISH, rotate=NOW + HOUR),
        NEVER,
        NOW + HOUR,
        StageIssuing("r1", "the issuing authority is to be rotated"),
        id="asked-for",
    ),
    pytest.param(CALM, replace(WISH, rotate=NOW), NEVER, LATER, None, id="asked-for-and-done"),
    pytest.param(
        CALM, replace(WISH, rotate=LATER + HOUR), NEVER, LATER, None, id="asked-for-the-future"
    ),
    pytest.param(
        CALM,
        replace(WISH, rotate_root=LATER),
        NEVER,
        LATER,
        StageRoot("the root is to be rotated", hurry=True),
        id="root-asked-for",
    ),
    pytest.param(
        CALM,
        WISH,
        NEVER,
        NOW + 2920 * DAY,
        StageRoot("the root expires at 2036-10-29T11:59:59Z", hurry=False),
        id="a-fifth-of-the-root-is-left",
    ),
    pytest.param(
        replace(CALM, roots=(root("r1", key=False),)),
        WISH,
        NEVER,
        NOW + 60 * DAY,
        None,
        id="the-key-of-the-root-is-elsewhere",
    ),
    pytest.param(
        noted(CALM, "i1"),
        distrusting("i1"),
        NEVER,
        LATER,
        StageIssuing("r1", "the issuing authority is distrusted"),
        id="issuing-distrusted",
    ),
    pytest.param(
        noted(CALM, "r1"),
        distrusting("r1"),
        NEVER,
        LATER,
        StageRoot("the root is distrusted", hurry=True),
        id="root-distrusted",
    ),
    # Staged
    pytest.param(STAGED, WISH, NEVER, NOW, None, id="its-crls-are-not-served-yet"),
    pytest.param(
        STAGED, WISH, SERVED, NOW + 15 * MINUTE - SECOND, None, id="its-crls-are-fetched-yet"
    ),
    pytest.param(STAGED, WISH, SERVED, NOW + 15 * MINUTE, Promote("i2"), id="its-crls-are-there"),
    pytest.param(
        noted(STAGED, "i1"),
        distrusting("i1"),
        SERVED,
        NOW,
        None,
        id="a-distrusted-one-signs-until-then",
    ),
    pytest.param(
        NEW_ROOT, WISH, served(2), NOW + SECOND, Delivered("r2"), id="it-is-beside-every-leaf"
    ),
    pytest.param(NEW_ROOT, WISH, SERVED, LATER, Delivered("r2"), id="there-is-no-leaf"),
    pytest.param(EVERYWHERE, WISH, SERVED, NOW + 20 * MINUTE - SECOND, None, id="is-read-yet"),
    pytest.param(
        EVERYWHERE, WISH, SERVED, NOW + 20 * MINUTE, Promote("i2"), id="everybody-has-read-it"
    ),
    pytest.param(
        NEW_ROOT, WISH, served(1, i1=LIVE), LATER, None, id="a-leaf-was-delivered-without-the-root"
    ),
    pytest.param(
        EVERYWHERE, WISH, served(1, i1=LIVE), LATER, None, id="one-more-came-without-the-root"
    ),
    pytest.param(
        noted(NEW_ROOT, "r1"),
        distrusting("r1"),
        served(1, i1=LIVE),
        NOW + DISTRUST_PATIENCE - SECOND,
        None,
        id="a-distrusted-root-waits-for-leaves",
    ),
    pytest.param(
        noted(NEW_ROOT, "r1"),
        distrusting("r1"),
        served(1, i1=LIVE),
        NOW + DISTRUST_PATIENCE,
        Promote("i2"),
        id="and-not-for-those-that-never-come",
    ),
    pytest.param(
        NEW_ROOT,
        WISH,
        served(1, i1=LIVE),
        NOW + 100 * DAY,
        Promote("i2"),
        id="nothing-valid-is-left-to-break",
    ),
    pytest.param(
        noted(NEW_ROOT, "i2"),
        distrusting("i2"),
        SERVED,
        LATER,
        Remove("i2"),
        id="distrusted-before-it-signed",
    ),
    pytest.param(
        noted(replace(NEW_ROOT, issuing=NEW_ROOT.issuing[1:]), "i2"),
        distrusting("i2"),
        SERVED,
        LATER,
        DropRoot("r2", hurry=False),
        id="its-root-goes-with-it",
    ),
    # Retired
    pytest.param(
        PROMOTED, WISH, served(2, i1=LIVE, i2=LIVE), LATER, None, id="retired-and-still-in-use"
    ),
    pytest.param(
        PROMOTED,
        WISH,
        served(2, i1=Usage(LATER, None), i2=LIVE),
        LATER + RETENTION,
        None,
        id="its-last-crl-is-kept-for-a-while",
    ),
    pytest.param(
        PROMOTED,
        WISH,
        served(2, i1=Usage(LATER, None), i2=LIVE),
        LATER + RETENTION + SECOND,
        Remove("i1"),
        id="its-last-leaf-has-expired",
    ),
    pytest.param(
        PROMOTED, WISH, served(2, i2=LIVE), NOW + RETENTION, None, id="just-retired-never-used"
    ),
    pytest.param(
        PROMOTED,
        WISH,
        served(2, i2=LIVE),
        NOW + RETENTION + SECOND,
        Remove("i1"),
        id="retired-never-used",
    ),
    pytest.param(
        replace(PROMOTED, issuing=PROMOTED.issuing[:1]),
        WISH,
        served(2, i2=LIVE),
        LATER,
        DropRoot("r1", hurry=False),
        id="nobody-below-the-old-root",
    ),
    pytest.param(
        noted(PROMOTED, "r1"),
        distrusting("r1"),
        served(2, i1=LIVE, i2=LIVE),
        NOW + MINUTE,
        None,
        id="distrusted-and-its-leaves-are-being-moved",
    ),
    pytest.param(
        noted(PROMOTED, "r1"),
        distrusting("r1"),
        served(2, i1=Usage(LATER, None), i2=LIVE),
        NOW + MINUTE,
        DropRoot("r1", hurry=True),
        id="distrusted-root-and-none-in-force",
    ),
    pytest.param(
        noted(
            replace(
                PROMOTED,
                issuing=(
                    *PROMOTED.issuing,
                    issuing("i0", Stage.RETIRED, at=NOW - DAY, since=NOW - HOUR),
                ),
            ),
            "r1",
        ),
        distrusting("r1"),
        served(2, i0=Usage(LATER, None), i1=LIVE, i2=LIVE),
        NOW + MINUTE,
        None,
        id="distrusted-root-and-one-of-its-two-is-in-force",
    ),
    pytest.param(
        noted(PROMOTED, "r1"),
        distrusting("r1"),
        served(2, i1=LIVE, i2=LIVE),
        NOW + DISTRUST_PATIENCE,
        DropRoot("r1", hurry=True),
        id="distrusted-root-and-patience-is-over",
    ),
    pytest.param(
        noted(replace(PROMOTED, issuing=PROMOTED.issuing[:1]), "r1"),
        distrusting("r1"),
        served(2, i2=LIVE),
        NOW + MINUTE,
        DropRoot("r1", hurry=True),
        id="the-distrusted-root-leaves-the-bundle",
    ),
    pytest.param(
        noted(dropped(PROMOTED, DropRoot("r1", hurry=True)), "r1"),
        distrusting("r1"),
        served(3, i1=Usage(LATER, None), i2=LIVE),
        LATER,
        None,
        id="out-of-the-bundle-and-its-crls-go-on",
    ),
    pytest.param(
        noted(dropped(PROMOTED, DropRoot("r1", hurry=True)), "r1"),
        distrusting("r1"),
        served(3, i1=Usage(LATER, None), i2=LIVE),
        LATER + RETENTION + SECOND,
        Remove("i1"),
        id="until-what-it-signed-has-expired",
    ),
    pytest.param(
        noted(promoted(STAGED, Promote("i2"), NOW), "i1"),
        distrusting("i1"),
        served(1, i1=Usage(LATER, None), i2=LIVE),
        NOW + MINUTE,
        Revoke("i1"),
        id="a-distrusted-intermediate-is-revoked-by-its-root",
    ),
    pytest.param(
        noted(revoked(promoted(STAGED, Promote("i2"), NOW), Revoke("i1"), NOW), "i1"),
        distrusting("i1"),
        served(1, i1=Usage(LATER, None), i2=LIVE),
        NOW + MINUTE,
        None,
        id="revoked-and-its-crl-goes-on",
    ),
    pytest.param(
        NEW_ROOT,
        WISH,
        replace(SERVED, published=1),
        LATER,
        None,
        id="its-bundle-is-not-published-so-it-is-not-everywhere",
    ),
    pytest.param(
        EVERYWHERE,
        WISH,
        replace(SERVED, published=1),
        LATER,
        None,
        id="its-bundle-was-taken-back",
    ),
    pytest.param(
        noted(NEW_ROOT, "r1"),
        distrusting("r1"),
        replace(SERVED, published=1),
        NOW + DISTRUST_PATIENCE,
        Promote("i2"),
        id="a-distrusted-root-does-not-wait-for-it-for-ever",
    ),
    # Since when it is distrusted
    pytest.param(
        PROMOTED,
        distrusting("r1", "i1"),
        served(2, i1=Usage(LATER, None), i2=LIVE),
        LATER,
        NoteDistrust(frozenset({"fp-r1", "fp-i1"})),
        id="distrust-is-put-on-record-first",
    ),
    pytest.param(
        noted(PROMOTED, "r1", "i1"),
        distrusting("i1"),
        served(2, i1=LIVE, i2=LIVE),
        LATER,
        NoteDistrust(frozenset({"fp-i1"})),
        id="and-so-is-that-it-was-taken-back",
    ),
    pytest.param(
        PROMOTED,
        distrusting("r7"),
        served(2, i1=LIVE, i2=LIVE),
        LATER,
        None,
        id="not-that-of-somebody-else",
    ),
    pytest.param(
        noted(PROMOTED, "r1", at=LATER),
        distrusting("r1"),
        served(2, i1=LIVE, i2=LIVE),
        LATER + DISTRUST_PATIENCE - SECOND,
        None,
        id="retired-long-ago-and-distrusted-now-it-waits-as-long",
    ),
    pytest.param(
        noted(PROMOTED, "r1", at=LATER),
        distrusting("r1"),
        served(2, i1=LIVE, i2=LIVE),
        LATER + DISTRUST_PATIENCE,
        DropRoot("r1", hurry=True),
        id="and-no-longer",
    ),
    pytest.param(
        noted(NEW_ROOT, "r1", at=LATER),
        distrusting("r1"),
        served(1, i1=LIVE),
        LATER + DISTRUST_PATIENCE - SECOND,
        None,
        id="a-successor-that-was-there-already-waits-for-leaves",
    ),
    pytest.param(
        noted(NEW_ROOT, "r1", at=LATER),
        distrusting("r1"),
        served(1, i1=LIVE),
        LATER + DISTRUST_PATIENCE,
        Promote("i2"),
        id="for-an-hour-as-well",
    ),
    # Given
    pytest.param(
        CALM,
        replace(WISH, given=Given("i9", "fp-i9")),
        NEVER,
        NOW,
        StageGiven(hurry=False),
        id="another-one-is-given",
    ),
    pytest.param(
        CALM,
        replace(WISH, given=Given("i1", "fp-i1")),
        NEVER,
        NOW + 80 * DAY,
        None,
        id="the-one-that-is-given-is-not-ours-to-replace",
    ),
]


@pytest.mark.parametrize(("have", "wish", "facts", "now", "step"), ROWS)
def test_the_next_step(
    have: Authorities, wish: Wish, facts: Facts, now: datetime, step: object
) -> None:
    """Exactly this, and nothing else at the same time."""
    assert next_step(have, wish, facts, now) == step


@pytest.mark.parametrize(
    ("have", "wish", "facts", "now", "sentence"),
    [
        pytest.param(CALM, WISH, NEVER, NOW, "", id="calm"),
        pytest.param(
            STAGED, WISH, NEVER, NOW, "the CRLs and the OCSP signer of i2 are being", id="crls"
        ),
        pytest.param(
            NEW_ROOT,
            WISH,
            served(1, i1=LIVE),
            LATER,
            "delivered with bundle 1, which does not hold the root r2 of bundle 2",
            id="deliveries",
        ),
        pytest.param(
            NEW_ROOT,
            WISH,
            replace(SERVED, published=1),
            LATER,
            "bundle 2, which holds the root r2, is being published",
            id="publication",
        ),
        pytest.param(
            NEW_ROOT,
            WISH,
            SERVED,
            NOW,
            "the root r2 stands beside every certificate for 15m first, until 2026-11-01T12:15:00Z",
            id="propagation",
        ),
        pytest.param(
            STAGED,
            WISH,
            SERVED,
            NOW,
            "the CRLs of i2 are served for 15m first, until 2026-11-01T12:15:00Z",
            id="crls-are-fetched",
        ),
        pytest.param(
            replace(CALM, roots=(root("r1", key=False),)),
            WISH,
            NEVER,
            NOW + 60 * DAY,
            "the key of the root r1 is not at hand; bring it back for a moment, or rotate the root",
            id="root-key",
        ),
        pytest.param(
            CALM,
            replace(WISH, given=Given("i1", "fp-i1")),
            NEVER,
            NOW + 60 * DAY,
            "put its successor, certified by your CA, into the Secret",
            id="given",
        ),
    ],
)
def test_says_what_it_waits_for(
    have: Authorities, wish: Wish, facts: Facts, now: datetime, sentence: str
) -> None:
    """In a sentence that a person can act upon."""
    assert sentence in waits_for(have, wish, facts, now)
    assert bool(sentence) == bool(waits_for(have, wish, facts, now))


def test_nothing_moves_before_there_is_somewhere_to_move_to() -> None:
    """Leaves of a distrusted authority are replaced once another one signs, and not before."""
    gone = frozenset({"fp-r1"})
    assert demands(CALM, gone) == Demands()
    assert demands(replace(NEW_ROOT, required=2), gone) == Demands(bundle=2)
    assert demands(PROMOTED, gone) == Demands(frozenset({"i1"}))
    assert demands(PROMOTED, frozenset()) == Demands()


def test_a_demand_concerns_what_it_names() -> None:
    """Leaves of an authority that goes, and those delivered with an older bundle."""
    asked = Demands(frozenset({"i1"}), 3)
    assert asked.concern("i1", 9)
    assert asked.concern("i2", 2)
    assert not asked.concern("i2", 3)


def test_a_new_root_is_due_before_an_intermediate_would_be_cut() -> None:
    """With long-lived intermediates two of their lifetimes are left, never more than half."""
    wish = replace(WISH, intermediate_lifetime=1000 * DAY)
    long = replace(issuing("i1"), validity=Validity.of(NOW, 1000 * DAY, MINUTE))
    have = replace(CALM, issuing=(long,))
    due = due_time(have, replace(wish, intermediate_lifetime=500 * DAY))
    whole = have.roots[0].validity
    assert due == min(
        long.validity.not_after - long.validity.lifetime / 3, whole.not_after - 1000 * DAY
    )
    half = due_time(replace(have, issuing=(replace(long, validity=whole),)), wish)
    assert half == whole.not_after - whole.lifetime / 2


def test_the_crl_of_a_root_keeps_who_was_revoked() -> None:
    """Also when the authority itself is forgotten."""
    gone = removed(revoked(promoted(STAGED, Promote("i2"), NOW), Revoke("i1"), NOW), Remove("i1"))
    entry = RevokedAuthority(SerialNumber(101), NOW, CALM.issuing[0].validity.not_after)
    assert gone.roots[0].revoked == (entry,)
    assert [each.id for each in gone.issuing] == ["i2"]


def test_a_root_is_kept_for_the_crls_below_it() -> None:
    """Out of the bundle it goes at once, off the record with the last authority below it."""
    out = dropped(PROMOTED, DropRoot("r1", hurry=True))
    assert [(root.id, root.trusted) for root in out.roots] == [("r2", True), ("r1", False)]
    assert [root.id for root in removed(out, Remove("i1")).roots] == ["r2"]


def test_distrust_counts_from_when_it_was_seen_first() -> None:
    """What is named anew does not begin again; what is named no more is forgotten."""
    first = noted(PROMOTED, "i1", "i2")
    later = noted(first, "i1", "r1", at=LATER)
    assert later.distrusted == (Distrusted("fp-i1", NOW), Distrusted("fp-r1", LATER))
    assert later.distrusted_at(PROMOTED.issuing[1]) == NOW
    assert later.distrusted_at(PROMOTED.issuing[0]) is None
    assert noted(PROMOTED, "r1", at=LATER).distrusted_at(PROMOTED.issuing[1]) == LATER


def test_every_bundle_has_a_number_of_its_own() -> None:
    """It grows when a root goes; in a hurry everything is to be delivered anew."""
    assert dropped(PROMOTED, DropRoot("r1", hurry=False)).sequence == 3
    assert dropped(PROMOTED, DropRoot("r1", hurry=False)).required == 0
    assert dropped(PROMOTED, DropRoot("r1", hurry=True)).required == 3


@given(
    minutes=st.integers(0, 200 * 24 * 60),
    distrust=st.sets(st.sampled_from(["r1", "r2", "i1", "i2"])),
    sequence=st.none() | st.integers(1, 2),
    is_served=st.booleans(),
    published=st.integers(0, 2),
    have=st.sampled_from([CALM, STAGED, NEW_ROOT, EVERYWHERE, PROMOTED]),
)
def test_never_leaves_verifiers_without_the_root_of_what_signs(
    minutes: int,
    distrust: set[str],
    sequence: int | None,
    have: Authorities,
    published: int,
    *,
    is_served: bool,
) -> None:
    """Whatever is wished: the root of the signing authority stays, and that authority too."""
    now = NOW + minutes * MINUTE
    facts = Facts({}, sequence, frozenset({"i1", "i2"} if is_served else ()), published)
    step = next_step(noted(have, *distrust), distrusting(*distrust), facts, now)
    signing = have.signing
    assert signing is not None
    match step:
        case Remove(id=name):
            assert name != signing.id
        case DropRoot(id=name):
            assert name != signing.root
            assert next(root for root in have.roots if root.id == name).trusted
        case Promote(id=name):
            assert is_served
            assert name not in distrust
        case _:
            pass
