"""HTTP: one path, one method, bounded bodies, and never a traceback for who asks."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from agentid.admission.review import MAX_REVIEW_BYTES, encode_answer, read_review
from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.admission.metrics import AdmissionMetrics
    from agentid.admission.reviewer import Reviewer
    from agentid.admission.settings import Limits
    from agentid.clock import Clock

__all__ = ["PATH", "ReviewHandler"]

_log = structlog.stdlib.get_logger(__name__)

PATH: Final = "/pods"
"""Where reviews of pods are sent; the webhook configuration `agentid-pods` names it."""

_JSON: Final = "application/json"
_NOT_HERE: Final = f"There is nothing here; reviews are sent to {PATH}."
_TOO_LARGE: Final = f"A review has at most {MAX_REVIEW_BYTES} octets."
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ReviewHandler:
    """Answers requests.

    Args:
        reviewer: Decides.
        metrics: Counts.
        limits: For bodies.
        clock: For how long an answer took.
        unready: Says what still keeps reviews from being answered.

    Attributes:
        closing: Set at the end; from then on each answer is the last one of its connection.
    """

    def __init__(
        self,
        reviewer: Reviewer,
        metrics: AdmissionMetrics,
        limits: Limits,
        *,
        clock: Clock,
        unready: Callable[[], object],
    ) -> None:
        self._reviewer = reviewer
        self._metrics = metrics
        self._limits = limits
        self._clock = clock
        self._unready = unready
        self._waiting = 0
        self._in_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.closing = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self._in_work += 1
        self._idle.clear()
        try:
            answer = await self._answer(request)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - one request's defect is not the next one's
            _log.exception("review_failed", path=request.raw_path[:200])
            answer = self._refuse(500, "defect", "The webhook has a defect; its log says more.")
        finally:
            self._in_work -= 1
            if not self._in_work:
                self._idle.set()
        if self.closing:
            answer.force_close()
        return answer

    async def finish(self, seconds: float) -> None:
        """Wait until no review is in work, so long at most.

        The server's own end takes nothing in any more, not even the rest of a body.
        """
        self.closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        size = request.content_length or 0
        objection = self._objection(request, size)
        if objection is not None:
            return self._refuse(*objection)
        began = self._clock.monotonic()
        self._waiting += size
        try:
            return await self._review(request, size, began)
        finally:
            self._waiting -= size

    def _objection(self, request: web.BaseRequest, size: int) -> tuple[int, str, str] | None:
        """Why a request is not even read: status, limit, sentence."""
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip()
        waiting = self._waiting + size > self._limits.waiting_bytes
        for holds, status, limit, sentence in (
            (request.raw_path.partition("?")[0] != PATH, 404, "path", _NOT_HERE),
            (request.method != "POST", 405, "method", f"{PATH} takes POST."),
            (kind != _JSON, 415, "type", f"A review is sent as {_JSON}."),
            (size == 0, 411, "length", "A review is sent with its Content-Length."),
            (size > MAX_REVIEW_BYTES, 413, "size", _TOO_LARGE),
            (bool(self._unready()), 503, "unready", "The caches are not filled yet; try again."),
            (waiting, 503, "waiting", "Too many large reviews at once; try again."),
        ):
            if holds:
                return status, limit, sentence
        return None

    async def _review(
        self, request: web.BaseRequest, size: int, began: float
    ) -> web.StreamResponse:
        try:
            body = await self._read(request, size)
        except TimeoutError:
            return self._refuse(408, "slow", "The review did not come in time.")
        try:
            review = read_review(body)
            verdict = await self._reviewer.review(review)
        except InputError as error:
            return self._refuse(400, "malformed", f"{error}.")
        self._metrics.count_review(verdict)
        if not verdict.allowed:
            _log.info(
                "pod_refused",
                namespace=review.namespace,
                identity=verdict.identity,
                reason=verdict.reason,
                message=verdict.message,
            )
        answer = web.Response(
            body=encode_answer(review.uid, verdict), headers={"Content-Type": _JSON}
        )
        self._metrics.seconds.observe(self._clock.monotonic() - began)
        return answer

    async def _read(self, request: web.BaseRequest, size: int) -> bytes:
        content = request.content
        if content.is_eof():
            return content.read_nowait()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0
        async with asyncio.timeout(self._limits.body_seconds):
            return await content.readexactly(size)

    def _refuse(self, status: int, limit: str, sentence: str) -> web.Response:
        """Answer what is no review, and end the connection: what may come on it is not known."""
        self._metrics.refused.labels(limit).inc()
        answer = web.Response(status=status, text=sentence + "\n")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["Allow"] = "POST"
        answer.force_close()
        return answer
