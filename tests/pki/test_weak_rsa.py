"""RSA moduli that were made badly."""

from __future__ import annotations

from math import prod

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agentid.errors import InputError
from agentid.pki import check_public_key
from agentid.pki.weak_rsa import rsa_weakness


def is_prime(number: int) -> bool:
    """Fermat's test to a few bases; good enough to build an example."""
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11))


def next_prime(number: int) -> int:
    """The first prime from this number on."""
    number |= 1
    while not is_prime(number):
        number += 2
    return number


def roca_prime(bits: int, exponent: int) -> int:
    """A prime of the form that the flawed generator makes."""
    primes = [p for p in range(2, 168) if all(p % q for q in range(2, int(p**0.5) + 1))]
    modulus = prod(primes)
    residue = pow(65537, exponent, modulus)
    factor = (1 << bits) // modulus
    while not is_prime(factor * modulus + residue):
        factor += 1
    return factor * modulus + residue


# The rules do not depend on the length, so short examples serve.
CLOSE = next_prime(1 << 511 | 1 << 510)

WEAK = [
    pytest.param(3 * CLOSE, "it has a factor below 752", id="small-factor"),
    pytest.param(
        CLOSE * next_prime(CLOSE + 2), "its two primes are too close together", id="close-primes"
    ),
    pytest.param(CLOSE * CLOSE, "its two primes are too close together", id="square"),
    pytest.param(
        roca_prime(511, 5) * roca_prime(512, 77),
        "it carries the fingerprint of the ROCA flaw",
        id="roca",
    ),
]


@pytest.mark.parametrize(("modulus", "weakness"), WEAK)
def test_a_weak_modulus_is_named(modulus: int, weakness: str) -> None:
    """Each known fault of making has its words."""
    found = rsa_weakness(modulus)
    assert found is not None
    assert weakness in found


def test_a_weak_key_is_refused_whatever_its_length() -> None:
    """Length and exponent are right, and the key is refused for how it was made."""
    modulus = 3 * ((1 << 3071) // 3 + 2)
    assert modulus.bit_length() == 3072
    with pytest.raises(InputError, match="found a weak RSA key: it has a factor below 752"):
        check_public_key(rsa.RSAPublicNumbers(65537, modulus).public_key())


def test_a_good_modulus_is_not_accused() -> None:
    """A key from the library passes."""
    assert (
        rsa_weakness(rsa.generate_private_key(65537, 3072).public_key().public_numbers().n) is None
    )
