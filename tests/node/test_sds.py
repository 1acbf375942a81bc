"""SDS: which secrets there are by which name, and how a stream of them goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from agentid.node.material import Ended, Serving
from agentid.node.proto import discovery_pb2 as api
from agentid.node.proto import secret_pb2
from agentid.node.sds import SECRET_TYPE
from tests.support.node import SteeredSource, connected, material, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentid.testing.node_issuer import FakeNodeIssuer

ID = "spiffe://example.org/ns/finance/agent/invoice-reader"
SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService"


class Stream:
    """A stream of secrets, with requests sent when the test says so."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"{SERVICE}/StreamSecrets"
        )
        self._call = stream()

    async def ask(
        self, *names: str, nonce: str = "", error: str = "", kind: str = SECRET_TYPE
    ) -> None:
        """Send a request."""
        request = api.DiscoveryRequest(resource_names=names, response_nonce=nonce, type_url=kind)
        if error:
            request.error_detail.message = error
        await self._call.write(request.SerializeToString())

    async def next(self, seconds: float = 10) -> api.DiscoveryResponse:
        """The next answer."""
        message = await asyncio.wait_for(self._call.read(), seconds)
        assert isinstance(message, bytes), "the stream has ended"
        return api.DiscoveryResponse.FromString(message)

    async def quiet(self) -> bool:
        """Whether nothing comes for a while."""
        reading = asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait((reading,), timeout=0.3)
        return not done

    async def status(self) -> tuple[grpc.StatusCode, str]:
        """How it ends."""
        code = await asyncio.wait_for(self._call.code(), 10)
        return code, await self._call.details()


def secrets(answer: api.DiscoveryResponse) -> dict[str, secret_pb2.Secret]:
    """The secrets of an answer by name."""
    found = {}
    for packed in answer.resources:
        secret = secret_pb2.Secret()
        assert packed.Unpack(secret)
        found[secret.name] = secret
    return found


@pytest.fixture
def source(issuer: FakeNodeIssuer) -> SteeredSource:
    """A pod that is federated with a partner."""
    issuer.federated = [issuer.make_ca("partner.test")]
    return SteeredSource(issuer)


async def fetch(path: Path, *names: str) -> dict[str, secret_pb2.Secret]:
    """FetchSecrets."""
    async with connected(path) as channel:
        unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"{SERVICE}/FetchSecrets"
        )
        request = api.DiscoveryRequest(resource_names=names, type_url=SECRET_TYPE)
        return secrets(api.DiscoveryResponse.FromString(await unary(request.SerializeToString())))


async def test_names(source: SteeredSource, short_path: Path) -> None:
    """Each name gives its secret under that very name; no name gives all that have a SPIFFE ID."""
    held = await source.renew()
    partner = source.issuer.federated[0].bundle.pem
    async with served(short_path, source) as path:
        for name in ("default", ID):
            secret = (await fetch(path, name))[name]
            assert secret.tls_certificate.certificate_chain.inline_bytes == held.chain_pem
            assert secret.tls_certificate.private_key.inline_bytes == held.key_pem
        for name in ("ROOTCA", "spiffe://example.org"):
            context = (await fetch(path, name))[name].validation_context
            assert context.trusted_ca.inline_bytes == held.bundle_pem
            assert not context.HasField("crl")
        foreign = (await fetch(path, "spiffe://partner.test"))["spiffe://partner.test"]
        assert foreign.validation_context.trusted_ca.inline_bytes == partner
        every = (await fetch(path, "ALL"))["ALL"].validation_context.custom_validator_config
        config = secret_pb2.SPIFFECertValidatorConfig()
        assert every.name == "envoy.tls.cert_validator.spiffe"
        assert every.typed_config.Unpack(config)
        assert {each.name: each.trust_bundle.inline_bytes for each in config.trust_domains} == {
            "example.org": held.bundle_pem,
            "partner.test": partner,
        }
        assert set(await fetch(path)) == {ID, "spiffe://example.org", "spiffe://partner.test"}


@pytest.mark.parametrize("name", ["nobody", "spiffe://elsewhere.test", "", "ROOTCA-CRL"])
async def test_other_names_are_refused(source: SteeredSource, short_path: Path, name: str) -> None:
    """A name that is not there is InvalidArgument; CRLs are not where the class has none."""
    await source.renew()
    async with served(short_path, source) as path:
        with pytest.raises(grpc.aio.AioRpcError, match="no secret is named") as caught:
            await fetch(path, name)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_stream_acknowledged_refused_and_renewed(
    source: SteeredSource, short_path: Path
) -> None:
    """An answer is acknowledged or refused without an echo; other names, a change: a new answer."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        stream = Stream(channel)
        await stream.ask("default")
        first = await stream.next()
        assert set(secrets(first)) == {"default"}
        await stream.ask("default", nonce=first.nonce)
        await stream.ask("default", nonce=first.nonce, error="no")
        fresh = await source.renew()
        second = await stream.next()
        assert second.version_info == fresh.version != first.version_info
        assert second.nonce != first.nonce
        await stream.ask("ALL", nonce=first.nonce)  # too late: answers what was replaced
        await stream.ask("ROOTCA", nonce=second.nonce)
        assert set(secrets(await stream.next())) == {"ROOTCA"}
        assert await stream.quiet()


async def test_stream_ends_with_the_entitlement(source: SteeredSource, short_path: Path) -> None:
    """A stream of secrets is closed with PermissionDenied, before and after its first request."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        asked, silent = Stream(channel), Stream(channel)
        await asked.ask("default")
        await asked.next()
        source.state.put(Ended("Suspended", "it is suspended"))
        for stream in (asked, silent):
            code, details = await stream.status()
            assert (code, details) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "no identity: it is suspended",
            )


@pytest.mark.parametrize("method", ["StreamSecrets", "FetchSecrets"])
async def test_nonsense(source: SteeredSource, short_path: Path, method: str) -> None:
    """What does not parse is InvalidArgument, and so is another type of resource."""
    await source.renew()

    async def sent() -> AsyncIterator[bytes]:
        yield b"\xff\xff"

    async with served(short_path, source) as path, connected(path) as channel:
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"{SERVICE}/{method}"
        )
        code = await asyncio.wait_for(stream(sent()).code(), 10)
        other = Stream(channel)
        await other.ask("default", kind="type.googleapis.com/envoy.config.cluster.v3.Cluster")
        assert (await other.status())[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_deltas_are_unimplemented(source: SteeredSource, short_path: Path) -> None:
    """Said before anything is read, so nothing is sent: that would be a race against the answer."""
    await source.renew()
    async with served(short_path, source) as path, connected(path) as channel:
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            f"{SERVICE}/DeltaSecrets"
        )
        assert await asyncio.wait_for(stream().code(), 10) is grpc.StatusCode.UNIMPLEMENTED


async def test_crls_have_a_name_of_their_own(source: SteeredSource, short_path: Path) -> None:
    """ROOTCA-CRL gives the CRLs of issuing authorities, to be asked about leaves alone."""
    held = await material(source.issuer)
    crl = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
    with_crl = held.with_trust(held.bundle_pem, held.federated, crl, held.jwt_bundles)
    source.state.put(Serving(with_crl))
    async with served(short_path, source) as path:
        context = (await fetch(path, "ROOTCA-CRL"))["ROOTCA-CRL"].validation_context
    assert context.crl.inline_bytes == crl
    assert context.only_verify_leaf_cert_crl
