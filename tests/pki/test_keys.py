"""Keys: made, written, read, and refused when weak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    rsa,
    x448,
    x25519,
)
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.pki import (
    KeyAlgorithm,
    LocalSigner,
    check_public_key,
    generate,
    load_private_key,
    load_public_key,
    to_pkcs8_pem,
)
from agentid.pki.keys import public_key_der, verify_signature
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.pki import PrivateKey

PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()


@pytest.fixture(scope="module")
def keys() -> dict[KeyAlgorithm, PrivateKey]:
    """One key of each algorithm."""
    return {algorithm: generate(algorithm) for algorithm in KeyAlgorithm}


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_a_key_is_of_its_algorithm_and_round_trips(
    algorithm: KeyAlgorithm, keys: dict[KeyAlgorithm, PrivateKey]
) -> None:
    """What is generated is what was asked for, and PKCS#8 and SPKI bring it back."""
    key = keys[algorithm]
    assert check_public_key(key.public_key()) is algorithm
    pem = to_pkcs8_pem(key)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert to_pkcs8_pem(load_private_key(pem)) == pem
    spki = public_key_der(key.public_key())
    assert public_key_der(load_public_key(spki)) == spki


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_what_a_signer_signs_verifies_and_nothing_else_does(
    algorithm: KeyAlgorithm, keys: dict[KeyAlgorithm, PrivateKey]
) -> None:
    """A signature holds for its key and its data alone."""
    key = keys[algorithm]
    signature = LocalSigner(key).sign(b"data")
    verify_signature(key.public_key(), algorithm, signature, b"data")
    with pytest.raises(InputError, match="does not verify under the key"):
        verify_signature(key.public_key(), algorithm, signature, b"date")


def test_a_signature_is_checked_as_the_algorithm_of_its_key() -> None:
    """An algorithm that is not that of the key is a refusal, not another hash."""
    key = generate(KeyAlgorithm.ECDSAP256)
    with pytest.raises(InputError, match="ED25519 is not the algorithm of a"):
        verify_signature(key.public_key(), KeyAlgorithm.ED25519, b"", b"")


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ECDSAP256, KeyAlgorithm.RSA3072])
def test_the_older_forms_are_read_too(
    algorithm: KeyAlgorithm, keys: dict[KeyAlgorithm, PrivateKey]
) -> None:
    """SEC 1 and PKCS #1, as `openssl` writes them on request."""
    key = keys[algorithm]
    assert to_pkcs8_pem(load_private_key(key.private_bytes(PEM, TRADITIONAL, PLAIN))) == (
        to_pkcs8_pem(key)
    )


def test_neither_keys_nor_signers_show_themselves(keys: dict[KeyAlgorithm, PrivateKey]) -> None:
    """The `repr` of a key, a signer and of what holds them has no private byte in it."""
    ca = ThrowawayCA()
    issued = ca.issue()
    for holder in (*keys.values(), ca.intermediate, ca.authority, ca, issued, issued.leaf):
        shown = repr(holder)
        assert "PRIVATE" not in shown
        assert "b'" not in shown
    assert repr(ca.authority.signer) == "LocalSigner(ED25519, key=<masked>)"
    raw = ca.intermediate.private_key.private_bytes(DER, PKCS8, PLAIN)[-32:]
    assert raw.hex() not in repr(ca.intermediate)


def weak_exponent() -> object:
    """An RSA key whose exponent is 3."""
    return rsa.generate_private_key(3, 3072).public_key()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            lambda: rsa.generate_private_key(65537, 2048).public_key(),
            "an RSA key of 2048 bits",
            id="rsa-2048",
        ),
        pytest.param(
            lambda: rsa.generate_private_key(65537, 1024).public_key(),
            "an RSA key of 1024 bits",
            id="rsa-1024",
        ),
        pytest.param(
            lambda: rsa.generate_private_key(65537, 3080).public_key(),
            "an RSA key of 3080 bits",
            id="rsa-3080",
        ),
        pytest.param(weak_exponent, "exponent 2 bits long, not 65537", id="rsa-e-3"),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP256K1()).public_key(),
            "an elliptic curve key on secp256k1",
            id="secp256k1",
        ),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP224R1()).public_key(),
            "an elliptic curve key on secp224r1",
            id="secp224r1",
        ),
        pytest.param(
            lambda: ec.generate_private_key(ec.BrainpoolP256R1()).public_key(),
            "an elliptic curve key on brainpoolP256r1",
            id="brainpool",
        ),
        pytest.param(
            lambda: ed448.Ed448PrivateKey.generate().public_key(), "Ed448PublicKey", id="ed448"
        ),
        pytest.param(
            lambda: x25519.X25519PrivateKey.generate().public_key(), "X25519PublicKey", id="x25519"
        ),
        pytest.param(
            lambda: x448.X448PrivateKey.generate().public_key(), "X448PublicKey", id="x448"
        ),
        pytest.param(lambda: dsa.generate_private_key(2048).public_key(), "DSAPublicKey", id="dsa"),
        pytest.param(ed25519.Ed25519PrivateKey.generate, "Ed25519PrivateKey", id="private-key"),
        pytest.param(lambda: None, "a key of type NoneType", id="none"),
    ],
)
def test_every_other_key_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    """The refusal says what the key is and what is offered."""
    with pytest.raises(InputError, match=f"{message}.*; use one of ECDSA P-256"):
        check_public_key(make())


@pytest.mark.parametrize("size", [44, 65, 87])
def test_an_ml_dsa_key_is_stored_as_its_seed(size: int) -> None:
    """RFC 9881 §6: PKCS#8 with the 32 octets of the seed under [0], alike for every size."""
    key = generate(KeyAlgorithm(f"MLDSA{size}"))
    der = key.private_bytes(DER, PKCS8, PLAIN)
    assert len(der) == 54
    assert der[-34:-32] == b"\x80\x20"
    assert load_private_key(to_pkcs8_pem(key)).public_key() == key.public_key()


def test_an_ml_dsa_signature_is_not_one_of_another_size() -> None:
    """The sizes are algorithms of their own."""
    small, large = generate(KeyAlgorithm.MLDSA44), generate(KeyAlgorithm.MLDSA87)
    signature = LocalSigner(small).sign(b"data")
    with pytest.raises(InputError, match="does not verify under the key"):
        verify_signature(large.public_key(), KeyAlgorithm.MLDSA87, signature, b"data")


def spki(curve_point: str) -> bytes:
    """A SubjectPublicKeyInfo on P-256 with this point, in hexadecimal."""
    point = bytes.fromhex(curve_point)
    body = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107") + bytes(
        (3, len(point) + 1, 0, *point)
    )
    return bytes((0x30, len(body), *body))


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("04" + "11" * 64, id="not-on-the-curve"),
        pytest.param("04" + "00" * 64, id="zero"),
        pytest.param("00", id="infinity"),
        pytest.param("04" + "ff" * 64, id="beyond-the-field"),
        pytest.param("04" + "11" * 63, id="short"),
        pytest.param("02" + "ff" * 32, id="compressed-beyond-the-field"),
    ],
)
def test_a_point_that_is_none_of_the_curve_is_refused(point: str) -> None:
    """SP 800-56A §5.6.2.3: a point off its curve would leak the private keys it meets."""
    with pytest.raises(InputError, match=r"agent key: it does not parse .*use one of ECDSA P-256"):
        load_public_key(spki(point), what="agent key")


def test_a_weak_key_is_refused_when_read_as_well() -> None:
    """Reading a key checks it, private or public."""
    weak = rsa.generate_private_key(65537, 2048)
    with pytest.raises(InputError, match="agent key: found an RSA key of 2048 bits"):
        load_private_key(weak.private_bytes(PEM, PKCS8, PLAIN), what="agent key")
    spki = weak.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InputError, match="agent key: found an RSA key of 2048 bits"):
        load_public_key(spki, what="agent key")


def encrypted() -> bytes:
    """A key under a password."""
    key = generate(KeyAlgorithm.ED25519)
    return key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x"))


GOOD = to_pkcs8_pem(ThrowawayCA().key("good"))


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        pytest.param(b"", "holds no PEM block, it is empty", id="empty"),
        pytest.param(b"\x30\x82\x01", "holds no PEM block, it begins with", id="der"),
        pytest.param(GOOD[:60], "has no END line, so it is cut short", id="no-end"),
        pytest.param(GOOD.replace(b"MC4", b"MC5"), "does not parse, so it is cut short", id="bits"),
        pytest.param(GOOD.replace(b"M", b"\xff"), "is not Base64", id="not-base64"),
        pytest.param(GOOD + GOOD, "found PEM PRIVATE KEY, PRIVATE KEY, but exactly one", id="two"),
        pytest.param(encrypted(), "ENCRYPTED PRIVATE KEY.*; decrypt it first", id="encrypted"),
        pytest.param(
            ThrowawayCA().root.certificate_pem, "found PEM CERTIFICATE, but", id="certificate"
        ),
        pytest.param(b"\n" * 16385, "has 16385 bytes, at most 16384 are read", id="huge"),
    ],
)
def test_what_is_no_private_key_is_refused_and_never_shown(pem: bytes, message: str) -> None:
    """The message names the fault; no part of the key stands in it."""
    with pytest.raises(InputError, match=message) as refused:
        load_private_key(pem)
    body = b"".join(GOOD.splitlines()[1:-1]).decode()
    assert body[8:40] not in str(refused.value)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: GOOD[:40] + tail))
def test_bytes_that_are_no_key_raise_input_error_alone(data: bytes) -> None:
    """Whatever comes in, nothing of the library comes out."""
    with pytest.raises(InputError):
        load_private_key(data)
    with pytest.raises(InputError):
        load_public_key(data)


@given(st.integers(0, 10_000))
def test_a_damaged_public_key_raises_input_error_or_is_another_key(position: int) -> None:
    """Each bit flip of a P-256 SPKI is refused, or reads as a key on the curve."""
    spki = bytearray(public_key_der(ThrowawayCA().key("a", KeyAlgorithm.ECDSAP256).public_key()))
    spki[position // 8 % len(spki)] ^= 1 << position % 8
    try:
        check_public_key(load_public_key(bytes(spki)))
    except InputError:
        return


def test_a_public_key_that_is_too_long_is_not_parsed() -> None:
    """The bound comes first."""
    with pytest.raises(InputError, match="5000 bytes, at most 4096 are read"):
        load_public_key(bytes(5000))


def test_the_strengths_are_those_of_nist() -> None:
    """SP 800-57 part 1, table 2; SP 800-56B, table 4, for RSA 4096; FIPS 204, table 1."""
    assert {algorithm.value: algorithm.strength_bits for algorithm in KeyAlgorithm} == {
        "ECDSAP256": 128,
        "ECDSAP384": 192,
        "ECDSAP521": 256,
        "ED25519": 128,
        "RSA3072": 128,
        "RSA4096": 152,
        "MLDSA44": 128,
        "MLDSA65": 192,
        "MLDSA87": 256,
    }
