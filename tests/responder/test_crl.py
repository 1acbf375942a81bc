"""CRLs: served as published, never an older one, with the headers that caches need."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from cryptography import x509

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.pki.crl import CrlEntry
from agentid.responder.crl import CrlKey, CrlShelf
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.publications import Published
from e2e.install import openssl
from tests.support.responding import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentid.testing.clock import ManualClock

MAX_AGE = timedelta(seconds=30)


@pytest.fixture
def main() -> Published:
    """An issuer that publishes."""
    return Published(ThrowawayCA())


def der_of(body: dict[str, object]) -> bytes:
    """The CRL in a ConfigMap."""
    data = body["binaryData"]
    assert isinstance(data, dict)
    return base64.b64decode(data["crl"])


def entry(number: int) -> CrlEntry:
    """A revoked serial number."""
    return CrlEntry(SerialNumber(number), NOON, RevocationReason.KEY_COMPROMISE)


async def test_a_crl_is_served_byte_for_byte(clock: ManualClock) -> None:
    """What was published, under the media type of RFC 5280 §4.2.1.13, with RFC 9919's headers."""
    async with serving(clock) as world:
        body = world.main.crl(3, [entry(7)], number=4, age=timedelta(minutes=10))
        world.responder.publications.config_map(body)
        status, headers, served = await world.get(f"/crl/{world.main.authority_id}/3.crl")
    assert (status, served) == (200, der_of(body))
    assert headers["Content-Type"] == "application/pkix-crl"
    assert headers["Last-Modified"] == "Sun, 01 Nov 2026 11:50:00 GMT"
    assert headers["Expires"] == "Sun, 01 Nov 2026 12:50:00 GMT"
    assert headers["Cache-Control"] == "max-age=30, public, no-transform, must-revalidate"
    assert headers["ETag"].strip('"').isalnum()
    assert headers["Server"] == "agentid"


async def test_max_age_ends_before_next_update(clock: ManualClock) -> None:
    """RFC 9919 §7.2: earlier than nextUpdate, and nothing at all from then on."""
    async with serving(clock) as world:
        path = f"/crl/{world.main.authority_id}/0.crl"
        clock.advance(timedelta(minutes=59, seconds=50))
        assert (await world.get(path))[1]["Cache-Control"].startswith("max-age=9,")
        clock.advance(timedelta(minutes=1))
        status, headers, _ = await world.get(path)
    assert status == 200
    assert headers["Cache-Control"].startswith("max-age=0,")


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        pytest.param("If-None-Match", "{etag}", 304, id="same-tag"),
        pytest.param("If-None-Match", 'W/{etag}, "other"', 304, id="weak-and-others"),
        pytest.param("If-None-Match", "*", 304, id="any"),
        pytest.param("If-None-Match", '"other"', 200, id="other-tag"),
        pytest.param("If-Modified-Since", "{modified}", 304, id="since-then"),
        pytest.param("If-Modified-Since", "Sun, 01 Nov 2026 11:59:59 GMT", 200, id="before"),
        pytest.param("If-Modified-Since", "yesterday", 200, id="no-date"),
        pytest.param("If-Modified-Since", "Sun, 01 Nov 2026 11:59:59", 200, id="no-zone"),
    ],
)
async def test_who_has_it_is_told_so(
    clock: ManualClock, header: str, value: str, status: int
) -> None:
    """Conditional requests, RFC 9110 §13."""
    async with serving(clock) as world:
        path = f"/crl/{world.main.authority_id}/0.crl"
        _, headers, _ = await world.get(path)
        asked = value.format(etag=headers["ETag"], modified=headers["Last-Modified"])
        found, again, body = await world.get(path, headers={header: asked})
    assert found == status
    assert (again["ETag"], again["Expires"]) == (headers["ETag"], headers["Expires"])
    assert bool(body) == (status == 200)


async def test_head_is_get_without_the_body(clock: ManualClock) -> None:
    """With its length."""
    async with serving(clock) as world:
        path = f"/crl/{world.main.authority_id}/0.crl"
        _, headers, body = await world.get(path)
        status, head, nothing = await world.get(path, "HEAD")
    assert (status, nothing) == (200, b"")
    assert head["Content-Length"] == str(len(body))
    assert head["ETag"] == headers["ETag"]


@pytest.mark.parametrize(
    "path",
    [
        "/crl", "/crl/", "/crl/{id}", "/crl/{id}/", "/crl/{id}/1.crl", "/crl/{id}/0",
        "/crl/{id}/0.der", "/crl/{id}/00.crl", "/crl/{id}/-1.crl", "/crl/{id}/%30.crl",
        "/crl/{id}/0.crl/", "/crl/{id}/../{id}/0.crl", "/crl/ffffffffffffffff/0.crl",
        "/crl/{ID}/0.crl", "/crl/{id}/root.crl", "/crl/nobody/all.pem", "/crl/{id}/all.crl",
    ],
)  # fmt: skip
async def test_what_is_not_published_is_not_found(clock: ManualClock, path: str) -> None:
    """With a sentence, and no cache keeps that."""
    async with serving(clock) as world:
        own = world.main.authority_id
        status, headers, body = await world.get(path.format(id=own, ID="A" + own[1:].upper()))
    assert status == 404
    assert headers["Cache-Control"] == "no-store"
    assert body.strip().endswith(b".")


async def test_one_file_holds_all_crls_of_an_issuer(clock: ManualClock) -> None:
    """For programs that take one file; OpenSSL reads each block of it."""
    async with serving(clock) as world:
        world.responder.publications.config_map(world.main.crl(1, [entry(9)]))
        status, _, body = await world.get("/crl/builtin/all.pem")
        world.responder.publications.config_map(world.main.crl(1, [entry(9), entry(8)], number=2))
        _, _, later = await world.get("/crl/builtin/all.pem")
    assert (status, body.count(b"BEGIN X509 CRL")) == (200, 3)
    blocks = [b"-----BEGIN" + part for part in later.split(b"-----BEGIN")[1:]]
    counts = [len(x509.load_pem_x509_crl(block)) for block in blocks]
    assert sorted(counts) == [0, 0, 2]


async def test_verifiers_refuse_what_a_downloaded_crl_lists(tmp_path: Path) -> None:
    """`openssl verify -crl_check` by the CRL that urllib fetched, in PEM and in DER."""
    clock = SystemClock()
    async with serving(clock) as world:
        good, bad = (world.main.ca.issue(world.main.ca.profile(name)) for name in ("good", "bad"))
        listed = CrlEntry(bad.leaf.serial, world.main.ca.now, RevocationReason.KEY_COMPROMISE)
        # Leaves of a throwaway CA name no shard, so the CRL without one is the one about them.
        whole = world.main.whole_crl([listed])
        world.responder.publications.config_map(whole)
        url = f"{world.http}/crl/{world.main.authority_id}/0.pem"
        with await asyncio.to_thread(urlopen, url) as answer:
            (tmp_path / "crl.pem").write_bytes(answer.read())
    ca = world.main.ca
    (tmp_path / "ca.pem").write_bytes(ca.bundle.pem)
    (tmp_path / "chain.pem").write_bytes(ca.authority.chain_pem)

    def verify(leaf: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "leaf.pem").write_bytes(leaf)
        return subprocess.run(
            [
                openssl(), "verify", "-crl_check", "-CAfile", "ca.pem", "-untrusted", "chain.pem",
                "-CRLfile", "crl.pem", "leaf.pem",
            ],
            cwd=tmp_path, check=False, capture_output=True, text=True,
        )  # fmt: skip

    assert verify(good.leaf.chain_pem).returncode == 0
    refused = verify(bad.leaf.chain_pem)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stderr


def test_a_number_never_goes_back(main: Published) -> None:
    """Whatever is published later, and also after a deletion."""
    shelf, key = CrlShelf(MAX_AGE), CrlKey(main.authority_id, "0")
    shelf.publish("builtin", key, der_of(main.crl(0, number=7)))
    with pytest.raises(InputError, match="number 6 is published and 7 has been served"):
        shelf.publish("builtin", key, der_of(main.crl(0, number=6)))
    shelf.withdraw(key)
    later = NOON + timedelta(hours=2)
    assert shelf.get(key, later) is None
    with pytest.raises(InputError, match="number 6 is published and 7 has been served"):
        shelf.publish("builtin", key, der_of(main.crl(0, number=6)))
    shelf.publish("builtin", key, der_of(main.crl(0, number=8)))
    found = shelf.get(key, NOON)
    assert found is not None
    assert found.number == 8


def test_a_deletion_takes_nothing_away_that_holds(main: Published) -> None:
    """Promise 5: until nextUpdate it is served, also in the file of all."""
    shelf, key = CrlShelf(MAX_AGE), CrlKey(main.authority_id, "0")
    shelf.publish("builtin", key, der_of(main.crl(0)))
    shelf.withdraw(key)
    assert shelf.get(key, NOON + timedelta(minutes=59)) is not None
    assert shelf.all_of("builtin", NOON) is not None
    assert shelf.all_of("builtin", NOON + timedelta(hours=1)) is None


def test_what_is_published_is_served_beyond_its_time(main: Published) -> None:
    """A verifier decides what an old CRL is worth; taking it away helps nobody."""
    shelf, key = CrlShelf(MAX_AGE), CrlKey(main.authority_id, "0")
    shelf.publish("builtin", key, der_of(main.crl(0)))
    assert shelf.get(key, NOON + timedelta(days=1)) is not None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda _: b"", "does not parse", id="empty"),
        pytest.param(lambda der: der[:-1], "does not parse", id="cut-short"),
        pytest.param(lambda der: der + b"\0", "does not parse", id="longer"),
        pytest.param(lambda der: der[:-1] + bytes([der[-1] ^ 1]), "its signature", id="forged"),
        pytest.param(lambda _: bytes(1024 * 1024 + 1), "1048577 bytes", id="huge"),
    ],
)
def test_what_is_no_crl_is_refused(
    main: Published, spoil: Callable[[bytes], bytes], message: str
) -> None:
    """And what was served before still is."""
    shelf, key = CrlShelf(MAX_AGE), CrlKey(main.authority_id, "0")
    good = der_of(main.crl(0))
    authority = main.ca.intermediate.certificate
    shelf.publish("builtin", key, good, authority)
    with pytest.raises(InputError, match=message):
        shelf.publish("builtin", key, spoil(good), authority)
    found = shelf.get(key, NOON)
    assert found is not None
    assert found.der.body == good


def test_a_crl_of_somebody_else_is_refused(main: Published) -> None:
    """Its authorityKeyIdentifier tells, also while the authority itself is unknown."""
    other = Published(ThrowawayCA(seed="other"))
    shelf = CrlShelf(MAX_AGE)
    with pytest.raises(InputError, match=f"is that of {other.authority_id}"):
        shelf.publish("builtin", CrlKey(main.authority_id, "0"), der_of(other.crl(0)))
