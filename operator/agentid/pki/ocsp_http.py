"""How an OCSP answer travels over HTTP: RFC 9919 §6 and §7.2.

Only answers without a nonce can serve a second client, and only those asked for with GET are kept
by proxies (RFC 9110 §9.3.3). A cached answer is as old as its max-age allows: whoever wants a
revocation seen within a second sets it to nearly nothing.
"""

from __future__ import annotations

from email.utils import format_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["OCSP_REQUEST_TYPE", "OCSP_RESPONSE_TYPE", "ocsp_cache_headers", "ocsp_error_headers"]

OCSP_REQUEST_TYPE: Final = "application/ocsp-request"
"""The media type of a request (RFC 6960 appendix A.1)."""

OCSP_RESPONSE_TYPE: Final = "application/ocsp-response"
"""The media type of an answer."""


def ocsp_cache_headers(
    response: bytes,
    this_update: datetime,
    next_update: datetime,
    now: datetime,
    max_age: timedelta,
) -> dict[str, str]:
    """The header fields that let caches keep a signed answer, by RFC 9919 §7.2.

    Date: when this HTTP response is made. Last-Modified: thisUpdate. Expires: nextUpdate. ETag: the
    SHA-256 of the OCSPResponse in hexadecimal, quoted. Cache-Control: `max-age`, cut so that it
    ends before nextUpdate, then `public`, `no-transform` and `must-revalidate`. Such an answer must
    have no `no-cache` or `no-store`. Content-Length is left to the server.

    Args:
        response: The whole OCSPResponse in DER.
        this_update: Of the answer, aware UTC.
        next_update: Of the answer; later than `now`.
        now: The present.
        max_age: How long a cache may keep it; zero for an answer with a nonce, which serves nobody
            else. Fractions of a second are dropped.
    """
    left = int((next_update - now).total_seconds()) - 1
    seconds = max(0, min(int(max_age.total_seconds()), left))
    return {
        "Content-Type": OCSP_RESPONSE_TYPE,
        "Date": format_datetime(now, usegmt=True),
        "Last-Modified": format_datetime(this_update, usegmt=True),
        "Expires": format_datetime(next_update, usegmt=True),
        "ETag": f'"{sha256(response).hexdigest()}"',
        "Cache-Control": f"max-age={seconds},public,no-transform,must-revalidate",
    }


def ocsp_error_headers() -> dict[str, str]:
    """The header fields of an unsigned answer, which no cache may keep (RFC 9919 §7.2)."""
    return {"Content-Type": OCSP_RESPONSE_TYPE, "Cache-Control": "no-store"}
