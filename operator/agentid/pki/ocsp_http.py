"""The media types of OCSP over HTTP, RFC 6960 appendix A.

How long caches may keep an answer is for whoever serves it to say (RFC 9919 §7.2).
"""

from __future__ import annotations

from typing import Final

__all__ = ["OCSP_REQUEST_TYPE", "OCSP_RESPONSE_TYPE"]

OCSP_REQUEST_TYPE: Final = "application/ocsp-request"
"""Of a request that is posted."""

OCSP_RESPONSE_TYPE: Final = "application/ocsp-response"
"""Of an answer, with and without a signature."""
