"""Who answers at a bundle endpoint has to prove it, and what comes back is bounded."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, UnavailableError
from agentid.identity import SpiffeId
from agentid.pki import KeyAlgorithm
from agentid.pki.spiffe_bundle import MAX_BUNDLE_DOCUMENT_BYTES
from agentid.services import bundle_endpoint
from agentid.services.bundle_endpoint import Endpoint, fetch_bundle
from agentid.testing.ca import ThrowawayCA
from tests.services.endpoints import Certified, ca_of_now, serve, svid, web_certificate

if TYPE_CHECKING:
    from tests.services.endpoints import Served

BODY = b'{"keys":[]}'


def der(pem: bytes) -> bytes:
    """A root as an endpoint takes it."""
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def by_spiffe(served: Served, ca: ThrowawayCA, name: str = "bundle") -> Endpoint:
    """The endpoint of an agent's SPIFFE ID."""
    return Endpoint(served.url, ca.bundle.der, ca.spiffe_id(name))


async def refused(endpoint: Endpoint, match: str) -> None:
    """It is refused, twice in the same words, which go into a status."""
    with pytest.raises((InputError, UnavailableError), match=match) as first:
        await fetch_bundle(endpoint)
    with pytest.raises((InputError, UnavailableError)) as second:
        await fetch_bundle(endpoint)
    assert str(first.value) == str(second.value)
    assert "0x" not in str(first.value)


# https_web


async def test_a_web_endpoint_is_known_by_its_host_name() -> None:
    """Verified by the system's roots, and by those that are given beside them."""
    certified, root = web_certificate()
    async with serve(certified, BODY) as served:
        assert await fetch_bundle(Endpoint(served.url, (der(root),))) == BODY


async def test_a_web_endpoint_of_an_unknown_ca_is_refused() -> None:
    """The system knows no such root."""
    certified, _ = web_certificate()
    async with serve(certified, BODY) as served:
        await refused(
            Endpoint(served.url), "does not prove who it is: .*unable to get local issuer"
        )
        assert served.asked == []


async def test_a_web_endpoint_with_another_host_name_is_refused() -> None:
    """The root alone is not enough."""
    certified, root = web_certificate("elsewhere.test")
    async with serve(certified, BODY) as served:
        await refused(
            Endpoint(served.url, (der(root),)), "does not prove who it is: IP address mis"
        )
        assert served.asked == []


async def test_a_web_endpoint_whose_certificate_has_expired_is_refused() -> None:
    """It was good a week ago."""
    certified, root = web_certificate(ago=timedelta(days=7))
    async with serve(certified, BODY) as served:
        await refused(Endpoint(served.url, (der(root),)), "certificate has expired")


# https_spiffe


async def test_a_spiffe_endpoint_is_known_by_its_spiffe_id() -> None:
    """Its host name means nothing: no certificate of ours has one."""
    ca = ca_of_now()
    async with serve(svid(ca), BODY) as served:
        assert await fetch_bundle(by_spiffe(served, ca)) == BODY


def test_a_spiffe_endpoint_is_known_by_its_spiffe_id_on_the_loop_of_the_operator() -> None:
    """The operator runs on uvloop, whose TLS is its own, and there a stranger is refused too."""

    async def whole() -> None:
        ca = ca_of_now()
        async with serve(svid(ca), BODY) as served:
            assert await fetch_bundle(by_spiffe(served, ca)) == BODY
            await refused(by_spiffe(served, ca, "other"), "is not the endpoint: it is")
            assert len(served.asked) == 1

    uvloop.run(whole())


async def test_another_agent_of_the_trust_domain_is_not_the_endpoint() -> None:
    """The chain is good, the SPIFFE ID another; nothing is even asked of it."""
    ca = ca_of_now()
    async with serve(svid(ca, "thief"), BODY) as served:
        wanted = r'is not the endpoint: it is "spiffe://foreign.test/.*/thief", and not spiffe://'
        await refused(by_spiffe(served, ca), wanted)
        assert served.asked == []


async def test_the_same_spiffe_id_of_another_ca_is_not_the_endpoint() -> None:
    """Anybody can write any name into a certificate of their own."""
    ca, thief = ca_of_now(), ca_of_now(seed="thief")
    async with serve(svid(thief), BODY) as served:
        await refused(by_spiffe(served, ca), "does not prove who it is: .*issuer")
        assert served.asked == []


async def test_a_spiffe_endpoint_whose_svid_has_expired_is_refused() -> None:
    """Its authorities are still good."""
    ca = ca_of_now(ago=timedelta(hours=2))
    async with serve(svid(ca), BODY) as served:
        await refused(by_spiffe(served, ca), "certificate has expired")


async def test_an_authority_is_not_the_endpoint() -> None:
    """A certificate below the root that is no X509-SVID proves nothing."""
    ca = ca_of_now()
    showing = Certified(ca.intermediate.certificate_pem, ca.intermediate.private_key_pem)
    async with serve(showing, BODY) as served:
        await refused(by_spiffe(served, ca), "does not prove who it is|is no X509-SVID")
        assert served.asked == []


async def test_web_roots_do_not_make_a_spiffe_endpoint() -> None:
    """With https_spiffe the bundle counts alone."""
    certified, _ = web_certificate()
    ca = ca_of_now()
    async with serve(certified, BODY) as served:
        await refused(by_spiffe(served, ca), "does not prove who it is")


async def test_without_a_bundle_nobody_can_be_the_endpoint() -> None:
    """Nothing to verify by verifies nothing."""
    wanted = SpiffeId.parse("spiffe://foreign.test/bundle")
    await refused(Endpoint("https://127.0.0.1:1/", (), wanted), "there is no root by which spiffe")


# What comes back


async def test_an_answer_that_is_too_long_is_given_up() -> None:
    """At the first byte too many, whatever it says of its length."""
    certified, root = web_certificate()
    async with serve(certified) as served:

        async def too_much(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(32):
                await response.write(b" " * 65536)
                await asyncio.sleep(0)
            return response

        served.handler = too_much
        endpoint = Endpoint(served.url, (der(root),))
        await refused(endpoint, f"answers with more than {MAX_BUNDLE_DOCUMENT_BYTES} bytes")


@pytest.mark.parametrize("status", [204, 404, 500, 503])
async def test_an_answer_that_is_no_success_is_refused(status: int) -> None:
    """With its code."""
    certified, root = web_certificate()
    async with serve(certified, BODY) as served:
        served.status = status
        await refused(Endpoint(served.url, (der(root),)), f"127.0.0.1 answers {status} in place")


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its silence is bounded by ours."""
    monkeypatch.setattr(bundle_endpoint, "_TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    certified, root = web_certificate()
    async with serve(certified) as served:

        async def silent(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        served.handler = silent
        await refused(Endpoint(served.url, (der(root),)), "does not answer in time")


async def test_nobody_there_is_told_in_words() -> None:
    """Of a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await refused(Endpoint(f"https://127.0.0.1:{port}/"), "cannot be reached: Connect")


async def test_a_server_without_tls_is_told_in_words() -> None:
    """It answers what is no TLS."""

    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await refused(Endpoint(f"https://127.0.0.1:{port}/"), "does not speak TLS|breaks off")


# Where it is


@pytest.mark.parametrize(
    ("url", "because"),
    [
        pytest.param("http://foreign.test/bundle", "is no https URL", id="plain-http"),
        pytest.param("https://me:secret@foreign.test/", "has a user or password", id="user"),
        pytest.param("https://me@foreign.test/", "has a user or password", id="no-password"),
        pytest.param("https://[::1/", "is no URL; write one", id="half-an-address"),
        pytest.param("https://foreign.test:99999/", "is no URL; write one", id="no-port"),
        pytest.param("https:///bundle", "is no", id="no-host"),
        pytest.param("http://me:secret@foreign.test/", "is no https URL", id="http-and-user"),
    ],
)
async def test_a_url_that_federation_does_not_allow_is_refused(url: str, because: str) -> None:
    """SPIFFE Federation §5.2.1.1; and no password shows up in a status."""
    with pytest.raises(InputError, match=because) as told:
        await fetch_bundle(Endpoint(url))
    assert "secret" not in str(told.value)


async def test_a_redirect_is_followed_over_https_alone() -> None:
    """SPIFFE Federation §5.2.1.4: each step is verified like the first."""
    certified, root = web_certificate()
    async with serve(certified) as served:

        async def redirecting(request: web.Request) -> web.StreamResponse:
            target = request.path.removeprefix("/to/")
            locations = {"here": "/bundle", "http": "http://127.0.0.1/", "round": "/to/round"}
            if target in locations:
                return web.Response(status=307, headers={"Location": locations[target]})
            return web.Response(body=BODY)

        served.handler = redirecting
        base, roots = f"https://127.0.0.1:{served.port}/to", (der(root),)
        assert await fetch_bundle(Endpoint(f"{base}/here", roots)) == BODY
        await refused(Endpoint(f"{base}/http", roots), '"http://127.0.0.1/" is no https URL')
        await refused(Endpoint(f"{base}/round", roots), "redirects more than 3 times")


async def test_a_redirect_to_somebody_else_is_refused() -> None:
    """With https_spiffe who answers there has to be the same one."""
    ca = ca_of_now()
    async with serve(svid(ca)) as first, serve(svid(ca, "other"), BODY) as second:
        first.status, first.headers = 302, {"Location": second.url}
        await refused(by_spiffe(first, ca), "is not the endpoint")
        assert second.asked == []


async def test_a_host_that_no_dns_has_is_told_in_words() -> None:
    """Such as one with an empty label, which cannot even be asked for."""
    await refused(Endpoint("https://foreign..test/"), "foreign..test:443")


async def test_roots_of_an_algorithm_that_tls_does_not_know_keep_no_others_from_counting() -> None:
    """A bundle may hold an ML-DSA root beside the one that the endpoint is below."""
    ca = ca_of_now()
    lattice = ThrowawayCA("foreign.test", algorithm=KeyAlgorithm.MLDSA44, now=ca.now)
    async with serve(svid(ca), BODY) as served:
        roots = (*lattice.bundle.der, *ca.bundle.der)
        assert await fetch_bundle(Endpoint(served.url, roots, ca.spiffe_id("bundle"))) == BODY
