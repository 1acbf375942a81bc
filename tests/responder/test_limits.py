"""What clients can do to it: little, and whatever they do, others are served."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.x509 import ocsp

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.responder.limits import Throttle
from agentid.responder.settings import Limits, Periods
from agentid.serving.bounded import client_of
from agentid.serving.token_bucket import TokenBucket, TokenBuckets
from tests.support.responding import serving, until

if TYPE_CHECKING:
    from agentid.testing.clock import ManualClock
    from tests.support.responding import World

PATIENCE = 5.0
GOOD = "/crl/builtin/all.pem"
ASK = {"Content-Type": "application/ocsp-request"}


async def raw(world: World, data: bytes, *, half: bool = False) -> bytes:
    """Send bytes on a connection of their own, and read until the server ends it.

    Args:
        world: Whose HTTP port.
        data: To send.
        half: Whether to end our half of the connection afterwards.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", world.ports.http)
    try:
        writer.write(data)
        if half:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def assert_serves(world: World) -> None:
    """Others are served as before."""
    assert (await world.get(GOOD))[0] == 200


def counted(world: World, line: str) -> bool:
    """Whether the metrics hold this line."""
    return f"{line}\n" in world.responder.metrics.render().decode()


# Requests


async def test_too_many_requests_are_told_when_to_come_again(clock: ManualClock) -> None:
    """429 and Retry-After; after that long they are served."""
    limits = Limits(client_rate=0.5, client_burst=2)
    async with serving(clock, limits=limits) as world:
        assert [(await world.get(GOOD))[0] for _ in range(2)] == [200, 200]
        status, headers, body = await world.get(GOOD)
        assert (status, headers["Retry-After"]) == (429, "2")
        assert b"Retry-After" in body
        clock.advance(2)
        await assert_serves(world)
        assert counted(world, 'agentid_responder_refused_total{limit="rate"} 1.0')
        assert counted(world, 'agentid_responder_requests_total{code="429",route="none"} 1.0')


def test_one_client_cannot_use_up_what_is_for_all(clock: ManualClock) -> None:
    """Its own bucket is asked first, so what it is refused costs the others nothing."""
    throttle = Throttle(Limits(rate=1, burst=10, client_rate=1, client_burst=5), clock.monotonic)
    greedy = [throttle.wait("a") for _ in range(100)]
    assert sum(wait == 0 for wait in greedy) == 5
    assert [throttle.wait("b") for _ in range(5)] == [0.0] * 5
    assert throttle.wait("c") > 0


def test_a_bucket_fills_at_its_rate(clock: ManualClock) -> None:
    """Never above its burst; and a rate of zero is no limit."""
    bucket = TokenBucket(2, 3, clock.monotonic())
    assert [bucket.take(0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(0) == 0.5
    assert bucket.take(0.5) == 0.0
    assert [bucket.take(1000) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    unbounded = TokenBucket(0, 1, 0)
    assert [unbounded.take(0) for _ in range(100)] == [0.0] * 100


def test_buckets_of_those_that_took_last_are_kept() -> None:
    """Who is forgotten begins with a full one; a rate of zero is no limit."""
    buckets = TokenBuckets(1, 1, most=2)
    assert [buckets.take(key, 0) for key in ("a", "b", "a", "c")] == [0.0, 0.0, 1.0, 0.0]
    assert [buckets.take(key, 0) for key in ("a", "b")] == [1.0, 0.0]
    unbounded = TokenBuckets(0, 1, most=2)
    assert [unbounded.take("a", 0) for _ in range(100)] == [0.0] * 100


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 0), "fe80::/64"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (None, ""),
        ("/run/socket", ""),
        (("no:address", 1), "no:address"),
    ],
)
def test_who_is_counted_as_one(address: object, client: str) -> None:
    """A host has a whole /64 of IPv6 to itself."""
    assert client_of(address) == client


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/crl/x", "GET, HEAD"),
        ("DELETE", "/ocsp", "GET, HEAD, POST"),
        ("PUT", "/policy/x", "GET, HEAD"),
        ("OPTIONS", "/ca/x", "GET, HEAD"),
    ],
)
async def test_other_methods_are_refused(
    clock: ManualClock, method: str, path: str, allowed: str
) -> None:
    """With those that the path has."""
    async with serving(clock) as world:
        status, headers, _ = await world.get(path, method)
    assert (status, headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/healthz", "/metrics", "/bundle/example.org", "/feed/builtin", "/crlx", "/.."],
)
async def test_nothing_else_is_there(clock: ManualClock, path: str) -> None:
    """Neither probes nor what is for HTTPS."""
    async with serving(clock) as world:
        assert (await world.get(path))[0] == 404
        assert counted(world, 'agentid_responder_requests_total{code="404",route="none"} 1.0')


async def test_the_absolute_form_is_taken() -> None:
    """RFC 9112 §3.2.2; a proxy's way to ask."""
    async with serving(SystemClock()) as world:
        head = f"GET http://responder:8081{GOOD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await raw(world, head.encode())).startswith(b"HTTP/1.1 200 ")


async def test_one_megabyte_to_ocsp_costs_nothing() -> None:
    """The OCSP error comes at once, whether the length is stated or not; no body is kept."""
    async with serving(SystemClock()) as world:
        _, _, body = await world.get("/ocsp", "POST", bytes(1 << 20), ASK)
        chunked = b"".join(b"400\r\n" + bytes(1024) + b"\r\n" for _ in range(1024))
        head = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n"
        answer = await raw(world, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked)
        await assert_serves(world)
    malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
    assert ocsp.load_der_ocsp_response(body).response_status is malformed
    assert answer.endswith(body)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", id="path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: " + b"x" * 100_000 + b"\r\n\r\n", id="field"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5_000)) + b"\r\n",
            id="fields",
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="tls-to-http"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="version"),
        pytest.param(b"POST /ocsp HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="negative"),
        pytest.param(
            b"POST /ocsp HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            id="two-lengths",
        ),
    ],
)
async def test_what_is_no_request_is_refused(data: bytes) -> None:
    """With a status of 400, or by the end of the connection."""
    async with serving(SystemClock()) as world:
        answer = await raw(world, data, half=True)
        assert answer == b"" or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4")), answer[:100]
        await assert_serves(world)


async def test_a_long_path_is_refused(clock: ManualClock) -> None:
    """Just above the bound by us, far above it by the parser."""
    async with serving(clock) as world:
        assert (await world.get("/ocsp/" + "A" * 2_050))[0] in {400, 414}
        assert (await world.get("/ocsp/" + "A" * 2_042))[0] == 200


# Connections


async def test_a_head_that_trickles_is_cut() -> None:
    """Slowloris: the whole head has to come in time, and nothing extends that."""
    async with serving(SystemClock(), limits=Limits(idle_seconds=0.3)) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.ports.http)
        began = time.monotonic()
        for byte in b"GET /crl/builtin/all.pem HTTP/1.1\r\nHost: x\r\n" * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if reader.at_eof() or reader.exception() or writer.is_closing():
                break
        assert 0.2 < time.monotonic() - began < 3
        writer.transport.abort()
        await assert_serves(world)


async def test_a_body_that_trickles_is_refused() -> None:
    """408, and the connection ends."""
    async with serving(SystemClock(), limits=Limits(body_seconds=0.2)) as world:
        head = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n"
        answer = await raw(world, head + b"Content-Length: 100\r\n\r\n0")
        await assert_serves(world)
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_waits_for_continue_gets_it() -> None:
    """And then its OCSP answer; one whose body is too long gets that at once instead."""
    async with serving(SystemClock()) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.ports.http)
        head = b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n"
        writer.write(head + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"\x30\x00")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.transport.abort()
        long = head + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n"
        assert (await raw(world, long)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_connections_are_bounded() -> None:
    """For one address, and for all; whoever goes makes room."""
    async with serving(SystemClock(), limits=Limits(client_connections=3)) as world:
        held = [await asyncio.open_connection("127.0.0.1", world.ports.http) for _ in range(3)]
        await until(lambda: world.responder.connections()["http"] == 3)
        assert await raw(world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert counted(world, 'agentid_responder_refused_total{limit="connections"} 1.0')
        held[0][1].transport.abort()
        await until(lambda: world.responder.connections()["http"] == 2)
        await assert_serves(world)
        for _, writer in held:
            writer.transport.abort()


async def test_a_client_that_does_not_read_is_cut() -> None:
    """It asks for a megabyte a hundred times, and takes none of it."""
    limits = Limits(write_seconds=0.4)
    async with serving(SystemClock(), limits=limits) as world:
        large = world.main.crl(1, lifetime=timedelta(hours=2))
        world.responder.publications.config_map(large)
        _, writer = await asyncio.open_connection("127.0.0.1", world.ports.http, limit=1024)
        request = f"GET {GOOD} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        writer.write(request * 20_000)
        await until(lambda: counted(world, 'agentid_responder_refused_total{limit="slow"} 1.0'))
        await until(lambda: world.responder.connections()["http"] == 0)
        writer.transport.abort()
        await assert_serves(world)


async def test_random_bytes_and_paths_never_break_it() -> None:
    """A bounded fuzz with a fixed seed: no 500, and it serves on."""
    rng = random.Random(4)
    alphabet = "/crlocspabpemty.0123456789%+=-?&#[]{}<>\\\"' \0\x7fé"
    async with serving(SystemClock(), limits=Limits(idle_seconds=1)) as world:
        for _ in range(300):
            path = "".join(rng.choice(alphabet) for _ in range(rng.randrange(60)))
            head = rng.choice(
                ("", "/crl/", "/ocsp/", "/ca/", "/policy/", f"/crl/{world.main.authority_id}/")
            )
            request = f"GET {head}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            if rng.random() < 0.2:
                request = rng.randbytes(rng.randrange(1, 200)) + b"\r\n\r\n"
            answer = await raw(world, request, half=True)
            assert not answer.startswith(b"HTTP/1.1 5"), (request, answer[:200])
            assert b"Traceback" not in answer
        await assert_serves(world)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ocsp_window": timedelta(0)}, "ocsp_window is 0 s"),
        ({"ocsp_validity": timedelta(seconds=100)}, "twice the window"),
        ({"ocsp_window": timedelta(seconds=1.5)}, "whole seconds"),
        ({"stale_after": timedelta(seconds=-1)}, "stale_after is -1 s"),
    ],
)
def test_periods_that_do_not_go_together_are_refused(
    changes: dict[str, timedelta], message: str
) -> None:
    """Before anything is served."""
    with pytest.raises(InputError, match=message):
        Periods(**changes)
