"""Sockets that close what is theirs, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
import ssl
import struct
from contextlib import ExitStack

import pytest
import uvloop

from agentid.sockets import make_socket


def address_of(listener: socket.socket) -> tuple[socket.AddressFamily, socket.SocketKind, int]:
    """How a socket has to be made to reach a listener."""
    return listener.family, listener.type, listener.proto


def connected(stack: ExitStack, *, reset: bool) -> socket.socket:
    """A socket that is connected to a listener, which has reset the connection or keeps it."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    name = listener.getsockname()
    made = make_socket((*address_of(listener), "", name))
    made.connect(name)
    accepted = stack.enter_context(listener.accept()[0])
    if reset:
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        polled = select.poll()
        polled.register(made, select.POLLHUP)
        assert polled.poll(5_000)
    made.settimeout(0)
    return made


@pytest.mark.parametrize(
    "factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_descriptor_of_somebody_else_is_left_alone(
    factory: type[asyncio.AbstractEventLoop],
) -> None:
    """What takes the number of a connection that was reset stays open when its socket goes."""
    with ExitStack() as stack, asyncio.Runner(loop_factory=factory) as runner:
        made = connected(stack, reset=True)
        number = made.fileno()

        async def connect(sock: socket.socket) -> None:
            loop, context = asyncio.get_running_loop(), ssl.create_default_context()
            with pytest.raises(ConnectionResetError):
                await loop.create_connection(
                    asyncio.Protocol, sock=sock, ssl=context, server_hostname="server"
                )
            await asyncio.sleep(0)  # asyncio's own transports close a turn later

        runner.run(connect(made))
        others = [os.eventfd(0) for _ in range(8)]
        for each in others:
            stack.callback(os.close, each)
        assert number in others
        del made
        gc.collect()
        for each in others:
            os.fstat(each)


def test_its_own_descriptor_is_closed() -> None:
    """A socket that nobody closed takes its descriptor along."""
    with ExitStack() as stack:
        made = connected(stack, reset=False)
        number = made.fileno()
        del made
        gc.collect()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_what_was_given_away_stays_open() -> None:
    """A descriptor that was detached is whose it is now."""
    with ExitStack() as stack:
        made = connected(stack, reset=False)
        number = made.detach()
        stack.callback(os.close, number)
        del made
        gc.collect()
        os.fstat(number)
