"""How authorities follow one another without anybody noticing.

```
            due, asked for, or distrusted
 Signing ───────────────────────────────► a successor is made: Staged
    │                                        │ its CRLs and OCSP are served for long enough; a new
    │                                        │ root is in every bundle, then with every certificate,
    │                                        │ and that for long enough, too
    │ ◄───────────── promoted ───────────────┘
 Retired ── its last certificate has expired ──► removed; a root below which nobody is left goes
            (distrusted: once none of its certificates is in force) out of the bundles
```

Pure: given the authorities, what is wished and what is in use, it names the one next step. Each
step is stored by itself before the next is looked for, so a rotation goes on wherever it was
interrupted. All steps stand side by side, however many: which one comes first is what matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.duration import format_duration
from agentid.api.fields import format_time
from agentid.policy.authorities import (
    Delivered,
    DropRoot,
    NoteDistrust,
    Promote,
    Remove,
    Revoke,
    Stage,
    StageGiven,
    StageIssuing,
    StageRoot,
)
from agentid.policy.jwt_rotation import next_jwt_step

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.policy.authorities import Authorities, IssuingAuthority, Root, Step
    from agentid.policy.jwt_keys import JwtStep
    from agentid.policy.jwt_rotation import JwtWish

__all__ = [
    "DISTRUST_PATIENCE",
    "NO_DEMANDS",
    "RETENTION",
    "Demands",
    "Facts",
    "Given",
    "Usage",
    "Wish",
    "demands",
    "due_time",
    "next_step",
    "waits_for",
]

RETENTION: Final = timedelta(minutes=10)
"""How long an authority stays after its last certificate has expired: as long as the ledger keeps
the records of those certificates, so that the last CRL names what was revoked last."""

DISTRUST_PATIENCE: Final = timedelta(hours=1)
"""How long the successor of a distrusted authority waits for certificates to be delivered with its
root, at most; and how long the distrusted one stays in the bundles, at most, once its successor
signs. It counts from when agentid saw the distrust, or later if what is waited for began later. By
then every agent that can be given another certificate has one; what is left, such as an
identity whose class is gone, must not keep a compromised authority trusted."""

_ISSUING_KEPT: Final = 3
"""An issuing authority is replaced when a third of its lifetime is left: an outage of agentid that
long is survived."""

_ROOT_KEPT: Final = 5
"""A root is replaced when a fifth of its lifetime is left, or two lifetimes of an issuing authority
if that is longer: the last one below it still gets its whole lifetime."""


@dataclass(frozen=True, slots=True)
class Given:
    """An issuing authority that somebody else has certified, and that is to be used.

    Attributes:
        id: As of an `IssuingAuthority`.
        fingerprint: Likewise.
    """

    id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What the AgentIssuer asks for.

    Attributes:
        intermediate_lifetime: Of an issuing authority that is made.
        propagation_time: How long what verifiers need is there before it is needed: a new root in
            the bundles and beside every certificate, the CRLs of a new issuing authority.
        distrust: Fingerprints of authorities that are to go.
        rotate: An issuing authority made before this time is to be replaced; None if nobody asked.
        rotate_root: Likewise a root.
        given: The authority to use; None if agentid makes its own.
        jwt: What is asked of the keys for JWT-SVIDs; None leaves them as they are.
    """

    intermediate_lifetime: timedelta
    propagation_time: timedelta
    distrust: frozenset[str] = frozenset()
    rotate: datetime | None = None
    rotate_root: datetime | None = None
    given: Given | None = None
    jwt: JwtWish | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the ledger says of the certificates of one authority.

    Attributes:
        until: The latest notAfter of any, revoked ones included.
        in_force_until: The latest notAfter of those that are not revoked; None if there is none.
    """

    until: datetime
    in_force_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the world has come to.

    Attributes:
        usage: By id of the authority; an authority without certificates on record has none.
        delivered: The lowest sequence of a bundle among the certificates in use, which are those
            in force whose successor is not known to be delivered; None if there is none.
        served: Ids of issuing authorities whose CRLs and OCSP signer are published.
        published: Sequence of the bundle that is published; 0 if none is known to be.
    """

    usage: Mapping[str, Usage]
    delivered: int | None
    served: frozenset[str]
    published: int


@dataclass(frozen=True, slots=True)
class Demands:
    """What the rotation of authorities asks of the certificates of an issuer.

    Attributes:
        moving: Ids of authorities whose certificates are to be replaced, then revoked.
        bundle: What was delivered with an earlier bundle than this is to be delivered anew.
    """

    moving: frozenset[str] = frozenset()
    bundle: int = 0

    def concern(self, authority: str, bundle: int) -> bool:
        """Whether a certificate has to be replaced at once.

        Args:
            authority: Id of the authority that signed it.
            bundle: Sequence of the bundle that it was delivered with.
        """
        return authority in self.moving or bundle < self.bundle


NO_DEMANDS: Final = Demands()
"""While nothing is exchanged in a hurry."""


def demands(have: Authorities, distrust: frozenset[str]) -> Demands:
    """What certificates have to follow; nothing moves before there is somewhere to move to."""
    signing = have.signing
    if signing is None or have.is_distrusted(signing, distrust):
        return Demands(bundle=have.required)
    moving = (each.id for each in have.issuing if have.is_distrusted(each, distrust))
    return Demands(frozenset(moving), have.required)


def next_step(have: Authorities, wish: Wish, facts: Facts, now: datetime) -> Step | None:
    """The one next step, None if there is nothing to do now."""
    return (
        _jwt_step(have, wish, facts, now)
        or _note(have, wish)
        or _clean_up(have, wish, facts, now)
        or _move_on(have, wish, facts, now)
    )


def _jwt_step(have: Authorities, wish: Wish, facts: Facts, now: datetime) -> JwtStep | None:
    """First of all: a distrusted key goes at once, whatever authorities wait for."""
    if wish.jwt is None:
        return None
    return next_jwt_step(have, wish.jwt, wish.distrust, facts.published, now)


def due_time(have: Authorities, wish: Wish) -> datetime | None:
    """When the authorities that sign are due to be replaced; None if nothing signs."""
    signing = have.signing
    if signing is None:
        return None
    root, times = have.root_of(signing), [_issuing_due(signing)]
    if root is not None and wish.given is None:
        times.append(_root_due(root, wish))
    return min(times)


def waits_for(have: Authorities, wish: Wish, facts: Facts, now: datetime) -> str:
    """What a rotation that has begun waits for, or why one cannot begin; empty if neither."""
    staged = have.at(Stage.STAGED)
    if staged is not None:
        return _not_ready(have, staged, wish, facts, now)
    signing = have.signing
    if signing is None:
        return "no authority signs"
    why = _why_issuing(have, signing, wish, now)
    root = have.root_of(signing)
    if why and wish.given is not None:
        return (
            f"the issuing authority {signing.id} {why}, and it is not agentid's to replace; put "
            "its successor, certified by your CA, into the Secret"
        )
    if why and root is not None and not root.has_key:
        return (
            f"the issuing authority {signing.id} {why}, and the key of the root {root.id} is not "
            "at hand; bring it back for a moment, or rotate the root"
        )
    return ""


def _note(have: Authorities, wish: Wish) -> NoteDistrust | None:
    """Keep on record since when somebody is distrusted: patience counts from there."""
    known = {root.fingerprint for root in have.roots}
    known |= {each.fingerprint for each in have.issuing}
    noted = known & {each.fingerprint for each in have.distrusted}
    named = wish.distrust & known
    return None if noted == named else NoteDistrust(named)


# What goes


def _clean_up(have: Authorities, wish: Wish, facts: Facts, now: datetime) -> Step | None:
    for each in have.issuing:
        if each.stage is not Stage.RETIRED:
            continue
        distrusted = have.is_distrusted(each, wish.distrust)
        if distrusted and (step := _expel(have, each, wish, facts, now)) is not None:
            return step
        if _is_spent(each, facts, now):
            return Remove(each.id)
    below = {each.root for each in have.issuing}
    # A newest one that has nobody below it was distrusted before it signed anything.
    unused = [root for root in have.roots if root.id not in below]
    if unused and have.signing is not None:
        return DropRoot(unused[-1].id, hurry=unused[-1].fingerprint in wish.distrust)
    return None


def _expel(
    have: Authorities, each: IssuingAuthority, wish: Wish, facts: Facts, now: datetime
) -> Step | None:
    """How a distrusted authority goes once none of its certificates is in force."""
    signing = have.signing
    if signing is None or have.is_distrusted(signing, wish.distrust):
        return None  # there is no other one yet
    root = have.root_of(each)
    if root is None:
        return None
    if root.fingerprint in wish.distrust:
        below = [one for one in have.issuing if one.root == root.id]
        used = any(_is_in_force(have, one, facts, now) for one in below)
        return DropRoot(root.id, hurry=True) if root.trusted and not used else None
    if _is_in_force(have, each, facts, now):
        return None
    revoked = any(one.serial == each.serial for one in root.revoked)
    return None if revoked or not root.has_key else Revoke(each.id)


def _is_in_force(have: Authorities, each: IssuingAuthority, facts: Facts, now: datetime) -> bool:
    """Whether certificates that it signed are in use, for as long as they are waited for."""
    usage = facts.usage.get(each.id)
    last = None if usage is None else usage.in_force_until
    return last is not None and last >= now and now < _patience(have, each, each.since)


def _patience(have: Authorities, distrusted: IssuingAuthority, begun: datetime) -> datetime:
    """When nobody is waited for any more."""
    seen = have.distrusted_at(distrusted)
    return (begun if seen is None else max(begun, seen)) + DISTRUST_PATIENCE


def _is_spent(each: IssuingAuthority, facts: Facts, now: datetime) -> bool:
    usage = facts.usage.get(each.id)
    last = each.validity.not_after if usage is None else usage.until
    # One that was just retired may have signed what is not on the ledger yet.
    settled = now > each.since + RETENTION
    return settled and (usage is None or now > last + RETENTION)


# What comes


def _move_on(have: Authorities, wish: Wish, facts: Facts, now: datetime) -> Step | None:
    staged = have.at(Stage.STAGED)
    if staged is None:
        return _successor_given(have, wish) if wish.given else _successor(have, wish, now)
    if have.is_distrusted(staged, wish.distrust):
        return Remove(staged.id)
    root = have.root_of(staged)
    if root is not None and root.delivered_at is None and _is_delivered(root, facts):
        return Delivered(root.id)
    return None if _not_ready(have, staged, wish, facts, now) else Promote(staged.id)


def _successor_given(have: Authorities, wish: Wish) -> Step | None:
    given, signing = wish.given, have.signing
    if given is None or given.fingerprint in wish.distrust:
        return None
    if any(each.id == given.id for each in have.issuing):
        return None
    return StageGiven(
        hurry=signing is not None and have.is_distrusted(signing, wish.distrust),
    )


def _successor(have: Authorities, wish: Wish, now: datetime) -> Step | None:
    signing = have.signing
    root = None if signing is None else have.root_of(signing)
    if signing is None or root is None:
        return StageRoot("nothing signs", hurry=True)
    why, hurry = _why_root(root, wish, now)
    if why:
        return StageRoot(f"the root {why}", hurry=hurry)
    why = _why_issuing(have, signing, wish, now)
    if why and root.has_key:
        return StageIssuing(root.id, f"the issuing authority {why}")
    return None


def _why_root(root: Root, wish: Wish, now: datetime) -> tuple[str, bool]:
    """Why a root has to be replaced, and whether certificates must not wait for their renewal."""
    if root.fingerprint in wish.distrust:
        return "is distrusted", True
    if wish.rotate_root is not None and root.published_at < wish.rotate_root <= now:
        return "is to be rotated", True
    if now >= _root_due(root, wish):
        return f"expires at {format_time(root.validity.not_after)}", False
    return "", False


def _why_issuing(have: Authorities, signing: IssuingAuthority, wish: Wish, now: datetime) -> str:
    if have.is_distrusted(signing, wish.distrust):
        return "is distrusted"
    if wish.rotate is not None and signing.since < wish.rotate <= now:
        return "is to be rotated"
    if now >= _issuing_due(signing):
        return f"expires at {format_time(signing.validity.not_after)}"
    return ""


def _not_ready(
    have: Authorities, staged: IssuingAuthority, wish: Wish, facts: Facts, now: datetime
) -> str:
    """What a staged authority still waits for; empty if it may sign."""
    if staged.id not in facts.served:
        return f"the CRLs and the OCSP signer of {staged.id} are being published"
    signing, root = have.signing, have.root_of(staged)
    if signing is None or not signing.validity.contains(now):
        return ""  # nothing that is valid could break
    if root is not None and root.id != signing.root:
        hurry = have.is_distrusted(signing, wish.distrust)
        patience = _patience(have, signing, root.published_at) if hurry else None
        return _not_spread(root, wish, facts, now, patience)
    ready = staged.since + wish.propagation_time
    if now >= ready:
        return ""
    return (
        f"the CRLs of {staged.id} are served for {format_duration(wish.propagation_time)} first, "
        f"until {format_time(ready)}"
    )


def _not_spread(
    root: Root, wish: Wish, facts: Facts, now: datetime, patience: datetime | None
) -> str:
    """Who may not know a new root yet; empty if everybody does, or they had their time."""
    patient = patience is None or now < patience
    if patient and facts.published < root.since:
        return f"bundle {root.since}, which holds the root {root.id}, is being published"
    if patient and not _is_delivered(root, facts):
        return (
            f"some certificates were delivered with bundle {facts.delivered}, which does not hold "
            f"the root {root.id} of bundle {root.since}; they are being renewed"
        )
    ready = (root.delivered_at or root.published_at) + wish.propagation_time
    if now < ready:
        return (
            f"the root {root.id} stands beside every certificate for "
            f"{format_duration(wish.propagation_time)} first, until {format_time(ready)}"
        )
    return ""


def _is_delivered(root: Root, facts: Facts) -> bool:
    published = facts.published >= root.since
    return published and (facts.delivered is None or facts.delivered >= root.since)


def _issuing_due(issuing: IssuingAuthority) -> datetime:
    return issuing.validity.not_after - issuing.validity.lifetime / _ISSUING_KEPT


def _root_due(root: Root, wish: Wish) -> datetime:
    whole = root.validity.lifetime
    kept = min(max(whole / _ROOT_KEPT, 2 * wish.intermediate_lifetime), whole / 2)
    return root.validity.not_after - kept
