"""Parts of the node plugin that die, wait, or are asked too much, without a mount."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from agentid.clock import SystemClock
from agentid.errors import InternalError, UnavailableError
from agentid.node.events import PodEvents
from agentid.node.material import Serving
from agentid.node.metrics import NodeMetrics
from agentid.node.pod_volume import PodVolume, VolumeParts
from agentid.node.present import IssuersPresent
from agentid.node.proto import workload_pb2 as wire
from agentid.node.run import Silence, watched
from agentid.node.service_client import IssuerServiceClient
from agentid.node.sockets import PodSocket
from agentid.node.state import StateFolder, VolumeState
from agentid.node.trust import read_trust
from agentid.node.validation import Validation
from agentid.telemetry.probes import LoopWatch
from agentid.testing.clock import ManualClock
from agentid.testing.node_issuer import FakeNodeIssuer
from tests.support.node import POD, SteeredSource, Stream, call, connected, no_validation, served

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentid.node.issuer import JwtGrant, PodProof
    from agentid.node.workload import JwtClaims


class SlowMint(FakeNodeIssuer):
    """An issuer service that counts how many tokens are asked for at the same time."""

    async def jwt(self, pod: PodProof, audience: tuple[str, ...]) -> JwtGrant:
        """Mint, slowly."""
        self.calls["at once"] += 1
        self.calls["most"] = max(self.calls["most"], self.calls["at once"])
        for _ in range(5):
            await asyncio.sleep(0)
        self.calls["at once"] -= 1
        return await FakeNodeIssuer.jwt(self, pod, audience)


def volume_of(issuer: FakeNodeIssuer, folder: Path) -> PodVolume:
    """A volume that mounts nothing."""
    clock = SystemClock()
    parts = VolumeParts(
        issuer, clock, StateFolder(folder), no_validation, {}, IssuersPresent(clock), NodeMetrics()
    )
    return PodVolume(VolumeState("csi-1", "/nowhere", None, POD), folder, parts)


async def test_a_pod_that_asks_for_tokens_waits_for_itself(tmp_path: Path) -> None:
    """Hundreds of audiences of one pod are four requests at a time, and one audience is few."""
    issuer = SlowMint(SystemClock())
    volume = volume_of(issuer, tmp_path)
    await asyncio.gather(*(volume.jwt((f"https://{number}",)) for number in range(300)))
    assert issuer.calls["most"] == 4
    assert issuer.calls["jwt"] == 300
    await asyncio.gather(*(volume.jwt(("https://same",)) for _ in range(300)))
    assert issuer.calls["jwt"] <= 304


async def test_kept_tokens_do_not_wait_behind_others(tmp_path: Path) -> None:
    """Who has a token in the cache gets it, while others of the pod wait for the issuer."""
    issuer = FakeNodeIssuer(SystemClock())
    volume = volume_of(issuer, tmp_path)
    kept = await volume.jwt(("https://kept",))
    issuer.slow = 60
    waiting = [asyncio.create_task(volume.jwt((f"https://{number}",))) for number in range(9)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(volume.jwt(("https://kept",)), 1) is kept
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("off", [600, -600], ids=["ahead", "behind"])
async def test_tokens_are_judged_at_the_issuers_time(short_path: Path, off: int) -> None:
    """A node ten minutes off takes a good token for good, and one that has ended for ended."""
    issuer, node = FakeNodeIssuer(ManualClock()), ManualClock()
    issuer.jwt_lifetime = timedelta(minutes=5)
    node.step(timedelta(seconds=off))
    present = IssuersPresent(node)
    validation = Validation(present)
    source = SteeredSource(issuer)
    material = await source.renew()
    jwks = {name: each.jwks for name, each in read_trust(await issuer.bundles()).items()}
    source.state.put(Serving(dataclasses.replace(material, jwt_bundles=jwks)))
    grant = await issuer.jwt(POD, ("https://bank",))
    asked = wire.ValidateJWTSVIDRequest(audience="https://bank", svid=grant.token)
    async with served(short_path, source, validation) as path:
        with pytest.raises(grpc.aio.AioRpcError, match=r"its (iat is later|exp)|expired"):
            await call(path, "ValidateJWTSVID", asked)
        present.tell(grant.issued_at)
        assert await call(path, "ValidateJWTSVID", asked)
        node.advance(400)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(path, "ValidateJWTSVID", asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_present_goes_on_and_never_with_the_nodes_clock() -> None:
    """Told once, it goes on by itself; a jump of the node's clock does not move it."""
    issuers, node = ManualClock(), ManualClock()
    node.step(timedelta(minutes=10))
    present = IssuersPresent(node)
    assert present.now() == node.now()
    present.tell(issuers.now())
    node.step(timedelta(hours=-3))
    node.advance(30)
    issuers.advance(30)
    assert present.now() == issuers.now()


async def test_claims_that_cannot_be_told(short_path: Path, issuer: FakeNodeIssuer) -> None:
    """A foreign token whose claims no answer can hold is InvalidArgument, not a defect."""
    source = SteeredSource(issuer)
    material = await source.renew()
    deep: object = "x"
    for _ in range(300):
        deep = [deep]

    @dataclasses.dataclass
    class Claims:
        spiffe_id = material.spiffe_id
        claims = {"deep": deep}  # noqa: RUF012

    def validate(token: str, audience: str, bundles: Mapping[str, bytes]) -> JwtClaims:
        del token, audience, bundles
        return Claims()

    asked = wire.ValidateJWTSVIDRequest(audience="a", svid="token")
    async with served(short_path, source, validate) as path:
        with pytest.raises(grpc.aio.AioRpcError, match="cannot be told") as caught:
            await call(path, "ValidateJWTSVID", asked)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_socket_of_a_successor_stays(short_path: Path, issuer: FakeNodeIssuer) -> None:
    """A process that ends takes its own socket away, and never that of the next one."""
    source = SteeredSource(issuer)
    await source.renew()
    path = short_path / "workload.sock"
    old = await PodSocket.open(path, source, no_validation)
    new = await PodSocket.open(path, source, no_validation)
    await old.close()
    async with connected(path) as channel:
        assert await Stream(channel, "FetchX509SVID").next()
    await new.close()
    assert not path.exists()


async def test_a_part_that_dies_ends_the_plugin() -> None:
    """Nobody renews, follows or takes away any more: it says so, and is started anew."""
    clock = ManualClock()
    events = PodEvents(None, clock=clock, node="n")  # type: ignore[arg-type]
    dead: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    dead.set_exception(ZeroDivisionError("a defect"))
    with pytest.raises(InternalError, match="keeps volumes current ended"):
        await watched(asyncio.Event(), events, LoopWatch(clock), dead)
    stop = asyncio.Event()
    stop.set()
    await watched(stop, events, LoopWatch(clock), None)


def test_silence_is_counted_from_the_last_word() -> None:
    """And from the start before the first: a service that never answers is noticed as well."""
    clock = ManualClock()
    silence = Silence(clock)
    clock.advance(70)
    assert silence() == 70
    silence.end()
    clock.advance(5)
    assert silence() == 5


async def test_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect on the way, or the end of the client, is an answer to all that wait."""

    async def no_headers() -> Mapping[str, str]:
        return {}

    async def broken(*_: object) -> dict[str, object]:
        raise ZeroDivisionError

    async def endless(*_: object) -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    for way in (broken, endless):
        client = IssuerServiceClient("https://127.0.0.1:1", ssl.create_default_context, no_headers)
        monkeypatch.setattr(client, "_ask", way)
        asking = [asyncio.create_task(client.x509(POD, b"csr")) for _ in range(40)]
        if way is endless:
            while not client._sending or client._waiting:
                await asyncio.sleep(0)
                if len(client._waiting) <= 8:
                    break
            await client.close()
        answers = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 5)
        assert {type(answer) for answer in answers} == {UnavailableError}
        await client.close()
    caplog.clear()
