"""Kubelets that nobody runs ask as real ones do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agentid.errors import ConflictError
from agentid.kube.objects import ObjectKey
from agentid.testing.api_server import FakeApiServer
from bench.kubelets import Kubelets, request_for
from e2e.errors import E2EError
from tests.support.webhook import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json = dict[str, Any]
POD = ObjectKey("finance", "reader-1")
REQUESTS = "/apis/certificates.k8s.io/v1/namespaces/finance/podcertificaterequests"


def pod(**source: object) -> Json:
    """A pod on a node, with the volume of our signer behind others."""
    asked = {
        "signerName": "agentid.dev/agent",
        "userAnnotations": {"agentid.dev/identity": "reader"},
        **source,
    }
    return {
        "metadata": {"namespace": "finance", "name": "reader-1", "uid": "p1"},
        "spec": {
            "nodeName": "node-a",
            "serviceAccountName": "robot",
            "volumes": [
                {"name": "other", "emptyDir": {}},
                {"name": "agentid", "projected": {"sources": [{"podCertificate": asked}]}},
            ],
        },
    }


def request(**source: object) -> Json:
    """What is asked for it."""
    return dict(request_for(pod(**source), account_uid="a1", node_uid="n1", stub_der=b"\x30\x00"))


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[FakeApiServer, Kubelets]]:
    """A kubelet of node-a that watches its requests."""
    async with FakeApiServer() as server, server.client() as client:
        kubelets = Kubelets({"node-a": client})
        watch = asyncio.create_task(kubelets.watch(client))
        await until(lambda: any("watch=" in path for _, path, _, _ in server.requests))
        yield server, kubelets
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


def test_a_request_says_what_the_volume_says() -> None:
    """And for the rest what the kubelet knows of pod, ServiceAccount and node."""
    assert request(maxExpirationSeconds=7200)["spec"] == {
        "signerName": "agentid.dev/agent",
        "podName": "reader-1",
        "podUID": "p1",
        "serviceAccountName": "robot",
        "serviceAccountUID": "a1",
        "nodeName": "node-a",
        "nodeUID": "n1",
        "maxExpirationSeconds": 7200,
        "stubPKCS10Request": "MAA=",
        "unverifiedUserAnnotations": {"agentid.dev/identity": "reader"},
    }
    assert request()["spec"]["maxExpirationSeconds"] == 86_400


def test_a_pod_without_our_volume_is_not_asked_for() -> None:
    """A webhook that mounted nothing is found out here."""
    with pytest.raises(E2EError, match=r"reader-1: spec\.volumes has no podCertificate"):
        request(signerName="example.com/other")


async def test_a_pod_that_is_not_known_yet_is_asked_for_again() -> None:
    """As often as need be; each time counts, and the time from the first on."""
    async with asking() as (server, kubelets):
        server.fail_next(500)
        server.fail_next(403)
        await kubelets.ask("node-a", request())
        assert kubelets.repeated == 2
        assert kubelets.made[POD] - kubelets.sent[POD] >= 0.2
        assert list(server.objects) == [f"{REQUESTS}/req-reader-1"]


async def test_a_request_whose_answer_was_lost_is_made_once() -> None:
    """The second try finds the first."""
    async with asking() as (server, kubelets):
        server.put(f"{REQUESTS}/req-reader-1", request())
        await kubelets.ask("node-a", request())
        assert (kubelets.repeated, POD in kubelets.made) == (0, True)


async def test_any_other_refusal_is_an_error() -> None:
    """Nobody asks again for what will not change."""
    async with asking() as (server, kubelets):
        server.fail_next(409, {"reason": "Conflict", "message": "no"})
        with pytest.raises(ConflictError):
            await kubelets.ask("node-a", request())


async def test_what_became_of_it_is_seen() -> None:
    """A certificate; or a refusal, in the signer's words."""
    async with asking() as (server, kubelets):
        path = f"{REQUESTS}/req-reader-1"
        server.put(path, request())
        assert not kubelets.issued
        server.put(path, {**request(), "status": {"certificateChain": "PEM"}})
        await kubelets.until_issued([POD])
        ended = {"type": "Denied", "reason": "NoSuchIdentity", "message": "there is no reader"}
        server.put(path, {**request(), "status": {"conditions": [ended]}})
        await until(lambda: kubelets.refused)
        with pytest.raises(E2EError, match="pod finance/reader-1 was refused: there is no reader"):
            await kubelets.until_issued([POD, ObjectKey("finance", "reader-2")])
