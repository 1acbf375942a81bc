"""OpenSSL, the verifier most peers have, agrees: about what holds and about what does not."""

from __future__ import annotations

import ipaddress
import ssl
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.pki import KeyAlgorithm, to_pkcs8_pem
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.oids import class_policy_oid
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.testing.ca import Issued, LeafParts

POLICY = class_policy_oid("assistant")
# OpenSSL knows ML-DSA from 3.5 on, and Python's `ssl` is bound to an older one here; pkilint and
# pyasn1 look at those certificates.
ALGORITHMS = [each for each in KeyAlgorithm if not each.startswith("MLDSA")]


@pytest.fixture(scope="module")
def authorities() -> dict[KeyAlgorithm, ThrowawayCA]:
    """A CA of each algorithm, valid now: Python's `ssl` cannot be told another time."""
    present = datetime.now(UTC)
    return {algorithm: ThrowawayCA(algorithm=algorithm, now=present) for algorithm in ALGORITHMS}


def verify(
    folder: Path, ca: ThrowawayCA, leaf_pem: bytes, *options: str, at: datetime | None = None
) -> subprocess.CompletedProcess[str]:
    """`openssl verify` with strict rules, root trusted, intermediate given."""
    (folder / "root.pem").write_bytes(ca.bundle.pem)
    (folder / "chain.pem").write_bytes(ca.authority.chain_pem)
    (folder / "leaf.pem").write_bytes(leaf_pem)
    when = int((at or ca.now).timestamp())
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-attime", str(when)]
    files = ["-CAfile", "root.pem", "-untrusted", "chain.pem", "leaf.pem"]
    return subprocess.run(
        [*command, *options, *files], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("purpose", ["sslclient", "sslserver"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_chain_verifies_strictly(
    algorithm: KeyAlgorithm,
    purpose: str,
    authorities: dict[KeyAlgorithm, ThrowawayCA],
    tmp_path: Path,
) -> None:
    """As client and as server, with the policy of its class required, for every algorithm."""
    ca = authorities[algorithm]
    profile = ca.profile(
        policy_oid=POLICY,
        cps_uri="https://pki.example.org/cps",
        crl_uri="http://responder.example.org/crl/0011223344556677/0.crl",
        ocsp_uri="http://responder.example.org/ocsp",
        ca_issuers_uri="http://responder.example.org/ca/0011223344556677.crt",
        authorization=AgentAuthorization.of(
            agent_class="assistant", tier="High", sponsor=None, policy=AuthorizedPolicy()
        ),
    )
    options = ("-purpose", purpose, "-policy", POLICY, "-explicit_policy")
    result = verify(tmp_path, ca, ca.issue(profile).leaf.chain_pem, *options)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("leaf_algorithm", ALGORITHMS)
def test_an_authority_signs_keys_of_every_algorithm(
    leaf_algorithm: KeyAlgorithm, tmp_path: Path
) -> None:
    """The key of a leaf need not be of the algorithm of its issuer."""
    ca = ThrowawayCA(algorithm=KeyAlgorithm.ECDSAP256)
    leaf = ca.issue(ca.profile(key_algorithm=leaf_algorithm)).leaf
    result = verify(tmp_path, ca, leaf.chain_pem, "-purpose", "sslclient")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_critical_authorization_is_refused_by_who_does_not_know_it(tmp_path: Path) -> None:
    """RFC 5280 §4.2: so a class makes it critical only among peers that do."""
    ca = ThrowawayCA()
    authorization = AgentAuthorization.of(
        agent_class="assistant", tier="High", sponsor=None, policy=AuthorizedPolicy()
    )
    profile = ca.profile(authorization=authorization, authorization_critical=True)
    result = verify(tmp_path, ca, ca.issue(profile).leaf.chain_pem)
    assert "unhandled critical extension" in result.stderr


def test_a_leaf_that_says_no_revocation_verifies(tmp_path: Path) -> None:
    """RFC 9608: verifiers that do not know noRevAvail pass over it."""
    ca = ThrowawayCA()
    leaf = ca.issue(ca.profile(no_rev_avail=True)).leaf
    assert verify(tmp_path, ca, leaf.chain_pem).returncode == 0


@pytest.mark.parametrize(
    ("san", "error"),
    [
        pytest.param(
            x509.UniformResourceIdentifier("spiffe://evil.org/a"),
            "permitted subtree violation",
            id="other-trust-domain",
        ),
        pytest.param(
            x509.UniformResourceIdentifier("spiffe://evil.example.org/a"),
            "permitted subtree violation",
            id="subdomain",
        ),
        pytest.param(x509.DNSName("erp.example.org"), "excluded subtree violation", id="dns-name"),
        pytest.param(
            x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
            "excluded subtree violation",
            id="address",
        ),
        pytest.param(
            x509.IPAddress(ipaddress.ip_address("::1")), "excluded subtree violation", id="ipv6"
        ),
    ],
)
def test_a_stolen_intermediate_key_speaks_for_nobody_else(
    san: x509.GeneralName, error: str, tmp_path: Path
) -> None:
    """Whatever it signs beyond its trust domain, the name constraints make verifiers refuse."""
    ca = ThrowawayCA()
    names = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://example.org/a"), san]
    )
    forged = ca.issue_tweaked(lambda parts: parts.put(names))
    result = verify(tmp_path, ca, forged.public_bytes(Encoding.PEM))
    assert result.returncode != 0
    assert error in result.stderr


def test_an_intermediate_signs_no_authority(tmp_path: Path) -> None:
    """Path length 0: what it signs signs nothing."""
    ca = ThrowawayCA()
    authority = ca.issue_tweaked(
        lambda parts: parts.put(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    result = verify(tmp_path, ca, authority.public_bytes(Encoding.PEM), "-purpose", "crlsign")
    assert result.returncode != 0


@pytest.mark.parametrize(
    ("seconds", "good"), [(-61, False), (-60, True), (3598, True), (3599, False), (3600, False)]
)
def test_openssl_sees_the_validity_that_was_meant(
    *,
    seconds: int,
    good: bool,
    tmp_path: Path,
) -> None:
    """From the first second of the back-dating on; OpenSSL does not count notAfter itself.

    RFC 5280 §4.1.2.5 counts it (3599 s after noon). The error is towards refusing.
    """
    ca = ThrowawayCA()
    at = datetime.fromtimestamp(NOON.timestamp() + seconds, UTC)
    assert (verify(tmp_path, ca, ca.issue().leaf.chain_pem, at=at).returncode == 0) == good


def context(folder: Path, ca: ThrowawayCA, issued: Issued, purpose: ssl.Purpose) -> ssl.SSLContext:
    """A context as a careful peer makes one: strict, both sides must show a certificate."""
    label = purpose.name.lower()
    chain, key = folder / f"{label}.crt", folder / f"{label}.key"
    chain.write_bytes(issued.leaf.chain_pem)
    key.write_bytes(to_pkcs8_pem(issued.private_key))
    made = ssl.create_default_context(purpose, cadata=ca.bundle.pem.decode())
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.check_hostname = False  # a SPIFFE peer is known by its URI
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(chain, key)
    return made


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a handshake through memory, in lock step."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    waiting = list(ends)
    for _ in range(10):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            # In TLS 1.3 the client is done before the server has looked at its certificate.
            ends[1].write(b"seen")
            assert ends[0].read(4) == b"seen"
            return ends
    message = "the handshake did not end"
    raise AssertionError(message)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_agents_shake_hands_under_strict_rules(
    algorithm: KeyAlgorithm, authorities: dict[KeyAlgorithm, ThrowawayCA], tmp_path: Path
) -> None:
    """Mutual TLS between two leaves, each seeing the other's SPIFFE ID and nothing else."""
    ca = authorities[algorithm]
    reader, writer = ca.issue(ca.profile("reader")), ca.issue(ca.profile("writer"))
    ends = handshake(
        context(tmp_path, ca, reader, ssl.Purpose.SERVER_AUTH),
        context(tmp_path, ca, writer, ssl.Purpose.CLIENT_AUTH),
    )
    seen = [(end.getpeercert() or {})["subjectAltName"] for end in ends]
    assert seen == [
        (("URI", "spiffe://example.org/ns/finance/agent/writer"),),
        (("URI", "spiffe://example.org/ns/finance/agent/reader"),),
    ]


def test_a_stranger_is_turned_away(
    authorities: dict[KeyAlgorithm, ThrowawayCA], tmp_path: Path
) -> None:
    """A leaf of another root with the same trust domain does not get in."""
    ca = authorities[KeyAlgorithm.ECDSAP256]
    stranger = ThrowawayCA(algorithm=KeyAlgorithm.ECDSAP256, now=ca.now, seed="stranger")
    client = context(tmp_path, ca, ca.issue(), ssl.Purpose.SERVER_AUTH)
    server = context(tmp_path, stranger, stranger.issue(), ssl.Purpose.CLIENT_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"certificate verify failed"):
        handshake(client, server)


def strip(*kinds: type[x509.ExtensionType]) -> Callable[[LeafParts], None]:
    """Take extensions from a leaf."""

    def tweak(parts: LeafParts) -> None:
        for kind in kinds:
            parts.drop(kind)

    return tweak


def test_strictness_is_on(tmp_path: Path) -> None:
    """The strict verification used here refuses a leaf without authorityKeyIdentifier."""
    ca = ThrowawayCA()
    leaf = ca.issue_tweaked(strip(x509.AuthorityKeyIdentifier))
    result = verify(tmp_path, ca, leaf.public_bytes(Encoding.PEM))
    assert "Missing Authority Key Identifier" in result.stderr
