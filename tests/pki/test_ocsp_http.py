"""What the HTTP header fields of OCSP answers say."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256

import pytest

from agentid.pki.ocsp_http import ocsp_cache_headers, ocsp_error_headers
from agentid.testing.ca import NOON


def test_an_answer_says_how_long_it_serves() -> None:
    """The fields are those of RFC 9919 §7.2, with the times of the answer itself."""
    before, after = NOON - timedelta(minutes=1), NOON + timedelta(hours=1)
    headers = ocsp_cache_headers(b"answer", before, after, NOON, timedelta(minutes=5))
    assert headers == {
        "Content-Type": "application/ocsp-response",
        "Date": "Sun, 01 Nov 2026 12:00:00 GMT",
        "Last-Modified": "Sun, 01 Nov 2026 11:59:00 GMT",
        "Expires": "Sun, 01 Nov 2026 13:00:00 GMT",
        "ETag": f'"{sha256(b"answer").hexdigest()}"',
        "Cache-Control": "max-age=300,public,no-transform,must-revalidate",
    }


@pytest.mark.parametrize(
    ("left", "age"),
    [
        pytest.param(timedelta(seconds=10), 9, id="cut"),
        pytest.param(timedelta(seconds=1), 0, id="at-the-end"),
        pytest.param(timedelta(seconds=-5), 0, id="past"),
    ],
)
def test_no_cache_keeps_an_answer_beyond_its_next_update(left: timedelta, age: int) -> None:
    """RFC 9919 §7.2: max-age ends before nextUpdate."""
    headers = ocsp_cache_headers(b"", NOON, NOON + left, NOON, timedelta(minutes=5))
    assert headers["Cache-Control"].startswith(f"max-age={age},")


def test_no_cache_keeps_an_unsigned_answer() -> None:
    """An error may be gone with the next request."""
    assert ocsp_error_headers()["Cache-Control"] == "no-store"
