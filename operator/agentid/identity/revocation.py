"""Why a certificate is revoked, in the words and numbers of RFC 5280 §5.3.1."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agentid.errors import InputError
from agentid.identity.quoting import quoted

__all__ = ["RevocationReason"]


class RevocationReason(StrEnum):
    """A CRLReason, spelled as RFC 5280 §5.3.1 spells it.

    The spelling is also what `cryptography.x509.ReasonFlags` takes. Number 7 is not used by the
    standard.
    """

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    REMOVE_FROM_CRL = "removeFromCRL"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"

    @property
    def code(self) -> int:
        """The number of the CRLReason, 0 to 10."""
        return _CODES[self]

    @property
    def is_final(self) -> bool:
        """Whether the certificate never comes back; a hold may end, and its end is a reason too."""
        return self not in {self.CERTIFICATE_HOLD, self.REMOVE_FROM_CRL}

    @classmethod
    def parse(cls, text: str) -> RevocationReason:
        """Read the spelling of the standard, exactly.

        Raises:
            InputError: The standard has no such reason.
        """
        try:
            return cls(text)
        except ValueError as error:
            known = ", ".join(cls)
            msg = f"revocation reason: {quoted(text)} is not one of {known} (RFC 5280 §5.3.1)"
            raise InputError(msg) from error

    @classmethod
    def of_code(cls, code: int) -> RevocationReason:
        """Return the reason of a number.

        Raises:
            InputError: The standard gives this number to no reason.
        """
        for reason, number in _CODES.items():
            if number == code:
                return reason
        msg = f"revocation reason: {code} is not one of 0 to 6 and 8 to 10 (RFC 5280 §5.3.1)"
        raise InputError(msg)


_CODES: Final = {
    RevocationReason.UNSPECIFIED: 0,
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.CA_COMPROMISE: 2,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
    RevocationReason.CERTIFICATE_HOLD: 6,
    RevocationReason.REMOVE_FROM_CRL: 8,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
    RevocationReason.AA_COMPROMISE: 10,
}
