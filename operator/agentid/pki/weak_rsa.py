"""RSA moduli that look long and are not strong, because of how they were made."""

from __future__ import annotations

from math import gcd, isqrt, prod
from typing import Final

__all__ = ["rsa_weakness"]

_EXPONENT = 65537
_FERMAT_ROUNDS = 100
_SIEVE_LIMIT = 752


def _primes_below(limit: int) -> tuple[int, ...]:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return tuple(number for number in range(limit) if sieve[number])


def _powers(prime: int) -> frozenset[int]:
    """The residues modulo the prime that are powers of 65537."""
    seen = {1}
    power = _EXPONENT % prime
    while power not in seen:
        seen.add(power)
        power = power * _EXPONENT % prime
    return frozenset(seen)


_SMALL_PRIMES: Final = _primes_below(_SIEVE_LIMIT)
_SMALL_PRODUCT: Final = prod(_SMALL_PRIMES)

# The generator that ROCA (CVE-2017-15361) is about makes primes k*M + 65537^a mod M, where M is the
# product of the first primes, up to 167 at least for every key size. So the modulus is a power of
# 65537 modulo each of them; a good modulus is that by a chance of one in 2^27.
_ROCA_RESIDUES: Final = tuple((p, _powers(p)) for p in _SMALL_PRIMES if 2 < p <= 167)  # noqa: PLR2004


def rsa_weakness(modulus: int) -> str | None:
    """What is wrong with an RSA modulus, or None.

    Finds a factor below 752 (as CA/Browser Forum BR §6.1.6 asks), primes so close that a hundred
    rounds of Fermat's method find them, and the fingerprint of ROCA. It does not prove strength.
    """
    if gcd(modulus, _SMALL_PRODUCT) != 1:
        return f"it has a factor below {_SIEVE_LIMIT}"
    if all(modulus % prime in residues for prime, residues in _ROCA_RESIDUES):
        return "it carries the fingerprint of the ROCA flaw (CVE-2017-15361)"
    root = isqrt(modulus - 1) + 1
    for candidate in range(root, root + _FERMAT_ROUNDS):
        rest = candidate * candidate - modulus
        if isqrt(rest) ** 2 == rest:
            return "its two primes are too close together (Fermat's method finds them)"
    return None
