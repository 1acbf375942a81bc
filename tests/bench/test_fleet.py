"""Pods at scale, with a few: what is asked for, what is waited for, and what is made of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import UnavailableError
from agentid.identity import PodRef
from agentid.ledger import Durable
from agentid.node.issuer import Change, ChangeKind
from agentid.testing.api_server import FakeApiServer
from agentid.testing.ledger import make_issued, make_revoked
from bench.figures import Counts, Latency
from bench.fleet.__main__ import arguments
from bench.fleet.lag import Lag, lagging
from bench.fleet.lives import Sizes, lives, pod_body, waiting
from bench.fleet.nodes import Nodes, mounted_driver
from bench.fleet.phases import Fleet
from bench.fleet.recorded import Recorded, unrevoked
from bench.fleet.report import Phase, as_json, as_text, coming, going
from bench.histograms import Histogram
from bench.kubelets import Kubelets
from bench.processes import Usage
from e2e.errors import E2EError
from tests.support.api import LedgerView
from tests.support.probing import ports
from tests.support.webhook import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from agentid.kube.objects import JsonObject
    from agentid.ledger import Issued
    from agentid.node.issuer import PodProof
    from bench.fleet.lives import Life

Json = dict[str, Any]
BY_REQUEST, BY_CSI = DeliveryMode.POD_CERTIFICATE, DeliveryMode.CSI
FEW = Sizes(pods=8, nodes=3, namespaces=2, identities=2)


def of_pod(number: int, uid: str) -> Issued:
    """The record of a certificate for a pod."""
    return make_issued(number, pod=PodRef(f"pod-{uid}", uid, "node-a", f"request-{number}"))


# What there is


def test_pods_are_spread_evenly() -> None:
    """Over nodes, namespaces and identities, with as many of each door on each of them."""
    sizes = Sizes(5000, 50)
    whole = lives(sizes)
    assert len({life.key for life in whole}) == 5000
    on_nodes = Counter((life.node, life.door) for life in whole)
    assert (len(on_nodes), set(on_nodes.values())) == (100, {50})
    in_namespaces = Counter((life.key.namespace, life.door) for life in whole)
    assert (len(in_namespaces), set(in_namespaces.values())) == (20, {250})
    of_identities = Counter((life.key.namespace, life.identity) for life in whole)
    assert (len(of_identities), set(of_identities.values())) == (200, {25})


@pytest.mark.parametrize("pods", [1, 7, 200, 999])
@pytest.mark.parametrize("nodes", [1, 2, 20, 50])
def test_any_number_is_spread(pods: int, nodes: int) -> None:
    """No node has more than two pods more than another."""
    whole = lives(Sizes(pods, nodes))
    found = Counter(life.node for life in whole)
    assert len(whole) == pods
    assert max(found.values()) - min(found.values() if len(found) == nodes else [0]) <= 2


def test_an_author_mounts_nothing() -> None:
    """That is left to the webhook."""
    (first, *_) = lives(FEW)
    assert pod_body(first) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "pod-0",
            "namespace": "fleet-0",
            "labels": {"agentid.dev/identity": "podcertificate-0"},
        },
        "spec": {"nodeName": "fleet-0", "containers": [{"name": "agent", "image": "agent"}]},
    }


def test_the_defaults_are_what_is_promised() -> None:
    """Five thousand pods on fifty nodes."""
    given = arguments([])
    assert (given.pods, given.nodes, given.output) == (5000, 50, None)


# What the ledger says


def test_a_pod_is_done_with_once_its_last_certificate_is_revoked() -> None:
    """One that it had beside, such as by an answer that was lost, counts too."""
    at = [10.0]
    recorded = Recorded(lambda: None, lambda: at[0])
    recorded.learn(Durable((of_pod(1, "a"), of_pod(2, "a"), make_issued(3)), own=False))
    assert (recorded.certificates, recorded.revoked_at("a")) == (2, None)
    recorded.learn(Durable((make_revoked(1),), own=False))
    assert recorded.revoked_at("a") is None
    at[0] = 11.0
    recorded.learn(Durable((make_revoked(2),), own=False))
    at[0] = 12.0  # the segments are merged, and told again
    recorded.learn(Durable((of_pod(2, "a"), make_revoked(1), make_revoked(2)), own=False))
    assert recorded.revoked_at("a") == 11.0
    assert recorded.revoked_at("b") is None


def test_what_is_left_is_found() -> None:
    """A certificate of a pod that is not revoked; those of no pod are none of ours."""
    issued = {str(each.serial): each for each in (of_pod(1, "a"), of_pod(2, "b"), make_issued(3))}
    revoked = {str(make_revoked(1).serial): make_revoked(1)}
    assert list(unrevoked(LedgerView(issued, revoked))) == [of_pod(2, "b")]


# The phases


class Served(Nodes):
    """Nodes whose requests are answered at once."""

    def __init__(self, kubelets: Kubelets) -> None:
        super().__init__(kubelets, {}, {}, {}, iter(()))
        self.seen: list[Life] = []
        self.failure: Exception | None = None

    async def serve(self, life: Life, pod: JsonObject) -> None:
        """As the door has it: by request the certificate is seen later."""
        assert (pod["metadata"]["uid"], life.issued) == (life.uid, None)  # type: ignore[index]
        if self.failure is not None:
            raise self.failure
        self.seen.append(life)
        life.asked = asyncio.get_running_loop().time()
        if life.door is BY_REQUEST:
            self.kubelets.issued[life.key] = life.asked + 1
        else:
            life.issued = life.asked + 2


@asynccontextmanager
async def fleet_of(sizes: Sizes) -> AsyncIterator[tuple[FakeApiServer, Fleet, Served]]:
    """A fleet that follows its pods."""
    async with FakeApiServer() as server, server.client() as client:
        nodes = Served(Kubelets({}))
        fleet = Fleet(client, lives(sizes), nodes, nodes.kubelets.changed)
        fleet.begin(fleet.watch())
        await until(lambda: any("watch=" in path for _, path, _, _ in server.requests))
        yield server, fleet, nodes
        await fleet.end()


async def test_a_client_that_is_held_up_says_so() -> None:
    """Since it sees everything late; a process that does not answer is no process on time."""
    (port,) = ports(1)
    async with lagging({"operator": (port, "agentid_event_loop_lag_seconds")}) as found:
        await until(lambda: found["this client"].looks and found["operator"].silent)
        time.sleep(0.3)  # noqa: ASYNC251 - this is what holds it up
        await until(lambda: found["this client"].worst > 0.1)
    assert (found["operator"].looks, found["operator"].worst) == (0, 0)


async def test_each_pod_that_comes_is_served_by_its_node_once() -> None:
    """And is done with when its certificate was seen, by whichever door."""
    async with fleet_of(FEW) as (server, fleet, nodes):
        await fleet.come()
        assert sorted(nodes.seen, key=id) == sorted(fleet.lives, key=id)
        assert len(server.objects) == 8
        for life in fleet.lives:
            assert life.until("issued", "asked") == (1 if life.door is BY_REQUEST else 2)
            assert life.until("created", "sent") > 0


async def test_a_pod_that_is_refused_is_made_again() -> None:
    """As controllers of pods do where a webhook was away; it counts, and so does the time."""
    async with fleet_of(replace(FEW, pods=1)) as (server, fleet, _):
        server.fail_next(422, {"reason": "Invalid", "message": "no volume that brings it"})
        await fleet.come()
        assert fleet.refused == 1
        assert fleet.lives[0].until("created", "sent") >= 0.5


async def test_a_node_that_fails_ends_the_run() -> None:
    """With what it failed of, and not by waiting for what never comes."""
    async with fleet_of(FEW) as (_, fleet, nodes):
        nodes.failure = E2EError("pod fleet-0/pod-0: spec.volumes has none")
        with pytest.raises(E2EError, match=r"spec\.volumes has none"):
            await asyncio.wait_for(fleet.come(), 10)


async def test_a_request_that_is_denied_ends_the_run() -> None:
    """In the signer's words."""
    async with fleet_of(replace(FEW, pods=1)) as (_, fleet, nodes):
        nodes.kubelets.refused[fleet.lives[0].key] = "there is no reader"
        with pytest.raises(E2EError, match="pod fleet-0/pod-0 was refused: there is no reader"):
            await asyncio.wait_for(fleet.come(), 10)


async def test_pods_are_over_once_all_are_gone_and_revoked() -> None:
    """Neither is enough by itself."""
    async with fleet_of(replace(FEW, pods=2)) as (server, fleet, _):
        await fleet.come()
        issued = [of_pod(number, life.uid) for number, life in enumerate(fleet.lives, 1)]
        fleet.recorded.learn(Durable((*issued, make_revoked(1)), own=False))
        going_away = asyncio.create_task(fleet.go())
        await until(lambda: all(life.gone is not None for life in fleet.lives))
        await asyncio.sleep(0.5)
        assert not going_away.done()
        assert not server.objects
        fleet.recorded.learn(Durable((make_revoked(2),), own=False))
        await asyncio.wait_for(going_away, 10)
        first, second = fleet.lives
        assert first.until("revoked", "gone") < 0 < second.until("revoked", "gone")


# What a plugin asks


class Plugin:
    """The issuer service's client, which does not reach it at first."""

    def __init__(self) -> None:
        self.asked: list[tuple[PodProof, bytes]] = []

    async def x509(self, pod: PodProof, csr_der: bytes) -> None:
        """Answer the second time."""
        self.asked.append((pod, csr_der))
        if len(self.asked) == 1:
            message = "busy"
            raise UnavailableError(message)


def with_volume(life: Life, driver: str = "csi.agentid.dev") -> Json:
    """A pod as it was stored."""
    body: Json = dict(pod_body(life))
    body["spec"]["volumes"] = [{"name": "agentid", "csi": {"driver": driver}}]
    return body


async def test_a_plugin_shows_the_token_that_its_kubelet_got() -> None:
    """Bound to the pod, for our audience; both are asked for again, and each time counts."""
    life = next(life for life in lives(FEW) if life.door is BY_CSI)
    life.uid, plugin = "p1", Plugin()
    async with FakeApiServer() as server, server.client() as client:
        nodes = Nodes(Kubelets({life.node: client}), {life.node: plugin}, {}, {}, iter([b"csr"]))  # type: ignore[dict-item]
        server.fail_next(404)
        server.answers.append(lambda _: web.json_response({"status": {"token": "t1"}}, status=201))
        await nodes.serve(life, with_volume(life))
        method, path, _, body = server.requests[-1]
    assert (method, path.partition("?")[0]) == (
        "POST",
        "/api/v1/namespaces/fleet-0/serviceaccounts/default/token",
    )
    spec = json.loads(body)["spec"]
    assert spec["audiences"] == ["agentid.dev"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": life.key.name, "uid": "p1"}
    assert spec["boundObjectRef"] == bound
    assert [(proof.token, proof.uid, csr) for proof, csr in plugin.asked] == [
        ("t1", "p1", b"csr")
    ] * 2
    assert (nodes.tries.tokens, nodes.tries.issuer) == (1, 1)
    assert life.until("issued", "asked") >= 0.2


async def test_a_pod_without_the_volume_is_found_out() -> None:
    """A webhook that mounted another one did not do its work."""
    life = next(life for life in lives(FEW) if life.door is BY_CSI)
    other = with_volume(life, "csi.example.com")
    assert not mounted_driver(other)
    with pytest.raises(E2EError, match=r"spec\.volumes has none of driver csi\.agentid\.dev"):
        await Nodes(Kubelets({}), {}, {}, {}, iter(())).serve(life, other)


class Feed:
    """The issuer service's stream of changes, which ends after what stands."""

    def __init__(self, *changes: Change) -> None:
        self.standing = changes
        self.asked = 0

    async def changes(self) -> AsyncGenerator[Change, None]:
        """What stands, each time."""
        self.asked += 1
        for change in self.standing:
            yield change
        message = "the connection has ended"
        raise UnavailableError(message)


async def test_what_a_plugin_is_told_is_counted_by_certificate() -> None:
    """It comes again after its stream has ended, and is then told of some another time."""
    kind = ChangeKind.REVOKED
    feed = Feed(Change(ChangeKind.BUNDLES), Change(kind, "p1", "0a"), Change(kind, "p2"))
    nodes = Nodes(Kubelets({}), {"a": feed}, {}, {}, iter(()))  # type: ignore[dict-item]
    listening = asyncio.create_task(nodes.listen("a"))
    await until(lambda: feed.asked >= 2)
    listening.cancel()
    assert nodes.told == {"0a": feed.asked}


# The report


TOLD = Counter({"0a": 3, "0b": 1})
"""What plugins heard: of one certificate thrice."""


def lived() -> list[Life]:
    """Eight pods: made every second from 100 on, served one after the other, late by CSI."""
    whole = lives(FEW)
    for number, life in enumerate(whole):
        life.sent, life.created, life.asked = 100.0 + number, 100.5 + number, 101.0 + number
        life.issued = (102.0 if life.door is BY_REQUEST else 105.0) + number
        life.deleted, life.gone, life.revoked = 200.0 + number, 201.0 + number, 201.25 + number
    return whole


def calls() -> Histogram:
    """Eight calls, none of them above 25 ms."""
    return Histogram("calls", {0.005: 4, 0.025: 8, float("inf"): 8}, 0.08)


def test_a_backlog_is_told_by_door() -> None:
    """Who is not there yet does not wait, and who has a certificate does not any more."""
    whole = lived()
    assert waiting(whole, 100.0) == {}
    assert waiting(whole, 103.5) == {BY_REQUEST: 1, BY_CSI: 2}
    assert waiting(whole, 107.5) == {BY_REQUEST: 1, BY_CSI: 3}
    assert waiting(whole, 112.0) == {}


def test_the_figures_are_those_of_the_pods() -> None:
    """By hand: the last create is over after 7.5 s, the last certificate there after 12."""
    repeated = {"pods": 3}
    came = coming(lived(), webhook=calls(), reviews=calls(), repeated=repeated)
    assert (came.made, came.served) == (8 / 7.5, 8 / 12)
    assert came.issued == {"PodCertificate": Latency(1.5, 1.5, 1.5), "CSI": Latency(4.5, 4.5, 4.5)}
    assert came.answered == {"PodCertificate": Latency(1, 1, 1), "CSI": Latency(4, 4, 4)}
    assert came.waiting[-1] == {"PodCertificate": 1, "CSI": 3}
    assert came.drained == 4.5
    assert (came.webhook.p50, came.webhook.p99, came.webhook.mean) == (0.005, 0.025, 0.01)
    went = going(lived(), certificates=9, told=TOLD)
    assert (went.gone, went.last, went.behind) == (8 / 8, 8.25, 0.25)
    assert (went.from_gone.p99, went.from_asked.p50) == (0.25, 1.25)


@pytest.mark.parametrize("moment", ["created", "issued", "asked"])
def test_a_pod_that_was_not_served_is_no_figure(moment: str) -> None:
    """Whatever of it was not seen."""
    whole = lived()
    setattr(whole[3], moment, None)
    with pytest.raises(E2EError, match="pod fleet-1/pod-3 was never seen to be"):
        coming(whole, webhook=calls(), reviews=calls(), repeated={})


@pytest.mark.parametrize("moment", ["gone", "revoked", "deleted"])
def test_a_pod_that_is_not_over_is_no_figure(moment: str) -> None:
    """Whatever of it was not seen."""
    whole = lived()
    setattr(whole[3], moment, None)
    with pytest.raises(E2EError, match="pod fleet-1/pod-3 was never seen to be"):
        going(whole, certificates=8, told=TOLD)


def test_it_is_told_to_people_and_to_programs() -> None:
    """A bound that is infinite has no number."""
    late = Histogram("calls", {0.005: 4, float("inf"): 8}, 0.08)
    came = coming(lived(), webhook=late, reviews=calls(), repeated={"pods": 3, "tokens": 0})
    writes = Counts(done={("pods", "POST"): 8}, refused={("pods", "POST"): 3})
    phase = Phase(writes, {"operator": Usage(0.8, 90_000_000, 1)}, {"operator": Lag(0.02, 9, 1)})
    told = (FEW, came, phase, going(lived(), certificates=9, told=TOLD), phase)
    lines = as_text(*told).splitlines()
    assert lines[1] == "8 pods on 3 nodes, in 2 namespaces with 4 identities each"
    for line in (
        "  webhook, API server   p50 at most 5 ms, p99 beyond all bounds, mean 10.0 ms of 8",
        "  webhook, itself       p50 at most 5 ms, p99 at most 25 ms, mean 10.0 ms of 8",
        "  asked again: pods 3, tokens 0",
        "     1.000  POST pods",
        "    event loop of operator: 20 ms late at most, 1 looks without an answer",
        "  gone to revoked       p50 250 ms, p99 250 ms, worst 250 ms",
        "  of 9 certificates none is in force; node plugins were told of 2, in 4 lines",
    ):
        assert line in lines
    found = json.loads(as_json(*told))
    assert found["coming"]["webhook"] == {"count": 8, "p50": 0.005, "p99": None, "mean": 0.01}
    assert found["coming"]["writes"]["done"] == {"POST pods": 8}
    assert found["going"]["costs"]["operator"]["peak"] == 90_000_000


def test_a_look_without_an_answer_is_counted_as_such() -> None:
    """It is no lag of zero."""
    lag = Lag()
    for seconds in (0.01, float("nan"), 0.005):
        lag.take(seconds)
    assert (lag.worst, lag.looks, lag.silent) == (0.01, 2, 1)
