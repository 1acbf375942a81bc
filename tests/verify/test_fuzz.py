"""Whatever the bytes, nothing but a verdict or an InputError comes out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import InputError, VerificationError
from agentid.pki import X509Bundle
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.verify import BundleSet, CrlSet, VerifiedAgent, Verifier, Wanted, read_bundle
from agentid.verify.revocation import read_crls
from tests.support import pkits
from tests.support.verifying import CRL_URI, POLICY, authorized, crl

if TYPE_CHECKING:
    from collections.abc import Callable

CA = ThrowawayCA()
CHAIN = [
    CA.issue(CA.profile(authorization=authorized(by_reference=True), crl_uri=CRL_URI)).leaf.der,
    *CA.authority.chain_der,
]
CRL = crl(CA, 1, 2, 3)
DOCUMENT = POLICY.document(agent_class="assistant", tier="Moderate", sponsor="team@example.org")
BUNDLE = encode_spiffe_bundle(SpiffeBundle(CA.bundle, sequence=1))
WANTED = Wanted("crm.contacts", "read")
AMONG_PKITS = [
    pkits.certificate(name).der
    for name in ("nameConstraintsDN1subCA3Cert", "nameConstraintsURI1CACert", pkits.ANCHOR)
]

# Where, what is put there, and how many octets it replaces.
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6), st.integers(0, 6)),
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    """The bytes with a few places changed; lengths inside no longer fit, or by chance still do."""
    for place, put, replaced in edits:
        at = int(place * len(data))
        data = data[:at] + put + data[at + replaced :]
    return data


def outcome(act: Callable[[], object]) -> object:
    """The result, or the refusal; any other exception passes."""
    try:
        return act()
    except (InputError, VerificationError) as refusal:
        return refusal


VERIFIER = Verifier(BundleSet([CA.bundle]), crls=CrlSet(read_crls(CRL)), remembered=0)


@settings(max_examples=150, deadline=None)
@given(st.lists(EDITS, min_size=2, max_size=2))
def test_an_altered_chain_is_refused(edits: list[list[tuple[float, bytes, int]]]) -> None:
    """Only the very same bytes are accepted."""
    chain = [edited(der, edit) for der, edit in zip(CHAIN, edits, strict=True)]
    got = outcome(lambda: VERIFIER.verify(chain, at=NOON))
    assert isinstance(got, VerifiedAgent if chain == CHAIN else VerificationError)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*CHAIN, *AMONG_PKITS, *CA.bundle.der]), max_size=9))
def test_certificates_in_any_order_get_a_verdict(chain: list[bytes]) -> None:
    """And are accepted only if leaf and intermediate come first."""
    got = outcome(lambda: VERIFIER.verify(chain, at=NOON))
    good = chain[:2] == CHAIN and len(chain) <= 8
    assert isinstance(got, VerifiedAgent if good else VerificationError)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.builds(edited, st.just(CHAIN[0]), EDITS)))
def test_noise_is_no_chain(data: bytes) -> None:
    """As PEM, as DER, and as the second of two."""
    for chain in (data, [data], [CHAIN[0], data]):
        assert isinstance(outcome(partial(VERIFIER.verify, chain, at=NOON)), VerificationError)


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_an_altered_list_says_nothing(edits: list[tuple[float, bytes, int]]) -> None:
    """It is not read, or its signature does not hold; the leaf is then unknown, never good."""
    data = edited(CRL, edits)
    crls = outcome(lambda: CrlSet(read_crls(data)))
    if data == CRL or isinstance(crls, InputError):
        return
    assert isinstance(crls, CrlSet)
    by = VERIFIER.with_crls(crls)
    assert isinstance(outcome(lambda: by.verify(CHAIN, at=NOON)), VerificationError)


@settings(max_examples=100, deadline=None)
@given(EDITS)
def test_an_altered_bundle_is_read_or_refused(edits: list[tuple[float, bytes, int]]) -> None:
    """It is refused, or what it still holds gets a verdict."""
    for data in (edited(BUNDLE, edits), edited(CA.bundle.pem, edits)):
        bundle = outcome(partial(read_bundle, data, CA.trust_domain))
        if isinstance(bundle, X509Bundle):
            by = Verifier(BundleSet([bundle]))
            got = outcome(partial(by.verify, CHAIN, at=NOON))
            assert isinstance(got, VerifiedAgent | VerificationError)
        else:
            assert isinstance(bundle, InputError)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.builds(edited, st.just(DOCUMENT), EDITS)))
def test_another_document_is_refused(data: bytes) -> None:
    """Only the very same bytes have the hash."""
    got = outcome(lambda: VERIFIER.verify(CHAIN, at=NOON, policy=data))
    assert isinstance(got, VerifiedAgent if data == DOCUMENT else VerificationError)


def test_the_chain_that_is_altered_here_is_good() -> None:
    """Else the tests above would pass for nothing."""
    agent = VERIFIER.verify(CHAIN, at=NOON, policy=DOCUMENT)
    assert agent.permissions is not None
    with pytest.raises(VerificationError, match="is not granted at"):
        agent.require(WANTED, at=NOON)  # a Sunday
