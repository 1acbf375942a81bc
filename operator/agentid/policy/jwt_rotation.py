"""How the keys for JWT-SVIDs follow one another without anybody noticing.

```
            due, or asked for
 Signing ──────────────────────► a successor is made: Staged, in the bundle
    │                               │ that bundle is published, and read by everybody: three
    │                               │ refresh hints, and the propagation time at least
    │ ◄────────── promoted ─────────┘
 Retired ── its last token has expired ──► out of the bundle

 distrusted, whatever its stage ──► out of the bundle at once; a successor is made, and signs as
                                    soon as the bundle that holds it is published
```

Pure, and a part of `rotation.next_step`: each step is stored by itself before the next is looked
for. Not every token is on record, but none lives longer than `MAX_LIFETIME`, so a key that
signs no more can be forgotten without asking what it signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.api.duration import format_duration
from agentid.api.fields import format_time
from agentid.pki.jwt_svid import MAX_LIFETIME
from agentid.policy.jwt_keys import DropJwtKey, JwtKeyPublished, PromoteJwtKey, StageJwtKey
from agentid.policy.stages import Stage

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.policy.authorities import Authorities
    from agentid.policy.jwt_keys import JwtKey, JwtStep

__all__ = ["JWT_RETENTION", "JwtWish", "jwt_due_time", "jwt_waits_for", "next_jwt_step"]

JWT_RETENTION: Final = MAX_LIFETIME + timedelta(minutes=10)
"""How long a retired key stays in the bundle: until the last token that it signed has expired, and
for the time that another replica may take to see that it is retired, and verifiers for leeway."""

_HINTS: Final = 3
"""Refresh hints that a key is published for before it signs; SPIFFE Federation §4.1 recommends
three to five."""


@dataclass(frozen=True, slots=True)
class JwtWish:
    """What the AgentIssuer asks for.

    Attributes:
        rotation_period: How long a key signs.
        propagation_time: How long a new key is published before it signs, at least.
        refresh_hint: How often readers of the bundle look for another one.
        rotate: A key that signs since before this time is to be replaced; None if nobody asked.
    """

    rotation_period: timedelta
    propagation_time: timedelta
    refresh_hint: timedelta
    rotate: datetime | None = None

    @property
    def spread(self) -> timedelta:
        """How long a new key is published before it signs."""
        return max(self.propagation_time, _HINTS * self.refresh_hint)


def next_jwt_step(
    have: Authorities,
    wish: JwtWish,
    distrust: frozenset[str],
    published: int,
    now: datetime,
) -> JwtStep | None:
    """The one next step, None if there is nothing to do now.

    Args:
        have: All authorities of the issuer.
        wish: What is asked for.
        distrust: Fingerprints of authorities and keys that are to go.
        published: Sequence of the bundle that is published; 0 if none is known to be.
        now: The present.
    """
    for each in have.jwt_keys:
        distrusted = each.fingerprint in distrust
        if distrusted or (each.stage is Stage.RETIRED and now > each.since + JWT_RETENTION):
            return DropJwtKey(each.kid, distrusted=distrusted)
    return None if _damaged(have) else _move_on(have, wish, published, now)


def _move_on(have: Authorities, wish: JwtWish, published: int, now: datetime) -> JwtStep | None:
    staged, signing = have.jwt_key_at(Stage.STAGED), have.jwt_key_at(Stage.SIGNING)
    if staged is None:
        why = _why(signing, wish, now)
        return StageJwtKey(why) if why else None
    if staged.published_at is None:
        return JwtKeyPublished(staged.kid) if published >= staged.bundle else None
    if signing is None or now >= staged.published_at + wish.spread:
        return PromoteJwtKey(staged.kid)
    return None


def jwt_due_time(have: Authorities, wish: JwtWish) -> datetime | None:
    """When the key that signs is due to be replaced; None if none signs."""
    signing = have.jwt_key_at(Stage.SIGNING)
    return None if signing is None else signing.since + wish.rotation_period


def jwt_waits_for(have: Authorities, wish: JwtWish) -> str:
    """What a successor waits for, or why none can be made; empty if neither."""
    if damaged := _damaged(have):
        return (
            f"the private key of {damaged.kid} is missing or damaged; restore jwt-{damaged.kid}.key"
            f" from a backup, or name {damaged.fingerprint} in spec.distrust, and agentid makes "
            "another"
        )
    staged = have.jwt_key_at(Stage.STAGED)
    if staged is None:
        return ""
    if staged.published_at is None:
        return f"bundle {staged.bundle}, which holds the key {staged.kid}, is being published"
    ready = staged.published_at + wish.spread
    return (
        f"the key {staged.kid} is published for {format_duration(wish.spread)} first, until "
        f"{format_time(ready)}"
    )


def _damaged(have: Authorities) -> JwtKey | None:
    """A key that should sign, or will, and cannot: it is a person's to judge, and is left alone."""
    return next(
        (each for each in have.jwt_keys if each.stage is not Stage.RETIRED and not each.has_key),
        None,
    )


def _why(signing: JwtKey | None, wish: JwtWish, now: datetime) -> str:
    if signing is None:
        return "nothing signs JWT-SVIDs"
    if wish.rotate is not None and signing.since < wish.rotate <= now:
        return "the key is to be rotated"
    # So much earlier that it signs when the period is over.
    if now >= signing.since + max(wish.rotation_period - wish.spread, timedelta(0)):
        return f"the key signs since {format_time(signing.since)}"
    return ""
