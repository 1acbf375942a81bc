"""Answering one request: what is issued, denied, and left waiting, and what happens in between."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from agentid.api import Instances
from agentid.identity import RevocationReason
from agentid.pki import KeyAlgorithm, generate
from agentid.services.world import IssuerState
from agentid.signer.reasons import Waiting
from agentid.signer.service import Answered
from agentid.testing.api_server import cut_off
from agentid.testing.ca import NOON
from agentid.testing.ledger import in_virtual_time
from tests.signer.world import READER, REQUESTS, Scene, scene
from tests.support.asked import account_body, key, pod_body
from tests.support.pod_requests import stub

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from agentid.signer.request import PodCertificateRequest
    from agentid.signer.service import PodCertificates


async def answered(
    there: Scene, request: PodCertificateRequest, service: PodCertificates | None = None
) -> Answered | Waiting:
    """Have it looked at once."""
    return await in_virtual_time(there.clock, (service or there.service()).answer(request))


async def waits(there: Scene, reason: str, message: str, **changes: object) -> None:
    """A request waits for this reason; nothing is on record for it."""
    found = await answered(there, there.put_request(**changes))
    assert isinstance(found, Waiting), found
    assert (str(found.reason), there.answer()) == (reason, {})
    assert message in found.message
    assert not there.records()


async def is_denied(there: Scene, reason: str, message: str, **changes: object) -> None:
    """A request is denied for this reason; nothing is on record for it."""
    await answered(there, there.put_request(**changes))
    condition = there.answer()
    assert (condition.get("type"), condition.get("reason")) == ("Denied", reason)
    assert message in condition["message"]
    assert not there.records()


# Issued


async def test_a_request_is_answered_with_a_certificate_that_is_on_record() -> None:
    """For the key and pod that were attested, by the grant of the identity, with two writes."""
    async with scene() as there:
        await answered(there, there.put_request())
        record = there.delivered()
        assert record is not None
        assert there.live() == [str(record.serial)]
        assert (record.namespace, record.name, record.uid) == ("finance", "reader", "u-1")
        assert record.pod is not None
        told = (record.pod.name, record.pod.uid, record.pod.node, record.pod.request)
        assert told == ("reader-1", "p-1", "node-a", "r-1")
        status: Any = there.server.objects[f"{REQUESTS}/req-1"]["status"]
        leaf = x509.load_pem_x509_certificates(status["certificateChain"].encode())[0]
        assert leaf.public_key() == key().public_key()
        assert there.answer()["type"] == "Issued"
        assert parsed(status["notBefore"]) == leaf.not_valid_before_utc
        assert parsed(status["notAfter"]) == leaf.not_valid_after_utc
        begin = parsed(status["beginRefreshAt"])
        assert NOON + timedelta(minutes=9) <= begin <= leaf.not_valid_after_utc
        writes = [method for method, *_ in there.server.requests if method != "GET"]
        assert writes == ["PUT"], "the ledger's own is the other"


def parsed(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text).astimezone(UTC)


async def test_a_pod_of_its_own_has_a_name_of_its_own() -> None:
    """With instances PerPod the SPIFFE ID says which pod."""
    async with scene() as there:
        there.put_identity(instances=Instances.PER_POD.value)
        await answered(there, there.put_request())
        record = there.delivered()
        assert record is not None
        assert record.spiffe_id == "spiffe://example.org/ns/finance/agent/reader/pod/p-1"


async def test_a_refresh_replaces_the_last_one() -> None:
    """It names what the pod had, so that this may run out."""
    async with scene() as there:
        service = there.service()
        await answered(there, there.put_request("req-1"), service)
        await answered(there, there.put_request("req-2"), service)
        first, second = there.delivered("req-1"), there.delivered("req-2")
        assert first is not None
        assert second is not None
        assert (first.replaces, second.replaces) == (None, first.serial)
        assert len(there.live()) == 2, "an ordinary renewal revokes nothing"
        issued = there.metrics.issuances
        for cause in ("first", "renewal"):
            assert issued.labels("PodCertificate", "test", cause)._value.get() == 1


@pytest.mark.parametrize(
    ("granted", "longest", "total"),
    [
        pytest.param("1h", 3600, 3600, id="an-hour-is-the-least"),
        pytest.param("2h", 3600, 3600, id="the-volume-asks-for-less"),
        pytest.param("2h", 86400, 2 * 3600 + 59, id="the-class-gives-less"),
    ],
)
async def test_it_is_as_long_as_class_and_volume_allow(
    granted: str, longest: int, total: int
) -> None:
    """From notBefore to notAfter, as the API server counts."""
    async with scene() as there:
        there.put_class(lifetime=granted)
        await answered(there, there.put_request(maxExpirationSeconds=longest))
        record = there.delivered()
        assert record is not None
        assert record.not_after - record.not_before == timedelta(seconds=total)


# Limits of the class

PLACED = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "lastTransitionTime": "2026-11-01T11:00:00Z",
            "reason": "Available",
            "message": "Pods get certificates as they start",
        }
    ],
}


async def test_without_a_place_a_request_waits() -> None:
    """Until the status says that the replica that leads has given one; no pod is lost for it."""
    async with scene() as there:
        there.put_class(limits={"identities": 5})
        await waits(there, "Pending", "waits for agentid to give it a place in AgentClass batch")
        message = "AgentClass batch limits its identities to 5"
        full: Any = json.loads(json.dumps(PLACED))
        full["conditions"][0] |= {"status": "False", "reason": "QuotaExceeded", "message": message}
        full["conditions"].append(full["conditions"][0] | {"type": "Reconciling", "status": "True"})
        there.put_identity(told=full)
        await waits(there, "QuotaExceeded", message)
        there.put_identity(told=PLACED)
        await answered(there, there.put_request("req-2"))
        assert there.delivered("req-2") is not None


async def test_over_the_rate_a_request_waits_for_its_turn() -> None:
    """It is never denied, and a look before its time makes nothing."""
    async with scene() as there:
        there.put_class(limits={"issuancesPerMinutePerNamespace": 1})
        service = there.service()
        await answered(there, there.put_request("req-1"), service)
        second = there.put_request("req-2")
        times = []
        for _ in range(2):
            found = await answered(there, second, service)
            assert isinstance(found, Waiting), found
            assert (found.reason, there.answer("req-2")) == ("RateLimited", {})
            assert found.retry_after is not None
            times.append(found.retry_after)
        assert len(there.records()) == 1
        there.clock.advance(times[-1])
        await answered(there, second, service)
        assert there.delivered("req-2") is not None


async def test_a_refresh_that_is_due_waits_for_no_rate() -> None:
    """Promise 5: a kubelet asks when it was told to, whatever else its namespace asks for."""
    async with scene() as there:
        there.put_class(lifetime="1h", limits={"issuancesPerMinutePerNamespace": 1})
        service = there.service()
        await answered(there, there.put_request("req-1"), service)
        first = there.delivered("req-1")
        assert first is not None
        there.clock.advance(timedelta(minutes=42))
        there.put_pod(name="reader-2", uid="p-2")
        await answered(there, there.put_request("req-2", podName="reader-2", podUID="p-2"), service)
        refresh = there.put_request("req-3")
        await answered(there, refresh, service)
        record = there.delivered("req-3")
        assert record is not None
        assert record.replaces == first.serial


# Denied


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        pytest.param(
            {"unverifiedUserAnnotations": {"a/b": "c"}},
            "InvalidUnverifiedUserAnnotations",
            '"a/b"',
            id="unknown-annotation",
        ),
        pytest.param({"podUID": "p-9"}, "PodReplaced", 'for "p-9"', id="another-UID"),
        pytest.param({"podName": "ghost"}, "PodGone", "no pod finance/ghost", id="another-name"),
        pytest.param(
            {"serviceAccountName": "admin"}, "ServiceAccountDiffers", '"admin"', id="account"
        ),
        pytest.param(
            {"serviceAccountUID": "sa-9"}, "ServiceAccountDiffers", "anew", id="account-UID"
        ),
        pytest.param({"nodeName": "node-b"}, "NodeDiffers", '"node-b"', id="node"),
        pytest.param({"nodeUID": "n-9"}, "NodeDiffers", "anew", id="node-UID"),
        pytest.param(
            {"unverifiedUserAnnotations": {"agentid.dev/identity": "admin"}},
            "IdentityDiffers",
            '"admin"',
            id="another-identity",
        ),
    ],
)
async def test_a_forged_field_is_denied(
    changes: dict[str, object], reason: str, message: str
) -> None:
    """Whoever made the request, a kubelet or not."""
    async with scene() as there:
        await is_denied(there, reason, message, **changes)


async def test_a_pod_of_another_namespace_is_no_pod_of_this_one() -> None:
    """The request's own namespace is the pod's and the identity's."""
    async with scene() as there:
        body = pod_body(name="reader-1", uid="p-2")
        body["metadata"]["namespace"] = "other"
        there.server.put("/api/v1/namespaces/other/pods/reader-1", body)
        await is_denied(there, "PodReplaced", "has the UID p-1", podUID="p-2")


async def test_an_identity_bound_to_another_account_is_denied() -> None:
    """The label selects, and grants nothing."""
    async with scene() as there:
        there.put_identity(subject={"serviceAccountName": "robot"})
        await is_denied(there, "NotItsServiceAccount", "bound to ServiceAccount robot")


async def test_a_key_of_another_type_is_denied() -> None:
    """With the type that the class asks for."""
    async with scene() as there:
        there.put_class(keyAlgorithm="ED25519")
        await is_denied(there, "UnsupportedKeyType", "keyType: ED25519")


async def test_while_a_class_migrates_both_key_types_are_taken() -> None:
    """A pod's volume says the type for as long as the pod lives."""
    async with scene() as there:
        there.put_class(keyAlgorithm="ECDSAP256", migration={"keyAlgorithm": "ED25519"})
        service = there.service()
        await answered(there, there.put_request("req-1"), service)
        new = stub(generate(KeyAlgorithm.ED25519))
        await answered(there, there.put_request("req-2", stubPKCS10Request=b64(new)), service)
        assert [there.answer(name)["type"] for name in ("req-1", "req-2")] == ["Issued"] * 2
        records = [there.delivered(name) for name in ("req-1", "req-2")]
        found = [json.loads(each.grant)["keyAlgorithm"] for each in records if each is not None]
        assert found == ["ECDSAP256", "ED25519"]
        old = stub(generate(KeyAlgorithm.ECDSAP384))
        await answered(there, there.put_request("req-3", stubPKCS10Request=b64(old)), service)
        assert there.answer("req-3")["reason"] == "UnsupportedKeyType"


def b64(der: bytes) -> str:
    """Base64 as the API has it."""
    return base64.b64encode(der).decode()


async def test_a_cache_that_is_behind_denies_nobody() -> None:
    """What a watch has not told yet is asked for before the answer is final."""
    async with scene() as there:
        there.put_pod(node="node-old", seen=True)
        there.put_pod(seen=False)
        service = there.service()
        assert isinstance(await answered(there, there.put_request(), service), Answered)
        assert there.answer()["type"] == "Issued"


@pytest.mark.parametrize("change", ["identity", "class"])
async def test_a_key_type_is_not_denied_by_what_is_out_of_date(change: str) -> None:
    """A denial ends the pod; a class that changed a moment ago is waited for."""
    async with scene() as there:
        known = there.world.classes["batch"]
        if change == "identity":
            there.put_identity(seen=False)
        else:
            newer = there.put_class(keyAlgorithm="ED25519")
            newer["metadata"]["generation"] = 2
            there.server.put("/apis/agentid.dev/v1alpha1/agentclasses/batch", newer)
            there.world.classes["batch"] = known
        ed25519 = b64(stub(generate(KeyAlgorithm.ED25519)))
        found = await answered(there, there.put_request(stubPKCS10Request=ed25519))
        assert isinstance(found, Waiting)
        assert (str(found.reason), there.answer()) == ("CacheBehind", {})


# Waits


@pytest.mark.parametrize(
    "guarded_since",
    [
        pytest.param(None, id="by-nothing"),
        pytest.param(NOON, id="in-the-same-second"),
        pytest.param(NOON - timedelta(seconds=5), id="not-in-force-yet"),
        pytest.param(NOON + timedelta(days=1), id="later"),
    ],
)
async def test_a_request_that_anybody_may_have_made_is_not_answered(
    guarded_since: datetime | None,
) -> None:
    """No policy was in force that lets nobody but kubelets make one; nor is it denied for good."""
    async with scene() as there:
        there.guarded_since = guarded_since
        await waits(there, "Unguarded", "nobody but a kubelet can ask")
        there.guarded_since = NOON - timedelta(seconds=6)
        await answered(there, there.put_request())
        assert there.answer()["type"] == "Issued"


async def test_an_identity_that_is_not_there_is_waited_for() -> None:
    """It may be applied after the pod."""
    async with scene() as there:
        there.world.identities.drop(READER)
        await waits(there, "IdentityNotFound", "there is no AgentIdentity finance/reader")
        there.put_identity()
        await answered(there, there.put_request())
        assert there.answer()["type"] == "Issued"


@pytest.mark.parametrize(
    ("prepare", "reason", "message"),
    [
        pytest.param(
            lambda there: there.put_identity(suspend=True),
            "Suspended",
            "is suspended",
            id="suspended",
        ),
        pytest.param(
            lambda there: there.put_identity(delivery={"mode": "Secret"}),
            "DeliveryNotAllowed",
            "is refused",
            id="another-delivery-that-the-class-refuses",
        ),
        pytest.param(
            lambda there: (
                there.put_class(delivery={"modes": ["PodCertificate", "CSI"]}),
                there.put_identity(delivery={"mode": "CSI"}),
            ),
            "DeliveryUnavailable",
            "is refused",
            id="a-door-that-nobody-serves",
        ),
        pytest.param(
            lambda there: there.put_identity(permissions={"systems": ["root"]}),
            "ExceedsClass",
            "is refused",
            id="beyond-its-class",
        ),
        pytest.param(
            lambda there: there.put_class(lifetime="30m"),
            "DeliveryNotAllowed",
            "at least 1h",
            id="a-class-that-is-too-short",
        ),
        pytest.param(
            lambda there: there.world.classes.clear(),
            "ClassNotFound",
            "no AgentClass",
            id="no-class",
        ),
        pytest.param(
            lambda there: there.world.issuers.clear(),
            "IssuerNotFound",
            "AgentIssuer",
            id="no-issuer",
        ),
        pytest.param(
            lambda there: there.world.issuer_states.update(test=IssuerState(None, "no key")),
            "IssuerNotReady",
            "no key",
            id="issuer-away",
        ),
    ],
)
async def test_what_may_come_right_is_waited_for(
    prepare: Callable[[Scene], object], reason: str, message: str
) -> None:
    """The message says what there is to do, and nothing is on record."""
    async with scene() as there:
        prepare(there)
        await waits(there, reason, message)


async def test_one_that_is_being_deleted_gets_nothing() -> None:
    """A deletion that was asked for is under way."""
    async with scene() as there:
        body = there.put_identity(seen=False)
        body["metadata"] |= {"deletionTimestamp": "2026-11-01T12:00:00Z", "resourceVersion": "999"}
        there.world.identities.put(body)
        await waits(there, "Deleting", "is being deleted")


async def test_one_without_the_finalizer_is_waited_for() -> None:
    """Its deletion would not wait until what its pods have is revoked."""
    async with scene() as there:
        body = there.put_identity(seen=False)
        body["metadata"] |= {"finalizers": [], "resourceVersion": "999"}
        there.world.identities.put(body)
        await waits(there, "Pending", "has no finalizer yet")


async def test_an_authority_that_ends_too_soon_is_waited_for() -> None:
    """The API server takes no certificate of less than an hour, so none goes on record."""
    async with scene() as there:
        there.clock.advance(timedelta(days=90) - timedelta(minutes=50))
        await waits(there, "ValidityTooShort", "has to renew its authority")


async def test_a_ledger_that_is_away_is_waited_for() -> None:
    """On record before in use; then it goes on with what was made."""
    async with scene() as there:
        service = there.service()
        there.store.away = True
        request = there.put_request()
        found = await answered(there, request, service)
        assert isinstance(found, Waiting)
        assert (str(found.reason), there.answer()) == ("LedgerUnavailable", {})
        there.store.away = False
        await answered(there, request, service)
        assert there.answer()["type"] == "Issued"


async def test_an_api_server_that_is_away_is_waited_for() -> None:
    """It is not known whether the answer was taken; the next look finds out."""
    async with scene() as there:
        service, request = there.service(), there.put_request()
        there.server.refused["/api/v1/nodes"] = 500
        found = await answered(there, request, service)
        assert isinstance(found, Waiting)
        assert found.reason == "ApiServerUnavailable"
        there.server.refused.clear()
        assert isinstance(await answered(there, request, service), Answered)
        assert there.answer()["type"] == "Issued"


async def test_what_may_not_be_read_is_waited_for() -> None:
    """RBAC may come later than the pod; nobody is denied for it."""
    async with scene() as there:
        there.server.refused["/api/v1/nodes"] = 403
        await waits(there, "ApiServerUnavailable", "403")


# On the way to the answer


async def test_a_write_that_failed_is_made_again_with_the_same_certificate() -> None:
    """One record, one certificate, however often it is tried."""
    async with scene() as there:
        service, request = there.service(), there.put_request()
        there.server.refused[f"{REQUESTS}/req-1/status"] = 500
        for _ in range(3):
            assert isinstance(await answered(there, request, service), Waiting)
        assert there.answer() == {}
        there.server.refused.clear()
        assert isinstance(await answered(there, request, service), Answered)
        assert there.delivered() is not None
        assert len(there.records()) == 1


async def test_a_write_whose_answer_was_lost_is_found() -> None:
    """The next look reads the request, and makes nothing."""
    async with scene() as there:
        service = there.service()
        await answered(there, there.put_request("req-1"), service)
        request = there.put_request("req-2")

        async def carried_out(asked: web.Request) -> web.StreamResponse:
            body = json.loads(await asked.read())
            stored = there.server.objects[f"{REQUESTS}/req-2"]
            there.server.put(f"{REQUESTS}/req-2", {**stored, "status": body["status"]})
            return cut_off(asked)

        there.server.answers.append(carried_out)
        assert isinstance(await answered(there, request, service), Waiting)
        record = there.delivered("req-2")
        assert record is not None
        assert isinstance(await answered(there, request, service), Answered)
        assert there.delivered("req-2") == record
        assert len(there.records()) == 2


async def test_a_request_that_changed_meanwhile_is_answered_all_the_same() -> None:
    """A label on a request is no reason to make its pod wait."""
    async with scene() as there:
        request = there.put_request()
        body = dict(there.server.objects[f"{REQUESTS}/req-1"])
        there.server.put(f"{REQUESTS}/req-1", body)
        assert isinstance(await answered(there, request), Answered)
        assert there.delivered() is not None


async def test_a_request_that_is_gone_is_left() -> None:
    """Nobody waits for its answer."""
    async with scene() as there:
        request = there.put_request()
        there.server.remove(f"{REQUESTS}/req-1")
        found = await answered(there, request)
        assert isinstance(found, Answered)
        assert found.serial == ""


async def test_what_is_revoked_meanwhile_is_not_delivered() -> None:
    """A certificate that was made, and was revoked before its request was answered."""
    async with scene() as there:
        service, request = there.service(), there.put_request()
        there.server.refused[f"{REQUESTS}/req-1/status"] = 500
        assert isinstance(await answered(there, request, service), Waiting)
        (made,) = there.records()
        revocation = made.revocation(
            RevocationReason.PRIVILEGE_WITHDRAWN, at=there.clock.now(), actor="a test"
        )
        await in_virtual_time(there.clock, there.ledger.append(revocation))
        there.server.refused.clear()
        await answered(there, request, service)
        record = there.delivered()
        assert record is not None
        assert record.serial != made.serial


async def test_what_was_made_long_ago_is_not_delivered() -> None:
    """The API server would not take its notBefore any more."""
    async with scene() as there:
        service, request = there.service(), there.put_request()
        there.server.refused[f"{REQUESTS}/req-1/status"] = 500
        assert isinstance(await answered(there, request, service), Waiting)
        there.server.refused.clear()
        there.clock.advance(timedelta(minutes=3))
        await answered(there, request, service)
        record = there.delivered()
        assert record is not None
        assert record.not_before == there.clock.now().replace(microsecond=0) - timedelta(minutes=1)


async def test_an_answer_that_is_not_taken_is_told() -> None:
    """With the API server's own words; not at once again, since each try is a record."""
    async with scene() as there:
        there.server.refused[f"{REQUESTS}/req-1/status"] = 422
        found = await answered(there, there.put_request())
        assert isinstance(found, Waiting)
        assert found.reason == "AnswerRefused"
        assert found.retry_after == timedelta(seconds=30)
        assert "compare the clocks" in found.message


# What it costs


async def test_accounts_and_nodes_are_asked_for_once_in_a_while() -> None:
    """Pods of one Deployment share the one, pods of one node the other."""
    async with scene() as there:
        service = there.service()
        for number in range(1, 21):
            there.put_pod(name=f"reader-{number}", uid=f"p-{number}")
        requests = [
            there.put_request(f"req-{number}", podName=f"reader-{number}", podUID=f"p-{number}")
            for number in range(1, 21)
        ]
        every = asyncio.gather(*(service.answer(each) for each in requests))
        await in_virtual_time(there.clock, every)
        assert len(there.live()) == 20
        assert (there.reads("/serviceaccounts/"), there.reads("/nodes/")) == (1, 1)
        assert there.reads("/pods/") == 0, "the watch has told of them"
        assert len(there.store.objects) <= 3, "many share a commit"
        there.clock.advance(11)
        await answered(there, there.put_request("req-21"), service)
        assert there.reads("/nodes/") == 2


async def test_an_account_made_anew_is_noticed_before_a_denial() -> None:
    """What is kept for some seconds is not what denies."""
    async with scene() as there:
        service = there.service()
        await answered(there, there.put_request("req-1"), service)
        path = "/api/v1/namespaces/finance/serviceaccounts/default"
        there.server.remove(path)
        there.server.put(path, account_body("sa-2"))
        await answered(there, there.put_request("req-2", serviceAccountUID="sa-2"), service)
        assert there.answer("req-2")["type"] == "Issued"


async def test_the_chain_leads_to_the_authority_of_the_class() -> None:
    """Leaf first, without the root, which is in the trust bundle beside it."""
    async with scene() as there:
        await answered(there, there.put_request())
        status: Any = there.server.objects[f"{REQUESTS}/req-1"]["status"]
        leaf, above = x509.load_pem_x509_certificates(status["certificateChain"].encode())
        leaf.verify_directly_issued_by(above)
        assert above == there.ca.intermediate.certificate
