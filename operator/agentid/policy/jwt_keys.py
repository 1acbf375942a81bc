"""The keys that sign JWT-SVIDs as records, and what each step of their rotation makes of them.

Which step comes next is decided in `jwt_rotation`; the keys themselves are kept by
`agentid.issuers`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from agentid.policy.stages import Stage

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "DropJwtKey",
    "JwtKey",
    "JwtKeyPublished",
    "JwtStep",
    "PromoteJwtKey",
    "StageJwtKey",
    "dropped",
    "promoted",
    "published",
]


@dataclass(frozen=True, slots=True)
class JwtKey:
    """A key that signs JWT-SVIDs, did, or will.

    Attributes:
        kid: Its thumbprint (RFC 7638) in Base64url.
        fingerprint: The same octets in lower-case hexadecimal.
        stage: How far it is in its life.
        since: When it came to that stage.
        bundle: Sequence of the first bundle that holds it.
        published_at: When such a bundle was seen to be published; None as long as none was.
        has_key: Whether its private key is at hand and whole. A retired one has none any more.
    """

    kid: str
    fingerprint: str
    stage: Stage
    since: datetime
    bundle: int
    published_at: datetime | None
    has_key: bool


@dataclass(frozen=True, slots=True)
class StageJwtKey:
    """Make a key, which stands in the bundle from now on.

    Attributes:
        why: For the log.
    """

    why: str


@dataclass(frozen=True, slots=True)
class JwtKeyPublished:
    """Note that a bundle with the staged key is published.

    Attributes:
        kid: Of the key.
    """

    kid: str


@dataclass(frozen=True, slots=True)
class PromoteJwtKey:
    """Let the staged key sign, and retire the one that did, whose private half is forgotten.

    Attributes:
        kid: Of the staged one.
    """

    kid: str


@dataclass(frozen=True, slots=True)
class DropJwtKey:
    """Take a key out of the bundle, and forget it.

    Attributes:
        kid: Of the key.
        distrusted: Whether tokens that it signed are refused for it.
    """

    kid: str
    distrusted: bool


JwtStep: TypeAlias = StageJwtKey | JwtKeyPublished | PromoteJwtKey | DropJwtKey


def published(keys: tuple[JwtKey, ...], step: JwtKeyPublished, now: datetime) -> tuple[JwtKey, ...]:
    """The keys once the bundle with the staged one is published."""
    return tuple(replace(each, published_at=now) if each.kid == step.kid else each for each in keys)


def promoted(keys: tuple[JwtKey, ...], step: PromoteJwtKey, now: datetime) -> tuple[JwtKey, ...]:
    """The keys once the staged one signs."""

    def moved(each: JwtKey) -> JwtKey:
        if each.kid == step.kid:
            return replace(each, stage=Stage.SIGNING, since=now)
        if each.stage is Stage.SIGNING:
            return replace(each, stage=Stage.RETIRED, since=now, has_key=False)
        return each

    return tuple(map(moved, keys))


def dropped(keys: tuple[JwtKey, ...], step: DropJwtKey) -> tuple[JwtKey, ...]:
    """The keys without one."""
    return tuple(each for each in keys if each.kid != step.kid)
