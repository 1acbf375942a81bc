"""Revocation reasons, RFC 5280 §5.3.1."""

from __future__ import annotations

import pytest
from cryptography import x509

from agentid.errors import InputError
from agentid.identity.revocation import RevocationReason

STANDARD = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "removeFromCRL": 8,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}


def test_numbers_and_spelling_are_those_of_the_standard() -> None:
    """All ten reasons, none else, with the numbers of the CRLReason enumeration."""
    assert {reason.value: reason.code for reason in RevocationReason} == STANDARD


@pytest.mark.parametrize("reason", list(RevocationReason))
def test_a_reason_is_found_by_spelling_and_by_number(reason: RevocationReason) -> None:
    """Both ways round, and in the library that makes CRLs."""
    assert RevocationReason.parse(reason.value) is reason
    assert RevocationReason.of_code(reason.code) is reason
    assert x509.ReasonFlags(reason.value).value == reason.value


def test_only_a_hold_and_its_end_are_not_final() -> None:
    """RFC 5280 §5.3.1 lets a certificate come back from certificateHold alone."""
    passing = {reason for reason in RevocationReason if not reason.is_final}
    assert passing == {RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL}


def test_other_words_are_refused() -> None:
    """The message lists what the standard knows."""
    with pytest.raises(InputError, match='"keycompromise" is not one of unspecified, keyCompr'):
        RevocationReason.parse("keycompromise")


@pytest.mark.parametrize("code", [-1, 7, 11])
def test_other_numbers_are_refused(code: int) -> None:
    """The standard leaves 7 out."""
    with pytest.raises(InputError, match=f"{code} is not one of 0 to 6 and 8 to 10"):
        RevocationReason.of_code(code)
