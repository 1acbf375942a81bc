"""From profile to leaf: prepared, linted, signed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import InputError, InternalError, UnavailableError
from agentid.identity import SerialNumber, SpiffeId, Validity
from agentid.pki import (
    Authority,
    KeyAlgorithm,
    LeafProfile,
    LocalSigner,
    lint,
    prepare,
    sign,
)
from agentid.pki.assemble import encoded_extension
from agentid.pki.view import read_certificate
from agentid.testing.ca import NOON, ThrowawayCA

SECOND = timedelta(seconds=1)
CA = ThrowawayCA()

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\.[a-z0-9]{1,30}){0,5}", fullmatch=True)
oids = st.lists(st.integers(0, 2**40), min_size=1, max_size=6).map(
    lambda arcs: ".".join(map(str, (1, 3, *arcs)))
)


@settings(max_examples=60)
@given(
    namespace=st.from_regex(r"[a-z]{1,63}", fullmatch=True),
    name=names,
    pod_uid=st.none() | st.uuids().map(str),
    octets=st.binary(min_size=16, max_size=16),
    seconds=st.integers(1, 86400 * 80),
    policy_oid=st.none() | oids,
    no_rev_avail=st.booleans(),
)
def test_every_profile_reads_back_from_the_leaf(
    *,
    namespace: str,
    name: str,
    pod_uid: str | None,
    octets: bytes,
    seconds: int,
    policy_oid: str | None,
    no_rev_avail: bool,
) -> None:
    """Whatever may be ordered passes the lint, and the certificate says exactly that."""
    spiffe_id = SpiffeId.for_agent(CA.trust_domain, namespace, name, pod_uid=pod_uid)
    serial = SerialNumber.from_random(octets)
    validity = Validity.of(NOON, timedelta(seconds=seconds), timedelta(0))
    profile = LeafProfile(
        spiffe_id=spiffe_id,
        class_name="assistant",
        validity=validity,
        key_algorithm=KeyAlgorithm.ED25519,
        policy_oid=policy_oid,
        no_rev_avail=no_rev_avail,
    )
    leaf = sign(prepare(profile, CA.key("a").public_key(), CA.authority, serial), CA.authority)
    certificate = x509.load_der_x509_certificate(leaf.der)
    assert certificate.serial_number == serial.value
    assert certificate.not_valid_before_utc == validity.not_before
    assert certificate.not_valid_after_utc == validity.not_after
    assert read_certificate(leaf.der).uri_names == (str(spiffe_id),)
    assert (leaf.serial, leaf.validity, leaf.spiffe_id) == (serial, validity, spiffe_id)


def test_a_leaf_carries_its_chain_leaf_first_without_the_root() -> None:
    """DER and PEM hold the leaf and the intermediate, and the fingerprint is that of the leaf."""
    leaf = CA.issue().leaf
    assert leaf.chain_der == (leaf.der, CA.intermediate.certificate.public_bytes(Encoding.DER))
    parsed = x509.load_pem_x509_certificates(leaf.chain_pem)
    assert parsed == [leaf.certificate, CA.intermediate.certificate]
    assert leaf.fingerprint == sha256(leaf.der).hexdigest()


def test_the_same_order_makes_the_same_bytes() -> None:
    """With fixed keys, serials and times, Ed25519 repeats every byte."""
    assert ThrowawayCA().issue().leaf == ThrowawayCA().issue().leaf
    assert ThrowawayCA().issue().leaf != ThrowawayCA(seed="other").issue().leaf


def test_an_agents_name_never_reads_as_a_host_name() -> None:
    """An agent named like a host gets a common name that no verifier takes for that host."""
    profile = CA.profile("erp.example.com")
    common_name = CA.issue(profile).leaf.certificate.subject.rfc4514_string()
    assert common_name == "CN=finance/erp.example.com,O=example.org"


def test_long_names_are_cut_for_display_only() -> None:
    """X.520 allows 64 characters; the SPIFFE ID keeps all of them."""
    ca = ThrowawayCA(".".join(["a" * 60] * 4))
    leaf = ca.issue(ca.profile("n" * 253)).leaf
    subject = {each.oid._name: str(each.value) for each in leaf.certificate.subject}
    assert subject == {
        "organizationName": ("a" * 60 + ".aaa"),
        "commonName": "finance/" + "n" * 56,
    }
    assert str(leaf.spiffe_id).endswith("/agent/" + "n" * 253)


def test_a_workload_that_is_no_agent_can_be_named() -> None:
    """Any path is a valid SPIFFE ID; its common name is the path."""
    validity = CA.profile().validity
    spiffe_id = SpiffeId.parse("spiffe://example.org/operator")
    profile = LeafProfile(spiffe_id, "system", validity, KeyAlgorithm.ED25519)
    leaf = CA.issue(profile).leaf
    assert leaf.certificate.subject.rfc4514_string() == "CN=/operator,O=example.org"


@pytest.mark.parametrize("year", [2049, 2050, 2051])
def test_times_change_their_encoding_in_2050(year: int) -> None:
    """RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from then on."""
    ca = ThrowawayCA(now=datetime(year, 6, 1, tzinfo=UTC))
    assert ca.issue().leaf.certificate.not_valid_before_utc.year == year


def test_no_leaf_outlives_its_chain() -> None:
    """A profile that reaches one second beyond the chain is refused; up to its end it is not."""
    ca = ThrowawayCA(lifetime=timedelta(hours=1))
    end = ca.authority.not_after
    good = ca.profile()
    assert good.validity.not_after == end
    assert ca.issue(good).leaf.validity.not_after == end
    beyond = Validity(good.validity.not_before, end + SECOND)
    before = Validity(ca.authority.validity.not_before - SECOND, end)
    for validity in (beyond, before):
        profile = LeafProfile(good.spiffe_id, "assistant", validity, KeyAlgorithm.ED25519)
        with pytest.raises(InputError, match="reaches beyond that of the issuing chain"):
            ca.issue(profile)


def test_the_chain_ends_with_its_shortest_certificate() -> None:
    """A root that ends before its intermediate ends the chain."""
    short, long = ThrowawayCA(lifetime=timedelta(hours=1)), ThrowawayCA()
    authority = Authority(
        long.trust_domain,
        (long.intermediate.certificate,),
        short.root.certificate,
        LocalSigner(long.intermediate.private_key),
    )
    assert authority.not_after == short.root.certificate.not_valid_after_utc


def test_a_foreign_trust_domain_is_refused() -> None:
    """An authority signs for its own trust domain alone."""
    with pytest.raises(InputError, match=r"is not of the trust domain example\.org of the issuer"):
        CA.issue(ThrowawayCA("other.org").profile())


def test_a_key_of_another_algorithm_is_refused() -> None:
    """The class says which algorithm; a key of another does not pass, however strong."""
    profile = CA.profile(key_algorithm=KeyAlgorithm.ECDSAP384)
    with pytest.raises(InputError, match="found ED25519, but the profile asks for ECDSAP384"):
        prepare(profile, CA.key("a").public_key(), CA.authority, CA.serial())


def test_the_key_of_the_authority_is_refused() -> None:
    """A leaf for the issuing key would let whoever holds it be the agent."""
    key = CA.intermediate.private_key.public_key()
    with pytest.raises(InputError, match="it is the key of the issuing authority"):
        prepare(CA.profile(), key, CA.authority, CA.serial())


def test_a_prepared_leaf_is_signed_once() -> None:
    """The second signature is refused, so a serial is never on two certificates."""
    prepared = prepare(CA.profile(), CA.key("a").public_key(), CA.authority, CA.serial())
    sign(prepared, CA.authority)
    with pytest.raises(InternalError, match="was signed already; a serial is never signed twice"):
        sign(prepared, CA.authority)


def test_a_prepared_leaf_is_for_one_authority() -> None:
    """What was linted against one authority is not signed by another, and stays usable."""
    other = ThrowawayCA().authority
    prepared = prepare(CA.profile(), CA.key("a").public_key(), CA.authority, CA.serial())
    with pytest.raises(InternalError, match="was prepared for another authority"):
        sign(prepared, other)
    assert sign(prepared, CA.authority).serial == prepared.serial


def test_the_bytes_that_were_linted_are_the_bytes_that_are_signed() -> None:
    """Nothing is rebuilt between the lint and the signature."""
    prepared = prepare(CA.profile(), CA.key("a").public_key(), CA.authority, CA.serial())
    assert sign(prepared, CA.authority).certificate.tbs_certificate_bytes == prepared.tbs


def test_a_builder_that_slips_is_caught_by_the_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    """If what was built is not what was ordered, nothing is prepared and the fault is named."""
    slipped = encoded_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    monkeypatch.setattr("agentid.pki.assemble._SAME_IN_ALL", slipped)
    with pytest.raises(InternalError, match=r"fails the lint: .*a leaf must not be a CA"):
        CA.issue()


def test_the_lint_looks_at_the_bytes_that_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """`prepare` refuses whatever the lint finds, and says all of it."""
    monkeypatch.setattr(lint, "faults", lambda *_: ("one thing", "another"))
    with pytest.raises(InternalError, match="fails the lint: one thing; another"):
        CA.issue()


class FaultySigner:
    """A signer in hardware that fails in one way or another."""

    algorithm = KeyAlgorithm.ED25519

    def __init__(self, outcome: bytes | Exception) -> None:
        self._outcome = outcome

    def sign(self, _data: bytes) -> bytes:
        """Fail."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def faulty_authority(outcome: bytes | Exception) -> Authority:
    """The authority of the CA behind a faulty signer."""
    return Authority(
        CA.trust_domain,
        (CA.intermediate.certificate,),
        CA.root.certificate,
        FaultySigner(outcome),
    )


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(10_000)])
def test_a_wrong_signature_never_leaves(signature: bytes) -> None:
    """Hardware that answers nonsense is caught before anybody sees a certificate."""
    authority = faulty_authority(signature)
    prepared = prepare(CA.profile(), CA.key("a").public_key(), authority, CA.serial())
    with pytest.raises(InternalError, match="made a signature that does not verify"):
        sign(prepared, authority)


class WornSigner(LocalSigner):
    """A key of this process on a processor that computes wrongly."""

    def sign(self, data: bytes) -> bytes:
        """A good signature over something else."""
        return super().sign(data + b"!")


def worn_authority(algorithm: KeyAlgorithm) -> tuple[ThrowawayCA, Authority]:
    """A CA, and its authority on a worn processor."""
    ca = ThrowawayCA(algorithm=algorithm)
    signer = WornSigner(ca.intermediate.private_key)
    chain = (ca.intermediate.certificate,)
    return ca, Authority(ca.trust_domain, chain, ca.root.certificate, signer)


@pytest.mark.parametrize(
    "algorithm", [KeyAlgorithm.RSA3072, KeyAlgorithm.MLDSA44, KeyAlgorithm.MLDSA87]
)
def test_every_signature_is_verified_where_that_is_cheap(algorithm: KeyAlgorithm) -> None:
    """A single wrong RSA signature can give the key away, so none may leave."""
    ca, authority = worn_authority(algorithm)
    assert authority.verifies_one_in == 1
    prepared = prepare(ca.profile(), ca.key("a").public_key(), authority, SerialNumber(4711))
    with pytest.raises(InternalError, match="made a signature that does not verify"):
        sign(prepared, authority)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ECDSAP256, KeyAlgorithm.ED25519])
def test_a_worn_processor_is_found_by_the_sample(algorithm: KeyAlgorithm) -> None:
    """Where verifying costs more than signing, the serial number draws one in 64."""
    ca, authority = worn_authority(algorithm)
    found = []
    for serial in range(1000, 1128):
        prepared = prepare(ca.profile(), ca.key("a").public_key(), authority, SerialNumber(serial))
        try:
            sign(prepared, authority)
        except InternalError:
            found.append(serial)
    assert found == [1024, 1088]


def test_a_key_of_this_process_is_the_certified_one() -> None:
    """Its signatures are taken on trust, so it is compared when the authority is made."""
    ca = ThrowawayCA()
    with pytest.raises(InputError, match="is not that of the issuing certificate"):
        Authority(
            ca.trust_domain,
            (ca.intermediate.certificate,),
            ca.root.certificate,
            LocalSigner(ca.root.private_key),
        )


def test_a_signer_that_is_away_spends_the_prepared_leaf() -> None:
    """Whether it signed is unknown, so the serial is not used again."""
    authority = faulty_authority(UnavailableError("the token was pulled"))
    prepared = prepare(CA.profile(), CA.key("a").public_key(), authority, CA.serial())
    with pytest.raises(UnavailableError, match="the token was pulled"):
        sign(prepared, authority)
    with pytest.raises(InternalError, match="was signed already"):
        sign(prepared, authority)


def test_an_authority_needs_the_key_that_was_certified() -> None:
    """A signer of another algorithm, an empty chain or a chain without identifier is refused."""
    ca = ThrowawayCA()
    signer = LocalSigner(ca.key("a", KeyAlgorithm.ECDSAP256))
    with pytest.raises(InputError, match="certified is a key of ED25519, given is ECDSAP256"):
        Authority(ca.trust_domain, (ca.intermediate.certificate,), ca.root.certificate, signer)
    with pytest.raises(InputError, match="the chain is empty"):
        Authority(ca.trust_domain, (), ca.root.certificate, signer)
    bare = ca.issue_tweaked(lambda parts: parts.drop(x509.SubjectKeyIdentifier))
    with pytest.raises(InputError, match="has no subjectKeyIdentifier"):
        Authority(ca.trust_domain, (bare,), ca.root.certificate, signer)


def test_the_bundle_holds_the_root_alone() -> None:
    """PEM and DER of the root; intermediates travel with the leaf."""
    assert CA.bundle.der == (CA.root.certificate.public_bytes(Encoding.DER),)
    assert x509.load_pem_x509_certificates(CA.bundle.pem) == [CA.root.certificate]
    assert CA.bundle.trust_domain == CA.trust_domain
