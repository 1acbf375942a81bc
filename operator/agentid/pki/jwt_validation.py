"""Validating JWT-SVIDs, those of other trust domains as well (SPIFFE JWT-SVID §3 and §5).

syntax ► header ► claims ► bundle of the trust domain in sub ► key ► signature ► time ► audience
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.identity import SpiffeId
from agentid.identity.quoting import quoted
from agentid.pki.jwk import base64url_octets
from agentid.pki.jws import JwsAlgorithm, check_jws
from agentid.pki.jwt_svid import MAX_TOKEN_BYTES, JwtSvid
from agentid.pki.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.identity import TrustDomain
    from agentid.pki.jwt_bundle import JwtBundle
    from agentid.pki.strict_json import Json

__all__ = ["LEEWAY", "validate"]

LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of issuer and verifier may lie apart; JWT-SVID §3.3 allows some. A token is
accepted for so much longer than it says."""

_HEADER: Final = frozenset({"alg", "kid", "typ"})  # JWT-SVID §2
_TYPES: Final = ("JWT", "JOSE")  # JWT-SVID §2.3
_LAST_SECOND: Final = 253_402_300_799  # the end of the year 9999, beyond which no time can be held


def validate(
    token: str,
    bundles: Mapping[TrustDomain, JwtBundle],
    audience: str,
    at: datetime,
    *,
    leeway: timedelta = LEEWAY,
) -> JwtSvid:
    """The token, if it is good at this time for this audience.

    Stricter than the standard in three points: `kid` has to be there, the header holds nothing but
    `alg`, `kid` and `typ`, and `iat` must not lie in the future. Whether the token was used before
    is not known here, nor whether its agent was suspended since.

    Args:
        token: Text from outside.
        bundles: By trust domain; a token is held against that of its own and no other.
        audience: Who the verifier is; it has to be in `aud`.
        at: The present.
        leeway: How far the clocks may lie apart.

    Raises:
        VerificationError: It is refused; `reason` says which rule it breaks.
    """
    header, claims, signed, signature = _parse(token)
    algorithm, kid = _read_header(header)
    svid = _read_claims(token, kid, claims)
    bundle = bundles.get(svid.spiffe_id.trust_domain)
    if bundle is None:
        problem = f"there is no bundle of the trust domain {svid.spiffe_id.trust_domain}"
        _refuse(VerificationReason.UNTRUSTED_DOMAIN, problem)
    known = bundle.keys.get(kid)
    if known is None:
        problem = (
            f"the bundle of {bundle.trust_domain} has no key {quoted(kid)} for JWT-SVIDs; fetch "
            "it anew if it is older than its refresh hint"
        )
        _refuse(VerificationReason.UNKNOWN_KEY, problem)
    if known.algorithm not in {None, algorithm.value}:
        problem = f"its alg is {algorithm}, and the key {quoted(kid)} is for another"
        _refuse(VerificationReason.BAD_SIGNATURE, problem)
    check_jws(signed, signature, algorithm, known.key)
    _check_times(claims, svid, at, leeway)
    if not audience or audience not in svid.audience:
        problem = f"it is for {_listed(svid.audience)}, and not for {quoted(audience)}"
        _refuse(VerificationReason.WRONG_AUDIENCE, problem)
    return svid


_MALFORMED: Final = VerificationReason.MALFORMED
_NO_SVID: Final = VerificationReason.NOT_AN_SVID


def _refuse(reason: VerificationReason, problem: str) -> NoReturn:
    msg = f"token: {problem}"
    raise VerificationError(reason, msg)


def _parse(token: str) -> tuple[dict[str, Json], dict[str, Json], bytes, bytes]:
    """Header, claims, what is signed, and the signature (RFC 7515 §7.1)."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        problem = f"it is no ASCII text of at most {MAX_TOKEN_BYTES} characters"
        _refuse(_MALFORMED, problem)
    parts = token.split(".")
    if len(parts) != _PARTS:
        problem = f"it has {len(parts)} parts joined by dots, and not {_PARTS} (RFC 7515 §7.1)"
        _refuse(_MALFORMED, problem)
    try:
        header, payload, signature = (
            base64url_octets(part, what=name)
            for part, name in zip(
                parts, ("its header", "its payload", "its signature"), strict=True
            )
        )
        members = read_json(header, what="its header", remedy="ask its issuer for another")
        claims = read_json(payload, what="its payload", remedy="ask its issuer for another")
    except InputError as error:
        msg = f"token: {error}"
        raise VerificationError(_MALFORMED, msg) from error
    if not isinstance(members, dict) or not isinstance(claims, dict):
        _refuse(_MALFORMED, "its header and its payload have to be JSON objects")
    return members, claims, token.rpartition(".")[0].encode("ascii"), signature


_PARTS: Final = 3


def _read_header(header: Mapping[str, Json]) -> tuple[JwsAlgorithm, str]:
    if others := sorted(header.keys() - _HEADER):
        _refuse(_NO_SVID, f"its header has {quoted(others[0])}; alg, kid and typ are allowed")
    found = header.get("alg")
    if not isinstance(found, str) or found not in frozenset(JwsAlgorithm):
        _refuse(
            _NO_SVID, f"its alg is {quoted(found)}; one of {', '.join(JwsAlgorithm)} is allowed"
        )
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        _refuse(_NO_SVID, "it names no key by kid")
    if "typ" in header and header["typ"] not in _TYPES:
        _refuse(_NO_SVID, f"its typ is {quoted(header['typ'])}; JWT or JOSE is allowed")
    return JwsAlgorithm(found), kid


def _read_claims(token: str, kid: str, claims: Mapping[str, Json]) -> JwtSvid:
    try:
        spiffe_id = SpiffeId.parse(claims.get("sub"))
    except InputError as error:
        msg = f"token: its sub is no SPIFFE ID: {error}"
        raise VerificationError(_NO_SVID, msg) from error
    audience = claims.get("aud")
    names = [audience] if isinstance(audience, str) else audience
    if not isinstance(names, list) or not names:
        _refuse(_NO_SVID, "it has no aud")
    if not all(isinstance(each, str) and each for each in names):
        _refuse(_NO_SVID, "its aud holds something other than text")
    expires = _moment(claims, "exp")
    if expires is None:
        _refuse(_NO_SVID, "it has no exp")
    issued = _moment(claims, "iat")
    _moment(claims, "nbf")
    token_id = claims.get("jti")
    if token_id is not None and not isinstance(token_id, str):
        _refuse(_NO_SVID, "its jti is no text")
    return JwtSvid(
        token=token,
        spiffe_id=spiffe_id,
        audience=tuple(map(str, names)),
        issued_at=None if issued is None else datetime.fromtimestamp(issued, UTC),
        not_after=datetime.fromtimestamp(expires, UTC),
        kid=kid,
        token_id=token_id,
        claims=claims,
    )


def _moment(claims: Mapping[str, Json], name: str) -> float | None:
    """Seconds since the epoch, with a fraction if there is one (RFC 7519 §2, NumericDate)."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(_NO_SVID, f"its {name} is {quoted(value)}, and no number of seconds")
    if not 0 <= value <= _LAST_SECOND:
        _refuse(_NO_SVID, f"its {name} lies before 1970 or after the year 9999")
    return value


def _check_times(
    claims: Mapping[str, Json], svid: JwtSvid, at: datetime, leeway: timedelta
) -> None:
    now, slack = at.timestamp(), leeway.total_seconds()
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and begins > now + slack:
            problem = f"its {name} is later than {at.isoformat(timespec='seconds')}"
            _refuse(VerificationReason.NOT_YET_VALID, problem)
    # RFC 7519 §4.1.4: on or after exp it must not be accepted.
    if now - slack >= svid.not_after.timestamp():
        problem = f"it expired at {svid.not_after.isoformat(timespec='seconds')}"
        _refuse(VerificationReason.EXPIRED, problem)


def _listed(audience: tuple[str, ...]) -> str:
    shown = ", ".join(map(quoted, audience[:3]))
    return shown if len(audience) <= 3 else f"{shown} and others"  # noqa: PLR2004
