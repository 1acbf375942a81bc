"""Who it is, what it may do, and every reason to refuse it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, VerificationError
from agentid.errors import VerificationReason as R
from agentid.identity import TrustDomain
from agentid.pki import KeyAlgorithm, X509Bundle
from agentid.pki.authorization import AuthorizedPolicy
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.policy import Permissions
from agentid.testing.ca import ThrowawayCA
from agentid.verify import (
    AuthorizationState,
    BundleSet,
    KeyPolicy,
    RevocationState,
    VerifiedAgent,
    Verifier,
    Wanted,
    read_bundle,
)
from tests.support import chains
from tests.support.verifying import POLICY, authorized, chain_of, with_extension

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.testing.ca import LeafParts

CA = ThrowawayCA()
OTHER = ThrowawayCA("other.example")
STRANGER = ThrowawayCA(seed="stranger")
AT = datetime(2026, 11, 2, 9, tzinfo=UTC)  # a Monday, 10:00 in Berlin
WORKING = ThrowawayCA(now=AT)
READ = Wanted("erp.invoices", "read")
DOCUMENT = POLICY.document(agent_class="assistant", tier="Moderate", sponsor="team@example.org")


def verifier(*cas: ThrowawayCA, remembered: int = 1024) -> Verifier:
    """One that trusts these."""
    return Verifier(BundleSet(ca.bundle for ca in cas), remembered=remembered)


def refused(
    chain: list[bytes] | bytes,
    *,
    by: Verifier | None = None,
    at: datetime = CA.now,
    wanted: Wanted | None = None,
    policy: bytes | None = None,
) -> tuple[R, str]:
    """The reason and the message of a refusal."""
    with pytest.raises(VerificationError) as caught:
        (by or verifier(CA)).verify(chain, at=at, wanted=wanted, policy=policy)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_every_agent_that_agentid_issues_is_verified(algorithm: KeyAlgorithm) -> None:
    """Whatever its key algorithm, with nothing but chain, bundle and time."""
    ca = ThrowawayCA(algorithm=algorithm)
    leaf = ca.issue().leaf
    agent = verifier(ca).verify(leaf.chain_pem, at=ca.now)
    assert agent == VerifiedAgent(
        spiffe_id=ca.spiffe_id(),
        serial=agent.serial,
        not_after=leaf.certificate.not_valid_after_utc,
        authority=ca.authority.key_id[:8].hex(),
        revocation=RevocationState.NOT_CHECKED,
        authorization=AuthorizationState.ABSENT,
    )
    assert agent.serial.value == leaf.certificate.serial_number


def test_the_extension_says_what_an_agent_may_do() -> None:
    """Class, tier, sponsor, systems, operations, hours and tags, from the certificate alone."""
    agent = verifier(WORKING).verify(chain_of(WORKING, authorized()), at=AT, wanted=READ)
    assert agent.authorization is AuthorizationState.INLINE
    assert (agent.agent_class, agent.tier, agent.sponsor) == (
        "assistant",
        "Moderate",
        "team@example.org",
    )
    assert isinstance(agent.permissions, Permissions)
    assert agent.permissions.to_json() == {
        "systems": ["crm.*", "erp.invoices"],
        "operations": ["list", "read"],
        "schedule": {
            "timeZone": "Europe/Berlin",
            "windows": [f"{day} 08:00/{day} 17:00" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")],
        },
        "compliance": ["gdpr"],
    }


@pytest.mark.parametrize(
    ("wanted", "at", "reason", "words"),
    [
        pytest.param(Wanted("erp.invoices", "read"), AT, None, "", id="granted"),
        pytest.param(Wanted("crm.contacts.eu", "list"), AT, None, "", id="by-pattern"),
        pytest.param(
            Wanted("crm", "list"),
            AT,
            R.NOT_PERMITTED,
            'reader: "list" on "crm" is not granted: its certificate is for crm.*, erp.invoices',
            id="not-the-pattern-itself",
        ),
        pytest.param(
            Wanted("erp.orders", "read"), AT, R.NOT_PERMITTED, 'on "erp.orders"', id="system"
        ),
        pytest.param(
            Wanted("erp.invoices", "delete"),
            AT,
            R.NOT_PERMITTED,
            "its certificate allows list, read",
            id="operation",
        ),
        pytest.param(
            Wanted("erp.invoices", "read"),
            AT.replace(hour=6, minute=59),
            R.OUTSIDE_SCHEDULE,
            "is not granted at 2026-11-02T06:59:00+00:00: outside Mon 08:00/Mon 17:00, Tue",
            id="before-hours",
        ),
        pytest.param(
            Wanted("erp.invoices", "read"), AT.replace(hour=7), None, "", id="first-minute"
        ),
        pytest.param(
            Wanted("erp.invoices", "read"),
            AT.replace(hour=16),
            R.OUTSIDE_SCHEDULE,
            "Mon 08:00/Mon 17:00",
            id="last-minute-is-over",
        ),
    ],
)
def test_what_is_wanted_is_granted_or_refused(
    wanted: Wanted, at: datetime, reason: R | None, words: str
) -> None:
    """By system, operation and hour."""
    ca = ThrowawayCA(now=at)
    chain = chain_of(ca, authorized())
    if reason is None:
        agent = verifier(ca).verify(chain, at=at, wanted=wanted)
        agent.require(wanted, at=at)
        return
    got = refused(chain, by=verifier(ca), at=at, wanted=wanted)
    assert got[0] is reason
    assert words in got[1]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        pytest.param(AuthorizedPolicy(operations=("read",)), READ, id="no-systems"),
        pytest.param(AuthorizedPolicy(systems=("erp.invoices",)), READ, id="no-operations"),
        pytest.param(AuthorizedPolicy(), READ, id="nothing"),
    ],
)
def test_an_empty_list_grants_nothing(policy: AuthorizedPolicy, wanted: Wanted) -> None:
    """Neither systems nor operations."""
    got = refused(chain_of(CA, authorized(policy)), wanted=wanted)
    assert got[0] is R.NOT_PERMITTED


def test_no_schedule_means_always() -> None:
    """At any hour, and for every system if it says so."""
    policy = AuthorizedPolicy(systems=("*",), operations=("read",))
    verifier(CA).verify(chain_of(CA, authorized(policy)), at=CA.now, wanted=READ)


def test_a_certificate_without_the_extension_grants_nothing() -> None:
    """It proves an identity."""
    chain = chain_of(CA)
    assert verifier(CA).verify(chain, at=CA.now).permissions is None
    reason, message = refused(chain, wanted=READ)
    assert reason is R.NO_AUTHORIZATION
    assert "proves an identity and grants nothing" in message


def next_version() -> bytes:
    """The extension with the version 2 in place of 1."""
    der = bytearray(authorized().der)
    at = der.index(b"\x02\x01\x01")
    der[at + 2] = 2
    return bytes(der)


def test_an_unknown_version_grants_nothing() -> None:
    """The certificate proves an identity; what a later version says is not guessed."""
    chain = chain_of(CA, tweak=with_extension(next_version()))
    agent = verifier(CA).verify(chain, at=CA.now)
    assert agent.authorization is AuthorizationState.UNKNOWN_VERSION
    assert (agent.agent_class, agent.permissions) == (None, None)
    assert refused(chain, wanted=READ)[0] is R.UNKNOWN_EXTENSION_VERSION


def test_an_unknown_version_that_is_critical_is_refused() -> None:
    """RFC 5280 §4.2: a critical extension that cannot be processed."""
    reason, message = refused(chain_of(CA, tweak=with_extension(next_version(), critical=True)))
    assert reason is R.UNKNOWN_CRITICAL
    assert "it is of version 2" in message


def test_the_extension_may_be_critical() -> None:
    """We understand it; others then refuse the certificate, as the class wants."""
    chain = chain_of(CA, tweak=with_extension(authorized().der, critical=True))
    assert verifier(CA).verify(chain, at=CA.now).agent_class == "assistant"


def test_a_malformed_extension_grants_nothing() -> None:
    """Nothing is read out of bytes that are not what the encoder writes."""
    broken = authorized().der + b"\0"
    chain = chain_of(CA, tweak=with_extension(broken))
    agent = verifier(CA).verify(chain, at=CA.now)
    assert agent.authorization is AuthorizationState.UNREADABLE
    assert refused(chain, wanted=READ)[0] is R.UNREADABLE_EXTENSION
    critical = chain_of(CA, tweak=with_extension(broken, critical=True))
    assert refused(critical)[0] is R.UNKNOWN_CRITICAL


class TestPolicyByReference:
    """A large policy: hash and URI are in the certificate, the document is handed in."""

    chain = chain_of(WORKING, authorized(by_reference=True))

    def test_the_identity_is_verified_without_the_document(self) -> None:
        """Class and tier are known, permissions are not."""
        agent = verifier(WORKING).verify(self.chain, at=AT)
        assert agent.authorization is AuthorizationState.UNRESOLVED
        assert (agent.agent_class, agent.permissions) == ("assistant", None)
        assert agent.policy_uri == authorized(by_reference=True).policy_uri

    def test_nothing_is_granted_without_the_document(self) -> None:
        """The message says where it is."""
        reason, message = refused(self.chain, by=verifier(WORKING), at=AT, wanted=READ)
        assert reason is R.POLICY_MISSING
        assert "fetch it from http://agentid-responder" in message

    def test_the_document_grants(self) -> None:
        """As if it stood in the certificate."""
        agent = verifier(WORKING).verify(self.chain, at=AT, wanted=READ, policy=DOCUMENT)
        inline = verifier(WORKING).verify(chain_of(WORKING, authorized()), at=AT)
        assert agent.authorization is AuthorizationState.RESOLVED
        assert agent.permissions == inline.permissions

    @pytest.mark.parametrize(
        "document",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"{}", id="other"),
            pytest.param(DOCUMENT + b"\n", id="a-byte-more"),
            pytest.param(b" " * (1 << 20), id="long"),
        ],
    )
    def test_another_document_is_refused(self, document: bytes) -> None:
        """Even where nothing is wanted."""
        got = refused(self.chain, by=verifier(WORKING), at=AT, policy=document)
        assert got[0] is R.POLICY_MISMATCH

    def test_a_document_beside_an_inline_policy_must_be_the_same(self) -> None:
        """Somebody mixed up two agents otherwise."""
        chain = chain_of(WORKING, authorized())
        agent = verifier(WORKING).verify(chain, at=AT, policy=DOCUMENT)
        assert agent.authorization is AuthorizationState.INLINE
        got = refused(chain, by=verifier(WORKING), at=AT, policy=b"{}")
        assert got[0] is R.POLICY_MISMATCH


@pytest.mark.parametrize(("system", "operation"), [("", "read"), ("erp", ""), ("erp.*", "read")])
def test_a_question_names_one_system_and_one_operation(system: str, operation: str) -> None:
    """Not none, and no pattern."""
    with pytest.raises(InputError, match=r"^wanted: "):
        Wanted(system, operation)


def drop(kind: type[x509.ExtensionType]) -> Callable[[LeafParts], None]:
    """A tweak that leaves an extension out."""
    return lambda parts: parts.drop(kind)


def names(*texts: str) -> Callable[[LeafParts], None]:
    """A tweak that gives the leaf these URIs."""
    uris = [x509.UniformResourceIdentifier(text) for text in texts]
    return lambda parts: parts.put(x509.SubjectAlternativeName(uris))


@pytest.mark.parametrize(
    ("tweak", "reason", "words"),
    [
        pytest.param(
            lambda parts: parts.put(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            ),
            R.NOT_A_LEAF,
            "leaf: it is the certificate of a CA; give the chain of an agent",
            id="authority",
        ),
        pytest.param(
            drop(x509.SubjectAlternativeName),
            R.NOT_AN_SVID,
            "exactly one URI is allowed, found 0",
            id="no-name",
        ),
        pytest.param(
            names("spiffe://example.org/a", "spiffe://example.org/b"),
            R.NOT_AN_SVID,
            "exactly one URI is allowed, found 2",
            id="two-names",
        ),
        pytest.param(
            names("spiffe://example.org"), R.NOT_AN_SVID, "a leaf needs a path", id="no-path"
        ),
        pytest.param(
            names("https://example.org/a"), R.NOT_AN_SVID, "does not begin with", id="https"
        ),
        pytest.param(
            lambda parts: parts.put(chains.key_usage("key_cert_sign"), critical=True),
            R.NOT_AN_SVID,
            "a leaf must not have keyCertSign",
            id="signs",
        ),
        pytest.param(
            drop(x509.AuthorityKeyIdentifier),
            R.NOT_AN_SVID,
            "authorityKeyIdentifier: it is missing",
            id="no-aki",
        ),
        pytest.param(
            lambda parts: parts.put(
                x509.NameConstraints([x509.UniformResourceIdentifier("example.org")], None)
            ),
            R.NOT_AN_SVID,
            "nameConstraints: a leaf has none",
            id="constraints",
        ),
        pytest.param(
            names("spiffe://elsewhere.example/a"),
            R.UNTRUSTED_DOMAIN,
            "it is of the trust domain elsewhere.example, of which there is no bundle",
            id="no-bundle",
        ),
        pytest.param(
            names("spiffe://other.example/a"),
            R.UNTRUSTED_ROOT,
            "leads to no authority of the bundle",
            id="bundle-of-another-domain",
        ),
        pytest.param(
            lambda parts: setattr(parts, "not_after", CA.now - timedelta(seconds=1)),
            R.EXPIRED,
            "leaf: it expired at 2026-11-01T11:59:59+00:00",
            id="expired",
        ),
        pytest.param(
            lambda parts: setattr(parts, "not_before", CA.now + timedelta(seconds=1)),
            R.NOT_YET_VALID,
            "check the clock",
            id="not-yet",
        ),
        pytest.param(
            lambda parts: setattr(
                parts, "public_key", rsa.generate_private_key(65537, 2048).public_key()
            ),
            R.WEAK_KEY,
            "leaf: its RSA key has 2048 bits",
            id="weak-key",
        ),
    ],
)
def test_a_bad_leaf_is_refused_by_name(
    tweak: Callable[[LeafParts], object], reason: R, words: str
) -> None:
    """Signed by the authority, and yet not accepted."""
    got = refused(chain_of(CA, tweak=tweak), by=verifier(CA, OTHER))
    assert got[0] is reason
    assert words in got[1]


def test_trust_domains_are_never_merged() -> None:
    """The authority of one trust domain speaks for no other, trusted as it is."""
    forged = chain_of(STRANGER, tweak=names("spiffe://other.example/ns/a/agent/b"))
    by = Verifier(
        BundleSet([OTHER.bundle, X509Bundle(TrustDomain("stranger"), STRANGER.bundle.authorities)])
    )
    assert refused(forged, by=by)[0] is R.UNTRUSTED_ROOT


def test_an_authority_of_the_same_name_is_a_stranger() -> None:
    """What counts is the key."""
    assert refused(chain_of(STRANGER))[0] is R.UNTRUSTED_ROOT


def test_an_empty_bundle_trusts_nobody() -> None:
    """That is how a trust domain takes everything back."""
    by = Verifier(BundleSet([X509Bundle(CA.trust_domain, ())]))
    assert refused(chain_of(CA), by=by)[0] is R.UNTRUSTED_ROOT


def test_an_intermediate_that_strict_verifiers_refuse_is_refused() -> None:
    """Its keyUsage is missing, as a corporate CA might have made it."""
    root = chains.authority("root")
    issuing = chains.issue(
        chains.name("issuing"), root, [(x509.BasicConstraints(ca=True, path_length=None), True)]
    )
    leaf = chains.leaf(issuing)
    by = Verifier(BundleSet([X509Bundle(CA.trust_domain, (root.certificate,))]))
    reason, message = refused([leaf.der, issuing.der], by=by)
    assert reason is R.NOT_AN_SVID
    assert "intermediate 1: keyUsage: keyCertSign is missing" in message


def test_a_weaker_key_policy_is_a_choice() -> None:
    """A corporate root with RSA 2048 is trusted where somebody says so."""
    key = rsa.generate_private_key(65537, 2048)
    root = chains.authority("root", key=key)
    chain = [chains.leaf(root).der]
    bundles = BundleSet([X509Bundle(CA.trust_domain, (root.certificate,))])
    assert refused(chain, by=Verifier(bundles))[0] is R.WEAK_KEY
    Verifier(bundles, keys=KeyPolicy(min_rsa_bits=2048)).verify(chain, at=CA.now)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        pytest.param(b"", "holds no PEM block", id="empty"),
        pytest.param([], "it has 0 certificates, from 1 to 8 are read", id="none"),
        pytest.param([b""] * 9, "it has 9 certificates", id="nine"),
        pytest.param([b"\x30\x00"], "leaf: the certificate does not parse", id="no-certificate"),
        pytest.param([b"\x30" * 20_000], "at most 16384 are read", id="long"),
        pytest.param([*chain_of(CA)[:1], b"x"], "intermediate: the certificate does", id="second"),
        pytest.param(CA.root.private_key_pem, "found PEM PRIVATE KEY", id="a-key"),
    ],
)
def test_what_is_no_chain_is_malformed(chain: list[bytes] | bytes, words: str) -> None:
    """With a message that says what was found."""
    reason, message = refused(chain)
    assert reason is R.MALFORMED
    assert words in message


def test_the_time_has_to_be_aware() -> None:
    """A naive time is a mistake of the caller."""
    with pytest.raises(InputError, match="has no time zone"):
        verifier(CA).verify(chain_of(CA), at=CA.now.replace(tzinfo=None))


def test_what_is_remembered_is_not_the_time() -> None:
    """A chain that was accepted is refused when it has expired, and what is wanted asked anew."""
    by = verifier(WORKING)
    chain = chain_of(WORKING, authorized())
    assert by.verify(chain, at=AT, wanted=READ) == by.verify(chain, at=AT, wanted=READ)
    assert refused(chain, by=by, at=AT + timedelta(days=1))[0] is R.EXPIRED
    assert refused(chain, by=by, at=AT, wanted=Wanted("erp", "read"))[0] is R.NOT_PERMITTED


def test_remembering_nothing_gives_the_same() -> None:
    """The caches change the speed alone."""
    chain = chain_of(CA, authorized())
    assert verifier(CA, remembered=0).verify(chain, at=CA.now) == verifier(CA).verify(
        chain, at=CA.now
    )


def test_one_changed_bit_is_a_bad_signature() -> None:
    """After the good chain was remembered as well."""
    by = verifier(CA)
    chain = chain_of(CA)
    by.verify(chain, at=CA.now)
    altered = chain[0].replace(b"invoice-reader", b"invoice-writer")
    assert altered != chain[0]
    assert refused([altered, *chain[1:]], by=by)[0] is R.BAD_SIGNATURE


class TestBundles:
    """Whom a verifier trusts, read from bytes."""

    def test_pem(self) -> None:
        """Certificates one after the other."""
        bundle = read_bundle(CA.bundle.pem, CA.trust_domain)
        assert bundle.der == CA.bundle.der

    def test_a_bundle_document(self) -> None:
        """As the responder serves it; an empty list of keys trusts nobody."""
        document = encode_spiffe_bundle(SpiffeBundle(CA.bundle, sequence=1))
        bundle = read_bundle(document, CA.trust_domain)
        assert bundle.der == CA.bundle.der
        assert read_bundle(b'{"keys":[]}', CA.trust_domain).authorities == ()

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            pytest.param(b"", "holds no PEM block", id="empty"),
            pytest.param(b"{", "does not parse as JSON", id="no-json"),
            pytest.param(b"{}", "keys is missing", id="no-keys"),
            pytest.param(b"{" + b" " * (1 << 20), "at most 1048576 are read", id="long"),
        ],
    )
    def test_what_is_no_bundle_is_refused(self, data: bytes, words: str) -> None:
        """With a message that names it."""
        with pytest.raises(InputError, match=words):
            read_bundle(data, CA.trust_domain)

    def test_two_bundles_of_one_trust_domain_are_refused(self) -> None:
        """Merging them is for a person to do."""
        with pytest.raises(InputError, match=r"two of the trust domain example\.org"):
            BundleSet([CA.bundle, STRANGER.bundle])

    def test_it_shows_whom_it_trusts(self) -> None:
        """Names and counts."""
        bundles = BundleSet([CA.bundle, OTHER.bundle])
        assert repr(bundles) == "BundleSet(example.org: 1, other.example: 1)"
        assert bundles.trust_domains == (CA.trust_domain, OTHER.trust_domain)


def test_an_agent_is_a_value() -> None:
    """Frozen, and equal by what it says."""
    agent = verifier(CA).verify(chain_of(CA), at=CA.now)
    with pytest.raises(dataclasses.FrozenInstanceError):
        agent.tier = "Low"  # type: ignore[misc]


def test_chains_are_given_as_pem_or_der() -> None:
    """Text between the blocks is passed over."""
    chain = chain_of(CA)
    pem = b"".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) + b"note\n" for der in chain
    )
    assert verifier(CA).verify(pem, at=CA.now) == verifier(CA).verify(chain, at=CA.now)
