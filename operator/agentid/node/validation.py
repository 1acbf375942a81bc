"""Validating JWT-SVIDs for pods that ask, by the keys that they see themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from agentid.identity import TrustDomain
from agentid.pki.jwt_bundle import JwtBundle
from agentid.pki.jwt_validation import validate
from agentid.pki.spiffe_bundle import decode_spiffe_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.pki.jwt_svid import JwtSvid

__all__ = ["Validation"]

_KEPT: Final = 256
"""Bundles that are kept parsed; a node sees a few trust domains, whoever's pods ask."""


class Present(Protocol):
    """Whoever knows what time it is."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""


class Validation:
    """A `JwtValidator` at a present: the issuer's, or that of a clock."""

    def __init__(self, clock: Present) -> None:
        self._clock = clock
        self._parsed: dict[tuple[str, bytes], JwtBundle] = {}

    def __call__(self, token: str, audience: str, bundles: Mapping[str, bytes]) -> JwtSvid:
        """What the token says.

        Raises:
            InputError: A bundle is malformed.
            VerificationError: The token is not to be believed.
        """
        known = {TrustDomain(name): self._bundle(name, jwks) for name, jwks in bundles.items()}
        return validate(token, known, audience, self._clock.now())

    def _bundle(self, name: str, jwks: bytes) -> JwtBundle:
        bundle = self._parsed.get((name, jwks))
        if bundle is None:
            if len(self._parsed) >= _KEPT:
                self._parsed.clear()
            bundle = JwtBundle.of(decode_spiffe_bundle(jwks, TrustDomain(name)))
            self._parsed[name, jwks] = bundle
        return bundle
