"""Issuers: set up, exchanged step by step, told about, and never mended behind a person's back."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api import Reason
from agentid.api.agentissuer import AgentIssuer, FederationStatus
from agentid.errors import UnavailableError
from agentid.services.issuers import IssuerService, authority_secret
from agentid.services.world import Parsed
from agentid.testing.ca import ThrowawayCA
from tests.support.api import condition

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

SYSTEM = "agentid-system"
ISSUER = "/apis/agentid.dev/v1alpha1/agentissuers/test"
SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/agentid-ca-test"

Files = dict[str, bytes]


def service_of(c: Cluster) -> IssuerService:
    """The service on a cluster."""
    return IssuerService(
        world=c.world,
        client=c.client,
        ledger=c.ledger.state,
        clock=c.clock,
        random=c.ca.random,
        namespace=SYSTEM,
    )


def status_of(c: Cluster, path: str) -> dict[str, Any]:
    """The status that somebody with kubectl sees."""
    status: Any = c.server.objects[path].get("status") or {}
    assert isinstance(status, dict)
    return status


def watch(c: Cluster) -> None:
    """Have the world see the issuer as it is stored."""
    if ISSUER in c.server.objects:
        c.world.issuers["test"] = Parsed.of(AgentIssuer.parse, c.server.objects[ISSUER])


def store_authority(c: Cluster, files: Files) -> None:
    """Put a Secret with these files."""
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    metadata = {"namespace": SYSTEM, "name": "agentid-ca-test"}
    c.server.put(SECRET, {"metadata": metadata, "data": data})


# Issuers


async def test_an_issuer_is_given_authorities_once(cluster: Open) -> None:
    """Made, stored with our label, told with their fingerprints; the next look only reads them."""
    async with cluster() as c:
        c.put_issuer()
        assert (await service_of(c).reconcile("test")).availability
        issuer = c.world.issuer_states["test"].issuer
        assert issuer is not None
        secret = c.server.objects[SECRET]
        assert secret["metadata"]["labels"] == {"agentid.dev/managed": "true"}  # type: ignore[index]
        status = status_of(c, ISSUER)
        ready = condition(status, "Ready")
        assert (ready["status"], ready["reason"]) == ("True", "Available")
        assert ready["message"] == "Signs for example.org"
        assert status["trustDomain"] == "example.org"
        told = [(each["role"], each["fingerprint"]) for each in status["authorities"]]
        assert told == [(each.role, each.fingerprint) for each in issuer.authorities()]
        watch(c)
        before = c.writes()
        assert not (await service_of(c).reconcile("test")).availability
        assert c.writes() == before, "nothing has changed, so nothing is written"
        assert c.server.objects[SECRET] == secret


CA = ThrowawayCA()
RECORDS = CA.authority_set.records
ROOT, ISSUING = f"root-{RECORDS.roots[0].id}", f"issuing-{RECORDS.issuing[0].id}"


def truncated(files: Files) -> Files:
    """The end of the root is missing."""
    return files | {f"{ROOT}.crt": files[f"{ROOT}.crt"][:300]}


def other_key(files: Files) -> Files:
    """The issuing key is that of the root."""
    return files | {f"{ISSUING}.key": files[f"{ROOT}.key"]}


def without_key(files: Files) -> Files:
    """No issuing key."""
    return {name: content for name, content in files.items() if name != f"{ISSUING}.key"}


def other_domain(_: Files) -> Files:
    """The authorities of somebody else."""
    return dict(ThrowawayCA("elsewhere.test").authority_set.files)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda _: {}, "authorities.json: it is missing; restore it", id="empty"),
        pytest.param(truncated, f"{ROOT}.crt", id="truncated"),
        pytest.param(without_key, f"{ISSUING}.key: it is missing; restore it", id="file-missing"),
        pytest.param(
            other_key,
            f"{ISSUING}.key: it is not the private key of {ISSUING}.crt",
            id="wrong-key",
        ),
        pytest.param(other_domain, "the trust domain example.org", id="other-trust-domain"),
    ],
)
@pytest.mark.parametrize("running", [False, True])
async def test_faulty_authorities_are_told_and_left_as_they_are(
    cluster: Open, spoil: Callable[[Files], Files], said: str, *, running: bool
) -> None:
    """Promise 1: a root that verifiers trust is a person's to judge; nothing is overwritten."""
    async with cluster() as c:
        c.put_issuer()
        if running:
            c.set_up_issuer()
        store_authority(c, spoil(dict(c.ca.authority_set.files)))
        damaged = c.server.objects[SECRET]
        assert (await service_of(c).reconcile("test")).availability
        state = c.world.issuer_states["test"]
        assert state.issuer is None
        assert state.passing, "somebody may restore the Secret"
        status = status_of(c, ISSUER)
        for kind, value in (("Ready", "False"), ("Stalled", "True")):
            found = condition(status, kind)
            assert (found["status"], found["reason"]) == (value, "AuthorityInvalid")
            assert f"Secret {SYSTEM}/agentid-ca-test: " in found["message"]
            assert said in found["message"]
        assert "PRIVATE" not in str(status)
        assert c.server.objects[SECRET] == damaged
        assert c.writes() == [f"PUT {ISSUER}/status"]


async def test_an_expired_authority_is_followed_by_another(cluster: Open) -> None:
    """Below the same root, by itself: whoever trusts the root need not be told."""
    async with cluster() as c:
        c.put_issuer()
        service = service_of(c)
        await service.reconcile("test")
        old = status_of(c, ISSUER)["authorities"][1]["id"]
        watch(c)
        c.clock.advance(timedelta(days=89))
        looked = await service.reconcile("test")
        assert looked.again == timedelta(seconds=1), "its successor is staged"
        told = status_of(c, ISSUER)
        assert [(each["role"], each["state"]) for each in told["authorities"]] == [
            ("Root", "Signing"),
            ("Issuing", "Staged"),
            ("Issuing", "Signing"),
        ]
        rotating = condition(told, "Rotating")
        assert "the CRLs and the OCSP signer of" in rotating["message"]
        new = told["authorities"][1]["id"]
        c.world.served_crls = c.world.served_ocsp = frozenset({new, old})
        watch(c)
        await service.reconcile("test")
        rotating = condition(status_of(c, ISSUER), "Rotating")
        assert f"the CRLs of {new} are served for 15m first" in rotating["message"]
        c.clock.advance(timedelta(minutes=15))
        watch(c)
        await service.reconcile("test")
        told = status_of(c, ISSUER)
        assert [(each["id"], each["state"]) for each in told["authorities"][1:]] == [
            (new, "Signing"),
            (old, "Retired"),
        ]
        assert [each["type"] for each in told["conditions"]] == [
            "Ready",
            "AuthoritiesCurrent",
            "JWTKeysCurrent",
        ]
        c.clock.advance(timedelta(days=2))
        watch(c)
        await service.reconcile("test")
        assert [each["id"] for each in status_of(c, ISSUER)["authorities"][1:]] == [new]


async def test_restored_authorities_are_taken_up(cluster: Open) -> None:
    """The same root as before signs again, and Stalled is gone."""
    async with cluster() as c:
        c.put_issuer()
        store_authority(c, truncated(dict(c.ca.authority_set.files)))
        service = service_of(c)
        await service.reconcile("test")
        watch(c)
        store_authority(c, dict(c.ca.authority_set.files))
        assert (await service.reconcile("test")).availability
        issuer = c.world.issuer_states["test"].issuer
        assert issuer is not None
        assert issuer.bundle().pem == c.ca.bundle.pem
        types = [each["type"] for each in status_of(c, ISSUER)["conditions"]]
        assert types == ["Ready", "AuthoritiesCurrent", "JWTKeysCurrent"]


@pytest.mark.parametrize("meanwhile", ["nothing", "damaged", "unreadable", "spec"])
async def test_lost_authorities_are_never_made_anew(cluster: Open, meanwhile: str) -> None:
    """Promise 1: however often it is looked at, and whatever was told since it signed."""
    async with cluster() as c:
        c.put_issuer()
        service = service_of(c)
        await service.reconcile("test")
        watch(c)
        root = status_of(c, ISSUER)["authorities"][0]["fingerprint"]
        whole = c.server.objects[SECRET]
        if meanwhile == "damaged":
            c.server.put(SECRET, {"metadata": whole["metadata"], "data": {}})
            await service.reconcile("test")
        elif meanwhile == "unreadable":
            c.server.fail_next(403, {"reason": "Forbidden"})
            await service.reconcile("test")
        elif meanwhile == "spec":
            stored = c.server.objects[ISSUER]
            c.server.put(ISSUER, stored | {"spec": {"trustDomain": "10.0.0.1"}})
            watch(c)
            await service.reconcile("test")
            c.server.put(ISSUER, c.server.objects[ISSUER] | {"spec": stored["spec"]})
        watch(c)
        c.server.remove(SECRET)
        for _ in range(3):
            await service.reconcile("test")
            watch(c)
            assert c.world.issuer_states["test"].issuer is None
            message = condition(status_of(c, ISSUER), "Ready")["message"]
            assert f"it is missing, and this issuer has signed before, below the root {root}" in (
                message
            )
            assert SECRET not in c.server.objects


async def test_without_the_right_to_read_nothing_is_made(cluster: Open) -> None:
    """What cannot be read may be there; it is waited for, with the API server's words."""
    async with cluster() as c:
        c.put_issuer()
        c.server.fail_next(403, {"reason": "Forbidden", "message": "no secrets for you"})
        assert (await service_of(c).reconcile("test")).availability
        found = condition(status_of(c, ISSUER), "Reconciling")
        assert (found["status"], found["reason"]) == ("True", "IssuerUnavailable")
        assert "no secrets for you" in found["message"]
        assert c.world.issuer_states["test"].passing
        assert SECRET not in c.server.objects


async def test_an_api_server_that_is_away_changes_nothing(cluster: Open) -> None:
    """Promise 5: an issuer that signs goes on signing."""
    async with cluster() as c:
        c.put_issuer()
        before = c.set_up_issuer()
        c.server.fail_next(503)
        with pytest.raises(UnavailableError, match="get secrets agentid-system/agentid-ca-test"):
            await service_of(c).reconcile("test")
        assert c.world.issuer_states["test"].issuer is before
        assert "status" not in c.server.objects[ISSUER]


async def test_an_issuer_that_does_not_parse_is_told_why(cluster: Open) -> None:
    """Past its schema by whatever door; no authorities are made for it."""
    async with cluster() as c:
        c.put_issuer(trustDomain="10.0.0.1")
        await service_of(c).reconcile("test")
        found = condition(status_of(c, ISSUER), "Stalled")
        assert found["reason"] == Reason.INVALID_SPEC
        assert found["message"].startswith('spec.trustDomain: "10.0.0.1"')
        assert SECRET not in c.server.objects


async def test_an_intermediate_that_outlives_its_root_is_refused(cluster: Open) -> None:
    """Nothing half-made is stored."""
    async with cluster() as c:
        spec = {"builtin": {"rootLifetime": "2160h", "intermediateLifetime": "4320h"}}
        c.put_issuer(ca=spec)
        await service_of(c).reconcile("test")
        assert condition(status_of(c, ISSUER), "Stalled")["reason"] == "InvalidSpec"
        assert SECRET not in c.server.objects


async def test_an_issuer_that_is_gone_signs_no_more(cluster: Open) -> None:
    """Its authorities stay where they are; classes that name it are looked at again."""
    async with cluster() as c:
        c.set_up_issuer()
        assert (await service_of(c).reconcile("test")).availability
        assert "test" not in c.world.issuer_states
        assert not (await service_of(c).reconcile("test")).availability
        assert c.server.requests == []


def test_secrets_of_issuers_have_names_of_their_own() -> None:
    """Short names are readable; long ones end in a digest, so that no two share a Secret."""
    assert authority_secret("main") == "agentid-ca-main"
    long = ["x" * 63, "x" * 62 + "y", "x" * 50, "x" * 51]
    names = [authority_secret(each) for each in long]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for name in names)


async def test_what_another_leader_told_meanwhile_is_put_right(cluster: Open) -> None:
    """A replica that leads again believes the watch, where it is newer than its own write."""
    async with cluster() as c:
        c.put_issuer()
        service = service_of(c)
        await service.reconcile("test")
        written, before = c.server.objects[ISSUER], c.writes()
        await service.reconcile("test")
        assert c.writes() == before, "what it wrote itself is newer than what the watch has told"
        watch(c)
        theirs = {**status_of(c, ISSUER), "conditions": []}
        c.server.put(ISSUER, {**written, "status": theirs})
        watch(c)
        await service.reconcile("test")
        assert condition(status_of(c, ISSUER), "Ready")["status"] == "True"


async def test_what_became_of_its_bundles_is_told(cluster: Open) -> None:
    """One that is withheld, and those of foreign trust domains; each only as long as it is so."""
    async with cluster() as c:
        c.put_issuer()
        service = service_of(c)
        await service.reconcile("test")
        c.world.withheld_bundles["test"] = "bundle 2 is not published"
        c.world.federation["test"] = (FederationStatus(trust_domain="foreign.test", sequence=4),)
        await service.reconcile("test")
        status = status_of(c, ISSUER)
        withheld = condition(status, "BundleWithheld")
        assert (withheld["status"], withheld["reason"]) == ("True", "BundleOlder")
        assert withheld["message"] == "bundle 2 is not published"
        assert status["federation"] == [{"trustDomain": "foreign.test", "sequence": 4}]
        count = len(c.writes())
        await service.reconcile("test")
        assert len(c.writes()) == count
        del c.world.withheld_bundles["test"]
        c.world.federation["test"] = ()
        await service.reconcile("test")
        status = status_of(c, ISSUER)
        assert condition(status, "BundleWithheld") == {}
        assert not status.get("federation")
