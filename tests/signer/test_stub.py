"""Reading the stub CSR of a kubelet: a key, and nothing else."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID, NameOID

from agentid.pki import KeyAlgorithm, generate
from agentid.signer.reasons import Denial, DenialReason
from agentid.signer.stub import Stub, read_stub
from tests.support.pod_requests import stub

EMPTY = x509.CertificateSigningRequestBuilder(x509.Name([]))


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_the_key_and_its_algorithm_are_read(algorithm: KeyAlgorithm) -> None:
    """From the key itself: nothing else says what it is."""
    key = generate(algorithm)
    found = read_stub(stub(key))
    assert isinstance(found, Stub)
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert found.key.public_bytes(*spki) == key.public_key().public_bytes(*spki)
    assert found.algorithm is algorithm


def altered(der: bytes) -> bytes:
    """The same with a signature that is not its own."""
    return der[:-1] + bytes([der[-1] ^ 1])


@pytest.mark.parametrize(
    ("der", "reason", "message"),
    [
        pytest.param(
            stub(
                builder=x509.CertificateSigningRequestBuilder(
                    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:masters")])
                )
            ),
            DenialReason.STUB_NOT_EMPTY,
            "it has a subject",
            id="a-subject",
        ),
        pytest.param(
            stub(
                builder=EMPTY.add_extension(
                    x509.SubjectAlternativeName(
                        [x509.UniformResourceIdentifier("spiffe://agents.test/ns/x/agent/admin")]
                    ),
                    critical=False,
                )
            ),
            DenialReason.STUB_NOT_EMPTY,
            "it has attributes",
            id="another-SPIFFE-ID",
        ),
        pytest.param(
            stub(
                builder=EMPTY.add_extension(
                    x509.BasicConstraints(ca=True, path_length=None), critical=True
                )
            ),
            DenialReason.STUB_NOT_EMPTY,
            "it has attributes",
            id="to-be-an-authority",
        ),
        pytest.param(
            stub(builder=EMPTY.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret")),
            DenialReason.STUB_NOT_EMPTY,
            "it has attributes",
            id="a-challenge",
        ),
        pytest.param(
            stub(rsa.generate_private_key(65537, 2048)),
            DenialReason.UNSUPPORTED_KEY_TYPE,
            "found an RSA key of 2048 bits",
            id="RSA-2048",
        ),
        pytest.param(
            stub(rsa.generate_private_key(3, 3072)),
            DenialReason.UNSUPPORTED_KEY_TYPE,
            "the exponent",
            id="RSA-with-exponent-3",
        ),
        pytest.param(
            stub(ec.generate_private_key(ec.SECP256K1())),
            DenialReason.UNSUPPORTED_KEY_TYPE,
            "found an elliptic curve key on secp256k1",
            id="another-curve",
        ),
        pytest.param(
            altered(stub()), DenialReason.STUB_INVALID, "not signed by its own key", id="no-proof"
        ),
        pytest.param(b"", DenialReason.STUB_INVALID, "does not parse", id="nothing"),
        pytest.param(stub()[:-9], DenialReason.STUB_INVALID, "does not parse", id="cut-short"),
        pytest.param(stub() + b"\0", DenialReason.STUB_INVALID, "does not parse", id="too-long"),
    ],
)
def test_anything_else_is_denied(der: bytes, reason: DenialReason, message: str) -> None:
    """Waiting does not mend it, and the denial says what was found."""
    found = read_stub(der)
    assert isinstance(found, Denial)
    assert found.reason is reason
    assert message in found.message
