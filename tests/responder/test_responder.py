"""What a responder says about itself: probes and metrics."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client.parser import text_string_to_metric_families

from agentid.api.vocabulary import DeliveryMode, Instances, Tier
from agentid.identity import SpiffeId
from agentid.pki import KeyAlgorithm
from agentid.pki.authorization import MAX_INLINE_BYTES, AgentAuthorization
from agentid.policy.grant import Grant
from agentid.policy.permissions import Permissions
from agentid.policy.schedule import Schedule
from agentid.telemetry.probes import serve_probes
from agentid.testing.ca import ThrowawayCA
from agentid.testing.ledger import make_issued
from agentid.testing.publications import Published, secret
from tests.support.responding import serving

if TYPE_CHECKING:
    from agentid.testing.clock import ManualClock
    from tests.support.responding import World

PAGE = Path(__file__).parents[2] / "docs/reference/responder.md"


async def readyz(world: World) -> tuple[int, str]:
    """What the kubelet is told."""
    responder = world.responder
    render = responder.metrics.render
    async with (
        serve_probes("127.0.0.1", 0, responder, render, responder.remarks) as port,
        world.session.get(f"http://127.0.0.1:{port}/readyz") as answer,
    ):
        return answer.status, await answer.text()


async def test_ready_means_that_everything_was_read(clock: ManualClock) -> None:
    """Each thing that is missing has its sentence."""
    async with serving(clock, publish=False) as world:
        world.ledger.lag = None
        status, text = await readyz(world)
        assert status == 503
        assert [line.split(" ")[0:2] for line in text.splitlines()] == [
            ["what", "the"],
            ["the", "ledger"],
        ]
        world.ledger.lag = timedelta(0)
        world.responder.published_current()
        status, text = await readyz(world)
        assert (status, "no issuer publishes anything yet" in text) == (200, True)
        world.responder.publications.config_map(world.main.bundle())
        status, text = await readyz(world)
        assert (status, text.startswith("HTTPS has no certificate yet")) == (503, True)
        world.responder.publications.secret(secret(world.main))
        assert await readyz(world) == (200, "ok\n")


async def test_what_befalls_all_replicas_takes_none_away(clock: ManualClock) -> None:
    """Promise 5: old CRLs and a silent ledger are told, and served on."""
    async with serving(clock) as world:
        clock.advance(timedelta(hours=25))
        world.ledger.lag = timedelta(hours=25)
        status, text = await readyz(world)
        own = world.main.authority_id
    assert status == 200
    lines = text.splitlines()
    assert lines[0] == "ok"
    assert lines[1] == "nothing was heard of the ledger for 90000 s, so OCSP answers tryLater"
    assert (
        f"CRL 0 of {own} (builtin) was due at 2026-11-01T13:00:00+00:00 and is served still"
        in lines
    )
    assert f"the OCSP signer of {own} (builtin) has expired" in lines
    assert "the HTTPS certificate of builtin has expired" in lines


def exposed(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels by the names that queries use."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue
        labels = frozenset(label for sample in family.samples for label in sample.labels)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, labels)
    return found


async def test_the_page_and_the_registry_say_the_same(clock: ManualClock) -> None:
    """Every metric has its row, and every row its metric."""
    async with serving(clock) as world:
        world.issue(1)
        await world.get("/ocsp/AAAA")
        metrics = world.responder.metrics
        for counter, label in (
            (metrics.refused, "rate"),
            (metrics.feed_endings, "slow"),
            (metrics.publications_refused, "crl"),
        ):
            counter.labels(label).inc()
        found = exposed(metrics.render().decode())
    rows = re.findall(r"^\| `(agentid_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    assert found == {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }


async def test_gauges_show_the_worst_of_an_issuer(clock: ManualClock) -> None:
    """The oldest CRL, and the first one that is due."""
    async with serving(clock) as world:
        world.responder.publications.config_map(
            world.main.crl(5, age=timedelta(minutes=30), lifetime=timedelta(minutes=40))
        )
        clock.advance(60)
        text = world.responder.metrics.render().decode()
    assert 'agentid_responder_crl_age_seconds{issuer="builtin"} 1860.0' in text
    assert 'agentid_responder_crl_next_update_seconds{issuer="builtin"} 540.0' in text
    assert 'agentid_responder_crls{issuer="builtin"} 3.0' in text
    assert 'agentid_responder_bundle_sequence{issuer="builtin"} 1.0' in text


# What is published


async def test_authorities_are_served(clock: ManualClock) -> None:
    """For the caIssuers of leaves and intermediates: DER, RFC 5280 §4.2.2.1."""
    async with serving(clock) as world:
        ca = world.main.ca
        for name, certificate in (
            (world.main.authority_id, ca.intermediate.certificate),
            (world.main.root_id, ca.root.certificate),
        ):
            status, headers, body = await world.get(f"/ca/{name}.crt")
            assert (status, headers["Content-Type"]) == (200, "application/pkix-cert")
            assert body == certificate.public_bytes(Encoding.DER)
        assert (await world.get(f"/ca/{world.main.authority_id}"))[0] == 404
        assert (await world.get("/ca/0000000000000000.crt"))[0] == 404


async def test_a_sequence_never_goes_back(clock: ManualClock) -> None:
    """And two issuers never share a trust domain: bundles are not merged."""
    async with serving(clock) as world:
        publications = world.responder.publications
        publications.config_map(world.main.bundle(5))
        publications.config_map(world.main.bundle(4))
        publications.config_map(Published(ThrowawayCA(seed="rival"), "rival").bundle(9))
        found = publications.bundles.by_trust_domain("example.org")
        text = world.responder.metrics.render().decode()
    assert found is not None
    assert (found.issuer, found.sequence) == ("builtin", 5)
    assert 'agentid_responder_publications_refused_total{kind="bundle"} 2.0' in text


async def test_an_issuer_made_anew_counts_anew(clock: ManualClock) -> None:
    """Its bundle was withdrawn in between."""
    async with serving(clock) as world:
        publications = world.responder.publications
        publications.config_map(world.main.bundle(5))
        publications.config_map_gone("agentid-bundle-builtin")
        assert publications.bundles.by_trust_domain("example.org") is None
        publications.config_map(world.main.bundle(1))
        found = publications.bundles.by_trust_domain("example.org")
    assert found is not None
    assert found.sequence == 1


async def test_objects_under_another_name_are_refused(clock: ManualClock) -> None:
    """A label alone publishes nothing; neither does a name."""
    async with serving(clock) as world:
        other = Published(ThrowawayCA(seed="other"), "other")
        for body in (other.bundle(), other.crl(0)):
            metadata = body["metadata"]
            assert isinstance(metadata, dict)
            world.responder.publications.config_map(
                {**body, "metadata": {**metadata, "name": f"x-{metadata['name']}"}}
            )
        for odd in (
            {},
            {"metadata": None},
            {"metadata": {"labels": {"agentid.dev/publication": "x"}}},
        ):
            world.responder.publications.config_map(odd)
        assert (await world.get(f"/crl/{other.authority_id}/0.crl"))[0] == 404
        assert (await world.get(f"/ca/{other.authority_id}.crt"))[0] == 404


async def test_what_is_gone_is_not_served(clock: ManualClock) -> None:
    """A bundle and its authorities at once, a CRL when it has run out."""
    async with serving(clock) as world:
        main, publications = world.main, world.responder.publications
        publications.config_map_gone("agentid-bundle-builtin")
        publications.config_map_gone(f"agentid-crl-builtin-{main.authority_id}-0")
        publications.config_map_gone("something-else")
        assert (await world.get(f"/ca/{main.authority_id}.crt"))[0] == 404
        assert (await world.get(f"/crl/{main.authority_id}/0.crl"))[0] == 200
        clock.advance(timedelta(hours=1))
        assert (await world.get(f"/crl/{main.authority_id}/0.crl"))[0] == 404


def grant(systems: int, windows: int = 0) -> Grant:
    """A grant with so many systems, and so many windows of a minute."""
    schedule = Schedule(
        time_zone="Europe/Berlin", minutes=sum(1 << (7 * number) for number in range(windows))
    )
    return Grant(
        spiffe_id=SpiffeId.parse("spiffe://e.org/ns/n/agent/a"),
        class_name="c",
        issuer_name="i",
        sponsor=None,
        tier=Tier.LOW,
        permissions=Permissions(
            systems=tuple(f"erp.module.{number:03}" for number in range(systems)),
            schedule=schedule if windows else None,
        ),
        lifetime=timedelta(hours=1),
        key_algorithm=KeyAlgorithm.ED25519,
        delivery=DeliveryMode.SECRET,
        instances=Instances.SHARED,
        service_account="a",
        secret_name=None,
        policy_oid="1.3",
        cps_uri=None,
        critical=False,
        ephemeral=False,
    )


def claims(granted: Grant) -> AgentAuthorization:
    """The extension of its certificates."""
    return AgentAuthorization.of(
        agent_class=granted.class_name,
        tier=granted.tier.value,
        sponsor=granted.sponsor,
        policy=granted.authorized,
        base_uri="http://responder",
    )


async def test_a_policy_by_reference_can_be_fetched(clock: ManualClock) -> None:
    """At the URL in the certificate, and it has the hash in the certificate; until it expires."""
    large = grant(128, 112)
    extension = claims(large)
    assert extension.policy_uri is not None
    path = extension.policy_uri.removeprefix("http://responder")
    async with serving(clock) as world:
        world.ledger.record(make_issued(1, grant=large.to_json()))
        world.ledger.record(make_issued(2, grant="x" * 5_000), make_issued(3))
        status, headers, body = await world.get(path)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert extension.resolve(body) == large.authorized
        assert (await world.get("/policy/" + "0" * 64))[0] == 404
        assert (await world.get("/policy/"))[0] == 404
        clock.advance(timedelta(hours=2))
        world.responder.tidy()
        assert (await world.get(path))[0] == 404


@pytest.mark.parametrize("systems", range(0, 129, 8))
def test_no_policy_by_reference_is_left_out(systems: int) -> None:
    """Which grants are long enough is told by their JSON; all that are by reference have to be."""
    for windows in range(0, 113, 8):
        granted = grant(systems, windows)
        if claims(granted).policy is None:
            assert len(granted.to_json()) > MAX_INLINE_BYTES
