"""Keys for JWT-SVIDs beside the authorities: made, moved on, and never mended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.errors import AuthorityError, IssuanceDeniedError, UnavailableError
from agentid.identity import SpiffeId, TrustDomain
from agentid.issuers import (
    AuthoritySet,
    AuthoritySettings,
    BuiltinIssuer,
    GivenAuthority,
    IssueRequest,
    JwtRequest,
    JwtTerms,
    carried_out,
)
from agentid.issuers.authority_set import RECORDS_FILE, load_set
from agentid.issuers.jwt_keys import new_jwt_key
from agentid.issuers.making import GIVEN_NAMES, first_set, taken_up
from agentid.pki import KeyAlgorithm
from agentid.pki.jws import JwtAlgorithm
from agentid.pki.jwt_bundle import JwtBundle
from agentid.pki.jwt_validation import validate
from agentid.pki.spiffe_bundle import SpiffeBundle
from agentid.policy.jwt_keys import DropJwtKey, JwtKeyPublished, PromoteJwtKey, StageJwtKey
from agentid.policy.stages import Stage
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from agentid.policy.authorities import Step

CA = ThrowawayCA()
DOMAIN = CA.trust_domain
FILES = CA.authority_set.files
KID = CA.jwt_signing_key.kid
FILE = f"jwt-{KID}.key"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SETTINGS = AuthoritySettings(
    trust_domain=DOMAIN,
    root_algorithm=KeyAlgorithm.ECDSAP256,
    root_lifetime=timedelta(days=3650),
    intermediate_algorithm=KeyAlgorithm.ECDSAP256,
    intermediate_lifetime=timedelta(days=90),
    shards=4,
    responder="http://responder.test",
)


def after(have: AuthoritySet, *steps: Step, settings: AuthoritySettings = SETTINGS) -> AuthoritySet:
    """What steps make of a set, read again from what would be stored."""
    for step in steps:
        have = carried_out(have, step, settings, NOON + HOUR, CA.random)
        assert load_set(have.files, DOMAIN).records == have.records
    return have


def issuer(have: AuthoritySet, terms: JwtTerms | None = None) -> BuiltinIssuer:
    """The issuer that signs with a set."""
    return BuiltinIssuer(
        name="test",
        authorities=have,
        clock=ManualClock(NOON),
        random=CA.random,
        jwt=terms or JwtTerms(),
    )


def test_the_first_key_is_there_from_the_beginning() -> None:
    """In the first bundle, staged until that is published."""
    made = first_set(SETTINGS, NOON, CA.random)
    (record,) = made.records.jwt_keys
    assert (record.stage, record.bundle, record.published_at) == (Stage.STAGED, 1, None)
    assert made.records.sequence == 1
    (jwk,) = made.jwks
    assert (json.loads(jwk)["kid"], json.loads(jwk)["alg"]) == (record.kid, "ES256")
    assert made.jwt_signing is None


def test_no_kid_begins_with_a_hyphen() -> None:
    """What names a key can be handed to a command as it is; without care one in 64 could not."""
    made = (new_jwt_key(JwtAlgorithm.ES256, 1, NOON)[0].kid for _ in range(1_000))
    assert [kid for kid in made if kid.startswith("-")] == []


def test_a_given_authority_comes_with_a_key_of_ours() -> None:
    """A CA of the organisation certifies no key for tokens."""
    files = {
        GIVEN_NAMES.chain: CA.intermediate.certificate_pem,
        GIVEN_NAMES.key: CA.intermediate.private_key_pem,
        GIVEN_NAMES.root: CA.root.certificate_pem,
    }
    given = GivenAuthority.read(files, DOMAIN, NOON)
    made = taken_up(None, given, SETTINGS, NOON, hurry=False)
    assert (len(made.jwks), made.records.sequence) == (1, 1)


@pytest.mark.parametrize("algorithm", list(JwtAlgorithm))
def test_a_key_comes_and_signs_and_goes(algorithm: JwtAlgorithm) -> None:
    """The bundle counts who comes and goes, and not who signs."""
    settings = replace(SETTINGS, jwt_algorithm=algorithm)
    have = after(CA.authority_set, StageJwtKey("asked for"), settings=settings)
    new, old = have.records.jwt_keys
    assert (new.stage, new.bundle, old.kid) == (Stage.STAGED, 2, KID)
    assert [json.loads(jwk)["kid"] for jwk in have.jwks] == [new.kid, KID]
    assert have.jwt_signing is not None
    assert have.jwt_signing.kid == KID
    have = after(have, JwtKeyPublished(new.kid), PromoteJwtKey(new.kid))
    assert have.jwt_signing is not None
    assert (have.jwt_signing.kid, have.jwt_signing.algorithm) == (new.kid, algorithm)
    assert (have.records.sequence, len(have.jwks)) == (2, 2)
    have = after(have, DropJwtKey(KID, distrusted=False))
    assert have.records.sequence == 3
    assert [json.loads(jwk)["kid"] for jwk in have.jwks] == [new.kid]
    assert have.jwt_faults == ()


def test_the_private_half_goes_when_the_key_retires() -> None:
    """What signs no more need not be kept; the public half stays in the bundle."""
    have = after(CA.authority_set, StageJwtKey("asked for"))
    new = have.records.jwt_keys[0].kid
    assert {name for name in have.files if name.startswith("jwt-")} == {FILE, f"jwt-{new}.key"}
    have = after(have, JwtKeyPublished(new), PromoteJwtKey(new))
    assert {name for name in have.files if name.startswith("jwt-")} == {f"jwt-{new}.key"}
    assert all(b"PRIVATE" not in jwk.encode() and '"d"' not in jwk for jwk in have.jwks)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(None, f"{FILE}: it is missing; restore it from a backup", id="missing"),
        pytest.param(b"", f"{FILE}: it is missing; restore it", id="empty"),
        pytest.param(b"x", f"{FILE} holds no PEM block", id="nonsense"),
        pytest.param(FILES[FILE][:80], f"{FILE}", id="cut"),
        pytest.param(
            ThrowawayCA(seed="other").authority_set.files[
                f"jwt-{ThrowawayCA(seed='other').jwt_signing_key.kid}.key"
            ],
            f"{FILE}: it is the private key of another one",
            id="another",
        ),
        pytest.param(
            CA.intermediate.private_key_pem, f"{FILE}: a key of Ed25519 is none", id="authority"
        ),
    ],
)
def test_a_damaged_key_is_told_and_takes_nothing_else(content: bytes | None, fault: str) -> None:
    """Certificates go on; the file stays as it is through other steps; verifiers keep the key."""
    files = {name: each for name, each in FILES.items() if name != FILE}
    if content is not None:
        files[FILE] = content
    have = load_set(files, DOMAIN)
    (told,) = have.jwt_faults
    assert told.startswith(fault)
    assert have.jwks == CA.authority_set.jwks
    assert have.jwt_signing is None
    moved = have.with_records(replace(have.records, sequence=2))
    assert moved.files.get(FILE) == content
    request = IssueRequest(
        CA.spiffe_id(), "batch", HOUR, KeyAlgorithm.ED25519, CA.key("leaf").public_key()
    )
    assert asyncio.run(issuer(moved).issue(request)).bundle == 2
    with pytest.raises(UnavailableError, match="no key for JWT-SVIDs signs; its condition JWT"):
        asyncio.run(issuer(moved).mint(JwtRequest(CA.spiffe_id(), ("a",), MINUTE)))


def test_an_earlier_release_wrote_no_keys() -> None:
    """What it stored is read, and gets its first key by the next step."""
    records = json.loads(FILES[RECORDS_FILE])
    del records["jwtKeys"]
    files = {name: content for name, content in FILES.items() if name != FILE}
    have = load_set({**files, RECORDS_FILE: json.dumps(records).encode()}, DOMAIN)
    assert (have.jwks, have.records.sequence) == ((), 1)
    have = after(have, StageJwtKey("nothing signs JWT-SVIDs"))
    assert (len(have.jwks), have.records.sequence) == (1, 2)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"kid": "A" * 43}, "is another one; restore it from a backup", id="kid"),
        pytest.param({"kid": "../../x"}, "the record of a key for JWT-SVIDs is damaged", id="path"),
        pytest.param({"jwk": {"kty": "oct"}}, 'its kty is "oct"', id="kind"),
        pytest.param({"jwk": "text"}, "the record of a key for JWT-SVIDs is damaged", id="text"),
        pytest.param({"stage": "Asleep"}, "the record of a key for JWT-SVIDs is dam", id="stage"),
        pytest.param({"since": "now"}, "is not a time", id="since"),
    ],
)
def test_damaged_records_are_a_fault_of_all(change: dict[str, object], fault: str) -> None:
    """They are one file: what is left of it is a person's to judge."""
    records = json.loads(FILES[RECORDS_FILE])
    records["jwtKeys"][0] |= change
    with pytest.raises(AuthorityError, match=fault):
        load_set({**FILES, RECORDS_FILE: json.dumps(records).encode()}, DOMAIN)


def test_no_text_shows_a_key() -> None:
    """Neither the set nor what signs."""
    assert "PRIVATE" not in repr(CA.authority_set)
    assert "PRIVATE" not in repr(CA.authority_set.jwt_keys)
    assert "masked" in repr(CA.authority_set.jwt_signing)


# Minting


def test_a_token_is_minted_by_the_terms_of_the_issuer() -> None:
    """Who asks for longer gets what is allowed; `iss` and a random id are the issuer's."""
    signs = issuer(CA.authority_set, JwtTerms(10 * MINUTE, "https://oidc.example"))
    request = JwtRequest(CA.spiffe_id(), ("api",), HOUR, {"tier": "Low"})
    first, second = (asyncio.run(signs.mint(request)) for _ in range(2))
    assert first.not_after == NOON + 10 * MINUTE
    assert (first.kid, first.claims["iss"]) == (KID, "https://oidc.example")
    assert first.token_id != second.token_id
    assert len(first.token_id or "") == 22
    document = SpiffeBundle(CA.bundle, 1, None, CA.authority_set.jwks)
    bundles = {DOMAIN: JwtBundle.of(document)}
    assert validate(first.token, bundles, "api", NOON).claims["tier"] == "Low"
    short = asyncio.run(signs.mint(replace(request, lifetime=timedelta(seconds=20.9))))
    assert short.not_after == NOON + timedelta(seconds=20)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(
            JwtRequest(
                SpiffeId.for_agent(TrustDomain.parse("other.example"), "a", "b"), ("x",), HOUR
            ),
            "is not of the trust domain example.org",
            id="stranger",
        ),
        pytest.param(JwtRequest(CA.spiffe_id(), (), HOUR), "audience: it has 0", id="for-nobody"),
        pytest.param(
            JwtRequest(CA.spiffe_id(), ("x",), timedelta(seconds=0.5)), "lifetime", id="no-time"
        ),
        pytest.param(
            JwtRequest(CA.spiffe_id(), ("x",), HOUR, {"sub": "other"}),
            "claims: sub cannot be given",
            id="another-subject",
        ),
    ],
)
def test_what_no_token_may_say_is_denied(request_: JwtRequest, message: str) -> None:
    """By the issuer, whoever asks."""
    with pytest.raises(IssuanceDeniedError, match=message):
        asyncio.run(issuer(CA.authority_set).mint(request_))
