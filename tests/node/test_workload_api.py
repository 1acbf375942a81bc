"""The Workload API on a real socket, by a client that sees bytes and status codes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from google.protobuf.json_format import MessageToDict

from agentid.errors import VerificationError, VerificationReason
from agentid.identity import SpiffeId
from agentid.node.issuer import RefusedError
from agentid.node.material import Ended
from agentid.node.proto import workload_pb2 as api
from agentid.pki import KeyAlgorithm
from tests.support.node import POD, SteeredSource, Stream, call, connected, served

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentid.testing.node_issuer import FakeNodeIssuer

STREAMS = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"]
CALLS = {
    "FetchJWTSVID": api.JWTSVIDRequest(audience=["erp"]).SerializeToString(),
    "ValidateJWTSVID": api.ValidateJWTSVIDRequest(audience="erp", svid="x").SerializeToString(),
}
ID = "spiffe://example.org/ns/finance/agent/invoice-reader"


@pytest.fixture
def source(issuer: FakeNodeIssuer) -> SteeredSource:
    """Nothing to serve yet."""
    return SteeredSource(issuer)


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ECDSAP256, KeyAlgorithm.RSA3072])
async def test_svid_is_der_and_belongs_together(
    source: SteeredSource, short_path: Path, algorithm: KeyAlgorithm
) -> None:
    """FetchX509SVID gives DER: the leaf first, its key as PKCS#8, the roots, foreign ones apart."""
    source.issuer.key_algorithm = algorithm
    source.issuer.federated = [source.issuer.make_ca("partner.test")]
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        answer = api.X509SVIDResponse.FromString(await Stream(channel, "FetchX509SVID").next())
    (svid,) = answer.svids
    leaf = x509.load_der_x509_certificate(_first(svid.x509_svid))
    key = load_der_private_key(svid.x509_svid_key, None).public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert leaf.public_key().public_bytes(*form) == key.public_bytes(*form)
    assert svid.spiffe_id == ID
    assert svid.bundle == b"".join(source.issuer.ca.bundle.der)
    partner = source.issuer.federated[0].bundle.der[0]
    assert dict(answer.federated_bundles) == {"spiffe://partner.test": partner}


def _first(der: bytes) -> bytes:
    """The first of several DER values; these are all between 256 and 65535 octets long."""
    assert der[1] == 0x82
    return der[: 4 + int.from_bytes(der[2:4])]


async def test_bundles_are_keyed_by_trust_domain(source: SteeredSource, short_path: Path) -> None:
    """Bundles come for the own and each federated trust domain; JWT bundles hold JWT keys only."""
    source.issuer.federated = [source.issuer.make_ca("partner.test")]
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        x509_bundles = await Stream(channel, "FetchX509Bundles").next()
        jwt_bundles = await Stream(channel, "FetchJWTBundles").next()
    names = {"spiffe://example.org", "spiffe://partner.test"}
    assert set(api.X509BundlesResponse.FromString(x509_bundles).bundles) == names
    keys = api.JWTBundlesResponse.FromString(jwt_bundles).bundles
    assert set(keys) == names
    assert b"jwt-svid" in keys["spiffe://example.org"]
    assert b"x5c" not in keys["spiffe://example.org"]
    assert keys["spiffe://partner.test"] == b'{"keys":[]}'


@pytest.mark.parametrize("method", [*STREAMS, *CALLS])
@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "false"),)], ids=["no", "false"])
async def test_security_header_is_required(
    source: SteeredSource, short_path: Path, method: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    """Each method refuses a request without the security header as InvalidArgument."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        stream = Stream(channel, method, metadata, CALLS.get(method, b""))
        code, details = await stream.status()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "security header" in details


@pytest.mark.parametrize("method", ["FetchWITSVID", "FetchWITBundles", "NoSuchMethod"])
async def test_what_is_not_offered_is_unimplemented(
    source: SteeredSource, short_path: Path, method: str
) -> None:
    """The WIT profile is not offered, and says so by Unimplemented."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        code, _ = await Stream(channel, method).status()
    assert code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", [*STREAMS, *CALLS])
async def test_starting_is_unavailable(
    source: SteeredSource, short_path: Path, method: str
) -> None:
    """As long as it is not known whether the pod has an identity, the answer is Unavailable."""
    async with served(short_path, source) as path, connected(path) as channel:
        code, details = await Stream(channel, method, data=CALLS.get(method, b"")).status()
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "try again" in details


@pytest.mark.parametrize("method", [*STREAMS, *CALLS])
async def test_no_identity_is_permission_denied(
    source: SteeredSource, short_path: Path, method: str
) -> None:
    """A pod that may have no identity is told PermissionDenied, with the reason."""
    source.state.put(Ended("Suspended", "the identity is suspended"))
    async with served(short_path, source) as path, connected(path) as channel:
        code, details = await Stream(channel, method, data=CALLS.get(method, b"")).status()
    assert (code, details) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "no identity: the identity is suspended",
    )


@pytest.mark.parametrize("method", STREAMS)
async def test_streams_end_with_the_entitlement(
    source: SteeredSource, short_path: Path, method: str
) -> None:
    """An open stream is closed with PermissionDenied when the pod's entitlement ends."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        stream = Stream(channel, method)
        await stream.next()
        source.state.put(Ended("Revoked", "the certificate is revoked"))
        code, details = await stream.status(1)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "revoked" in details


async def test_renewal_is_pushed_as_the_full_set(source: SteeredSource, short_path: Path) -> None:
    """A renewal is pushed with everything in it; a stream of bundles that are the same is quiet."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        svids, bundles = Stream(channel, "FetchX509SVID"), Stream(channel, "FetchX509Bundles")
        before = await svids.next()
        await bundles.next()
        fresh = await source.renew()
        after = await svids.next()
        assert after == fresh.x509_svid_response
        assert after != before
        source.issuer.federated = [source.issuer.make_ca("partner.test")]
        fresh = await source.renew()
        assert await bundles.next() == fresh.x509_bundles_response


async def test_jwt_svid_for_an_audience(source: SteeredSource, short_path: Path) -> None:
    """FetchJWTSVID gives a token of the pod's own SPIFFE ID, named or not."""
    await source.renew()
    async with served(short_path, source) as path:
        for named in ("", ID):
            request = api.JWTSVIDRequest(audience=["erp"], spiffe_id=named)
            answer = api.JWTSVIDResponse.FromString(await call(path, "FetchJWTSVID", request))
            (svid,) = answer.svids
            assert svid.spiffe_id == ID
            assert svid.svid.count(".") == 2


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        pytest.param(
            api.JWTSVIDRequest(), grpc.StatusCode.INVALID_ARGUMENT, "audience is empty", id="none"
        ),
        pytest.param(
            api.JWTSVIDRequest(audience=["erp", ""]),
            grpc.StatusCode.INVALID_ARGUMENT, "audience is empty", id="empty-one",
        ),
        pytest.param(
            api.JWTSVIDRequest(audience=[f"a{n}" for n in range(17)]),
            grpc.StatusCode.INVALID_ARGUMENT, "longer than 16", id="many",
        ),
        pytest.param(
            api.JWTSVIDRequest(audience=["a" * 513]),
            grpc.StatusCode.INVALID_ARGUMENT, "longer than", id="long",
        ),
        pytest.param(
            api.JWTSVIDRequest(audience=["erp"], spiffe_id="https://example.org"),
            grpc.StatusCode.INVALID_ARGUMENT, "SPIFFE ID", id="no-spiffe-id",
        ),
        pytest.param(
            api.JWTSVIDRequest(audience=["erp"], spiffe_id="spiffe://example.org/ns/x/agent/y"),
            grpc.StatusCode.PERMISSION_DENIED, "nobody else", id="foreign-id",
        ),
    ],
)  # fmt: skip
async def test_jwt_svid_refuses(
    source: SteeredSource,
    short_path: Path,
    request_: api.JWTSVIDRequest,
    code: grpc.StatusCode,
    message: str,
) -> None:
    """A mandatory field that is empty is InvalidArgument, another identity PermissionDenied."""
    await source.renew()
    async with served(short_path, source) as path:
        with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
            await call(path, "FetchJWTSVID", request_)
    assert caught.value.code() is code


async def test_jwt_svid_says_why_the_issuer_does_not(
    source: SteeredSource, short_path: Path
) -> None:
    """An issuer that is away is Unavailable, one that refuses PermissionDenied."""
    await source.renew()
    async with served(short_path, source) as path:
        source.issuer.down = True
        with pytest.raises(grpc.aio.AioRpcError, match="does not answer") as away:
            await call(path, "FetchJWTSVID", CALLS["FetchJWTSVID"])
        source.issuer.down = False
        source.issuer.refused[POD.uid] = RefusedError("Suspended", "it is suspended")
        with pytest.raises(grpc.aio.AioRpcError, match="it is suspended") as refused:
            await call(path, "FetchJWTSVID", CALLS["FetchJWTSVID"])
    assert away.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


class _Valid:
    spiffe_id = SpiffeId.parse(ID)
    claims: Mapping[str, object] = {"sub": ID, "aud": ["erp"], "exp": 1, "x": {"y": [1, True]}}


async def test_validation_answers_with_all_claims(source: SteeredSource, short_path: Path) -> None:
    """ValidateJWTSVID hands token, audience and JWT bundles on, and gives the claims back."""
    seen: list[object] = []

    def validate(token: str, audience: str, bundles: Mapping[str, bytes]) -> _Valid:
        seen.extend((token, audience, sorted(bundles)))
        return _Valid()

    await source.renew()
    asked = api.ValidateJWTSVIDRequest(audience="erp", svid="a.b.c")
    async with served(short_path, source, validate) as path:
        answer = api.ValidateJWTSVIDResponse.FromString(await call(path, "ValidateJWTSVID", asked))
    assert seen == ["a.b.c", "erp", ["example.org"]]
    assert answer.spiffe_id == ID
    assert MessageToDict(answer.claims)["x"] == {"y": [1.0, True]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(api.ValidateJWTSVIDRequest(svid="a.b.c"), "audience is empty", id="audience"),
        pytest.param(api.ValidateJWTSVIDRequest(audience="erp"), "svid is empty", id="svid"),
        pytest.param(
            api.ValidateJWTSVIDRequest(audience="erp", svid="a" * 20_000), "longer", id="long"
        ),
        pytest.param(
            api.ValidateJWTSVIDRequest(audience="erp", svid="a.b.c"), "has expired", id="bad"
        ),
    ],
)
async def test_validation_refuses(
    source: SteeredSource, short_path: Path, asked: api.ValidateJWTSVIDRequest, message: str
) -> None:
    """A field that is empty, and a token that does not hold, are InvalidArgument."""

    def validate(token: str, audience: str, bundles: Mapping[str, bytes]) -> _Valid:
        message = f"{token} has expired, {audience} and {sorted(bundles)} or not"
        raise VerificationError(VerificationReason.EXPIRED, message)

    await source.renew()
    async with served(short_path, source, validate) as path:
        with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
            await call(path, "ValidateJWTSVID", asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", [*STREAMS, *CALLS])
async def test_nonsense_is_invalid_argument(
    source: SteeredSource, short_path: Path, method: str
) -> None:
    """A message that is cut short or of another type is InvalidArgument; the server goes on."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        for nonsense in (b"\x0a\xff", b"\xff" * 10, b"\x08"):
            code, details = await Stream(channel, method, data=nonsense).status()
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "does not parse" in details
        code, _ = await Stream(channel, method, data=b"\x7a\xff\xff\x7f" + b"x" * 100_000).status()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await Stream(channel, "FetchX509SVID").next()


async def test_headers_are_bounded(source: SteeredSource, short_path: Path) -> None:
    """Headers of a megabyte are refused, and the socket serves on."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        huge = (("workload.spiffe.io", "true"), ("x", "y" * 1_000_000))
        code, _ = await Stream(channel, "FetchX509SVID", huge).status()
        assert code is not grpc.StatusCode.OK
        assert await Stream(channel, "FetchX509SVID").next()


async def test_bytes_that_are_no_http_do_no_harm(source: SteeredSource, short_path: Path) -> None:
    """Somebody who speaks no HTTP/2 is hung up on, and the socket serves on."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + b"\x00" * 65536)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert await Stream(channel, "FetchX509SVID").next()


async def test_a_thousand_streams_on_one_socket(source: SteeredSource, short_path: Path) -> None:
    """A thousand streams get their first message, a renewal, and the end of the entitlement."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        streams = [Stream(channel, "FetchX509SVID") for _ in range(1000)]
        await asyncio.gather(*(each.next(30) for each in streams))
        fresh = await source.renew()
        seen = await asyncio.gather(*(each.next(30) for each in streams))
        assert set(seen) == {fresh.x509_svid_response}
        source.state.put(Ended("Revoked", "gone"))
        ends = await asyncio.gather(*(each.status(30) for each in streams))
    assert {code for code, _ in ends} == {grpc.StatusCode.PERMISSION_DENIED}


async def test_more_than_may_be_are_shed(source: SteeredSource, short_path: Path) -> None:
    """Beyond the limit a new call is Unavailable, as the standard has it; those there stay."""
    await source.renew()
    async with (
        served(short_path, source, calls=10) as path,
        connected(path) as one,
        connected(path) as two,
    ):
        streams = [Stream(one, "FetchX509SVID") for _ in range(10)]
        await asyncio.gather(*(each.next() for each in streams))
        code, details = await Stream(two, "FetchX509SVID").status()
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "10 calls and streams on this socket already" in details
        fresh = await source.renew()
        assert await streams[0].next() == fresh.x509_svid_response


async def test_who_reads_nothing_holds_nobody_up(source: SteeredSource, short_path: Path) -> None:
    """A client that takes no byte gets the latest when it wakes; others never wait for it."""
    source.issuer.federated = [source.issuer.make_ca(f"p{n}.test") for n in range(30)]
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        stuck = await _deaf_client(path)
        quick = Stream(channel, "FetchX509SVID")
        await quick.next()
        for _ in range(100):
            fresh = await source.renew()
            assert await quick.next(1) == fresh.x509_svid_response
        source.state.put(Ended("Revoked", "gone"))
        code, _ = await quick.status(1)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        stuck.close()


async def _deaf_client(path: Path) -> asyncio.StreamWriter:
    """A client that opens a stream by hand and never reads again: HTTP/2 in a few frames."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    headers = b"".join(
        b"\x00" + bytes([len(k)]) + k + bytes([len(v)]) + v
        for k, v in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/SpiffeWorkloadAPI/FetchX509SVID"),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"workload.spiffe.io", b"true"),
        )
    )
    frames = [
        (4, 0, 0, b""),  # SETTINGS
        (1, 4, 1, headers),  # HEADERS, END_HEADERS
        (0, 1, 1, b"\x00\x00\x00\x00\x00"),  # DATA, END_STREAM: an empty message
    ]
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    for kind, flags, number, payload in frames:
        head = len(payload).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4)
        writer.write(head + payload)
    await writer.drain()
    return writer


async def test_a_new_process_takes_the_socket_over(source: SteeredSource, short_path: Path) -> None:
    """A second server takes the path from the first without a moment in which there is none."""
    await source.renew()
    async with served(short_path, source) as path:
        inode = path.stat().st_ino
        async with served(short_path, source) as again, connected(again) as channel:
            assert again.stat().st_ino != inode
            assert await Stream(channel, "FetchX509SVID").next()
            assert again.stat().st_mode & 0o777 == 0o666
