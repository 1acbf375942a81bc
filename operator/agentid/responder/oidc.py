"""What identity providers read to believe JWT-SVIDs: OpenID Connect Discovery 1.0 and a JWK Set.

Both are made of the published SPIFFE bundle: the public keys for JWT-SVIDs and nothing else of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.jws import JwtAlgorithm
from agentid.pki.jwt_bundle import jwks_of
from agentid.pki.strict_json import canonical
from agentid.responder.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DISCOVERY", "JWKS", "OidcDocuments", "make_oidc"]

DISCOVERY: Final = "openid-configuration"
"""Below `/.well-known/` of the issuer's URL (OpenID Connect Discovery 1.0 §4)."""

JWKS: Final = "jwks.json"
"""Beside it."""

_URL: Final = re.compile(
    r"https://([A-Za-z0-9.-]+(?::[0-9]{1,5})?)((?:/[A-Za-z0-9._~-]+)*)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class OidcDocuments:
    """What is served of one trust domain.

    Attributes:
        jwks: The JWK Set.
        discovery: The discovery document; None if the AgentIssuer names no URL.
        host: Host and port of that URL if it has no path, so that the documents are at the root of
            that host; else empty.
    """

    jwks: Document
    discovery: Document | None
    host: str

    def get(self, name: str) -> Document | None:
        """The document of this name; None if there is none."""
        return self.jwks if name == JWKS else self.discovery if name == DISCOVERY else None


def make_oidc(jwt_keys: Iterable[str], oidc_issuer: str | None, max_age: int) -> OidcDocuments:
    """Make the documents.

    Args:
        jwt_keys: Those of the SPIFFE bundle.
        oidc_issuer: The URL at which identity providers reach them; None if there is none.
        max_age: Seconds that caches may keep them: as long as the bundle.

    Raises:
        InputError: The URL is none without a slash at its end.
    """
    keys, algorithms = jwks_of(jwt_keys)
    jwks = Document(keys, "application/jwk-set+json", None, None, max_age)
    if oidc_issuer is None:
        return OidcDocuments(jwks, None, "")
    parts = _URL.fullmatch(oidc_issuer)
    if parts is None:
        msg = f"the issuer URL {quoted(oidc_issuer)} is no https URL without a slash at its end"
        raise InputError(msg)
    document = canonical(
        {
            "issuer": oidc_issuer,
            "jwks_uri": f"{oidc_issuer}/.well-known/{JWKS}",
            # There is no one to log in, so there is no authorization_endpoint either, as with the
            # service account issuer of Kubernetes.
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            # A key of the other algorithm may come with the next rotation.
            "id_token_signing_alg_values_supported": [*sorted({*algorithms, *JwtAlgorithm})],
            "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti"],
        }
    )
    found = Document(document.encode("ascii"), "application/json", None, None, max_age)
    return OidcDocuments(jwks, found, "" if parts[2] else parts[1].lower().removesuffix(":443"))
