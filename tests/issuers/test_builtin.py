"""The issuer that signs in this process."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agentid.errors import IssuanceDeniedError, UnavailableError
from agentid.identity import SpiffeId
from agentid.issuers import BACKDATE, AuthorityRole, BuiltinIssuer, Issuer, IssueRequest
from agentid.pki import Authority, KeyAlgorithm
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.clock import ManualClock

CA = ThrowawayCA()
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
REQUEST = IssueRequest(
    spiffe_id=CA.spiffe_id(),
    class_name="assistant",
    lifetime=HOUR,
    key_algorithm=KeyAlgorithm.ED25519,
    public_key=CA.key("agent").public_key(),
)


def issuer(ca: ThrowawayCA = CA, now: datetime = NOON) -> Issuer:
    """The issuer at a given present; typed as the protocol, which it has to fit."""
    return BuiltinIssuer(
        name="builtin", authorities=ca.authority_set, clock=ManualClock(now), random=ca.random
    )


def test_a_leaf_serves_from_now_for_the_lifetime() -> None:
    """It is back-dated by a minute and its last second counts."""
    leaf = asyncio.run(issuer().issue(REQUEST)).leaf
    assert leaf.validity.not_before == NOON - BACKDATE
    assert leaf.validity.not_after == NOON + HOUR - SECOND
    assert leaf.spiffe_id == REQUEST.spiffe_id


def test_each_leaf_has_a_serial_of_its_own() -> None:
    """A hundred of them differ, and none is short."""
    built = issuer()
    serials = {asyncio.run(built.issue(REQUEST)).leaf.serial for _ in range(100)}
    assert len(serials) == 100


def test_a_leaf_ends_with_its_chain() -> None:
    """A lifetime beyond the chain's end is cut there, and not refused."""
    ca = ThrowawayCA(lifetime=timedelta(minutes=10))
    leaf = asyncio.run(issuer(ca).issue(REQUEST)).leaf
    assert leaf.validity.not_after == ca.authority.not_after


def test_a_leaf_begins_with_its_chain() -> None:
    """A clock that stepped back within the chain's first minute does not date leaves before it."""
    leaf = asyncio.run(issuer(now=NOON - timedelta(seconds=30)).issue(REQUEST)).leaf
    assert leaf.validity.not_before == CA.authority.validity.not_before


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(NOON - HOUR, id="clock-an-hour-behind"),
        pytest.param(NOON + timedelta(days=91), id="chain-over"),
    ],
)
def test_nothing_is_issued_outside_the_validity_of_the_chain(now: datetime) -> None:
    """The request itself is fine, so it is told to come again; the message says what to check."""
    with pytest.raises(UnavailableError, match="check the clock, or renew the authority") as raised:
        asyncio.run(issuer(now=now).issue(REQUEST))
    assert raised.value.retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(
            replace(REQUEST, spiffe_id=SpiffeId.parse("spiffe://other.org/a")),
            "is not of the trust domain example.org",
            id="foreign-trust-domain",
        ),
        pytest.param(
            replace(REQUEST, spiffe_id=SpiffeId.parse("spiffe://example.org")),
            "names the trust domain itself",
            id="trust-domain-itself",
        ),
        pytest.param(
            replace(REQUEST, key_algorithm=KeyAlgorithm.ECDSAP384),
            "found ED25519, but the profile asks for ECDSAP384",
            id="other-algorithm",
        ),
        pytest.param(
            replace(REQUEST, public_key=CA.intermediate.private_key.public_key()),
            "it is the key of the issuing authority",
            id="key-of-the-authority",
        ),
        pytest.param(
            replace(REQUEST, lifetime=timedelta(0)), "at least one second", id="no-lifetime"
        ),
        pytest.param(
            replace(REQUEST, lifetime=-HOUR), "at least one second", id="negative-lifetime"
        ),
        pytest.param(
            replace(REQUEST, policy_oid="nonsense"), "is not an object identifier", id="policy"
        ),
    ],
)
def test_what_cannot_be_signed_is_denied_in_words(request_: IssueRequest, message: str) -> None:
    """The refusal is final for this request, and says why."""
    with pytest.raises(IssuanceDeniedError, match=re.escape(message)):
        asyncio.run(issuer().issue(request_))


def test_a_hundred_years_end_with_the_chain() -> None:
    """However much is asked for, no more than the chain holds is given."""
    leaf = asyncio.run(issuer().issue(replace(REQUEST, lifetime=timedelta(days=36500)))).leaf
    assert leaf.validity.not_after == CA.authority.not_after


def test_what_is_ordered_stands_in_the_leaf() -> None:
    """Policy, CPS URI and noRevAvail reach the certificate."""
    ordered = replace(
        REQUEST,
        policy_oid="1.3.6.1.4.1.99999.1",
        cps_uri="https://pki.example.org/cps",
        no_rev_avail=True,
    )
    oids = {
        each.oid.dotted_string
        for each in asyncio.run(issuer().issue(ordered)).leaf.certificate.extensions
    }
    assert {"2.5.29.32", "2.5.29.56"} <= oids


class AwaySigner:
    """A key in hardware that was pulled."""

    algorithm = KeyAlgorithm.ED25519

    def sign(self, _data: bytes) -> bytes:
        """Be away."""
        message = "the token was pulled"
        raise UnavailableError(message, retry_after=timedelta(seconds=7))


def test_a_key_that_is_away_is_unavailable_and_not_denied() -> None:
    """Whoever asks comes again when told to."""
    authority = Authority(
        CA.trust_domain, (CA.intermediate.certificate,), CA.root.certificate, AwaySigner()
    )
    (name,) = CA.authority_set.issuing
    authorities = replace(CA.authority_set, issuing={name: authority})
    away = BuiltinIssuer(
        name="builtin", authorities=authorities, clock=ManualClock(NOON), random=CA.random
    )
    with pytest.raises(UnavailableError, match="the token was pulled") as raised:
        asyncio.run(away.issue(REQUEST))
    assert raised.value.retry_after == timedelta(seconds=7)


def test_authorities_are_listed_root_first() -> None:
    """What the status of an AgentIssuer shows."""
    root, issuing = issuer().authorities()
    assert (root.role, issuing.role) == (AuthorityRole.ROOT, AuthorityRole.ISSUING)
    assert root.subject == CA.root.certificate.subject.rfc4514_string()
    assert root.serial.value == CA.root.certificate.serial_number
    assert issuing.validity.not_after == CA.intermediate.certificate.not_valid_after_utc
    assert issuing.algorithm is KeyAlgorithm.ED25519
    assert len(issuing.fingerprint) == 64


def test_the_bundle_is_that_of_the_authority() -> None:
    """What verifiers trust."""
    assert issuer().bundle() == CA.bundle
    assert issuer().trust_domain == CA.trust_domain
    assert issuer().name == "builtin"


def test_an_issuer_does_not_show_its_key() -> None:
    """Name and trust domain, and nothing else."""
    assert repr(issuer()) == "BuiltinIssuer('builtin', example.org)"
