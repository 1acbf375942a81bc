"""What is served as a whole: its bytes, and the headers by which caches may keep it.

The headers are those of RFC 9919 §7.2 for OCSP answers, and CRLs get the same: `Last-Modified` is
thisUpdate, `Expires` is nextUpdate, `ETag` is the SHA-256 of the bytes, and `Cache-Control` names a
`max-age` before nextUpdate. `max-age` wins over `Expires` (RFC 9111 §5.3), and it is short: who
asks through a cache is to learn of a revocation soon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Document", "refusal", "respond"]

SERVER: Final = "agentid"


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes to be served, and until when they hold.

    Attributes:
        body: The bytes.
        media_type: What they are.
        modified: Since when they hold, whole seconds; None if that means nothing.
        expires: Until when they hold; None for what holds until it is replaced.
        max_age: Seconds for which a cache may keep them at most.
        etag: Names these bytes and no others.
        headers: All headers that do not depend on the time.
    """

    body: bytes = field(repr=False)
    media_type: str
    modified: datetime | None
    expires: datetime | None
    max_age: int
    etag: str = field(init=False)
    headers: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out the headers once."""
        etag = f'"{sha256(self.body).hexdigest()}"'
        headers = {"Server": SERVER, "Content-Type": self.media_type, "ETag": etag}
        if self.modified is not None:
            headers["Last-Modified"] = format_datetime(self.modified, usegmt=True)
        if self.expires is not None:
            headers["Expires"] = format_datetime(self.expires, usegmt=True)
        object.__setattr__(self, "etag", etag)
        object.__setattr__(self, "headers", headers)

    def seconds_fresh(self, now: datetime) -> int:
        """For how long a cache may keep it from now on."""
        if self.expires is None:
            return self.max_age
        # RFC 9919 §7.2: earlier than nextUpdate.
        left = int((self.expires - now).total_seconds()) - 1
        return max(0, min(self.max_age, left))


def respond(document: Document, request: web.BaseRequest, now: datetime) -> web.Response:
    """The answer to a GET or HEAD: the document, or 304 if the client has it already.

    aiohttp leaves the body away for HEAD, and keeps Content-Length.
    """
    age = document.seconds_fresh(now)
    headers = {
        **document.headers,
        "Cache-Control": f"max-age={age}, public, no-transform, must-revalidate",
    }
    if _is_known(document, request):
        return web.Response(status=304, headers=headers)
    return web.Response(body=document.body, headers=headers)


def _is_known(document: Document, request: web.BaseRequest) -> bool:
    """Whether the client's copy is this one (RFC 9110 §13.2.2)."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        # Weak comparison (RFC 9110 §8.8.3.2).
        found = (tag.strip().removeprefix("W/") for tag in tags.split(","))
        return any(tag in {"*", document.etag} for tag in found)
    since = request.headers.get("If-Modified-Since")
    if since is None or document.modified is None:
        return False
    try:
        return document.modified <= parsedate_to_datetime(since)
    except (ValueError, TypeError, OverflowError):
        # No date: as if the header were not there (RFC 9110 §13.1.3); a TypeError is one without
        # a zone.
        return False


def refusal(
    status: int, sentence: str, headers: Mapping[str, str] | None = None, *, close: bool = False
) -> web.Response:
    """An answer that says in a sentence why there is no document; no cache keeps it.

    Args:
        status: Of HTTP.
        sentence: For the person who looks.
        headers: On top of the usual ones.
        close: End the connection afterwards, without waiting for the rest of the request.
    """
    answer = web.Response(
        status=status,
        text=f"{sentence}\n",
        headers={"Server": SERVER, "Cache-Control": "no-store", **(headers or {})},
    )
    if close:
        answer.force_close()
    return answer
