"""Trust bundles: the same everywhere, never behind what was published, gone with their issuer."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from agentid.errors import UnavailableError
from agentid.issuers import AuthoritySettings, carried_out
from agentid.pki import KeyAlgorithm
from agentid.policy.authorities import DropRoot, StageRoot
from agentid.services.bundles import BundlePublisher
from agentid.services.foreign import ForeignBundle, ForeignBundles
from agentid.services.trust_bundles import trust_bundle_name
from agentid.services.world import IssuerState
from agentid.testing.ca import ThrowawayCA
from tests.services.bundle_documents import document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.issuers import AuthoritySet
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

Json = dict[str, Any]

SYSTEM = "agentid-system"
OWN = f"/api/v1/namespaces/{SYSTEM}/configmaps/agentid-bundle-test"
RECORD = f"/api/v1/namespaces/{SYSTEM}/configmaps/agentid-trust-bundle-namespaces"
BUNDLES = "/apis/certificates.k8s.io/v1/clustertrustbundles"
TRUST_BUNDLE = f"{BUNDLES}/agentid.dev:agent:test"


def in_namespace(name: str) -> str:
    """Where the ConfigMap of the issuer is in a namespace."""
    return f"/api/v1/namespaces/{name}/configmaps/agentid-bundle-test"


def publisher(c: Cluster, foreign: ForeignBundles | None = None) -> BundlePublisher:
    """A leader's publisher that has just begun."""
    return BundlePublisher(
        world=c.world,
        client=c.client,
        foreign=foreign or ForeignBundles(c.clock),
        clock=c.clock,
        random=lambda: 0.5,
        namespace=SYSTEM,
    )


def set_up(c: Cluster, authorities: AuthoritySet | None = None, **spec: Any) -> AuthoritySet:  # noqa: ANN401
    """An issuer with these authorities, or with those of the CA."""
    if "test" not in c.world.issuers or spec:
        c.put_issuer(**spec)
    chosen = authorities or c.ca.authority_set
    c.world.issuer_states["test"] = IssuerState(None, authorities=chosen)
    return chosen


def with_another_root(c: Cluster, have: AuthoritySet) -> AuthoritySet:
    """The authorities once a second root is staged."""
    settings = AuthoritySettings(
        trust_domain=c.ca.trust_domain,
        root_algorithm=KeyAlgorithm.ED25519,
        root_lifetime=timedelta(days=365),
        intermediate_algorithm=KeyAlgorithm.ED25519,
        intermediate_lifetime=timedelta(days=90),
        shards=1,
        responder="http://responder.test",
    )
    step = StageRoot("for the test", hurry=False)
    return carried_out(have, step, settings, c.clock.now(), c.ca.random)


def numbered(have: AuthoritySet, sequence: int) -> AuthoritySet:
    """The same roots under another number."""
    return have.with_records(replace(have.records, sequence=sequence))


def label(c: Cluster, name: str, *, enabled: bool = True, uid: str = "u") -> None:
    """A namespace as the watch tells it."""
    labels = {"agentid.dev/trust-bundle": "enabled"} if enabled else {}
    body = {"metadata": {"name": name, "uid": f"{uid}-{name}", "labels": labels}}
    c.world.take_namespace(body, gone=False)


def pems(c: Cluster) -> dict[str, str]:
    """The roots as each place has them."""
    found = {}
    for path, body in c.server.objects.items():
        if "/clustertrustbundles/" in path:
            found[path] = body["spec"]["trustBundle"]  # type: ignore[index]
        elif path.endswith("/agentid-bundle-test"):
            found[path] = body["data"]["ca.crt"]  # type: ignore[index]
    return found


def sequence(c: Cluster, path: str = OWN) -> int:
    """The number of the bundle in a ConfigMap."""
    number: int = json.loads(c.server.objects[path]["data"]["bundle.json"])["spiffe_sequence"]  # type: ignore[index]
    return number


@asynccontextmanager
async def leading(publishing: BundlePublisher) -> AsyncIterator[None]:
    """Have it run as the leader does."""
    task = asyncio.create_task(publishing.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(c: Cluster, condition: Callable[[], object]) -> None:
    """Let real requests and virtual time pass, until it holds."""
    for _ in range(400):
        if condition():
            return
        await c.clock.run_for(0.05)
        await asyncio.sleep(0.005)
    assert condition()


# One publication


async def test_the_same_roots_are_published_everywhere(cluster: Open) -> None:
    """In our namespace for responders, as a ClusterTrustBundle, and where a namespace asks."""
    async with cluster() as c:
        have = set_up(c, bundle={"refreshHint": "10m"})
        label(c, "finance")
        label(c, "other", enabled=False)
        assert await publisher(c).publish("test")
        root = have.bundle.pem.decode()
        assert pems(c) == dict.fromkeys((OWN, TRUST_BUNDLE, in_namespace("finance")), root)
        own, shared = c.server.objects[OWN], c.server.objects[in_namespace("finance")]
        assert own["metadata"]["labels"] == {  # type: ignore[index]
            "agentid.dev/managed": "true",
            "agentid.dev/publication": "bundle",
            "agentid.dev/issuer": "test",
        }
        assert shared["metadata"]["labels"] == {  # type: ignore[index]
            "agentid.dev/managed": "true",
            "agentid.dev/issuer": "test",
        }
        data: Any = own["data"]
        assert data["trustDomain"] == "example.org"
        assert data["authorities.pem"] == c.ca.intermediate.certificate_pem.decode()
        told = json.loads(data["bundle.json"])
        assert (told["spiffe_sequence"], told["spiffe_refresh_hint"]) == (1, 600)
        assert shared["data"] == {name: data[name] for name in ("bundle.json", "ca.crt")}
        bundle = c.server.objects[TRUST_BUNDLE]
        assert bundle["spec"]["signerName"] == "agentid.dev/agent"  # type: ignore[index]
        assert bundle["metadata"]["labels"] == {  # type: ignore[index]
            "agentid.dev/managed": "true",
            "agentid.dev/issuer": "test",
        }
        assert c.world.published_bundles == {"test": 1}


async def test_what_is_there_is_not_written_again(cluster: Open) -> None:
    """A second look asks nobody; another leader's first look writes only where it may not read."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        first = publisher(c)
        assert await first.publish("test")
        count = len(c.server.requests)
        assert await first.publish("test")
        assert len(c.server.requests) == count
        before = len(c.writes())
        assert await publisher(c).publish("test")
        assert c.writes()[before:] == [f"PUT {in_namespace('finance')}"]


async def test_a_new_root_reaches_all_of_them_in_one_round(cluster: Open) -> None:
    """Whoever looks at all three after a round sees one bundle, with a higher number."""
    async with cluster() as c:
        have = set_up(c)
        for name in ("finance", "hr"):
            label(c, name)
        publishing = publisher(c)
        assert await publishing.publish("test")
        seen = [set(pems(c).values())]
        after = set_up(c, with_another_root(c, have))
        assert await publishing.publish("test")
        seen.append(set(pems(c).values()))
        assert len(pems(c)) == 4
        assert seen == [{have.bundle.pem.decode()}, {after.bundle.pem.decode()}]
        assert {sequence(c), sequence(c, in_namespace("hr"))} == {2}
        last = set_up(c, _without_oldest_root(after))
        assert await publishing.publish("test")
        assert set(pems(c).values()) == {last.bundle.pem.decode()}
        assert sequence(c) == 3


def _without_oldest_root(have: AuthoritySet) -> AuthoritySet:
    oldest = have.records.roots[-1].id
    issuing = tuple(each for each in have.records.issuing if each.root != oldest)
    records = replace(have.records, issuing=issuing)
    settings = AuthoritySettings(
        have.trust_domain,
        KeyAlgorithm.ED25519,
        timedelta(days=1),
        KeyAlgorithm.ED25519,
        timedelta(days=1),
        1,
        "http://r.test",
    )
    ca = ThrowawayCA()
    step = DropRoot(oldest, hurry=False)
    return carried_out(have.with_records(records), step, settings, ca.now, ca.random)


async def test_a_reader_never_sees_a_mixture_that_stays(cluster: Open) -> None:
    """Two bundles are seen together only while a round is on its way."""
    async with cluster() as c:
        have = set_up(c)
        for number in range(30):
            label(c, f"n-{number}")
        publishing = publisher(c)
        assert await publishing.publish("test")
        for _ in range(3):
            have = set_up(c, with_another_root(c, have))
            round_ = asyncio.create_task(publishing.publish("test"))
            mixtures = 0
            while not round_.done():
                mixtures += len(set(pems(c).values())) > 1
                await asyncio.sleep(0)
            assert mixtures, "nothing was seen of the round"
            assert set(pems(c).values()) == {have.bundle.pem.decode()}


async def test_a_change_of_the_hint_keeps_the_number(cluster: Open) -> None:
    """The number is that of the roots."""
    async with cluster() as c:
        set_up(c)
        publishing = publisher(c)
        assert await publishing.publish("test")
        set_up(c, bundle={"refreshHint": "1m"})
        assert await publishing.publish("test")
        told = json.loads(c.server.objects[OWN]["data"]["bundle.json"])  # type: ignore[index]
        assert (told["spiffe_sequence"], told["spiffe_refresh_hint"]) == (1, 60)


# Never back


@pytest.mark.parametrize("kept", [2, 3])
async def test_authorities_of_an_older_backup_are_not_published(cluster: Open, kept: int) -> None:
    """A lower number, or the same number with other roots, changes nothing anywhere."""
    async with cluster() as c:
        old = set_up(c)
        label(c, "finance")
        newer = set_up(c, numbered(with_another_root(c, old), 3))
        assert await publisher(c).publish("test")
        before = dict(c.server.objects)
        set_up(c, numbered(old, kept))
        with capture_logs() as logs:
            restarted = publisher(c)
            assert not await restarted.publish("test")
            assert not await restarted.publish("test")
        assert c.server.objects == before
        assert [each["event"] for each in logs].count("bundle_withheld") == 1
        told = c.world.withheld_bundles["test"]
        assert f"bundle {kept} is not published, since bundle 3 with other roots" in told
        assert "delete that ConfigMap" in told
        set_up(c, newer)
        assert await restarted.publish("test")
        assert c.world.withheld_bundles == {}


async def test_a_bundle_is_published_anew_once_the_later_one_was_removed(cluster: Open) -> None:
    """By a person who was told so, since the later authorities are lost."""
    async with cluster() as c:
        old = set_up(c)
        set_up(c, numbered(with_another_root(c, old), 3))
        publishing = publisher(c)
        assert await publishing.publish("test")
        set_up(c, old)
        assert not await publishing.publish("test")
        c.server.remove(OWN)
        assert await publishing.publish("test")
        assert set(pems(c).values()) == {old.bundle.pem.decode()}
        assert c.world.withheld_bundles == {}


async def test_the_same_roots_under_a_lower_number_are_not_published_either(cluster: Open) -> None:
    """Readers compare numbers, so a number never goes back."""
    async with cluster() as c:
        have = set_up(c)
        set_up(c, numbered(have, 7))
        publishing = publisher(c)
        assert await publishing.publish("test")
        set_up(c, numbered(have, 6))
        assert not await publishing.publish("test")
        assert sequence(c) == 7


async def test_a_leader_that_slept_does_not_undo_what_the_next_one_published(cluster: Open) -> None:
    """What it knows of the ConfigMap is out of date, so it looks, and holds its own back."""
    async with cluster() as c:
        old = set_up(c)
        slept = publisher(c)
        assert await slept.publish("test")
        newer = set_up(c, numbered(with_another_root(c, old), 5))
        assert await publisher(c).publish("test")
        set_up(c, numbered(old, 2))
        assert not await slept.publish("test")
        assert sequence(c) == 5
        assert c.server.objects[TRUST_BUNDLE]["spec"]["trustBundle"] == newer.bundle.pem.decode()  # type: ignore[index]


async def test_a_leader_that_slept_between_two_writes_looks_before_the_next(cluster: Open) -> None:
    """It finds a later bundle than its own, and does not insist."""
    async with cluster() as c:
        old = set_up(c)
        slept = publisher(c)
        assert await slept.publish("test")
        middle = set_up(c, with_another_root(c, old))
        c.server.refused[BUNDLES] = 500
        assert not await slept.publish("test")
        del c.server.refused[BUNDLES]
        newest = set_up(c, with_another_root(c, middle))
        assert await publisher(c).publish("test")
        set_up(c, middle)
        assert not await slept.publish("test")
        assert sequence(c) == 3
        assert set(pems(c).values()) == {newest.bundle.pem.decode()}


async def test_a_published_bundle_that_cannot_be_read_is_replaced(cluster: Open) -> None:
    """There is nothing to go on from, and somebody has to see it in the log."""
    async with cluster() as c:
        have = set_up(c)
        metadata = {"namespace": SYSTEM, "name": "agentid-bundle-test"}
        c.server.put(OWN, {"metadata": metadata, "data": {"bundle.json": "{"}})
        with capture_logs() as logs:
            assert await publisher(c).publish("test")
        assert "published_bundle_unreadable" in [each["event"] for each in logs]
        assert set(pems(c).values()) == {have.bundle.pem.decode()}


# Nothing to say


async def test_what_cannot_be_read_leaves_what_is_published(cluster: Open) -> None:
    """Authorities that are away, and a spec that does not parse, take nothing from verifiers."""
    async with cluster() as c:
        set_up(c)
        publishing = publisher(c)
        assert await publishing.publish("test")
        before = dict(c.server.objects)
        c.world.issuer_states["test"] = IssuerState(None, "away", passing=True)
        assert await publishing.publish("test")
        assert c.server.objects == before


# Namespaces


async def test_a_namespace_gets_its_bundle_when_it_asks_and_loses_it_when_it_does_not(
    cluster: Open,
) -> None:
    """At once, while everything else stays as it is."""
    async with cluster() as c:
        set_up(c)
        publishing = publisher(c)
        async with leading(publishing):
            await until(c, lambda: OWN in c.server.objects)
            version = c.server.objects[OWN]["metadata"]["resourceVersion"]  # type: ignore[index]
            label(c, "finance")
            publishing.poke()
            await until(c, lambda: in_namespace("finance") in c.server.objects)
            label(c, "finance", enabled=False)
            publishing.poke()
            await until(c, lambda: in_namespace("finance") not in c.server.objects)
            await until(c, lambda: c.server.objects[RECORD]["data"] == {"namespaces": ""})
            assert c.server.objects[OWN]["metadata"]["resourceVersion"] == version  # type: ignore[index]


async def test_a_label_taken_off_while_nobody_watched_is_noticed(cluster: Open) -> None:
    """The next leader finds on record where there is something to remove."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        label(c, "hr")
        assert await publisher(c).publish_all()
        label(c, "finance", enabled=False)
        assert await publisher(c).publish_all()
        assert in_namespace("finance") not in c.server.objects
        assert in_namespace("hr") in c.server.objects
        assert c.server.objects[RECORD]["data"] == {"namespaces": "hr"}


async def test_a_namespace_is_on_record_before_anything_is_in_it(cluster: Open) -> None:
    """So nothing is ever left behind: not even by a crash in between."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        assert await publisher(c).publish("test")
        writes = c.writes()
        record = writes.index(f"POST /api/v1/namespaces/{SYSTEM}/configmaps", 1)
        assert record < writes.index("POST /api/v1/namespaces/finance/configmaps")


async def test_without_a_record_nothing_is_written(cluster: Open) -> None:
    """What could not be found again is not made."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        c.server.refused[RECORD] = 403
        with pytest.raises(Exception, match="403"):
            await publisher(c).publish("test")
        assert in_namespace("finance") not in c.server.objects


async def test_a_namespace_that_was_made_anew_gets_its_bundle_again(cluster: Open) -> None:
    """It has the name of one that is gone, and nothing of it."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        publishing = publisher(c)
        assert await publishing.publish_all()
        c.server.remove(in_namespace("finance"))
        label(c, "finance", uid="another")
        assert await publishing.publish_all()
        assert in_namespace("finance") in c.server.objects


async def test_a_namespace_that_refuses_keeps_nothing_from_the_others(cluster: Open) -> None:
    """It is told of, and tried again."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        label(c, "hr")
        c.server.refused["/api/v1/namespaces/finance/configmaps"] = 403
        publishing = publisher(c)
        with capture_logs() as logs:
            assert not await publishing.publish("test")
        told = [each for each in logs if each["event"] == "bundle_not_delivered"]
        assert [each["namespace"] for each in told] == ["finance"]
        assert in_namespace("hr") in c.server.objects
        c.server.refused.clear()
        assert await publishing.publish("test")
        assert in_namespace("finance") in c.server.objects


async def test_a_bundle_that_somebody_removed_is_put_back(cluster: Open) -> None:
    """Within the slow look at everything."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        async with leading(publisher(c)):
            await until(c, lambda: in_namespace("finance") in c.server.objects)
            for path in (in_namespace("finance"), TRUST_BUNDLE, OWN):
                c.server.remove(path)
            c.clock.advance(timedelta(minutes=11))
            await until(c, lambda: len(pems(c)) == 3)


# ClusterTrustBundles


async def test_a_cluster_without_the_kind_is_asked_now_and_then(cluster: Open) -> None:
    """Once in ten minutes; the rest is published all the same."""
    async with cluster() as c:
        set_up(c)
        c.server.refused[BUNDLES] = 404
        publishing = publisher(c)
        for _ in range(3):
            assert await publishing.publish("test")
        asked = [path for _, path, _, _ in c.server.requests if BUNDLES in path]
        assert len(asked) == 1
        del c.server.refused[BUNDLES]
        c.clock.advance(timedelta(minutes=11))
        assert await publishing.publish("test")
        assert TRUST_BUNDLE in c.server.objects


async def test_without_the_right_to_attest_the_rest_is_published(cluster: Open) -> None:
    """What is missing is told, and tried again."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        c.server.refused[TRUST_BUNDLE] = 403
        c.server.put(TRUST_BUNDLE, _trust_bundle("agentid.dev/issuer", "test"))
        with capture_logs() as logs:
            assert not await publisher(c).publish("test")
        assert "trust_bundle_not_written" in [each["event"] for each in logs]
        assert in_namespace("finance") in c.server.objects


def _trust_bundle(key: str, value: str) -> Json:
    labels = {"agentid.dev/managed": "true", key: value}
    return {
        "metadata": {"name": TRUST_BUNDLE.rpartition("/")[2], "labels": labels},
        "spec": {"signerName": "agentid.dev/agent", "trustBundle": "x"},
    }


# Foreign bundles


def foreign_bundle(ca: ThrowawayCA, number: int = 1, **members: object) -> ForeignBundle:
    """The bundle of a CA as it was fetched."""
    return ForeignBundle.read(
        ca.trust_domain, document(ca, number, **members), fetched_at=ca.now, first=""
    )


FEDERATED: Json = {
    "federation": [{"trustDomain": "foreign.test", "url": "https://foreign.test/bundle"}]
}


async def test_a_foreign_bundle_stands_beside_ours(cluster: Open) -> None:
    """In each place, under a name of its own, and our number stays; no pod gets both as one."""
    async with cluster() as c:
        have = set_up(c, **FEDERATED)
        label(c, "finance")
        foreign = ForeignBundles(c.clock)
        publishing = publisher(c, foreign)
        assert await publishing.publish("test")
        foreign.put("test", foreign_bundle(ca := ThrowawayCA("foreign.test")))
        assert await publishing.publish("test")
        for path in (OWN, in_namespace("finance")):
            data: Any = c.server.objects[path]["data"]
            assert data["ca.crt"] == have.bundle.pem.decode()
            (key,) = json.loads(data["federated.foreign.test.json"])["keys"]
            assert key["use"] == "x509-svid"
        assert sequence(c) == 1
        bundle: Any = c.server.objects[f"{TRUST_BUNDLE}.foreign.test"]
        assert bundle["spec"]["trustBundle"] == ca.bundle.pem.decode()
        assert bundle["metadata"]["labels"] == {
            "agentid.dev/managed": "true",
            "agentid.dev/trust-domain": "foreign.test",
            "agentid.dev/federated-by": "test",
        }


async def test_a_foreign_bundle_outlives_a_restart_while_its_endpoint_is_away(
    cluster: Open,
) -> None:
    """The next leader goes on from what is published."""
    async with cluster() as c:
        set_up(c, **FEDERATED)
        first, foreign = ForeignBundles(c.clock), ForeignBundles(c.clock)
        publishing = publisher(c, first)
        assert await publishing.publish("test")
        first.put("test", fetched := foreign_bundle(ThrowawayCA("foreign.test"), 4))
        assert await publishing.publish("test")
        before = dict(c.server.objects)
        assert await publisher(c, foreign).publish("test")
        assert c.server.objects == before
        kept = foreign.get("test", "foreign.test")
        assert kept is not None
        assert (kept.sequence, kept.fetched_at) == (4, fetched.fetched_at)
        assert kept.bundle.der == fetched.bundle.der


async def test_a_trust_domain_that_is_federated_with_no_more_is_gone_everywhere(
    cluster: Open,
) -> None:
    """Its documents and its ClusterTrustBundle."""
    async with cluster() as c:
        set_up(c, **FEDERATED)
        foreign = ForeignBundles(c.clock)
        publishing = publisher(c, foreign)
        assert await publishing.publish("test")
        foreign.put("test", foreign_bundle(ThrowawayCA("foreign.test")))
        assert await publishing.publish("test")
        set_up(c, federation=[])
        assert await publishing.publish("test")
        assert "federated.foreign.test.json" not in c.server.objects[OWN]["data"]  # type: ignore[operator]
        assert f"{TRUST_BUNDLE}.foreign.test" not in c.server.objects


async def test_a_foreign_bundle_without_roots_is_published_as_such(cluster: Open) -> None:
    """All of them are revoked: the document says so, and the ClusterTrustBundle goes."""
    async with cluster() as c:
        set_up(c, **FEDERATED)
        foreign = ForeignBundles(c.clock)
        publishing = publisher(c, foreign)
        assert await publishing.publish("test")
        foreign.put("test", foreign_bundle(ca := ThrowawayCA("foreign.test")))
        assert await publishing.publish("test")
        foreign.put("test", foreign_bundle(ca, 2, keys=[]))
        assert await publishing.publish("test")
        data: Any = c.server.objects[OWN]["data"]
        assert json.loads(data["federated.foreign.test.json"])["keys"] == []
        assert f"{TRUST_BUNDLE}.foreign.test" not in c.server.objects


async def test_a_foreign_bundle_takes_no_name_of_another_trust_domain(cluster: Open) -> None:
    """An issuer may be called what a foreign trust domain beside another issuer comes to."""
    async with cluster() as c:
        set_up(c, **FEDERATED)
        taken = f"{TRUST_BUNDLE}.foreign.test"
        body = _trust_bundle("agentid.dev/issuer", "test.foreign.test")
        body["metadata"]["name"] = taken.rpartition("/")[2]
        c.server.put(taken, body)
        foreign = ForeignBundles(c.clock)
        publishing = publisher(c, foreign)
        assert await publishing.publish("test")
        foreign.put("test", foreign_bundle(ThrowawayCA("foreign.test")))
        assert await publishing.publish("test")
        assert c.server.objects[taken]["spec"]["trustBundle"] == "x"  # type: ignore[index]
        told = foreign.refusal("test", "foreign.test")
        assert told is not None
        assert "is that of another trust domain; rename one" in told


async def test_a_foreign_bundle_that_does_not_fit_is_left_out_and_told(cluster: Open) -> None:
    """Ours is published whatever others serve."""
    async with cluster() as c:
        set_up(c, **FEDERATED)
        foreign = ForeignBundles(c.clock)
        publishing = publisher(c, foreign)
        assert await publishing.publish("test")
        key = {"kty": "oct", "use": "jwt-svid", "kid": "x" * 950_000}
        ca = ThrowawayCA("foreign.test")
        bundle = foreign_bundle(ca)
        foreign.put("test", replace(bundle, document=json.dumps({"keys": [key]})))
        assert await publishing.publish("test")
        assert "federated.foreign.test.json" not in c.server.objects[OWN]["data"]  # type: ignore[operator]
        told = foreign.refusal("test", "foreign.test")
        assert told is not None
        assert "federate with fewer" in told


@pytest.mark.parametrize(
    ("trust_domain", "suffix"),
    [
        pytest.param("partner.example", "partner.example", id="a-host-name"),
        pytest.param("spiffe_partner", "sha256-", id="an-underscore"),
        pytest.param("a" * 64, "sha256-", id="longer-than-a-label"),
        pytest.param("-.x", "sha256-", id="no-host-name"),
    ],
)
def test_any_trust_domain_comes_to_a_name(trust_domain: str, suffix: str) -> None:
    """SPIFFE allows names that Kubernetes does not."""
    name = trust_bundle_name("test", trust_domain)
    assert name.startswith(f"agentid.dev:agent:test.{suffix}")


# The end of an issuer


async def test_everything_of_an_issuer_that_is_gone_is_removed(cluster: Open) -> None:
    """Also by a leader that never saw it, and our own ConfigMap last, which tells of it."""
    async with cluster() as c:
        set_up(c, **FEDERATED)
        label(c, "finance")
        foreign = ForeignBundles(c.clock)
        publishing = publisher(c, foreign)
        assert await publishing.publish("test")
        foreign.put("test", foreign_bundle(ThrowawayCA("foreign.test")))
        assert await publishing.publish("test")
        assert len(pems(c)) == 4
        del c.world.issuers["test"], c.world.issuer_states["test"]
        async with leading(publisher(c)):
            await until(c, lambda: not pems(c))
        deleted = [each for each in c.writes() if each.startswith("DELETE")]
        assert deleted[-1] == f"DELETE {OWN}"


async def test_an_issuer_that_is_gone_is_removed_once_it_can_be(cluster: Open) -> None:
    """What is left keeps the record of it."""
    async with cluster() as c:
        set_up(c)
        label(c, "finance")
        publishing = publisher(c)
        assert await publishing.publish("test")
        del c.world.issuers["test"]
        c.server.refused[in_namespace("finance")] = 500
        assert not await publishing.publish("test")
        assert OWN in c.server.objects
        c.server.refused.clear()
        assert await publishing.publish("test")
        assert not pems(c)


# Trouble


async def test_an_outage_is_outlasted(cluster: Open) -> None:
    """The loop comes again, also when nobody pokes it."""
    async with cluster() as c:
        set_up(c)
        c.server.refused["/api"] = 500
        c.server.refused["/apis"] = 500
        async with leading(publisher(c)):
            await until(c, lambda: len(c.server.requests) >= 3)
            c.server.refused.clear()
            await until(c, lambda: len(pems(c)) == 2)


async def test_a_write_without_an_answer_is_looked_at_before_the_next(cluster: Open) -> None:
    """It may have been carried out."""
    async with cluster() as c:
        have = set_up(c)
        publishing = publisher(c)
        assert await publishing.publish("test")
        set_up(c, after := with_another_root(c, have))
        c.server.fail_next(503)
        with pytest.raises(UnavailableError):
            await publishing.publish("test")
        assert await publishing.publish("test")
        assert set(pems(c).values()) == {after.bundle.pem.decode()}
