"""The server over real TLS: what clients can do to it is little, and others are answered."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.admission.review import MAX_REVIEW_BYTES
from agentid.admission.settings import Limits
from tests.support.reviewing import answer_of, container, pod, review_of
from tests.support.webhook import (
    READER_PATH,
    Pair,
    Site,
    eventually,
    serving_pair,
    until,
    webhook_site,
)

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 5.0
HEAD = b"POST /pods HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n"


async def raw(site: Site, data: bytes) -> bytes:
    """Send bytes on a connection of their own, and read until the server ends it."""
    reader, writer = await opened(site)
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def opened(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that says nothing yet."""
    return await asyncio.open_connection("127.0.0.1", await site.port, ssl=site.pair.trusting)


async def assert_answers(site: Site) -> None:
    """Others are answered as before."""
    response = await site.review(pod())
    assert response["allowed"] is True
    assert response["patchType"] == "JSONPatch"


def der(pair: Pair) -> bytes:
    """A certificate as a handshake shows it."""
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


# Reviews


async def test_reviews_are_answered_and_counted() -> None:
    """Let through, refused, and not ours: each with its reason."""
    async with webhook_site() as site:
        await assert_answers(site)
        refused = await site.review(pod("raeder"))
        assert refused["status"]["code"] == 403
        assert "did you mean reader?" in refused["status"]["message"]
        assert (await site.review(pod(None)))["allowed"] is True
        assert site.count("reviews_total", allowed="true", reason="Mounted") == 1
        assert site.count("reviews_total", allowed="false", reason="NoSuchIdentity") == 1
        assert site.count("reviews_total", allowed="true", reason="NotSelected") == 1
        assert site.count("lookups_total") == 1
        assert site.count("review_seconds_count") == 3


async def test_changes_are_seen() -> None:
    """What a watch tells is what the next review goes by."""
    async with webhook_site() as site:
        await assert_answers(site)
        body = json.loads(json.dumps(site.server.objects[READER_PATH]))
        body["spec"]["suspend"] = True
        site.server.put(READER_PATH, body)

        async def refused() -> bool:
            return not (await site.review(pod()))["allowed"]

        await eventually(refused)


async def test_a_dry_run_is_answered_alike_and_nothing_is_written() -> None:
    """Nothing ever is."""
    async with webhook_site() as site:
        real = await site.review(pod())
        assert await site.review(pod(), dryRun=True) == real
        await site.review(pod("nobody"), dryRun=True)
        assert {method for method, *_ in site.server.requests} == {"GET"}


async def test_a_hundred_pods_of_a_mistyped_label_cost_one_request() -> None:
    """They ask together, and an absence is believed for a second."""
    async with webhook_site() as site:
        before = len(site.server.requests)
        told = await asyncio.gather(*(site.review(pod("raeder")) for _ in range(100)))
        assert {each["allowed"] for each in told} == {False}
        asked = [path for _, path, _, _ in site.server.requests[before:] if "raeder" in path]
        assert len(asked) == 1


async def test_an_api_server_that_does_not_answer_costs_a_second() -> None:
    """Then the author is told, well before the API server's own patience ends."""
    async with webhook_site() as site:

        async def silent(_: object) -> Any:  # noqa: ANN401 - never answers
            await asyncio.sleep(60)

        site.server.answers.append(silent)
        began = asyncio.get_running_loop().time()
        response = await site.review(pod("nobody"))
        assert asyncio.get_running_loop().time() - began < 2.0
        assert response["status"]["code"] == 503
        assert "could not be found out" in response["status"]["message"]


# What is no review


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        pytest.param(
            b"GET /pods HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n\r\n",
            b"405", b"/pods takes POST.", id="method",
        ),
        pytest.param(
            b"POST /other HTTP/1.1\r\nHost: w\r\nContent-Length: 2\r\n\r\n{}",
            b"404", b"reviews are sent to /pods.", id="path",
        ),
        pytest.param(
            b"POST /pods HTTP/1.1\r\nHost: w\r\nContent-Type: text/plain\r\nContent-Length: 2"
            b"\r\n\r\n{}",
            b"415", b"A review is sent as application/json.", id="type",
        ),
        pytest.param(HEAD + b"\r\n", b"411", b"with its Content-Length", id="no-length"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"411", b"with its Content-Length", id="chunked",
        ),
        pytest.param(
            HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_REVIEW_BYTES + 1),
            b"413", b"at most 4194304 octets", id="large",
        ),
        pytest.param(
            HEAD + b"Content-Length: 2\r\n\r\n{}", b"400", b"send AdmissionReview of", id="object"
        ),
        pytest.param(
            HEAD + b"Content-Length: 4\r\n\r\n\xff\xfe\x00{", b"400", b"not JSON", id="bytes"
        ),
        pytest.param(HEAD + b"X: " + b"y" * 5000 + b"\r\n\r\n", b"400", b"", id="header"),
        pytest.param(b"POST /pods?" + b"t" * 400 + b" HTTP/1.1\r\n\r\n", b"400", b"", id="query"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400", b"", id="no-http"),
    ],
)  # fmt: skip
async def test_what_is_no_review_is_told_so(
    request_: bytes, status: bytes, sentence: bytes
) -> None:
    """In a sentence without a traceback, and the connection ends."""
    async with webhook_site() as site:
        answer = await raw(site, request_)
        assert answer[:12] in {b"HTTP/1.0 " + status, b"HTTP/1.1 " + status}
        assert sentence in answer
        assert b"Traceback" not in answer
        await assert_answers(site)


async def test_an_api_server_that_asks_before_it_sends() -> None:
    """`Expect: 100-continue` is kept to."""
    body = review_of(pod())
    head = HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    async with webhook_site() as site:
        reader, writer = await opened(site)
        writer.write(head % len(body))
        async with asyncio.timeout(PATIENCE):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            answer = await reader.read()
        writer.transport.abort()
        assert answer_of(answer.partition(b"\r\n\r\n")[2])[0]["allowed"] is True


async def test_a_body_that_does_not_come() -> None:
    """Its connection ends; the others are answered meanwhile."""
    async with webhook_site(limits=Limits(body_seconds=0.3)) as site:
        waiting = asyncio.create_task(raw(site, HEAD + b"Content-Length: 100\r\n\r\n{"))
        await assert_answers(site)
        assert (await waiting).startswith(b"HTTP/1.1 408 ")
        assert site.count("refused_total", limit="slow") == 1


async def test_a_body_that_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    """Who goes away amid a review is nobody's defect, and fills no log."""
    async with webhook_site() as site:
        for _ in range(3):
            _, writer = await opened(site)
            writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
            await writer.drain()
            await assert_answers(site)
            writer.transport.abort()
        reader, writer = await opened(site)
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        writer.close()
        assert await reader.read() == b""
        await assert_answers(site)
        assert site.count("refused_total", limit="defect") == 0
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_head_that_does_not_come() -> None:
    """Nor is one waited for for ever."""
    async with webhook_site(limits=Limits(idle_seconds=0.3)) as site:
        assert await raw(site, b"POST /pods HTTP/1.1\r\nHost:") == b""
        await assert_answers(site)


async def test_bodies_at_a_time_are_bounded() -> None:
    """What would be beyond is told to come again, and memory stays what it is."""
    async with webhook_site(limits=Limits(waiting_bytes=10_000, body_seconds=2)) as site:
        _, writer = await opened(site)
        writer.write(HEAD + b"Content-Length: 9000\r\n\r\n{")
        await writer.drain()

        async def beyond() -> bool:
            found = await site.post(review_of(pod(), padding="p" * 2000))
            return found == (503, b"Too many large reviews at once; try again.\n")

        async def within() -> bool:
            return (await site.post(review_of(pod(), padding="p" * 2000)))[0] == 200

        await eventually(beyond)
        await assert_answers(site)
        writer.transport.abort()
        await eventually(within)


async def test_hundreds_of_connections_that_say_nothing() -> None:
    """They stay below the limit of their address, and reviews are answered beside them."""
    limits = Limits(connections=400, client_connections=310)
    async with webhook_site(limits=limits) as site:
        idle = [await opened(site) for _ in range(300)]
        await assert_answers(site)
        assert site.webhook.snapshot().connections >= 300
        idle += [await opened(site) for _ in range(30)]
        await until(lambda: site.count("refused_total", limit="connections") >= 10)
        assert await raw(site, b"") == b""
        for _, writer in idle:
            writer.transport.abort()
        await until(lambda: site.webhook.snapshot().connections < 10)
        await assert_answers(site)


async def test_a_huge_pod_is_reviewed() -> None:
    """As large as the API server takes them."""
    env = [{"name": f"V{number}", "value": "x" * 1000} for number in range(2_500)]
    async with webhook_site() as site:
        response = await site.review(pod(containers=[container(env=env)]))
        assert response["allowed"] is True


async def test_a_defect_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log has the traceback; who asks has a sentence, and the next one an answer."""
    async with webhook_site() as site:
        reviewer = site.webhook.handler._reviewer
        with monkeypatch.context() as broken:
            broken.setattr(reviewer, "_excluded", None)
            status, body = await site.post(review_of(pod()))
        assert (status, body) == (500, b"The webhook has a defect; its log says more.\n")
        await assert_answers(site)


# Certificates


async def test_https_waits_for_its_certificate() -> None:
    """Until there is one nobody is let in, and the probe says what is waited for."""
    async with webhook_site(publish=False) as site:
        (why,) = site.webhook.unready()
        assert why == (
            "there is no serving certificate yet: the operator writes one to Secret "
            "agentid-admission"
        )
        assert not site.port.done()
        site.publish(site.pair)
        await assert_answers(site)
        assert site.webhook.unready() == []


async def test_a_certificate_is_exchanged_under_open_connections() -> None:
    """New handshakes get the new one, and a connection that is open goes on."""
    async with webhook_site() as site:
        reader, writer = await opened(site)
        fresh = serving_pair()
        site.publish(fresh)
        await until(
            lambda: (
                site.webhook.tls.identity is not None
                and fresh.certificate in site.webhook.tls.identity.content
            )
        )
        body = review_of(pod())
        for _ in range(2):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            async with asyncio.timeout(PATIENCE):
                assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(length)
        writer.transport.abort()
        _, other = await asyncio.open_connection(
            "127.0.0.1", await site.port, ssl=fresh.trusting, server_hostname="localhost"
        )
        shown = other.get_extra_info("ssl_object").getpeercert(binary_form=True)
        other.transport.abort()
        assert shown == der(fresh)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", await site.port, ssl=site.pair.trusting)


@pytest.mark.parametrize("kind", ["other-key", "no-key", "no-pem", "nothing"])
async def test_a_certificate_that_cannot_be_served(kind: str) -> None:
    """What was served before is served on; somebody is told."""
    async with webhook_site() as site:
        bad = {
            "other-key": Pair(site.pair.certificate, serving_pair().key),
            "no-key": Pair(site.pair.certificate, b""),
            "no-pem": Pair(b"certificate", site.pair.key),
            "nothing": Pair(b"", b""),
        }[kind]
        await assert_answers(site)
        site.publish(bad)
        await until(lambda: site.count("tls_refused_total"))
        assert len(site.webhook.remarks()) == 1
        await site.session.close()
        connector = aiohttp.TCPConnector(ssl=site.pair.trusting)
        async with aiohttp.ClientSession(connector=connector) as session:
            again = Site(site.server, site.webhook, site.port, site.pair, session)
            await assert_answers(again)
        site.publish(serving_pair())
        await until(lambda: not site.webhook.remarks())


async def test_old_tls_is_not_spoken() -> None:
    """TLS 1.2 at least."""
    async with webhook_site() as site:
        await site.url()
        context = site.pair.trusting
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSVersion"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSVersion"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", await site.port, ssl=context)


# The end


async def test_a_review_in_work_is_answered_at_the_end() -> None:
    """And its connection is told to be over, so that nothing more is sent on it."""
    body = review_of(pod())
    async with webhook_site() as site:
        reader, writer = await opened(site)
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:100])
        await writer.drain()
        await asyncio.sleep(0.1)
        site.webhook.handler.closing = True
        assert site.webhook.unready() == ["it is about to stop"]
        asyncio.get_running_loop().call_later(0.2, writer.write, body[100:])
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert answer_of(answer.partition(b"\r\n\r\n")[2])[0]["allowed"] is True


# Memory


def _resident(statm: Path) -> int:
    return int(statm.read_text().split()[1]) * 4096


async def test_reviews_leave_nothing_behind(desk: Any) -> None:  # noqa: ANN401 - the fixture
    """After thousands of them, of pods that differ, as many objects are alive as before."""
    for number in range(50):
        desk.put(f"agent-{number}")

    async def some(begin: int) -> None:
        for number in range(begin, begin + 1_000):
            body = pod(f"agent-{number % 60}", containers=[container(f"c{number}")])
            await desk.review(body)
        desk.asked.clear()

    await some(0)
    gc.collect()
    before = len(gc.get_objects())
    for round_ in range(1, 6):
        await some(round_ * 1_000)
    gc.collect()
    assert len(gc.get_objects()) - before < 100
