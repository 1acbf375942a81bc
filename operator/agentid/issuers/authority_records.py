"""What is stored of authorities beside their certificates and keys: `authorities.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from agentid.api.fields import format_time, parse_time
from agentid.errors import InputError, UnknownVersionError
from agentid.formats import later_version
from agentid.identity import SerialNumber
from agentid.identity.quoting import quoted
from agentid.pki.strict_json import read_json
from agentid.policy.authorities import Distrusted, RevokedAuthority, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["IssuingEntry", "JwtEntry", "Records", "RootEntry"]

_VERSION: Final = 1
"""Raised when a release writes what an earlier one would misread."""

_MAX_BYTES: Final = 64 * 1024
"""Some dozens of authorities take 10 KiB."""


@dataclass(frozen=True, slots=True)
class RootEntry:
    """Of a root, as `policy.authorities.Root` has it."""

    id: str
    since: int
    published_at: datetime
    trusted: bool = True
    revoked: tuple[RevokedAuthority, ...] = ()
    delivered_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuingEntry:
    """Of an issuing authority, as `policy.authorities.IssuingAuthority` has it."""

    id: str
    root: str
    shards: int
    responder: str
    stage: Stage
    since: datetime


@dataclass(frozen=True, slots=True)
class JwtEntry:
    """Of a key for JWT-SVIDs, as `policy.jwt_keys.JwtKey` has it.

    Attributes:
        jwk: Its public half, a JSON object.
    """

    kid: str
    jwk: str
    stage: Stage
    since: datetime
    bundle: int
    published_at: datetime | None = None

    @property
    def members(self) -> Mapping[str, object]:
        """The members of the JWK.

        Raises:
            InputError: It is no JSON object.
        """
        members = read_json(self.jwk.encode(), what="JWK", remedy="restore it from a backup")
        return members if isinstance(members, dict) else {}


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that is stored, as `policy.authorities.Authorities` has it."""

    roots: tuple[RootEntry, ...] = ()
    issuing: tuple[IssuingEntry, ...] = ()
    sequence: int = 0
    required: int = 0
    distrusted: tuple[Distrusted, ...] = ()
    jwt_keys: tuple[JwtEntry, ...] = ()

    def encode(self) -> bytes:
        """Write it as JSON with sorted keys."""
        document = {
            "version": _VERSION,
            "sequence": self.sequence,
            "required": self.required,
            "roots": [
                {
                    "id": each.id,
                    "since": each.since,
                    "publishedAt": format_time(each.published_at),
                    "deliveredAt": None
                    if each.delivered_at is None
                    else format_time(each.delivered_at),
                    "trusted": each.trusted,
                    "revoked": [
                        {
                            "serial": str(one.serial),
                            "at": format_time(one.at),
                            "notAfter": format_time(one.not_after),
                        }
                        for one in each.revoked
                    ],
                }
                for each in self.roots
            ],
            "issuing": [
                {
                    "id": each.id,
                    "root": each.root,
                    "shards": each.shards,
                    "responder": each.responder,
                    "stage": each.stage.value,
                    "since": format_time(each.since),
                }
                for each in self.issuing
            ],
            "distrusted": [
                {"fingerprint": each.fingerprint, "at": format_time(each.at)}
                for each in self.distrusted
            ],
            "jwtKeys": [
                {
                    "kid": each.kid,
                    "jwk": orjson.loads(each.jwk),
                    "stage": each.stage.value,
                    "since": format_time(each.since),
                    "bundle": each.bundle,
                    "publishedAt": None
                    if each.published_at is None
                    else format_time(each.published_at),
                }
                for each in self.jwt_keys
            ],
        }
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)

    @classmethod
    def decode(cls, data: bytes) -> Records:
        """Read what `encode` writes.

        Raises:
            InputError: It is something else, or a later release wrote it. A member that is not
                known is refused like a later version: it would be lost at the next step.
        """
        if len(data) > _MAX_BYTES:
            msg = f"it has {len(data)} bytes, at most {_MAX_BYTES} are read; restore it"
            raise InputError(msg)
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            msg = f"it is not JSON ({error}); restore it from a backup"
            raise InputError(msg) from error
        if isinstance(body, dict) and (later := later_version(body, "version", _VERSION)):
            raise UnknownVersionError(later)
        match body:
            case {
                "version": 1,
                "sequence": int(sequence),
                "required": int(required),
                "roots": [*roots],
                "issuing": [*issuing],
                "distrusted": [*distrusted],
                **rest,
            } if 0 <= required <= sequence and isinstance(
                # An earlier release wrote none.
                jwt_keys := rest.pop("jwtKeys", []),
                list,
            ):
                _refuse(rest, "the document")
                return cls(
                    tuple(map(_root, roots)),
                    tuple(map(_issuing, issuing)),
                    sequence,
                    required,
                    tuple(map(_distrusted, distrusted)),
                    tuple(map(_jwt_key, jwt_keys)),
                )
            case _:
                msg = (
                    f"a field is missing or of the wrong type, or the version is not {_VERSION}; "
                    "restore it from a backup"
                )
                raise InputError(msg)


def _root(body: object) -> RootEntry:
    match body:
        case {
            "id": str(name),
            "since": int(since),
            "publishedAt": str(published),
            "trusted": bool(trusted),
            "deliveredAt": str() | None as delivered,
            "revoked": [*revoked],
            **rest,
        }:
            _refuse(rest, "a root")
            return RootEntry(
                _id(name),
                since,
                parse_time(published),
                trusted,
                tuple(map(_revoked, revoked)),
                None if delivered is None else parse_time(delivered),
            )
        case _:
            msg = "the record of a root is damaged; restore it from a backup"
            raise InputError(msg)


def _revoked(body: object) -> RevokedAuthority:
    match body:
        case {"serial": str(serial), "at": str(at), "notAfter": str(not_after), **rest}:
            _refuse(rest, "a revoked authority")
            return RevokedAuthority(
                SerialNumber.parse(serial), parse_time(at), parse_time(not_after)
            )
        case _:
            msg = "the record of a revoked authority is damaged; restore it from a backup"
            raise InputError(msg)


def _issuing(body: object) -> IssuingEntry:
    match body:
        case {
            "id": str(name),
            "root": str(root),
            "shards": int(shards),
            "responder": str(responder),
            "stage": str(stage),
            "since": str(since),
            **rest,
        } if stage in frozenset(Stage) and shards > 0:
            _refuse(rest, "an issuing authority")
            return IssuingEntry(
                _id(name), _id(root), shards, responder, Stage(stage), parse_time(since)
            )
        case _:
            msg = "the record of an issuing authority is damaged; restore it from a backup"
            raise InputError(msg)


def _distrusted(body: object) -> Distrusted:
    match body:
        case {"fingerprint": str(fingerprint), "at": str(at), **rest}:
            _refuse(rest, "a distrusted authority")
            return Distrusted(fingerprint, parse_time(at))
        case _:
            msg = "the record of a distrusted authority is damaged; restore it from a backup"
            raise InputError(msg)


def _jwt_key(body: object) -> JwtEntry:
    match body:
        case {
            "kid": str(kid),
            "jwk": {**members},
            "stage": str(stage),
            "since": str(since),
            "bundle": int(bundle),
            "publishedAt": str() | None as published,
            **rest,
        } if stage in frozenset(Stage) and set(kid) <= _BASE64URL:
            _refuse(rest, "a key for JWT-SVIDs")
            return JwtEntry(
                kid,
                orjson.dumps(members).decode(),
                Stage(stage),
                parse_time(since),
                bundle,
                None if published is None else parse_time(published),
            )
        case _:
            msg = "the record of a key for JWT-SVIDs is damaged; restore it from a backup"
            raise InputError(msg)


def _refuse(rest: Mapping[object, object], of: str) -> None:
    """Refuse what is left of a document, whose meaning nobody knows here."""
    if rest:
        name = quoted(min(map(str, rest)))
        msg = (
            f"the record of {of} has a member {name} that is not known; go back to the release "
            "that wrote it (docs/operations/upgrade.md), or restore it from a backup"
        )
        raise UnknownVersionError(msg)


def _id(text: str) -> str:
    if len(text) != _ID_DIGITS or set(text) - set("0123456789abcdef"):
        msg = "the id of an authority is not 16 hexadecimal digits; restore it from a backup"
        raise InputError(msg)
    return text


_ID_DIGITS: Final = 16
_BASE64URL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
