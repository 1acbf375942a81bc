"""When a certificate is renewed."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import Validity

__all__ = ["kept_before_end", "renewal_time"]

_SECOND: Final = timedelta(seconds=1)
_BEFORE_END: Final = 3
"""By default the last third of a lifetime is kept: an outage of a third of a lifetime is survived,
and each certificate still serves for most of its own."""

_JITTER: Final = 10
"""Up to a tenth of the lifetime earlier, so that what was issued together is not renewed together.
Less would bring the herd back; more would renew much sooner than the class says."""


def renewal_time(validity: Validity, renew_before: timedelta | None, seed: bytes) -> datetime:
    """Decide when to renew a certificate.

    Args:
        validity: The time that the certificate serves.
        renew_before: How long before notAfter. None, or more than three quarters of the lifetime
            (a tier may have cut that), for a third of it.
        seed: What makes the jitter; the same for every look at one certificate, such as the UID of
            the identity and the serial.

    Returns:
        A whole second later than notBefore and earlier than notAfter, unless the two are less than
        two seconds apart: then notBefore.
    """
    between = validity.not_after - validity.not_before
    # Both ends count (RFC 5280 §4.1.2.5): a lifetime of a minute has 59 seconds between them.
    kept = kept_before_end(between + _SECOND, renew_before) // _SECOND
    whole = between // _SECOND
    earlier = int(whole // _JITTER * _fraction(seed))
    wait = min(max(whole - kept - earlier, 1), whole - 1)
    return validity.not_before + max(wait, 0) * _SECOND


def kept_before_end(lifetime: timedelta, renew_before: timedelta | None) -> timedelta:
    """How long before its end a certificate is renewed at the latest, in whole seconds.

    The jitter comes on top: `renewal_time` is up to a tenth of the lifetime earlier.

    Args:
        lifetime: Of the certificate.
        renew_before: As in `renewal_time`.
    """
    whole = lifetime // _SECOND
    kept = whole // _BEFORE_END if renew_before is None else renew_before // _SECOND
    if kept * 4 > whole * 3:
        kept = whole // _BEFORE_END
    return kept * _SECOND


def _fraction(seed: bytes) -> float:
    """Spread seeds evenly over 0 to 1."""
    return int.from_bytes(hashlib.sha256(seed).digest()[:6]) / (1 << 48)
