"""Following requests: who answers them, in which order, and what is told meanwhile."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import DeliveryMode
from agentid.api.fields import format_time
from agentid.identity import PodRef, SerialNumber
from agentid.kube.reflector import Change, ChangeType
from agentid.services.notices import Notices
from agentid.signer.request import PodCertificateRequest
from agentid.testing.ledger import in_virtual_time, make_issued
from tests.signer.world import READER, REQUESTS, Scene, scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentid.signer.loop import SignerLoop

Json = dict[str, Any]
KIND = "/apis/certificates.k8s.io/v1/podcertificaterequests"


@asynccontextmanager
async def running(there: Scene) -> AsyncIterator[SignerLoop]:
    """A signer that runs, and what writes its Events."""
    notices = Notices(there.client, clock=there.clock, instance="a-test")
    loop = there.loop(notices)
    tasks = [asyncio.create_task(loop.run()), asyncio.create_task(notices.run())]
    try:
        yield loop
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def passes(there: Scene, seconds: float) -> None:
    """Let virtual time pass, and the sockets of the fake cluster keep up with it."""
    for _ in range(round(seconds / 0.05)):
        await there.clock.run_for(0.05)
        await asyncio.sleep(0.0005)


async def until_answered(there: Scene, *names: str, seconds: float = 30) -> None:
    """Let time pass until requests are answered."""
    for _ in range(round(seconds / 0.05)):
        if all(there.answer(name) for name in names):
            return
        await passes(there, 0.05)
    message = f"{[name for name in names if not there.answer(name)]} were not answered"
    raise AssertionError(message)


def events(there: Scene) -> list[Json]:
    """The Events on pods."""
    return [body for path, body in there.server.objects.items() if "/events/" in path]


async def test_what_is_there_and_what_comes_is_answered() -> None:
    """Requests that waited for a start, and those that are made afterwards."""
    async with scene() as there:
        there.put_request("req-1")
        async with running(there) as loop:
            await until_answered(there, "req-1")
            there.put_request("req-2")
            await until_answered(there, "req-2")
            await passes(there, 1)
            assert loop.waiting() == {}
        assert [there.answer(each)["type"] for each in ("req-1", "req-2")] == ["Issued"] * 2
        counted = there.metrics.pod_certificates.labels("Issued", "")._value.get()
        assert counted == 2


async def test_a_request_of_another_signer_is_not_asked_for() -> None:
    """The watch is of ours alone; the API server selects."""
    async with scene() as there:
        async with running(there):
            await passes(there, 1)
        asked = [path for method, path, *_ in there.server.requests if path.startswith(KIND)]
        assert asked
        assert all("fieldSelector=spec.signerName" in path for path in asked)
        assert all("agentid.dev" in path for path in asked)


async def test_how_long_requests_wait_is_told_by_reason() -> None:
    """Since they were seen, whatever they waited for before."""
    async with scene() as there:
        there.put_identity(suspend=True)
        there.put_request()
        async with running(there) as loop:
            await passes(there, 6)
            there.put_request("req-2")
            await passes(there, 3)
            found = loop.waiting()
        assert list(found) == ["Suspended"]
        assert found["Suspended"] == pytest.approx([9, 3], abs=0.5)


async def test_an_identity_that_comes_is_noticed_at_once() -> None:
    """Nobody waits for the next try when something has changed."""
    async with scene() as there:
        there.world.identities.drop(READER)
        there.put_request()
        async with running(there) as loop:
            await passes(there, 20)
            assert list(loop.waiting()) == ["IdentityNotFound"]
            there.put_identity()
            loop.changed(READER)
            await until_answered(there, "req-1", seconds=0.5)


async def test_a_change_of_what_many_depend_on_is_noticed_at_once() -> None:
    """A class, an issuer, an incident: all that wait are looked at."""
    async with scene() as there:
        there.put_class(lifetime="30m")
        there.put_request()
        async with running(there) as loop:
            await passes(there, 20)
            assert list(loop.waiting()) == ["DeliveryNotAllowed"]
            there.put_class(lifetime="2h")
            loop.changed(None)
            await until_answered(there, "req-1", seconds=0.5)


async def test_a_change_that_nobody_tells_is_found_by_trying_again() -> None:
    """Within half a minute or so."""
    async with scene() as there:
        there.world.identities.drop(READER)
        there.put_request()
        async with running(there):
            await passes(there, 20)
            there.put_identity()
            await until_answered(there, "req-1", seconds=40)


async def test_a_wait_is_told_once_when_it_lasts() -> None:
    """In the identity's status at once, and in one Event after some seconds."""
    async with scene() as there:
        there.put_identity(suspend=True)
        there.put_request()
        async with running(there):
            await passes(there, 1.5)
            refusal = there.world.refusals.get("finance", "reader")
            assert refusal is not None
            assert (refusal.pod, refusal.reason) == ("reader-1", "Suspended")
            assert there.looked_at == [READER]
            assert events(there) == []
            await passes(there, 60)
            (event,) = events(there)
        assert (event["reason"], event["type"]) == ("CertificateWaits", "Warning")
        assert event["regarding"]["kind"] == "Pod"
        assert event["regarding"]["apiVersion"] == "v1"
        assert event["regarding"]["uid"] == "p-1"
        assert event["note"].startswith("Suspended: AgentIdentity finance/reader is suspended")
        assert there.looked_at == [READER]


async def test_pods_that_wait_do_not_take_turns_in_the_status() -> None:
    """Each is told once; or the status would be written anew for as long as they wait."""
    async with scene() as there:
        there.put_identity(suspend=True)
        there.put_pod(uid="p-2", name="reader-2")
        there.put_request("req-1")
        there.put_request("req-2", podName="reader-2", podUID="p-2")
        async with running(there) as loop:
            await passes(there, 3)
            told = there.world.refusals.get("finance", "reader")
            assert told is not None
            for _ in range(3):
                loop.changed(None)
                await passes(there, 1)
            assert there.world.refusals.get("finance", "reader") == told


async def test_a_denial_is_told_in_the_status_of_the_identity() -> None:
    """Of the pod its kubelet tells it; here whoever owns the identity reads it."""
    async with scene() as there:
        there.put_request(nodeUID="n-9")
        async with running(there):
            await until_answered(there, "req-1")
            await passes(there, 1)
        refusal = there.world.refusals.get("finance", "reader")
        assert refusal is not None
        assert refusal.reason == "NodeDiffers"
        assert events(there) == []
        assert there.metrics.pod_certificates.labels("Denied", "NodeDiffers")._value.get() == 1


async def test_a_name_that_somebody_made_up_fills_no_memory() -> None:
    """Refusals are kept for identities that there are."""
    async with scene() as there:
        for number in range(50):
            other = {"agentid.dev/identity": f"made-up-{number}"}
            there.put_request(f"req-{number}", unverifiedUserAnnotations=other)
        async with running(there):
            await until_answered(there, *(f"req-{number}" for number in range(50)))
            await passes(there, 1)
        assert all(
            there.world.refusals.get("finance", f"made-up-{number}") is None for number in range(50)
        )


# Several replicas


async def test_a_follower_leaves_requests_to_the_leader() -> None:
    """For some seconds; then nobody leads, and the pod waits for nothing."""
    async with scene() as there:
        there.leads = False
        there.put_request()
        async with running(there):
            await passes(there, 4)
            assert there.answer() == {}
            await until_answered(there, "req-1", seconds=3)


async def test_a_follower_stands_back_while_the_leader_works_off_a_burst() -> None:
    """Two replicas that answer the same requests would make two certificates for each."""
    async with scene() as there:
        there.leads = False
        there.put_request("req-0")
        for number in range(1, 12):
            there.put_request(f"req-{number}")
        leader = there.service()
        async with running(there):
            for number in range(1, 12):
                body = there.server.objects[f"{REQUESTS}/req-{number}"]
                request = PodCertificateRequest.parse(body)
                await in_virtual_time(there.clock, leader.answer(request))
                await passes(there, 1)
            assert there.answer("req-0") == {}, "for ten seconds, since others were answered"
            await until_answered(there, "req-0", seconds=10)
        assert len(there.records()) == 12


async def test_a_follower_that_begins_to_lead_answers_at_once() -> None:
    """It knows what waits."""
    async with scene() as there:
        there.leads = False
        there.put_request()
        async with running(there):
            await passes(there, 2)
            there.leads = True
            await until_answered(there, "req-1", seconds=0.6)


async def test_a_follower_leaves_what_waits_to_the_leader_again() -> None:
    """All replicas wait for the same change; were each to answer, one certificate would count."""
    async with scene() as there:
        there.leads = False
        there.put_identity(suspend=True)
        there.put_request()
        async with running(there) as loop:
            await passes(there, 12)
            assert list(loop.waiting()) == ["Suspended"]
            there.put_identity()
            loop.changed(READER)
            await passes(there, 4)
            assert there.answer() == {}
            assert there.records() == []
            await until_answered(there, "req-1", seconds=3)
        assert len(there.records()) == 1


async def test_what_waits_at_a_follower_is_tried_again_when_nobody_tells() -> None:
    """Within half a minute or so, as by the leader."""
    async with scene() as there:
        there.leads = False
        there.world.identities.drop(READER)
        there.put_request()
        async with running(there):
            await passes(there, 12)
            there.put_identity()
            await until_answered(there, "req-1", seconds=32)


async def test_a_burst_holds_up_what_waits_at_a_follower_for_no_longer() -> None:
    """Half a minute since it was looked at, however many others are answered meanwhile."""
    async with scene() as there:
        there.leads = False
        there.world.identities.drop(READER)
        there.put_request()
        for number in range(40):
            there.put_request(f"other-{number}")
        async with running(there):
            await passes(there, 6)
            there.put_identity()
            for number in range(36):
                denied = {"type": "Denied", "status": "True", "reason": "Test", "message": "-"}
                denied["lastTransitionTime"] = format_time(there.clock.now())
                path = f"{REQUESTS}/other-{number}"
                body = there.server.objects[path]
                there.server.put(path, {**body, "status": {"conditions": [denied]}})
                await passes(there, 1)
                if there.answer("req-1"):
                    return
            pytest.fail("it waits until the burst is over")


async def test_two_that_answer_the_same_request_leave_one_certificate() -> None:
    """The one that lost the race is revoked, since nobody has it."""
    async with scene() as there:
        request = there.put_request()
        async with running(there):
            rival = there.service()
            await in_virtual_time(there.clock, rival.answer(request))
            await until_answered(there, "req-1")
            await passes(there, 5)
        record = there.delivered()
        assert record is not None
        assert there.live() == [str(record.serial)]


# The order of need


async def test_pods_without_a_certificate_come_first() -> None:
    """Then those whose last one ends soon; a herd of refreshes waits behind them."""
    async with scene() as there:
        order: list[str] = []
        for number, (name, left) in enumerate(
            [("later", timedelta(hours=5)), ("soon", timedelta(minutes=5)), ("none", None)] * 20, 1
        ):
            pod, uid = f"{name}-{number}", f"p-{number}"
            there.put_pod(name=pod, uid=uid)
            if left is not None:
                held = make_issued(
                    number,
                    namespace="finance",
                    uid="u-1",
                    lifetime=left,
                    serial=SerialNumber(number),
                    door=DeliveryMode.POD_CERTIFICATE,
                    pod=PodRef(pod, uid, "node-a", f"old-{number}"),
                )
                await in_virtual_time(there.clock, there.ledger.append(held))
            there.put_request(f"req-{number}", podName=pod, podUID=uid)
        async with running(there):
            await until_answered(there, *(f"req-{number}" for number in range(1, 61)))
        for method, path, _, payload in there.server.requests:
            if method == "PUT" and path.split("?")[0].endswith("/status"):
                order.append(str(json.loads(payload)["metadata"]["name"]).removeprefix("req-"))
        kind = [("none", "later", "soon")[int(each) % 3] for each in order]
        place = {name: [at for at, each in enumerate(kind) if each == name] for name in set(kind)}
        middle = {name: sum(places) / len(places) for name, places in place.items()}
        assert middle["none"] < middle["soon"] < middle["later"], middle


# What happens to a cluster


async def test_a_cluster_without_the_kind_is_looked_at_again() -> None:
    """Whoever upgrades the cluster need not restart the operator."""
    async with scene() as there:
        there.server.refused[KIND] = 404
        there.put_request()
        async with running(there):
            await passes(there, 5)
            assert there.answer() == {}
            there.server.refused.clear()
            await until_answered(there, "req-1", seconds=90)


async def test_an_outage_of_the_api_server_is_survived() -> None:
    """The watch goes on where it was, and what was made meanwhile is answered."""
    async with scene() as there, running(there):
        await passes(there, 1)
        there.server.refused["/apis"] = 500
        there.server.cut(abort=True)
        await passes(there, 5)
        there.server.expire()
        there.put_request()
        there.server.refused.clear()
        await until_answered(there, "req-1", seconds=30)


async def test_a_request_that_is_deleted_is_let_go() -> None:
    """Nobody tries for it any more, and what was made for it is revoked."""
    async with scene() as there:
        there.server.refused[f"{REQUESTS}/req-1/status"] = 500
        there.put_request()
        async with running(there) as loop:
            await passes(there, 3)
            assert len(there.live()) == 1
            there.server.remove(f"{REQUESTS}/req-1")
            await passes(there, 5)
            assert loop.waiting() == {}
            assert there.live() == []


async def test_a_request_that_was_answered_is_not_answered_again() -> None:
    """A change that was made before the answer may be told after it came."""
    async with scene() as there:
        there.put_request()
        before = there.server.objects[f"{REQUESTS}/req-1"]
        loop = there.loop()
        key = PodCertificateRequest.parse(before).key
        working = asyncio.create_task(loop._work())
        loop._take(Change(ChangeType.ADDED, key, before))
        await until_answered(there, "req-1")
        await passes(there, 1)
        loop._take(Change(ChangeType.MODIFIED, key, before))
        await passes(there, 5)
        assert len(there.records()) == 1
        assert loop.waiting() == {}
        loop._take(Change(ChangeType.MODIFIED, key, there.server.objects[f"{REQUESTS}/req-1"]))
        assert not loop._over, "nothing of it is remembered once the watch has told the answer"
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_request_that_ends_amid_a_failed_look_leaves_nothing() -> None:
    """Not the certificate that was kept for it to be tried again with."""
    async with scene() as there:
        there.put_request()
        async with running(there) as loop:
            service = loop._service
            whole = service._issuance.sign

            async def sign(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the method
                there.server.remove(f"{REQUESTS}/req-1")
                while loop.waiting():  # noqa: ASYNC110 - a watch tells of it
                    await asyncio.sleep(0.001)
                return await whole(*arguments, **named)

            async def record(_: object) -> None:
                message = "nobody foresaw this"
                raise RuntimeError(message)

            service._issuance.sign = sign  # type: ignore[method-assign]
            service._issuance.record = record  # type: ignore[method-assign,assignment]
            await passes(there, 2)
            assert loop.waiting() == {}
            assert service._kept == {}


async def test_a_defect_on_one_request_ends_nothing_else() -> None:
    """It is told, and tried again ever more slowly; others are answered."""
    async with scene() as there:
        there.put_request("req-1")
        there.put_request("req-2")
        async with running(there) as loop:
            whole = loop._service.answer

            async def answer(request: Any) -> Any:  # noqa: ANN401 - as the method
                if request.key.name == "req-1":
                    message = "nobody foresaw this"
                    raise RuntimeError(message)
                return await whole(request)

            loop._service.answer = answer  # type: ignore[method-assign]
            await until_answered(there, "req-2")
            loop._service.answer = whole  # type: ignore[method-assign]
            await until_answered(there, "req-1", seconds=60)
