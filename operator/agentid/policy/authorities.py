"""The authorities of an issuer as records, and what each step of a rotation makes of them.

Certificates and keys are kept elsewhere (`agentid.issuers`); which step comes next is decided in
`rotation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from agentid.policy.jwt_keys import DropJwtKey, JwtKeyPublished, PromoteJwtKey, StageJwtKey
from agentid.policy.stages import Stage

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import SerialNumber, Validity
    from agentid.policy.jwt_keys import JwtKey

__all__ = [
    "Authorities",
    "Delivered",
    "Distrusted",
    "DropRoot",
    "IssuingAuthority",
    "NoteDistrust",
    "Promote",
    "Remove",
    "Revoke",
    "RevokedAuthority",
    "Root",
    "Stage",
    "StageGiven",
    "StageIssuing",
    "StageRoot",
    "Step",
    "delivered",
    "distrust_noted",
    "dropped",
    "promoted",
    "removed",
    "revoked",
]


@dataclass(frozen=True, slots=True)
class RevokedAuthority:
    """An issuing authority that its root has revoked; it stands on the root's CRL until it expires.

    Attributes:
        serial: Of its certificate.
        at: When it was revoked.
        not_after: When its certificate expires.
    """

    serial: SerialNumber
    at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Root:
    """A root.

    Attributes:
        id: First 16 hexadecimal digits of its key identifier.
        fingerprint: SHA-256 of its certificate, lower-case hexadecimal.
        validity: Of its certificate.
        since: Sequence of the first bundle that holds it.
        published_at: When that bundle was made.
        has_key: Whether its private key is at hand.
        trusted: Whether it is in the bundle; one that was distrusted may be gone from there while
            CRLs below it go on.
        revoked: Issuing authorities that it has revoked.
        delivered_at: When such a bundle was published and every certificate in use had been
            delivered with one; None as long as that is not so.
    """

    id: str
    fingerprint: str
    validity: Validity
    since: int
    published_at: datetime
    has_key: bool
    trusted: bool = True
    revoked: tuple[RevokedAuthority, ...] = ()
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuingAuthority:
    """An authority that signs leaves, did, or will.

    Attributes:
        id: First 16 hexadecimal digits of its key identifier.
        fingerprint: SHA-256 of its certificate, lower-case hexadecimal.
        serial: Of its certificate.
        validity: Of its whole chain.
        root: The id of its root.
        shards: Among how many CRLs its leaves are spread.
        responder: Base of the URLs that its leaves name, without a slash at the end.
        stage: How far it is in its life.
        since: When it came to that stage.
    """

    id: str
    fingerprint: str
    serial: SerialNumber
    validity: Validity
    root: str
    shards: int
    responder: str
    stage: Stage
    since: datetime


@dataclass(frozen=True, slots=True)
class Distrusted:
    """Since when an authority is distrusted.

    Attributes:
        fingerprint: Of the authority, a root or an issuing one.
        at: When agentid first saw it named.
    """

    fingerprint: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Authorities:
    """All authorities of an issuer.

    Attributes:
        roots: The newest first.
        issuing: The newest first; at most one is Staged and one Signing.
        sequence: Of the bundle; grows by one whenever a root, or a key for JWT-SVIDs, comes or
            goes.
        required: Every leaf has to be delivered with a bundle of this sequence at least: what was
            delivered with an earlier one is issued anew without waiting for its renewal.
        distrusted: Which of them are distrusted, and since when.
        jwt_keys: What signs JWT-SVIDs, the newest first; at most one is Staged and one Signing.
    """

    roots: tuple[Root, ...]
    issuing: tuple[IssuingAuthority, ...]
    sequence: int
    required: int = 0
    distrusted: tuple[Distrusted, ...] = ()
    jwt_keys: tuple[JwtKey, ...] = ()

    def at(self, stage: Stage) -> IssuingAuthority | None:
        """The newest issuing authority of a stage."""
        return next((each for each in self.issuing if each.stage is stage), None)

    def jwt_key_at(self, stage: Stage) -> JwtKey | None:
        """The newest key for JWT-SVIDs of a stage."""
        return next((each for each in self.jwt_keys if each.stage is stage), None)

    @property
    def signing(self) -> IssuingAuthority | None:
        """The one that signs leaves."""
        return self.at(Stage.SIGNING)

    def root_of(self, issuing: IssuingAuthority) -> Root | None:
        """The root of an issuing authority."""
        return next((root for root in self.roots if root.id == issuing.root), None)

    def is_distrusted(self, issuing: IssuingAuthority, fingerprints: frozenset[str]) -> bool:
        """Whether it, or its root, is among these."""
        root = self.root_of(issuing)
        return issuing.fingerprint in fingerprints or (
            root is not None and root.fingerprint in fingerprints
        )

    def distrusted_at(self, issuing: IssuingAuthority) -> datetime | None:
        """Since when it, or its root, is known to be distrusted."""
        names = [issuing.fingerprint]
        if (root := self.root_of(issuing)) is not None:
            names.append(root.fingerprint)
        return min((each.at for each in self.distrusted if each.fingerprint in names), default=None)


@dataclass(frozen=True, slots=True)
class StageIssuing:
    """Make an issuing authority below a root that is there.

    Attributes:
        root: The id of the root.
        why: For the log.
    """

    root: str
    why: str


@dataclass(frozen=True, slots=True)
class StageRoot:
    """Make a root, and an issuing authority below it.

    Attributes:
        why: For the log.
        hurry: Whether certificates are to be delivered with it without waiting for renewals.
    """

    why: str
    hurry: bool


@dataclass(frozen=True, slots=True)
class StageGiven:
    """Take up the authority that is given."""

    hurry: bool


@dataclass(frozen=True, slots=True)
class NoteDistrust:
    """Note who is distrusted from now on, and who no longer is.

    Attributes:
        fingerprints: Of all authorities on record that are distrusted.
    """

    fingerprints: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delivered:
    """Note that a root stands beside every certificate in use.

    Attributes:
        root: The id of the root.
    """

    root: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Let the staged authority sign, and retire the one that did.

    Attributes:
        id: Of the staged one.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget an issuing authority, its key included.

    Attributes:
        id: Of the authority.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revoke an issuing authority on the CRL of its root.

    Attributes:
        id: Of the authority.
    """

    id: str


@dataclass(frozen=True, slots=True)
class DropRoot:
    """Take a root out of the bundle.

    Attributes:
        id: Of the root.
        hurry: Whether certificates are to be delivered without it at once.
    """

    id: str
    hurry: bool


Step: TypeAlias = (
    StageIssuing
    | StageRoot
    | StageGiven
    | NoteDistrust
    | Delivered
    | Promote
    | Remove
    | Revoke
    | DropRoot
    | StageJwtKey
    | JwtKeyPublished
    | PromoteJwtKey
    | DropJwtKey
)


def distrust_noted(have: Authorities, step: NoteDistrust, now: datetime) -> Authorities:
    """The authorities with who is distrusted on record; who already was is so since then."""
    since = {each.fingerprint: each.at for each in have.distrusted}
    names = sorted(step.fingerprints)
    return replace(have, distrusted=tuple(Distrusted(name, since.get(name, now)) for name in names))


def delivered(have: Authorities, step: Delivered, now: datetime) -> Authorities:
    """The authorities once a root is known to stand beside every certificate."""

    def noted(root: Root) -> Root:
        return replace(root, delivered_at=now) if root.id == step.root else root

    return replace(have, roots=tuple(map(noted, have.roots)))


def promoted(have: Authorities, step: Promote, now: datetime) -> Authorities:
    """The authorities once the staged one signs."""

    def moved(each: IssuingAuthority) -> IssuingAuthority:
        if each.id == step.id:
            return replace(each, stage=Stage.SIGNING, since=now)
        if each.stage is Stage.SIGNING:
            return replace(each, stage=Stage.RETIRED, since=now)
        return each

    return replace(have, issuing=tuple(map(moved, have.issuing)))


def removed(have: Authorities, step: Remove) -> Authorities:
    """The authorities without one, nor the root that was kept for its sake."""
    issuing = tuple(each for each in have.issuing if each.id != step.id)
    below = {each.root for each in issuing}
    roots = tuple(root for root in have.roots if root.trusted or root.id in below)
    return replace(have, roots=roots, issuing=issuing)


def revoked(have: Authorities, step: Revoke, now: datetime) -> Authorities:
    """The authorities with one on the CRL of its root."""
    (gone,) = (each for each in have.issuing if each.id == step.id)
    entry = RevokedAuthority(gone.serial, now, gone.validity.not_after)

    def noted(root: Root) -> Root:
        return replace(root, revoked=(*root.revoked, entry)) if root.id == gone.root else root

    return replace(have, roots=tuple(map(noted, have.roots)))


def dropped(have: Authorities, step: DropRoot) -> Authorities:
    """The authorities with a root out of the bundle; it stays on record while CRLs need it."""
    sequence = have.sequence + 1
    below = {each.root for each in have.issuing}
    marked = (replace(root, trusted=False) if root.id == step.id else root for root in have.roots)
    return replace(
        have,
        roots=tuple(root for root in marked if root.trusted or root.id in below),
        sequence=sequence,
        required=sequence if step.hurry else have.required,
    )
