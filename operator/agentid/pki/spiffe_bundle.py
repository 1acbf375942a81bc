"""The SPIFFE bundle document: a JWK Set (SPIFFE Trust Domain and Bundle §4).

Roots stand in it as JWKs with `use` `x509-svid`, the certificate itself in `x5c` and no `kid`
(X509-SVID §6.1). The certificate is what counts (§6.2): the other members of its JWK are written
for readers that want them, and not read. Keys for JWT-SVIDs are kept as they were found, so
that the document of another trust domain can be handed on whole.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki import svid
from agentid.pki.boundary import LIBRARY_ERRORS, reading
from agentid.pki.bundle import X509Bundle
from agentid.pki.jwk import KEY_TYPES, PRIVATE_MEMBERS, public_jwk
from agentid.pki.parse import parse_certificate
from agentid.pki.strict_json import canonical, read_json

if TYPE_CHECKING:
    from cryptography import x509

    from agentid.identity import TrustDomain
    from agentid.pki.strict_json import Json

__all__ = [
    "MAX_BUNDLE_DOCUMENT_BYTES",
    "MAX_BUNDLE_KEYS",
    "SpiffeBundle",
    "decode_spiffe_bundle",
    "encode_spiffe_bundle",
]

MAX_BUNDLE_DOCUMENT_BYTES: Final = 1024 * 1024
"""One document: what one ConfigMap can hold. A root takes 1 KiB with an elliptic key, and 14 KiB
with ML-DSA-87, whose certificate stands in the JWK beside its key."""

MAX_BUNDLE_KEYS: Final = 256
"""JWKs in one document, understood or not. A trust domain has a handful of each kind; each costs
the reader a parse of a certificate."""

_X509: Final = "x509-svid"
_JWT: Final = "jwt-svid"
_SEQUENCE: Final = "spiffe_sequence"
_HINT: Final = "spiffe_refresh_hint"
_MAX_SEQUENCE: Final = (1 << 64) - 1  # §4.1.1: readers have at least 64 bits; many have no more
_MAX_HINT: Final = timedelta(days=3650)  # beyond any rotation, and no reader's duration overflows


@dataclass(frozen=True, slots=True)
class SpiffeBundle:
    """What a bundle document says.

    Attributes:
        x509: The roots, for the trust domain that the document was fetched for: the document itself
            names none. No root at all means that all are revoked.
        sequence: `spiffe_sequence`, greater with each change; None where it is left out.
        refresh_hint: How often to look again; None where it is left out.
        jwt_keys: The JWKs for JWT-SVIDs, each as a JSON object in text, members as they were found.
    """

    x509: X509Bundle
    sequence: int | None = None
    refresh_hint: timedelta | None = None
    jwt_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that a reader would misread.

        Raises:
            InputError: The sequence is not from 0 to 2^64 - 1, or the hint is negative, longer than
                ten years or has a fraction of a second.
        """
        if self.sequence is not None and not 0 <= self.sequence <= _MAX_SEQUENCE:
            msg = f"SPIFFE bundle: {_SEQUENCE} is out of range; it is 0 to 2^64 - 1"
            raise InputError(msg)
        hint = self.refresh_hint
        if hint is not None and (not timedelta(0) <= hint <= _MAX_HINT or hint.microseconds):
            msg = (
                f"SPIFFE bundle: {_HINT} is {hint}, but must be whole seconds from 0 to those of "
                f"{_MAX_HINT.days} days"
            )
            raise InputError(msg)


def encode_spiffe_bundle(bundle: SpiffeBundle) -> bytes:
    """The document, in UTF-8; the same bytes for the same bundle.

    Raises:
        InputError: The key of a root has no JWK.
    """
    keys: list[Json] = [_x509_jwk(root) for root in bundle.x509.authorities]
    keys += [json.loads(key) for key in bundle.jwt_keys]
    document: dict[str, Json] = {"keys": keys}
    if bundle.sequence is not None:
        document[_SEQUENCE] = bundle.sequence
    if bundle.refresh_hint is not None:
        document[_HINT] = bundle.refresh_hint // timedelta(seconds=1)
    return canonical(document).encode("ascii")


def decode_spiffe_bundle(document: bytes, trust_domain: TrustDomain) -> SpiffeBundle:
    """Read the document of a trust domain, at most 1 MiB.

    A JWK of an unknown `kty` or `use` is passed over (§4.2), and so is a root whose key is of no
    kind known here, or that has no `x5c`; of several certificates in `x5c` the first counts
    (X509-SVID §6.2). Whether the roots have expired is not looked at, nor how strong their
    keys are: that is for whoever verifies with them.

    Args:
        document: Bytes from outside.
        trust_domain: Whose document was asked for; the document itself does not say.

    Raises:
        InputError: It is not JSON, repeats a member, lacks `keys`, holds too many, a number is
            malformed, an `x5c` holds something other than the certificate of an authority, a key
            for JWT-SVIDs has no `kid`, or a private key is among them.
    """
    parsed = _parse(document)
    if not isinstance(parsed, dict):
        msg = "SPIFFE bundle: it is not a JSON object; a bundle document is a JWK Set"
        raise InputError(msg)
    keys = parsed.get("keys")
    if not isinstance(keys, list):
        msg = "SPIFFE bundle: keys is missing or no list; an empty list says that all are revoked"
        raise InputError(msg)
    if len(keys) > MAX_BUNDLE_KEYS:
        msg = f"SPIFFE bundle: keys holds {len(keys)}, at most {MAX_BUNDLE_KEYS} are read"
        raise InputError(msg)
    roots: dict[bytes, x509.Certificate] = {}
    jwt_keys: list[str] = []
    for at, key in enumerate(keys):
        what = f"SPIFFE bundle: keys[{at}]"
        known = _known(key, what)
        if known.get("use") == _X509:
            root = _root(known, what)
            if root is not None:
                roots.setdefault(root.public_bytes(Encoding.DER), root)
        elif known.get("use") == _JWT:
            jwt_keys.append(_jwt_key(known, what))
    hint = _whole(parsed, _HINT)
    try:
        seconds = None if hint is None else timedelta(seconds=hint)
    except OverflowError as error:
        msg = f"SPIFFE bundle: {_HINT} is longer than {_MAX_HINT.days} days"
        raise InputError(msg) from error
    return SpiffeBundle(
        x509=X509Bundle(trust_domain, tuple(roots.values())),
        sequence=_whole(parsed, _SEQUENCE),
        refresh_hint=seconds,
        jwt_keys=tuple(jwt_keys),
    )


def _x509_jwk(root: x509.Certificate) -> dict[str, Json]:
    with reading("SPIFFE bundle: the key of a root does not parse"):
        members = public_jwk(root.public_key())
    der = root.public_bytes(Encoding.DER)
    x5c: list[Json] = [base64.b64encode(der).decode("ascii")]  # RFC 7517 §4.7: not base64url
    return {**members, "use": _X509, "x5c": x5c}


def _parse(document: bytes) -> Json:
    if len(document) > MAX_BUNDLE_DOCUMENT_BYTES:
        msg = (
            f"SPIFFE bundle: it has {len(document)} bytes, at most {MAX_BUNDLE_DOCUMENT_BYTES} "
            "are read"
        )
        raise InputError(msg)
    return read_json(
        document, what="SPIFFE bundle", remedy="fetch it again from its bundle endpoint"
    )


def _known(key: Json, what: str) -> dict[str, Json]:
    """The JWK, or an empty one if its key type is unknown."""
    if not isinstance(key, dict):
        msg = f"{what}: it is no JSON object; each key is a JWK"
        raise InputError(msg)
    kind = key.get("kty")
    if not isinstance(kind, str) or kind not in KEY_TYPES:
        return {}
    for member in sorted(PRIVATE_MEMBERS & key.keys()):
        msg = f"{what}: the member {member} is that of a private key; its owner must replace it"
        raise InputError(msg)
    return key


def _root(key: dict[str, Json], what: str) -> x509.Certificate | None:
    """The certificate; None if there is none, or its key is of no kind known here."""
    chain = key.get("x5c", [])
    if chain == []:
        return None
    if not isinstance(chain, list) or not isinstance(chain[0], str):
        msg = f"{what}: x5c must be a list of certificates as text (X509-SVID §6.1)"
        raise InputError(msg)
    try:
        der = base64.b64decode(chain[0].encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        msg = f"{what}: x5c is not Base64 (RFC 7517 §4.7)"
        raise InputError(msg) from error
    certificate, view = parse_certificate(der, what=f"{what}.x5c")
    if not svid.is_authority(view):
        msg = (
            f"{what}: x5c holds a certificate that is no authority's; only roots stand in a bundle"
        )
        raise InputError(msg)
    try:
        public_jwk(certificate.public_key())
    except (InputError, *LIBRARY_ERRORS):
        return None
    return certificate


def _jwt_key(key: dict[str, Json], what: str) -> str:
    kid = key.get("kid")
    if not isinstance(kid, str) or not kid:
        msg = f"{what}: a key for JWT-SVIDs must have a kid (JWT-SVID)"
        raise InputError(msg)
    return canonical(key)


def _whole(document: dict[str, Json], name: str) -> int | None:
    value = document.get(name)
    if value is None and name not in document:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"SPIFFE bundle: {name} is {quoted(value)}, but must be a whole number"
        raise InputError(msg)
    return value
