"""One client of a deny feed: as Server-Sent Events, or as JSON Lines.

No client has a buffer of its own. It has a place in the log that all share, and a socket; one that
takes nothing for a while, or falls so far behind that the log has dropped what it has not seen, is
let go. It comes back, and goes on or begins anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

import orjson
from aiohttp import web

from agentid.ledger.wire import time_text
from agentid.responder.documents import SERVER
from agentid.responder.feed import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from agentid.responder.feed import FeedEvent, FeedLog

__all__ = ["Ending", "FeedFormat", "FeedStream"]

_BATCH: Final = 128
"""Events in one write: about 50 KB, near what aiohttp hands to the socket before it waits."""


class FeedFormat(Enum):
    """How events are written."""

    SSE = "text/event-stream"
    JSON_LINES = "application/jsonl"

    @classmethod
    def of(cls, accept: str) -> FeedFormat:
        """What the header asks for; Server-Sent Events unless it names JSON Lines."""
        wanted = accept.lower()
        lines = ("application/jsonl", "application/x-ndjson", "application/json-lines")
        return cls.JSON_LINES if any(one in wanted for one in lines) else cls.SSE

    def revoked(self, events: Sequence[FeedEvent], position: Callable[[int], str] | None) -> bytes:
        """Revocations; without a position they are part of everything, not of an order."""
        parts: list[bytes] = []
        for event in events:
            at = b"" if position is None else position(event.number).encode()
            if self is FeedFormat.JSON_LINES:
                parts.append(b'{"id":"%b",%b\n' % (at, event.fields))
            elif at:
                line = b'id: %b\nevent: revoked\ndata: {"id":"%b",%b\n\n'
                parts.append(line % (at, at, event.fields))
            else:
                parts.append(b'event: revoked\ndata: {"id":"",%b\n\n' % event.fields)
        return b"".join(parts)

    def mark(self, kind: str, position: str, **values: object) -> bytes:
        """An event about the feed itself."""
        body = orjson.dumps({"id": position, "type": kind, **values})
        if self is FeedFormat.JSON_LINES:
            return body + b"\n"
        # An empty id makes a client forget the last one (HTML, 9.2.6), as it must at a reset.
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (position.encode(), kind.encode(), body)


class Ending(Enum):
    """Why a feed ended."""

    GONE = "gone"
    """The client went."""
    SLOW = "slow"
    """It took nothing for a while."""
    BEHIND = "behind"
    """It fell further behind than the log remembers."""
    STOPPED = "stopped"
    """This process ends."""


class Age(Protocol):
    """Whoever knows for how long nothing was heard of the ledger."""

    @property
    def age(self) -> float:
        """Seconds."""


@dataclass(frozen=True, slots=True)
class FeedStream:
    """What all clients of a feed have in common.

    Attributes:
        log: Of the issuer.
        age: For how long nothing was heard of the ledger.
        now: The time.
        heartbeat: Between two signs of life.
        write_seconds: How long a client may take nothing.
        stop: Set, and everybody woken, when this process ends.
    """

    log: FeedLog
    age: Age
    now: Callable[[], datetime]
    heartbeat: timedelta
    write_seconds: float
    stop: asyncio.Event

    async def serve(
        self, request: web.BaseRequest, form: FeedFormat, position: str
    ) -> tuple[web.StreamResponse, Ending]:
        """Serve one client until it goes, is let go, or this process ends.

        Args:
            request: Of the client.
            form: How it wants the events.
            position: Where it left off, empty if nowhere.
        """
        response = web.StreamResponse(
            headers={
                "Server": SERVER,
                "Content-Type": form.value,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would gather events before it hands them on
            }
        )
        if request.method == "HEAD":
            response.force_close()
            await response.prepare(request)
            return response, Ending.GONE
        client = _Client(self, response, form)
        try:
            await response.prepare(request)
            ending = await client.run(position)
        except TimeoutError:
            ending = Ending.SLOW
        except ConnectionError:
            ending = Ending.GONE
        if ending in {Ending.SLOW, Ending.BEHIND} and request.transport is not None:
            request.transport.abort()
        return response, ending


class _Client:
    def __init__(self, stream: FeedStream, response: web.StreamResponse, form: FeedFormat) -> None:
        self._stream = stream
        self._log = stream.log
        self._response = response
        self._form = form

    async def run(self, position: str) -> Ending:
        number = self._log.find(position)
        if number is None:
            number = await self._everything()
        number = await self._catch_up(number)
        if number is None:
            return Ending.BEHIND
        await self._write(self._form.mark("synced", self._log.position(number)))
        while not self._stream.stop.is_set():
            waited = await self._wait(number)
            number = await self._catch_up(number)
            if number is None:
                return Ending.BEHIND
            if not waited:
                await self._write(self._sign_of_life(number))
        return Ending.STOPPED

    async def _everything(self) -> int:
        number, events = self._log.snapshot(self._stream.now())
        await self._write(self._form.mark("reset", ""))
        for batch in batches(events, _BATCH):
            await self._write(self._form.revoked(batch, None))
        return number

    async def _catch_up(self, number: int) -> int | None:
        while True:
            events = self._log.after(number, _BATCH)
            if events is None:
                return None
            if not events:
                return number
            await self._write(self._form.revoked(events, self._log.position))
            number = events[-1].number

    async def _wait(self, number: int) -> bool:
        """Return True at the next event or stop, False when it is time for a sign of life."""
        try:
            async with asyncio.timeout(self._stream.heartbeat.total_seconds()):
                await self._log.wait_behind(number)
        except TimeoutError:
            return False
        return True

    def _sign_of_life(self, number: int) -> bytes:
        age = self._stream.age.age
        return self._form.mark(
            "heartbeat",
            self._log.position(number),
            time=time_text(self._stream.now()),
            ledgerAgeSeconds=round(age, 1) if age != float("inf") else None,
        )

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(self._stream.write_seconds):
            await self._response.write(data)
