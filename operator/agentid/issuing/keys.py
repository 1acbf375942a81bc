"""The keys that the API server signs ServiceAccount tokens with, as it publishes them.

They are read once and kept; a token that names a key which is not among them has them read again,
though not more often than every ten seconds, so that nonsense costs the API server nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError, InputError, UnavailableError
from agentid.pki.jwk import read_jws_key
from agentid.pki.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.pki.jwk import JwsKey
    from agentid.pki.strict_json import Json

__all__ = ["SigningKeys", "read_issuer", "read_keys"]

_log = structlog.stdlib.get_logger(__name__)

_DISCOVERY: Final = "/.well-known/openid-configuration"
_KEYS: Final = "/openid/v1/jwks"

_MOST: Final = 256 * 1024
"""Bytes of either document; a key of RSA-4096 takes 800."""

_MOST_KEYS: Final = 64

_EVERY: Final = 300.0
"""Seconds after which the keys are read again: so much longer at most is one believed that the API
server has taken out."""

_BRAKE: Final = 10.0
"""Seconds between two reads at least, whatever tokens name."""


class SigningKeys:
    """Reads them as they are needed.

    Attributes:
        issuer: What `iss` of tokens is; empty before the first read.
        generation: Another one whenever the keys have changed.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        """Read nothing yet."""
        self._client = client
        self._clock = clock
        self._keys: Mapping[str, JwsKey] = {}
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._problem = ""
        self._reading = asyncio.Lock()
        self.issuer = ""
        self.generation = 0

    async def get(self, kid: str) -> JwsKey | None:
        """The key of this name, None if the API server has none.

        Raises:
            UnavailableError: The keys cannot be had.
        """
        if kid not in self._keys:
            async with self._reading:
                if kid not in self._keys:
                    await self._read()
        if not self._keys:
            msg = f"the API server's keys for tokens cannot be had: {self._problem}"
            raise UnavailableError(msg)
        return self._keys.get(kid)

    async def refresh(self) -> None:
        """Have keys read again that were read long ago; those that cannot be stay as they are."""
        if self._is_old():
            async with self._reading:
                if self._is_old():
                    await self._read()

    def _is_old(self) -> bool:
        return bool(self._keys) and self._clock.monotonic() - self._read_at > _EVERY

    async def _read(self) -> None:
        now = self._clock.monotonic()
        if now - self._tried_at < _BRAKE:
            return
        self._tried_at = now
        try:
            discovery, documents = await asyncio.gather(
                self._client.get_raw(_DISCOVERY), self._client.get_raw(_KEYS)
            )
            issuer, keys = read_issuer(discovery), read_keys(documents)
        except AgentIdError as error:
            # What was read before goes on: the API server may be away, and a key lives for years.
            self._problem = str(error)
            _log.warning("token_keys_not_read", error=str(error), keys=len(self._keys))
            return
        self._read_at = now
        if (issuer, keys.keys()) != (self.issuer, self._keys.keys()):
            self.generation += 1
            _log.info("token_keys_read", issuer=issuer, keys=len(keys))
        self.issuer, self._keys = issuer, keys


def read_issuer(document: bytes) -> str:
    """The issuer that a discovery document names.

    Raises:
        InputError: It is no such document.
    """
    issuer = _document(document, "the discovery document").get("issuer")
    if not isinstance(issuer, str) or not issuer:
        msg = "the discovery document of the API server names no issuer"
        raise InputError(msg)
    return issuer


def read_keys(document: bytes) -> dict[str, JwsKey]:
    """The keys of a JWK Set by their `kid`; those of kinds that sign no tokens are passed over.

    Raises:
        InputError: It is no JWK Set, holds no usable key, or too many.
    """
    keys = _document(document, "the keys for tokens").get("keys")
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        msg = f"the keys for tokens: `keys` is no list of at most {_MOST_KEYS}"
        raise InputError(msg)
    found: dict[str, JwsKey] = {}
    for key in keys:
        if not isinstance(key, dict) or key.get("kty") not in ("RSA", "EC"):
            continue
        kid = key.get("kid")
        if isinstance(kid, str) and kid and key.get("use", "sig") == "sig":
            found[kid] = read_jws_key(key, what="a key for tokens")
    if not found:
        msg = "the keys for tokens: none of them can verify a token"
        raise InputError(msg)
    return found


def _document(document: bytes, what: str) -> dict[str, Json]:
    if len(document) > _MOST:
        msg = f"{what}: {len(document)} bytes, at most {_MOST} are read"
        raise InputError(msg)
    parsed = read_json(document, what=what, remedy="look at what the API server serves")
    if not isinstance(parsed, dict):
        msg = f"{what}: it is no JSON object"
        raise InputError(msg)
    return parsed
