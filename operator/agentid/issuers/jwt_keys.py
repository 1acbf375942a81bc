"""The keys for JWT-SVIDs as they are kept beside the authorities: `jwt-<kid>.key`, PKCS#8 in PEM.

Their public halves stand in `authorities.json`. A private half that is missing or damaged takes
nothing from the authorities, which go on signing certificates, nor from verifiers, who find the key
in the bundle: it is told, and left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentid.errors import InputError
from agentid.issuers.authority_records import JwtEntry
from agentid.pki import LocalSigner, generate, load_private_key, to_pkcs8_pem
from agentid.pki.jwk import read_jws_key, thumbprint
from agentid.pki.jws import JwtAlgorithm, jws_algorithm_of
from agentid.pki.jwt_bundle import jwt_jwk, key_id
from agentid.pki.jwt_svid import JwtSigningKey
from agentid.policy.jwt_keys import JwtKey
from agentid.policy.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agentid.pki import PrivateKey
    from agentid.pki.jwk import JwsKey

__all__ = ["JwtAuthority", "jwt_entry", "jwt_file", "load_jwt_keys", "new_jwt_key"]


@dataclass(frozen=True, slots=True)
class JwtAuthority:
    """A key for JWT-SVIDs.

    Attributes:
        record: How far it is in its life.
        jwk: Its public half as it stands in the SPIFFE bundle: a JSON object.
        algorithm: What it signs with.
        signing: It, with the means to sign; None if it is retired, or its private half is damaged.
        fault: What is wrong with the private half; empty if nothing is.
    """

    record: JwtKey
    jwk: str
    algorithm: JwtAlgorithm
    signing: JwtSigningKey | None = None
    fault: str = ""

    def moved(self, record: JwtKey) -> JwtAuthority:
        """The same at another stage; what signs no more forgets how to."""
        return replace(self, record=record, signing=self.signing if record.has_key else None)


def jwt_file(kid: str) -> str:
    """Where the private half of a key is kept."""
    return f"jwt-{kid}.key"


def new_jwt_key(
    algorithm: JwtAlgorithm, bundle: int, now: datetime
) -> tuple[JwtEntry, dict[str, bytes]]:
    """Make a key, staged, and the file that holds it.

    Args:
        algorithm: That it signs with.
        bundle: Sequence of the first bundle that holds it.
        now: The present.
    """
    private, signing = _generate(algorithm)
    while signing.kid.startswith("-"):  # one in 64; to a command it would be an option
        private, signing = _generate(algorithm)
    entry = JwtEntry(signing.kid, jwt_jwk(signing.public_key), Stage.STAGED, now, bundle)
    return entry, {jwt_file(signing.kid): to_pkcs8_pem(private)}


def _generate(algorithm: JwtAlgorithm) -> tuple[PrivateKey, JwtSigningKey]:
    private = generate(algorithm.key_algorithm)
    return private, JwtSigningKey.of(LocalSigner(private))


def jwt_entry(key: JwtAuthority) -> JwtEntry:
    """A key as it is stored."""
    record = key.record
    return JwtEntry(
        record.kid, key.jwk, record.stage, record.since, record.bundle, record.published_at
    )


def load_jwt_keys(
    entries: Sequence[JwtEntry], files: Mapping[str, bytes], faults: list[str]
) -> dict[str, JwtAuthority]:
    """Read stored keys.

    Args:
        entries: What is on record of them.
        files: By name.
        faults: Taken in here is what makes the records themselves unusable.
    """
    found: dict[str, JwtAuthority] = {}
    for entry in entries:
        try:
            public, algorithm = _public(entry)
        except InputError as error:
            faults.append(str(error))
            continue
        signing, fault = None, ""
        if entry.stage is not Stage.RETIRED:
            signing, fault = _private(entry.kid, files.get(jwt_file(entry.kid)))
        record = JwtKey(
            kid=entry.kid,
            fingerprint=thumbprint(public).hex(),
            stage=entry.stage,
            since=entry.since,
            bundle=entry.bundle,
            published_at=entry.published_at,
            has_key=signing is not None,
        )
        found[entry.kid] = JwtAuthority(record, jwt_jwk(public), algorithm, signing, fault)
    return found


def _public(entry: JwtEntry) -> tuple[JwsKey, JwtAlgorithm]:
    public = read_jws_key(entry.members, what=f"the key for JWT-SVIDs {entry.kid}")
    named = jws_algorithm_of(public)
    algorithm = next((each for each in JwtAlgorithm if each.value == named), None)
    if key_id(public) != entry.kid or algorithm is None:
        msg = f"the key for JWT-SVIDs {entry.kid} is another one; restore it from a backup"
        raise InputError(msg)
    return public, algorithm


def _private(kid: str, pem: bytes | None) -> tuple[JwtSigningKey | None, str]:
    name = jwt_file(kid)
    if not pem:
        return None, f"{name}: it is missing; restore it from a backup"
    try:
        key = JwtSigningKey.of(LocalSigner(load_private_key(pem, what=name)))
    except InputError as error:
        text = str(error)
        return None, text if text.startswith(name) else f"{name}: {text}"
    if key.kid != kid:
        return None, f"{name}: it is the private key of another one; restore the one that was there"
    return key, ""
