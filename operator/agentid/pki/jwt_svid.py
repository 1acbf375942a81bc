"""JWT-SVIDs: tokens that say who an agent is, to one audience, for minutes (SPIFFE JWT-SVID).

Header: `alg`, `kid`, `typ`. Claims: `sub`, `aud`, `iat`, `exp`, `jti`, perhaps `iss`, and others.

A token is a secret until it has expired: whoever has it, is the agent to that audience. So it is
short-lived, masked in `repr`, and never logged; its `jti` may be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.jwk import JwsKey
from agentid.pki.jws import JwtAlgorithm, sign_jws
from agentid.pki.jwt_bundle import key_id
from agentid.pki.strict_json import canonical, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.identity import SpiffeId
    from agentid.pki.signer import LocalSigner, Signer
    from agentid.pki.strict_json import Json

__all__ = [
    "MAX_AUDIENCES",
    "MAX_LIFETIME",
    "MAX_TOKEN_BYTES",
    "RESERVED_CLAIMS",
    "JwtOrder",
    "JwtSigningKey",
    "JwtSvid",
    "mint",
]

MAX_LIFETIME: Final = timedelta(hours=1)
"""How long a token that is minted here serves at most. It cannot be taken back, and a key stays in
the bundle for so long after it has signed its last one."""

MAX_TOKEN_BYTES: Final = 16 * 1024
"""Of a token: twice what most HTTP servers take as a header."""

MAX_AUDIENCES: Final = 16
"""Whoever is in `aud` can use the token towards all the others: there should be one."""

_MAX_AUDIENCE: Final = 2048
"""Characters: a SPIFFE ID fits, and so does any URL that is used."""

RESERVED_CLAIMS: Final = frozenset({"sub", "aud", "exp", "nbf", "iat", "jti", "iss"})
"""Claims that have a meaning of their own (RFC 7519 §4.1); no other claim may take their place."""


@dataclass(frozen=True, slots=True)
class JwtSigningKey:
    """An issuing key.

    Attributes:
        kid: What tokens and bundle call it.
        algorithm: What it signs with.
        signer: Signs with it.
        public_key: Verifies what it signs.
    """

    kid: str
    algorithm: JwtAlgorithm
    signer: Signer
    public_key: JwsKey

    @classmethod
    def of(cls, signer: LocalSigner) -> JwtSigningKey:
        """Take a key that is at hand.

        Raises:
            InputError: It is not one of ECDSA on P-256 or P-384.
        """
        key = signer.public_key
        for algorithm in JwtAlgorithm:
            if algorithm.key_algorithm is signer.algorithm and isinstance(key, JwsKey):
                return cls(key_id(key), algorithm, signer, key)
        msg = (
            f"a key of {signer.algorithm.display_name} is none for JWT-SVIDs; use "
            f"{' or '.join(each.key_algorithm.display_name for each in JwtAlgorithm)}"
        )
        raise InputError(msg)


@dataclass(frozen=True, slots=True)
class JwtOrder:
    """What a token is to say; checked when it is made.

    Attributes:
        spiffe_id: Who the agent is.
        audience: Whom it is for, one at least.
        issued_at: The present; fractions of a second are left out.
        lifetime: How long it serves, whole seconds.
        token_id: `jti`: unpredictable, never used twice.
        issuer: `iss`, the URL of an OpenID provider; None leaves it out.
        claims: Others, none of `RESERVED_CLAIMS`.

    Raises:
        InputError: One of them is not allowed.
    """

    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    issued_at: datetime
    lifetime: timedelta
    token_id: str
    issuer: str | None = None
    claims: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no verifier should have to judge."""
        if not 0 < len(self.audience) <= MAX_AUDIENCES:
            msg = (
                f"audience: it has {len(self.audience)} entries, and 1 to {MAX_AUDIENCES} are "
                "allowed; name the one service that the token is for"
            )
            raise InputError(msg)
        for each in self.audience:
            if not 0 < len(each) <= _MAX_AUDIENCE or not each.isprintable():
                msg = (
                    f"audience: {quoted(each)} is empty, not printable or longer than "
                    f"{_MAX_AUDIENCE} characters; name the service that the token is for"
                )
                raise InputError(msg)
        if not timedelta(seconds=1) <= self.lifetime <= MAX_LIFETIME or self.lifetime.microseconds:
            msg = (
                f"lifetime: {self.lifetime} is not a number of whole seconds up to {MAX_LIFETIME}; "
                "a token cannot be revoked, so ask for minutes"
            )
            raise InputError(msg)
        if not self.token_id:
            msg = "token id: it is empty; give a random one"
            raise InputError(msg)
        if taken := sorted(RESERVED_CLAIMS & self.claims.keys()):
            msg = f"claims: {', '.join(taken)} cannot be given; choose other names"
            raise InputError(msg)


@dataclass(frozen=True, slots=True)
class JwtSvid:
    """A token, and what it says.

    Attributes:
        token: Compact JWS; a secret until it has expired.
        spiffe_id: `sub`.
        audience: `aud`.
        issued_at: `iat`; None if it does not say.
        not_after: `exp`: from then on it is refused.
        kid: The key that signed it.
        token_id: `jti`; None if it has none.
        claims: All of them.
    """

    token: str = field(repr=False)
    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    issued_at: datetime | None
    not_after: datetime
    kid: str
    token_id: str | None
    claims: Mapping[str, Json] = field(repr=False)


def mint(order: JwtOrder, key: JwtSigningKey) -> JwtSvid:
    """A new token.

    The caller still owes the judgement of whether the agent may have it, its record, and that
    verifiers know the key.

    Raises:
        InputError: The token would have more than `MAX_TOKEN_BYTES`, or a claim has no JSON.
        UnavailableError: The key is away just now.
    """
    issued_at = order.issued_at.replace(microsecond=0)
    not_after = issued_at + order.lifetime
    claims: dict[str, Json] = {
        **order.claims,
        "sub": str(order.spiffe_id),
        "aud": [*order.audience],
        "iat": int(issued_at.timestamp()),
        "exp": int(not_after.timestamp()),
        "jti": order.token_id,
    }
    if order.issuer is not None:
        claims["iss"] = order.issuer
    header: Json = {"alg": key.algorithm.value, "kid": key.kid, "typ": "JWT"}
    payload = canonical(claims).encode("ascii")
    # What is no JSON, such as NaN, would be written all the same, and refused by everybody.
    read_json(payload, what="claims", remedy="give what JSON can say")
    token = sign_jws(canonical(header).encode("ascii"), payload, key.signer)
    if len(token) > MAX_TOKEN_BYTES:
        msg = f"the token has {len(token)} bytes, {MAX_TOKEN_BYTES} are allowed; leave out claims"
        raise InputError(msg)
    return JwtSvid(
        token=token,
        spiffe_id=order.spiffe_id,
        audience=order.audience,
        issued_at=issued_at,
        not_after=not_after,
        kid=key.kid,
        token_id=order.token_id,
        claims=claims,
    )
