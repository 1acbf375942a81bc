"""What the services of a pod's socket have in common: typed handlers, and streams of the latest.

Handlers are given bytes and parse them themselves, so that what does not parse is the client's
error (`InvalidArgument`) and not one of ours; and they give bytes back, so that one serialized
message serves every stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from agentid.node.material import Ended, Starting, State

if TYPE_CHECKING:
    from agentid.node.latest import Latest
    from agentid.node.material import Material

__all__ = [
    "CallCounts",
    "Context",
    "Door",
    "Streaming",
    "TwoWay",
    "Unary",
    "abort",
    "parse",
    "push",
    "require",
    "send",
    "unary_method",
]

M = TypeVar("M", bound=Message)

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
"""Of one call."""

Unary: TypeAlias = Callable[[bytes, Context], Awaitable[bytes]]
"""A method with one answer."""

Streaming: TypeAlias = Callable[[bytes, Context], Awaitable[None]]
"""A method that writes its answers to the context."""

TwoWay: TypeAlias = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
"""A method that reads its requests from an iterator, too."""

_LAST_WORD: Final = 0.2
"""Seconds that a client which takes nothing gets for a message under way, once its stream is to
end. Its status is sent after it; both are dropped if it goes on taking nothing."""


class CallCounts(Protocol):
    """Who counts calls."""

    def opened(self, method: str) -> None:
        """A call has begun."""

    def ended(self, method: str, code: str) -> None:
        """It has ended, with this gRPC status; by name, such as `OK`."""


class Door:
    """How many calls there may be at once on one socket, and how many there are."""

    def __init__(self, most: int, counts: CallCounts) -> None:
        self._most = most
        self._counts = counts
        self._open = 0

    def unary(self, name: str, method: Unary) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The method as grpcio wants it, on bytes."""

        async def counted(request: bytes, context: Context) -> bytes:
            async with self._let_in(name, context):
                return await method(request, context)

        return unary_method(counted)

    def stream(self, name: str, method: Streaming) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The method as grpcio wants it, on bytes."""

        async def counted(request: bytes, context: Context) -> None:
            async with self._let_in(name, context):
                await method(request, context)

        return grpc.unary_stream_rpc_method_handler(counted)

    def two_way(self, name: str, method: TwoWay) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The method as grpcio wants it, on bytes."""

        async def counted(requests: AsyncIterator[bytes], context: Context) -> None:
            async with self._let_in(name, context):
                await method(requests, context)

        return grpc.stream_stream_rpc_method_handler(counted)

    @asynccontextmanager
    async def _let_in(self, name: str, context: Context) -> AsyncIterator[None]:
        self._counts.opened(name)
        self._open += 1
        code = grpc.StatusCode.OK.name
        try:
            if self._open > self._most:
                # Workload API §4.4 wants Unavailable of who sheds load; grpcio's own limit says
                # ResourceExhausted, after which clients need not come again.
                await abort(
                    context,
                    grpc.StatusCode.UNAVAILABLE,
                    f"there are {self._most} calls and streams on this socket already; end some",
                )
            yield
        except grpc.aio.AbortError:
            code = _CODES.get(context.code(), grpc.StatusCode.UNKNOWN.name)
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except BaseException:  # counted, and grpcio's to answer
            code = grpc.StatusCode.UNKNOWN.name
            raise
        finally:
            self._open -= 1
            self._counts.ended(name, code)


_CODES: Final[dict[object, str]] = {
    **{code: code.name for code in grpc.StatusCode},
    **{code.value[0]: code.name for code in grpc.StatusCode},
}
"""grpcio tells a status as it was given, or as a number."""


def unary_method(method: Unary) -> grpc.RpcMethodHandler[bytes, bytes]:
    """The method as grpcio wants it, on bytes."""
    return grpc.unary_unary_rpc_method_handler(method)


async def abort(context: Context, code: grpc.StatusCode, message: str) -> NoReturn:
    """End the call with this status."""
    await context.abort(code, message)
    raise AssertionError  # abort raises


async def parse(context: Context, kind: type[M], data: bytes) -> M:
    """The request, or the end of the call with InvalidArgument."""
    try:
        return kind.FromString(data)
    except DecodeError:
        await abort(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            f"the request does not parse as {kind.DESCRIPTOR.name}",
        )


async def require(context: Context, state: State) -> Material:
    """What the pod holds; the end of the call where it holds nothing (Workload API §4.4)."""
    if isinstance(state, Starting):
        await abort(
            context,
            grpc.StatusCode.UNAVAILABLE,
            "the node plugin has no identity for this pod yet; try again",
        )
    if isinstance(state, Ended):
        await abort(context, grpc.StatusCode.PERMISSION_DENIED, f"no identity: {state.message}")
    return state.material


async def push(context: Context, state: Latest[State], render: Callable[[Material], bytes]) -> None:
    """Send what `render` makes of each state, the first at once, until the pod may have none.

    Of states that follow one another faster than the client reads, it gets the last; of states that
    look the same to it, the first.
    """
    last: bytes | None = None
    while True:
        version = state.version
        message = render(await require(context, state.value))
        if message != last:
            await send(context, message, state)
            last = message
        await state.after(version)


async def send(context: Context, message: bytes, state: Latest[State]) -> None:
    """Write a message; a client that takes nothing cannot outlive its entitlement by it."""
    writing = asyncio.ensure_future(context.write(message))
    ended = asyncio.ensure_future(_ended(state))
    try:
        await asyncio.wait((writing, ended), return_when=asyncio.FIRST_COMPLETED)
        if not writing.done():
            await asyncio.wait((writing,), timeout=_LAST_WORD)
        if writing.done():
            writing.result()
    finally:
        ended.cancel()
        if not writing.done():
            writing.cancel()


async def _ended(state: Latest[State]) -> None:
    while not isinstance(state.value, Ended):
        await state.after(state.version)
