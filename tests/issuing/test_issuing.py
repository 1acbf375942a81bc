"""What leaves the issuer service, and what becomes of what does not; no cluster."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agentid.issuers import BuiltinIssuer, JwtTerms
from agentid.issuing import wire
from agentid.issuing.certificates import IssuedX509
from agentid.issuing.limits import Limits
from agentid.issuing.reasons import RefusedError
from agentid.services.auditing import Auditor
from agentid.services.pods import Pod
from agentid.services.witness import Witness
from agentid.services.world import IssuerState
from agentid.testing.ledger import in_virtual_time
from agentid.testing.segments import Fault
from tests.issuing.world import Service, opened
from tests.signer.test_service import PLACED
from tests.signer.world import READER
from tests.support.asked import pod_body
from tests.support.auditing import Lines
from tests.support.node_plugins import csr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.issuing.certificates import X509Item


async def ask(
    service: Service, *items: X509Item, seconds: float = 3600
) -> list[IssuedX509 | RefusedError]:
    """Ask for certificates, while virtual time passes."""
    asked: Sequence[X509Item] = items or (service.item(),)
    work = service.certificates.issue(service.plugin, asked)
    return await in_virtual_time(service.there.clock, work, seconds=seconds)


async def issued(service: Service, *items: X509Item) -> IssuedX509:
    """The first certificate of those that are asked for."""
    (found, *_) = await ask(service, *items)
    assert isinstance(found, IssuedX509), found
    return found


async def refusal(service: Service, *items: X509Item) -> RefusedError:
    """The first refusal likewise."""
    (found, *_) = await ask(service, *items)
    assert isinstance(found, RefusedError)
    return found


async def test_what_is_on_record_leaves() -> None:
    """With the pod in its record, and a first certificate that replaces none."""
    async with opened() as service:
        found = await issued(service)
        (entry,) = service.there.records()
        assert entry.issued == found.made.record
        assert (entry.issued.pod and entry.issued.pod.uid, entry.issued.replaces) == ("p-1", None)
        assert service.answers == [""]


async def test_one_bad_item_takes_nothing_from_the_others() -> None:
    """Each is judged by itself, and answered in its place."""
    async with opened() as service:
        found = await ask(
            service,
            service.item(request=b"nonsense"),
            service.item(),
            service.item("nobody/p-9"),
            service.item(request=csr(ec.generate_private_key(ec.SECP384R1()))),
        )
        reasons = [each.reason if isinstance(each, RefusedError) else "" for each in found]
        assert reasons == ["RequestInvalid", "", "PodGone", "UnsupportedKeyType"]
        assert sorted(service.answers) == sorted(reasons)
        shown = {told.reason for _, told in service.refused}
        assert shown == {"RequestInvalid", "UnsupportedKeyType"}, "who is unknown fills nothing"


async def test_a_defect_shows_on_its_item_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is told to come again, and nothing of the cause."""
    async with opened() as service:

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(service.certificates, "_federates_with", broken)
        found = await refusal(service)
        assert found.reason == "InternalError"
        assert "ZeroDivisionError" not in str(found)
        assert len(service.there.live()) == 1
        await in_virtual_time(service.there.clock, until_settled(service))
        assert service.there.live() == [], "nobody has it"


@pytest.mark.parametrize("fault", [Fault.AFTER, Fault.LATE])
async def test_what_was_recorded_in_doubt_is_revoked_once_it_is_there(fault: Fault) -> None:
    """Its pod was told that there is none, so nobody has it, and no token may stand on it."""
    async with opened() as service:
        there = service.there
        there.store.faults.extend([fault, *[Fault.BEFORE] * 12])
        found = await refusal(service)
        assert found.reason == "LedgerUnavailable"
        await in_virtual_time(there.clock, until_recorded(service))
        assert service.undelivered.doubtful == 0
        await in_virtual_time(there.clock, until_settled(service))
        assert there.live() == []


async def until_recorded(service: Service) -> None:
    """Wait for the ledger to have heard of the record."""
    while not service.there.records():
        await service.there.clock.sleep(0.1)


async def until_settled(service: Service) -> None:
    """Revoke until nothing waits to be: the ledger is still busy with the record."""
    while service.undelivered.waiting:
        await service.undelivered.revoke()


async def test_what_never_was_recorded_is_forgotten_when_it_has_expired() -> None:
    """Memory does not grow while the API server is away."""
    async with opened() as service:
        there = service.there
        made = await issued(service)
        lifetime = made.made.record.not_after - there.clock.now()
        there.store.away = True
        for _ in range(3):
            assert (await refusal(service)).reason == "LedgerUnavailable"
        assert service.undelivered.doubtful == 3
        there.clock.advance(lifetime + timedelta(minutes=5))
        assert (await refusal(service)).reason == "LedgerUnavailable"
        assert service.undelivered.doubtful == 1


async def recorded_while(service: Service, change: object) -> RefusedError:
    """Ask, and have something change while the ledger is being written."""
    there = service.there
    there.store.faults.extend([Fault.BEFORE] * 3)
    asking = asyncio.ensure_future(service.certificates.issue(service.plugin, [service.item()]))
    await there.clock.settle()
    assert not asking.done()
    assert callable(change)
    change()
    (found,) = await in_virtual_time(there.clock, asking)
    assert isinstance(found, RefusedError)
    await in_virtual_time(there.clock, service.undelivered.revoke())
    assert there.live() == []
    return found


async def test_a_pod_that_ends_while_it_is_asked_for_is_not_brought_back() -> None:
    """The answer says that it is there, and the watch, which is faster, that it went."""
    async with opened() as service:
        pods = service.there.world.pods
        pods.clear()
        service.there.server.answer_late(lambda: pods.drop("p-1"))
        assert (await refusal(service)).reason == "PodGone"
        assert pods.get("p-1") is None
        assert pods.is_gone("p-1")
        await in_virtual_time(service.there.clock, service.undelivered.revoke())
        assert service.there.live() == []


async def test_a_pod_that_was_asked_for_is_known_once_the_watch_tells_of_it() -> None:
    """One that goes before a list that the watch begins anew with would be known for ever."""
    async with opened() as service:
        pods = service.there.world.pods
        pods.clear()
        await issued(service)
        assert pods.get("p-1") is None


async def test_a_change_while_it_is_recorded_takes_it_away() -> None:
    """Suspension, another label, another pod, another identity of the name: none gets it."""
    async with opened() as service:
        there = service.there
        found = await recorded_while(
            service, lambda: there.put_identity(delivery={"mode": "CSI"}, suspend=True)
        )
        assert (found.reason, found.final) == ("Suspended", True)
    async with opened() as service:
        pods = service.there.world.pods
        found = await recorded_while(service, lambda: pods.put(Pod.of(pod_body(identity="other"))))
        assert found.reason == "TakenAway"
    async with opened() as service:
        pods = service.there.world.pods
        found = await recorded_while(service, lambda: pods.drop("p-1"))
        assert (found.reason, found.final) == ("PodGone", True)
    async with opened() as service:
        there = service.there

        def anew() -> None:
            body = there.put_identity(delivery={"mode": "CSI"}, seen=False)
            body["metadata"]["uid"] = "u-2"
            there.world.identities.put(body)

        assert (await recorded_while(service, anew)).reason == "TakenAway"


# JWT-SVIDs


def let_mint(service: Service) -> None:
    """Give the issuer keys for tokens."""
    there = service.there
    signs = BuiltinIssuer(
        name="test",
        authorities=there.ca.authority_set,
        clock=there.clock,
        random=there.ca.random,
        jwt=JwtTerms(timedelta(minutes=5), None),
    )
    there.world.issuer_states["test"] = IssuerState(signs, authorities=there.ca.authority_set)


async def test_a_token_stands_on_a_certificate_and_is_told() -> None:
    """Auditors read whose it is, for whom, by which key, on which certificate; not the token."""
    lines = Lines()
    async with opened() as service:
        there = service.there
        let_mint(service)
        auditor = Auditor(
            world=there.world, ledger=there.ledger.state, clock=there.clock,
            metrics=there.metrics, source="w", write=lines.write,
        )  # fmt: skip
        there.ledger.subscribe(auditor.learn)
        audited = Service(there, witness=Witness(auditor))
        with pytest.raises(RefusedError, match="it has to be issued one first"):
            await audited.minting.mint(audited.plugin, "reader-1/p-1", ("db",))
        found = await issued(audited)
        minted = await audited.minting.mint(audited.plugin, "reader-1/p-1", ("db", "cache"))
        about, event = lines.events
        assert (about["decision"], event["decision"]) == ("Issued", "TokenMinted")
        assert event["certificate"]["serial"] == str(found.made.leaf.serial)
        assert event["token"] == {
            "audience": ["db", "cache"],
            "id": minted.svid.token_id,
            "key": minted.svid.kid,
            "notAfter": minted.svid.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        assert event["object"]["name"] == READER.name
        assert minted.svid.token not in str(lines.events)
        lines.half_full = True
        await audited.minting.mint(audited.plugin, "reader-1/p-1", ("db",))
        assert len(lines.events) == 2, "its event does not take the last of the room"
        await issued(audited)
        assert len(lines.events) == 3


async def test_a_pod_takes_so_many_tokens_and_no_more() -> None:
    """Each is a line of the log and an event; another pod is not held up by it."""
    async with opened(limits=Limits(pod_tokens=1, pod_token_burst=3)) as service:
        let_mint(service)
        there = service.there
        there.put_pod(name="reader-2", uid="p-2")
        await ask(service, service.item(), service.item("reader-2/p-2"))
        for _ in range(3):
            await service.minting.mint(service.plugin, "reader-1/p-1", ("db",))
        with pytest.raises(RefusedError, match="more than 1 JWT-SVIDs a second") as caught:
            await service.minting.mint(service.plugin, "reader-1/p-1", ("db",))
        assert (caught.value.reason, caught.value.final) == ("Overloaded", False)
        assert caught.value.retry_after is not None
        await service.minting.mint(service.plugin, "reader-2/p-2", ("db",))
        there.clock.advance(timedelta(seconds=1))
        await service.minting.mint(service.plugin, "reader-1/p-1", ("db",))


async def test_a_revoked_certificate_carries_no_token() -> None:
    """Whatever the caches say of the identity."""
    async with opened() as service:
        let_mint(service)
        found = await issued(service)
        service.undelivered.add((found.made.record,))
        await in_virtual_time(service.there.clock, service.undelivered.revoke())
        with pytest.raises(RefusedError, match="it has to be issued one first"):
            await service.minting.mint(service.plugin, "reader-1/p-1", ("db",))


async def test_over_the_rate_of_the_class_a_pod_comes_again() -> None:
    """Overloaded, with the seconds that it takes; other namespaces and tokens are not concerned."""
    async with opened() as service:
        there = service.there
        there.put_class(delivery={"modes": ["CSI"]}, limits={"issuancesPerMinutePerNamespace": 1})
        there.put_pod(name="reader-2", uid="p-2")
        await issued(service)
        second = service.item("reader-2/p-2")
        refused = await refusal(service, second)
        assert (refused.reason, refused.final) == ("Overloaded", False)
        assert "limits certificates for namespace finance to 1 a minute" in str(refused)
        assert refused.retry_after is not None
        told = orjson.loads(wire.write_x509([refused], "v"))["results"][0]["refused"]
        assert 0 < told["retryAfterSeconds"] <= 60
        assert wire.status_of(refused) == 429
        there.clock.advance(refused.retry_after)
        assert (await issued(service, second)).made.record.pod is not None


async def test_a_renewal_that_is_due_waits_for_no_rate() -> None:
    """Promise 5: the plugin asks when it was told to."""
    async with opened() as service:
        there = service.there
        there.put_class(delivery={"modes": ["CSI"]}, limits={"issuancesPerMinutePerNamespace": 1})
        there.put_pod(name="reader-2", uid="p-2")
        first = await issued(service)
        there.clock.advance(first.renew_at - there.clock.now())
        await issued(service, service.item("reader-2/p-2"))
        assert (await issued(service)).made.record.replaces == first.made.record.serial
        assert (await refusal(service)).reason == "Overloaded", "the next one is not due"


async def test_a_pod_of_an_identity_without_a_place_gets_nothing() -> None:
    """Whichever replica it asks: the status says who has one."""
    async with opened() as service:
        service.there.put_class(delivery={"modes": ["CSI"]}, limits={"identities": 1})
        refused = await refusal(service)
        assert (refused.reason, refused.final) == ("Pending", False)
        service.there.put_identity(delivery={"mode": "CSI"}, told=PLACED)
        await issued(service)
