"""OCSP: what the ledger says at this moment, signed once a window, and never good by mistake."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from agentid.clock import SystemClock
from agentid.identity import SerialNumber
from agentid.pki import KeyAlgorithm
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.publications import secret
from e2e.install import openssl
from tests.support.responding import serving

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.hashes import HashAlgorithm
    from multidict import CIMultiDictProxy

    from agentid.testing.clock import ManualClock
    from tests.support.responding import World

ASK = "application/ocsp-request"
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)
ERRORS = ocsp.OCSPResponseStatus


def request(
    authority: x509.Certificate,
    serial: int,
    *,
    nonce: bytes | None = None,
    algorithm: HashAlgorithm | None = None,
) -> bytes:
    """A request about a serial number of an authority, as the library makes it."""
    used = algorithm or hashes.SHA256()
    name = hashes.Hash(used)
    name.update(authority.subject.public_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name.finalize(), _key_hash(authority, used), serial, used
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _key_hash(authority: x509.Certificate, algorithm: HashAlgorithm) -> bytes:
    # The hash is over the BIT STRING's contents alone; an Ed25519 key is all of them.
    digest = hashes.Hash(algorithm)
    digest.update(authority.public_key().public_bytes_raw())  # type: ignore[union-attr]
    return digest.finalize()


def ask_for(world: World, serial: int, nonce: bytes | None = None) -> bytes:
    """A request about a serial number of the world's authority."""
    return request(world.main.ca.intermediate.certificate, serial, nonce=nonce)


async def send(
    world: World, body: bytes, media_type: str = ASK
) -> tuple[int, CIMultiDictProxy[str], bytes]:
    """Status, headers and body of the answer to a POST."""
    return await world.get("/ocsp", "POST", body, {"Content-Type": media_type})


async def post(world: World, der: bytes) -> ocsp.OCSPResponse:
    """What the responder answers."""
    status, headers, body = await send(world, der)
    assert (status, headers["Content-Type"]) == (200, "application/ocsp-response")
    return ocsp.load_der_ocsp_response(body)


async def status_of(world: World, serial: int) -> ocsp.OCSPCertStatus:
    """What it says about a serial number."""
    return (await post(world, ask_for(world, serial))).certificate_status


async def test_good_means_on_record_and_not_revoked(clock: ManualClock) -> None:
    """Everything else is not: another authority's, nobody's, or one that is revoked."""
    async with serving(clock) as world:
        world.issue(1)
        world.issue(2)
        world.revoke(2)
        answer = await post(world, ask_for(world, 1))
        revoked = await post(world, ask_for(world, 2))
        assert answer.certificate_status is GOOD
        assert revoked.certificate_status is REVOKED
        assert await status_of(world, 99) is UNKNOWN
    assert revoked.revocation_time_utc == NOON
    assert revoked.revocation_reason is x509.ReasonFlags.key_compromise
    assert answer.this_update_utc == answer.produced_at_utc == NOON
    assert answer.next_update_utc == NOON + timedelta(minutes=10)


async def test_nothing_is_unknown_beside_a_later_release(clock: ManualClock) -> None:
    """Promise 5: it may be on record where this release cannot read; the rest is said as ever."""
    async with serving(clock) as world:
        world.issue(1)
        world.issue(2)
        world.revoke(2)
        assert await status_of(world, 99) is UNKNOWN
        world.ledger.later_format = "ledger segment x: format 7 was written by a later release"
        assert (await post(world, ask_for(world, 99))).response_status is ERRORS.TRY_LATER
        assert await status_of(world, 1) is GOOD
        assert await status_of(world, 2) is REVOKED
        world.ledger.later_format = None
        assert await status_of(world, 99) is UNKNOWN


async def test_a_serial_of_another_authority_is_unknown(clock: ManualClock) -> None:
    """Of the same issuer, before its rotation."""
    async with serving(clock) as world:
        record = world.issue(1)
        other = "0123456789abcdef"
        world.ledger.record(replace(record, serial=SerialNumber(2), authority=other))
        assert await status_of(world, 1) is GOOD
        assert await status_of(world, 2) is UNKNOWN


async def test_a_revocation_without_a_record_is_revoked(clock: ManualClock) -> None:
    """The record of the certificate may be damaged; the revocation counts."""
    async with serving(clock) as world:
        world.revoke(7)
        assert await status_of(world, 7) is REVOKED


async def test_a_revocation_is_in_the_very_next_answer(clock: ManualClock) -> None:
    """However often the same bytes were asked before, and thisUpdate does not go back."""
    async with serving(clock) as world:
        world.issue(1)
        before = await post(world, ask_for(world, 1))
        assert await status_of(world, 1) is GOOD
        clock.advance(timedelta(seconds=20))
        world.revoke(1)
        after = await post(world, ask_for(world, 1))
        clock.advance(timedelta(seconds=60))
        later = await post(world, ask_for(world, 1))
    assert after.certificate_status is later.certificate_status is REVOKED
    assert before.this_update_utc == NOON
    # RFC 6960 §2.4: known to be so since then, no earlier.
    assert after.this_update_utc == NOON + timedelta(seconds=20)
    assert later.this_update_utc == NOON + timedelta(seconds=60)


async def test_an_answer_is_signed_once_a_window(clock: ManualClock) -> None:
    """And then served from memory; with a nonce it is signed for the one who asks."""
    async with serving(clock) as world:
        world.issue(1)
        bodies = [(await send(world, ask_for(world, 1)))[2] for _ in range(3)]
        clock.advance(timedelta(seconds=59))
        bodies.append((await send(world, ask_for(world, 1)))[2])
        clock.advance(timedelta(seconds=1))
        next_one = (await send(world, ask_for(world, 1)))[2]
        for number in range(2):
            await post(world, ask_for(world, 1, nonce=bytes([number]) * 16))
        text = world.responder.metrics.render().decode()
    assert len(set(bodies)) == 1
    assert next_one not in bodies
    assert "agentid_responder_ocsp_signatures_total 4.0" in text
    assert 'agentid_responder_ocsp_answers_total{status="good"} 7.0' in text


async def test_replicas_agree(clock: ManualClock) -> None:
    """On all times, though they started at different moments of a window."""
    clock.advance(timedelta(seconds=17))
    async with serving(clock) as one:
        one.issue(1)
        first = await post(one, ask_for(one, 1))
    clock.advance(timedelta(seconds=30))
    async with serving(clock, ca=ThrowawayCA()) as two:
        two.issue(1)
        second = await post(two, ask_for(two, 1))
    for answer in (first, second):
        assert answer.this_update_utc == answer.produced_at_utc == NOON
        assert answer.next_update_utc == NOON + timedelta(minutes=10)


async def test_a_nonce_is_repeated_and_not_cached(clock: ManualClock) -> None:
    """RFC 9654; no cache could use it for anybody else."""
    async with serving(clock) as world:
        world.issue(1)
        clock.advance(timedelta(seconds=5))
        der = ask_for(world, 1, nonce=b"n" * 32)
        _, headers, body = await send(world, der)
        answer = ocsp.load_der_ocsp_response(body)
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 32
    assert headers["Cache-Control"] == "no-store"
    assert "ETag" not in headers
    assert answer.this_update_utc == NOON
    assert answer.produced_at_utc == NOON + timedelta(seconds=5)


@pytest.mark.parametrize("encode", [str, lambda text: quote(text, safe="")], ids=["raw", "quoted"])
async def test_get_is_cacheable(clock: ManualClock, encode: type[str]) -> None:
    """RFC 9919 §7: with the headers of a cache, and 304 for who has it."""
    async with serving(clock) as world:
        # Base64 of this request holds a slash and a plus sign.
        serial = next(
            number
            for number in range(1, 5_000)
            if {"/", "+"} <= set(base64.b64encode(ask_for(world, number)).decode())
        )
        world.issue(serial)
        path = "/ocsp/" + encode(base64.b64encode(ask_for(world, serial)).decode())
        status, headers, body = await world.get(path)
        again, _, nothing = await world.get(path, headers={"If-None-Match": headers["ETag"]})
        head, _, none = await world.get(path, "HEAD")
    assert (status, again, nothing, head, none) == (200, 304, b"", 200, b"")
    assert ocsp.load_der_ocsp_response(body).certificate_status is GOOD
    assert headers["Cache-Control"] == "max-age=30, public, no-transform, must-revalidate"
    assert headers["Last-Modified"] == "Sun, 01 Nov 2026 12:00:00 GMT"
    assert headers["Expires"] == "Sun, 01 Nov 2026 12:10:00 GMT"


async def test_silence_of_the_ledger_makes_nothing_good(clock: ManualClock) -> None:
    """`tryLater` in place of a stale good, also for what is in memory; revoked stays revoked."""
    async with serving(clock) as world:
        world.issue(1)
        world.issue(2)
        world.revoke(2)
        assert await status_of(world, 1) is GOOD
        world.ledger.lag = timedelta(seconds=181)
        assert (await post(world, ask_for(world, 1))).response_status is ERRORS.TRY_LATER
        assert (await post(world, ask_for(world, 9))).response_status is ERRORS.TRY_LATER
        assert await status_of(world, 2) is REVOKED
        world.ledger.lag = timedelta(seconds=1)
        assert await status_of(world, 1) is GOOD


async def test_nothing_is_said_before_the_ledger_was_read(clock: ManualClock) -> None:
    """Not even that a serial number is unknown."""
    async with serving(clock) as world:
        world.ledger.lag = None
        assert (await post(world, ask_for(world, 1))).response_status is ERRORS.TRY_LATER


async def test_a_clock_that_is_set_back_a_little_changes_nothing(clock: ManualClock) -> None:
    """`thisUpdate` never goes back by what verifiers allow; further, the clock was wrong."""
    async with serving(clock) as world:
        world.issue(1)
        clock.advance(timedelta(minutes=4))
        first = await post(world, ask_for(world, 1))
        clock.step(timedelta(minutes=-4))
        second = await post(world, ask_for(world, 1))
        clock.step(timedelta(minutes=30))
        await post(world, ask_for(world, 1))
        clock.step(timedelta(minutes=-30))
        third = await post(world, ask_for(world, 1))
    assert first.this_update_utc == second.this_update_utc == NOON + timedelta(minutes=4)
    assert third.this_update_utc == NOON


async def test_an_answer_ends_with_its_signer(clock: ManualClock) -> None:
    """`nextUpdate` within the delegate's certificate, and no answer after it."""
    async with serving(clock) as world:
        main = world.main
        short = main.make_ocsp(timedelta(minutes=3), "short")
        files = {
            f"{main.authority_id}.ocsp.crt": short.certificate_pem,
            f"{main.authority_id}.ocsp.key": short.private_key_pem,
        }
        world.issue(1)
        before = await post(world, ask_for(world, 1))
        world.responder.publications.secret(secret(**files))
        answer = await post(world, ask_for(world, 1))
        assert answer.next_update_utc == short.certificate.not_valid_after_utc
        clock.advance(timedelta(minutes=4))
        assert (await post(world, ask_for(world, 1))).response_status is ERRORS.TRY_LATER
    assert before.next_update_utc == NOON + timedelta(minutes=10)


# Hostile and foreign requests


async def test_every_fault_has_its_ocsp_error(clock: ManualClock) -> None:
    """And its HTTP answer is kept by no cache."""
    async with serving(clock) as world:
        good = ask_for(world, 1)
        foreign = request(ThrowawayCA(seed="other").intermediate.certificate, 1)
        root = request(world.main.ca.root.certificate, 1)
        odd = request(world.main.ca.intermediate.certificate, 1, algorithm=hashes.SHA224())
        for der, error in (
            (b"", ERRORS.MALFORMED_REQUEST),
            (b"\x30\x00", ERRORS.MALFORMED_REQUEST),
            (good[:-1], ERRORS.MALFORMED_REQUEST),
            (good + b"\0", ERRORS.MALFORMED_REQUEST),
            (b"\xff" * 4096, ERRORS.MALFORMED_REQUEST),
            (b"\x30" * 4097, ERRORS.MALFORMED_REQUEST),
            (foreign, ERRORS.UNAUTHORIZED),
            (root, ERRORS.UNAUTHORIZED),
            (odd, ERRORS.UNAUTHORIZED),
        ):
            status, headers, body = await world.get(
                "/ocsp", "POST", der, headers={"Content-Type": ASK}
            )
            answer = ocsp.load_der_ocsp_response(body)
            assert (status, answer.response_status) == (200, error), der[:20]
            assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/ocsp/",
        "/ocsp/%",
        "/ocsp/%ff",
        "/ocsp/AAAA",
        "/ocsp/not base64".replace(" ", "%20"),
        "/ocsp/a",
    ],
)
async def test_garbage_by_get_is_malformed(clock: ManualClock, path: str) -> None:
    """The same answer as by POST."""
    async with serving(clock) as world:
        status, _, body = await world.get(path)
    assert status == 200
    assert ocsp.load_der_ocsp_response(body).response_status is ERRORS.MALFORMED_REQUEST


async def test_ten_thousand_serials_are_one_fault() -> None:
    """A request about so many is refused by its length, before it is parsed."""
    async with serving(SystemClock()) as world:
        single = ask_for(world, 1)
        # OCSPRequest, TBSRequest and requestList, then a Request 10,000 times over.
        body = single[6:] * 10_000
        for _ in range(3):
            body = b"\x30\x84" + len(body).to_bytes(4) + body
        answer = await post(world, body)
    assert answer.response_status is ERRORS.MALFORMED_REQUEST


async def test_other_media_types_are_refused(clock: ManualClock) -> None:
    """A browser's form is no OCSP request."""
    async with serving(clock) as world:
        status, _, _ = await world.get(
            "/ocsp", "POST", b"x", headers={"Content-Type": "text/plain"}
        )
        assert status == 415
        wide = f"{ASK}; charset=binary"
        assert (await send(world, b"x", wide))[0] == 200


# Real clients


async def test_openssl_is_satisfied(tmp_path: Path) -> None:
    """`openssl ocsp` verifies signature, delegate, times and nonce; by POST over HTTP."""
    now = SystemClock().now().replace(microsecond=0)
    ca = ThrowawayCA(now=now, algorithm=KeyAlgorithm.ECDSAP256)
    async with serving(SystemClock(), ca=ca) as world:
        for name in ("good", "bad"):
            issued = ca.issue(ca.profile(name))
            (tmp_path / f"{name}.pem").write_bytes(issued.leaf.chain_pem)
            world.issue(issued.leaf.serial.value)
            if name == "bad":
                world.revoke(issued.leaf.serial.value)
        (tmp_path / "ca.pem").write_bytes(ca.bundle.pem)
        (tmp_path / "issuing.pem").write_bytes(ca.authority.chain_pem)

        def ask(name: str, *more: str) -> str:
            done = subprocess.run(
                [
                    openssl(), "ocsp", "-url", f"{world.http}/ocsp", *more,
                    "-issuer", "issuing.pem", "-cert", f"{name}.pem",
                    "-CAfile", "ca.pem", "-verify_other", "issuing.pem",
                ],
                cwd=tmp_path, check=False, capture_output=True, text=True,
            )  # fmt: skip
            assert "Response verify OK" in done.stderr, done.stderr
            assert "WARNING" not in done.stderr
            return done.stdout

        good = await asyncio.to_thread(ask, "good")
        bad = await asyncio.to_thread(ask, "bad", "-no_nonce")
        sha256 = await asyncio.to_thread(ask, "good", "-sha256")
    assert "good.pem: good" in good
    assert "bad.pem: revoked" in bad
    assert "Reason: keyCompromise" in bad
    assert "good.pem: good" in sha256
