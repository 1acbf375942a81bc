"""The keys that verify the JWT-SVIDs of one trust domain, as its SPIFFE bundle names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.jwk import base64url, public_jwk, read_jws_key, thumbprint
from agentid.pki.jws import JwsAlgorithm, jws_algorithm_of
from agentid.pki.strict_json import canonical, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentid.identity import TrustDomain
    from agentid.pki.jwk import JwsKey
    from agentid.pki.spiffe_bundle import SpiffeBundle
    from agentid.pki.strict_json import Json

__all__ = ["JwtBundle", "JwtVerificationKey", "jwks_of", "jwt_jwk", "key_id"]

_USE = "jwt-svid"  # SPIFFE Trust Domain and Bundle §4.2.2


@dataclass(frozen=True, slots=True)
class JwtVerificationKey:
    """A public key, and what it may verify.

    Attributes:
        key: The key.
        algorithm: The only `alg` that its JWK allows; None if the JWK names none.
    """

    key: JwsKey = field(repr=False)
    algorithm: str | None


@dataclass(frozen=True, slots=True)
class JwtBundle:
    """Whom a verifier of JWT-SVIDs trusts in one trust domain; never merged across domains.

    Attributes:
        trust_domain: Whose keys they are.
        keys: By `kid`. None at all: no token is accepted.
    """

    trust_domain: TrustDomain
    keys: Mapping[str, JwtVerificationKey]

    @classmethod
    def of(cls, bundle: SpiffeBundle) -> JwtBundle:
        """The keys for JWT-SVIDs of a bundle document.

        Keys that no JWT-SVID can be signed with, such as Ed25519, are passed over. How strong a
        key is, is looked at when a token names it.

        Raises:
            InputError: Two of the keys have the same `kid`, so that a token would name either.
        """
        keys: dict[str, JwtVerificationKey] = {}
        for kid, jwk in _parsed(bundle.jwt_keys):
            try:
                key = read_jws_key(jwk)
            except InputError:
                continue
            if kid in keys:
                msg = (
                    f"SPIFFE bundle of {bundle.x509.trust_domain}: two keys for JWT-SVIDs have the "
                    f"kid {quoted(kid)}; its owner must give each its own"
                )
                raise InputError(msg)
            algorithm = jwk.get("alg")
            keys[kid] = JwtVerificationKey(key, None if algorithm is None else str(algorithm))
        return cls(bundle.x509.trust_domain, keys)


def key_id(key: JwsKey) -> str:
    """The `kid` that agentid gives to a key: its thumbprint (RFC 7638) in Base64url."""
    return base64url(thumbprint(key))


def jwt_jwk(key: JwsKey) -> str:
    """The JWK of an issuing key of ours, as it stands in the SPIFFE bundle: a JSON object."""
    return canonical(_members(key, key_id(key), _USE))


def jwks_of(jwt_keys: Iterable[str]) -> tuple[bytes, tuple[str, ...]]:
    """The JWK Set for OpenID Connect (RFC 7517 §5), made of the keys in a SPIFFE bundle.

    It is written anew from the public keys, so that no other member gets into it.

    Args:
        jwt_keys: As in `SpiffeBundle`.

    Returns:
        The document, and the algorithms of its keys, sorted. Keys that no JWT-SVID can be signed
        with are left out.
    """
    keys: list[Json] = []
    algorithms: set[str] = set()
    for kid, jwk in _parsed(jwt_keys):
        try:
            key = read_jws_key(jwk)
        except InputError:
            continue
        members = _members(key, kid, "sig")
        algorithms.add(str(members.get("alg", JwsAlgorithm.RS256)))
        keys.append(members)
    return canonical({"keys": keys}).encode("ascii"), tuple(sorted(algorithms))


def _members(key: JwsKey, kid: str, use: str) -> dict[str, Json]:
    algorithm = jws_algorithm_of(key)
    named = {} if algorithm is None else {"alg": algorithm.value}
    return {**public_jwk(key), "use": use, "kid": kid, **named}


def _parsed(jwt_keys: Iterable[str]) -> Iterable[tuple[str, Mapping[str, object]]]:
    for text in jwt_keys:
        jwk = read_json(text.encode(), what="JWK", remedy="give a JSON object")
        if isinstance(jwk, dict):
            yield str(jwk.get("kid", "")), jwk
