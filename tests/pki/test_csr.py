"""Certificate signing requests: only the public key is believed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.pki import KeyAlgorithm
from agentid.pki.csr import read_csr
from agentid.pki.keys import public_key_der
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

CA = ThrowawayCA()
BOLD = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of everything")])


def request(
    key: CertificateIssuerPrivateKeyTypes,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> bytes:
    """A request that asks for more than it gets."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(BOLD)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.org")]), critical=False)
        .add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.7"), b"let me in")
    )
    return builder.sign(key, digest).public_bytes(Encoding.DER)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_the_key_of_a_request_is_read(algorithm: KeyAlgorithm) -> None:
    """DER and PEM, for every algorithm; whatever else it asks for makes no difference."""
    key = CA.key("agent", algorithm)
    der = request(key, algorithm.signature_hash)
    pem = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
    for data in (der, pem, b"\n" + pem, pem.replace(b" CERT", b" NEW CERT")):
        assert public_key_der(read_csr(data)) == public_key_der(key.public_key())


@pytest.mark.parametrize("name", ["RSA", "EC", "PSS", "Ed25519"])
def test_requests_of_openssl_are_read(name: str, tmp_path: Path) -> None:
    """As `openssl req` makes them, with its own defaults."""
    read_csr(openssl_req(tmp_path, *OPENSSL_KEYS[name]))


OPENSSL_KEYS = {
    "RSA": ["rsa:3072"],
    "EC": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "PSS": ["rsa:3072", "-sigopt", "rsa_padding_mode:pss"],
    "Ed25519": ["ed25519"],
}


def openssl_req(folder: Path, *options: str) -> bytes:
    """A request in PEM for a new key."""
    command = ["openssl", "req", "-new", "-nodes", "-subj", "/CN=x"]
    command += ["-keyout", str(folder / "key"), "-newkey", *options]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_a_request_signed_with_sha_1_is_refused(tmp_path: Path) -> None:
    """Its collisions can be computed, so it proves little."""
    with pytest.raises(InputError, match="signed with sha1; make it anew with SHA-256"):
        read_csr(openssl_req(tmp_path, *OPENSSL_KEYS["EC"], "-sha1"))


def off_the_curve() -> bytes:
    """A request with a point that is not on P-256."""
    der = bytearray(request(CA.key("agent", KeyAlgorithm.ECDSAP256), hashes.SHA256()))
    at = der.index(bytes.fromhex("03420004")) + 4
    der[at : at + 64] = b"\x11" * 64
    return bytes(der)


def stolen() -> bytes:
    """Somebody else's public key in a request of one's own."""
    der = request(CA.key("agent"))
    mine, theirs = (CA.key(label).public_key() for label in ("agent", "other"))
    return der.replace(public_key_der(mine), public_key_der(theirs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: request(rsa.generate_private_key(65537, 1024), hashes.SHA256()),
            "CSR: found an RSA key of 1024 bits; use one of",
            id="rsa-1024",
        ),
        pytest.param(
            lambda: request(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
            "found an RSA key of 2048 bits",
            id="rsa-2048",
        ),
        pytest.param(
            lambda: request(rsa.generate_private_key(3, 3072), hashes.SHA256()),
            "the exponent 2 bits long, not 65537",
            id="rsa-e-3",
        ),
        pytest.param(
            lambda: request(ec.generate_private_key(ec.SECP224R1()), hashes.SHA256()),
            "an elliptic curve key on secp224r1",
            id="p-224",
        ),
        pytest.param(
            lambda: request(ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
            "an elliptic curve key on secp256k1",
            id="secp256k1",
        ),
        pytest.param(
            lambda: request(dsa.generate_private_key(2048), hashes.SHA256()),
            "a key of type DSAPublicKey",
            id="dsa",
        ),
        pytest.param(lambda: request(ed448.Ed448PrivateKey.generate()), "Ed448", id="ed448"),
        pytest.param(off_the_curve, "its key is no valid one", id="point-off-the-curve"),
        pytest.param(stolen, "nothing shows that its sender holds the private key", id="stolen"),
        pytest.param(lambda: b"", "does not parse as a certificate signing request", id="empty"),
        pytest.param(lambda: request(CA.key("agent")) + b"\0", "does not parse", id="trailing"),
        pytest.param(
            lambda: CA.root.certificate.public_bytes(Encoding.DER), "does not parse", id="cert"
        ),
        pytest.param(
            lambda: CA.root.certificate_pem, "found PEM CERTIFICATE, but exactly one", id="cert-pem"
        ),
        pytest.param(lambda: CA.root.private_key_pem, "found PEM PRIVATE KEY", id="key"),
        pytest.param(lambda: b"\x30" * 12289, "12289 bytes, at most 12288", id="huge"),
        pytest.param(
            lambda: b"-----BEGIN X-----\n" + b"\n" * 20480, "at most 20480 are read", id="pem-huge"
        ),
    ],
)
def test_what_is_no_good_request_is_refused_by_name(
    make: Callable[[], bytes], message: str
) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(InputError, match=message):
        read_csr(make())


KEY = CA.key("agent", KeyAlgorithm.ECDSAP256)
GOOD = request(KEY, hashes.SHA256())


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 4), st.binary(max_size=4)),
        min_size=1,
        max_size=3,
    )
)
def test_an_altered_request_is_refused(changes: list[tuple[int, int, bytes]]) -> None:
    """Whatever is changed: InputError alone, since the signature covers all of it."""
    der = bytearray(GOOD)
    for at, cut, new in changes:
        der[at : at + cut] = new
    if bytes(der) == GOOD:
        return
    try:
        key = read_csr(bytes(der))
    except InputError:
        return
    # ECDSA signatures can be rewritten without the key (s to n - s), never the key itself.
    assert public_key_der(key) == public_key_der(KEY.public_key())


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: b"-----BEGIN " + tail))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """With InputError alone."""
    with pytest.raises(InputError, match=r"^CSR"):
        read_csr(data)
