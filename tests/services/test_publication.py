"""CRLs: on them as soon as it is revoked, signed anew in time, and never going back."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.errors import UnavailableError
from agentid.identity import RevocationReason, SerialNumber
from agentid.issuers import carried_out
from agentid.ledger import Revoked
from agentid.pki.crl import CrlView, read_crl, verify_crl
from agentid.policy.authorities import Promote, Remove, StageIssuing
from agentid.services.publication import CrlPublisher
from agentid.telemetry.metrics import Metrics
from agentid.testing.ca import NOON
from agentid.testing.ledger import in_virtual_time, make_issued
from tests.issuers.test_authorities import SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from agentid.ledger import Issued
    from agentid.pki import Authority
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

MAPS = "/api/v1/namespaces/agentid-system/configmaps/"
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
DAY = 24 * HOUR


def publisher_of(c: Cluster, *, told: bool = True) -> CrlPublisher:
    """A publisher; told about what becomes durable also while it does not run, unless not."""
    made = CrlPublisher(
        world=c.world,
        client=c.client,
        ledger=c.ledger,
        clock=c.clock,
        random=lambda: 0.5,
        namespace="agentid-system",
        metrics=Metrics(),
    )
    if told:
        c.ledger.subscribe(made.learn)
    return made


@asynccontextmanager
async def published(cluster: Open) -> AsyncIterator[tuple[Cluster, CrlPublisher]]:
    """A cluster whose issuer has its first CRLs."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        publisher = publisher_of(c)
        await publisher.load()
        await publisher.publish()
        yield c, publisher


def issuing(c: Cluster) -> tuple[str, Authority]:
    """The authority that signs, and its id."""
    state = c.world.issuer_states["test"]
    assert state.authorities is not None
    ((name, authority),) = state.authorities.issuing.items()
    return name, authority


def crl(c: Cluster, shard: int | str, authority: str | None = None) -> CrlView:
    """What a responder serves of a shard."""
    name = f"agentid-crl-test-{authority or issuing(c)[0]}-{shard}"
    body: Any = c.server.objects[MAPS + name]
    return read_crl(base64.b64decode(body["binaryData"]["crl"]))


def issued(c: Cluster, serial: int, **changes: Any) -> Issued:  # noqa: ANN401
    """The record of a certificate of the authority that signs."""
    about: dict[str, Any] = {"issuer": "test", "authority": issuing(c)[0], "shard": serial % 8}
    return make_issued(serial, **(about | changes))


def revocation(record: Issued, reason: RevocationReason = RevocationReason.SUPERSEDED) -> Revoked:
    """Its revocation, a second after noon."""
    return Revoked(record.serial, reason, NOON + SECOND, record.not_after, "a test")


async def revoke(c: Cluster, *records: Issued) -> None:
    """Have certificates issued and revoked on the ledger."""
    both: tuple[Issued | Revoked, ...] = (*records, *map(revocation, records))
    await in_virtual_time(c.clock, c.ledger.append(*both))


async def test_every_shard_has_a_crl_before_anything_is_revoked(cluster: Open) -> None:
    """Empty, signed by the authority, for the place that its leaves name; the root has one too."""
    async with published(cluster) as (c, publisher):
        name, authority = issuing(c)
        assert len([path for path in c.server.objects if path.startswith(MAPS)]) == 9
        for shard in range(8):
            view = crl(c, shard)
            verify_crl(view, authority.certificate)
            assert (view.number, list(view)) == (1, [])
            view.require_covers(f"http://responder.test/crl/{name}/{shard}.crl")
            assert view.next_update - view.this_update == 4 * HOUR
        (root,) = c.ca.authority_set.roots
        verify_crl(crl(c, "root", root), c.ca.root.certificate)
        assert crl(c, "root", root).next_update >= authority.not_after
        assert c.world.served_crls == {name}
        before = c.writes()
        await publisher.publish()
        assert c.writes() == before, "nothing has changed, so nothing is written"


async def test_a_revocation_is_on_its_shard_at_the_next_round(cluster: Open) -> None:
    """On that one alone, with time and reason, under the next number."""
    async with published(cluster) as (c, publisher):
        await revoke(c, issued(c, 19))
        before = len(c.writes())
        await publisher.publish()
        assert len(c.writes()) == before + 1
        found = crl(c, 3).find(SerialNumber(19))
        assert found is not None
        assert (found.revoked_at, found.reason) == (NOON + SECOND, RevocationReason.SUPERSEDED)
        assert crl(c, 3).number == 2
        assert crl(c, 4).number == 1


async def test_what_carries_no_rev_avail_is_on_no_crl(cluster: Open) -> None:
    """RFC 9608: nobody would look."""
    async with published(cluster) as (c, publisher):
        await revoke(c, issued(c, 19, shard=None))
        before = c.writes()
        await publisher.publish()
        assert c.writes() == before


async def test_a_revocation_of_an_unknown_certificate_is_on_a_crl_of_everybody(
    cluster: Open,
) -> None:
    """Its record may be lost: then whoever signed it has to list it."""
    async with published(cluster) as (c, publisher):
        lost = issued(c, 21)
        await in_virtual_time(c.clock, c.ledger.append(revocation(lost)))
        await publisher.publish()
        assert crl(c, 5).find(SerialNumber(21)) is not None


async def test_signed_anew_well_before_it_runs_out(cluster: Open) -> None:
    """After a quarter of its lifetime, with a later nextUpdate and a higher number."""
    async with published(cluster) as (c, publisher):
        c.clock.advance(HOUR - SECOND)
        assert await publisher.publish() == 0
        c.clock.advance(SECOND)
        assert await publisher.publish() == 8
        assert crl(c, 0).number == 2
        assert crl(c, 0).this_update == NOON + HOUR
        assert publisher.next_updates()["test"] == NOON + 5 * HOUR


async def test_a_fraction_of_a_second_signs_nothing_anew(cluster: Open) -> None:
    """The CRL of a root is good until its last intermediate ends, to the second."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        publisher = publisher_of(c)
        await publisher.load()
        c.clock.advance(0.7 * SECOND)
        assert await publisher.publish() == 9
        c.clock.advance(2 * SECOND)
        assert await publisher.publish() == 0


async def test_numbers_and_times_never_go_back(cluster: Open) -> None:
    """Over a restart, another leader, and a clock that was set back by an hour."""
    async with published(cluster) as (c, publisher):
        c.clock.advance(HOUR)
        await publisher.publish()
        c.clock.step(-timedelta(hours=2))
        await revoke(c, issued(c, 8))
        successor = publisher_of(c)
        await successor.load()
        assert await successor.publish() == 1, "the one that lacks what is on the ledger"
        view = crl(c, 0)
        assert (view.number, view.this_update) == (3, NOON + HOUR)
        assert view.find(SerialNumber(8)) is not None


async def test_a_leader_that_lost_its_lease_overwrites_nothing(cluster: Open) -> None:
    """Both write: each goes on from the other's, and what either knows is on it."""
    async with published(cluster) as (c, stale):
        fresh = publisher_of(c)
        await fresh.load()
        await revoke(c, issued(c, 16))
        await fresh.publish()
        await stale.publish()  # refused: it goes on from an older one
        assert crl(c, 0).number == 2
        await stale.publish()
        assert crl(c, 0).number == 3
        assert crl(c, 0).find(SerialNumber(16)) is not None


@pytest.mark.parametrize("late", [False, True], ids=["revoked-before", "revoked-meanwhile"])
async def test_a_new_leader_publishes_what_its_predecessor_did_not(
    cluster: Open, *, late: bool
) -> None:
    """Promise 4: also when it knows what is published before it knows its authorities."""
    async with published(cluster) as (c, _):
        states = dict(c.world.issuer_states)
        record = issued(c, 16)
        c.world.issuer_states.clear()
        fresh = publisher_of(c)
        if late:
            await fresh.load()
            c.ledger.subscribe(fresh.learn)
        await in_virtual_time(c.clock, c.ledger.append(record, revocation(record)))
        if not late:
            await fresh.load()
        await fresh.publish()
        c.world.issuer_states.update(states)
        assert await fresh.publish() == 1
        assert crl(c, 0).find(SerialNumber(16)) is not None
        assert await fresh.publish() == 0


async def test_a_publication_that_fails_ten_times_is_made_good(cluster: Open) -> None:
    """Promise 4: the revocation waits for the API server, and is on the next CRL that is stored."""
    async with published(cluster) as (c, publisher):
        await revoke(c, issued(c, 16))
        for _ in range(10):
            c.server.fail_next(503)
            with pytest.raises(UnavailableError, match="agentid-crl-test"):
                await publisher.publish()
            assert crl(c, 0).number == 1
        assert await publisher.publish() == 1
        assert crl(c, 0).find(SerialNumber(16)) is not None


async def test_a_crl_that_somebody_removed_or_spoiled_comes_back(cluster: Open) -> None:
    """At the next time it is written; a spoiled one also at the next start."""
    async with published(cluster) as (c, publisher):
        name = issuing(c)[0]
        path = f"{MAPS}agentid-crl-test-{name}-0"
        c.server.remove(path)
        await revoke(c, issued(c, 8))
        await publisher.publish()
        await publisher.publish()
        assert crl(c, 0).find(SerialNumber(8)) is not None
        body: Any = c.server.objects[path]
        c.server.put(path, body | {"binaryData": {"crl": "AAAA"}})
        successor = publisher_of(c)
        await successor.load()
        await successor.publish()
        assert crl(c, 0).find(SerialNumber(8)) is not None


async def test_what_was_revoked_while_another_one_led_is_published(cluster: Open) -> None:
    """Promise 4: leading again, it asks the ledger, and does not go on from what it knew."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        publisher = publisher_of(c, told=False)
        for serial in (1, 9):
            running = asyncio.create_task(publisher.run())
            await c.clock.run_for(2)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await revoke(c, issued(c, serial))
        running = asyncio.create_task(publisher.run())
        await c.clock.run_for(2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert {each.serial.value for each in crl(c, 1)} == {1, 9}


async def test_a_clock_that_was_ahead_takes_nothing_off(cluster: Open) -> None:
    """Promise 4: once it is right again, what has not expired after all is still on the CRL."""
    async with published(cluster) as (c, publisher):
        records = [issued(c, serial) for serial in (1, 9, 17)]
        for number, record in enumerate(records):
            ahead = 2 * DAY if number == 1 else timedelta(0)
            await in_virtual_time(c.clock, c.ledger.append(record, revocation(record)))
            c.clock.step(ahead)
            await publisher.publish()
            c.clock.step(-ahead)
        assert {each.serial.value for each in crl(c, 1)} == {1, 9, 17}


async def test_stands_on_one_crl_after_it_has_expired(cluster: Open) -> None:
    """RFC 5280 §3.3, also if the ledger and the process have forgotten it by then."""
    async with published(cluster) as (c, publisher):
        await revoke(c, issued(c, 16, not_after=NOON + 90 * MINUTE))
        await publisher.publish()
        c.clock.advance(2 * HOUR)
        c.ledger.state.expire(c.clock.now())
        successor = publisher_of(c)
        await successor.load()
        await successor.publish()
        assert crl(c, 0).this_update > NOON + 90 * MINUTE
        assert crl(c, 0).find(SerialNumber(16)) is not None
        c.clock.advance(2 * HOUR)
        await successor.publish()
        assert crl(c, 0).find(SerialNumber(16)) is None


async def test_a_successor_is_served_before_it_signs_and_forgotten_at_its_end(
    cluster: Open,
) -> None:
    """Its CRLs come with it and go with it; those of an issuer that cannot be read stay."""
    async with published(cluster) as (c, publisher):
        old = issuing(c)[0]
        state = c.world.issuer_states["test"]
        assert state.authorities is not None
        (root,) = state.authorities.roots
        staged = carried_out(
            state.authorities, StageIssuing(root, "a test"), SETTINGS, NOON, c.ca.random
        )
        new = staged.records.issuing[0].id
        c.world.issuer_states["test"] = replace(state, authorities=staged)
        await publisher.publish()
        assert c.world.served_crls == {old, new}
        assert crl(c, 3, new).number == 1
        gone = staged
        for step in (Promote(new), Remove(old)):
            gone = carried_out(gone, step, SETTINGS, NOON, c.ca.random)
        c.world.issuer_states["test"] = replace(state, authorities=None)
        await publisher.publish()
        assert f"{MAPS}agentid-crl-test-{old}-0" in c.server.objects
        c.world.issuer_states["test"] = replace(state, authorities=gone)
        await publisher.publish()
        assert not [path for path in c.server.objects if old in path]


async def test_runs_until_cancelled_and_is_woken_by_a_revocation(cluster: Open) -> None:
    """Not at the next look in half a minute: at once."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        publisher = publisher_of(c)
        running = asyncio.create_task(publisher.run())
        await c.clock.run_for(1)
        assert crl(c, 0).number == 1
        await revoke(c, issued(c, 16))
        await c.clock.run_for(0.5)
        assert crl(c, 0).find(SerialNumber(16)) is not None
        c.server.fail_next(503)
        await revoke(c, issued(c, 24))
        await c.clock.run_for(10)
        assert crl(c, 0).find(SerialNumber(24)) is not None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_large_list_is_signed_beside_the_event_loop(cluster: Open) -> None:
    """Three thousand on one shard, all of them there."""
    async with published(cluster) as (c, publisher):
        records = [issued(c, 8 * number) for number in range(1, 3001)]
        await revoke(c, *records)
        await publisher.publish()
        assert len(crl(c, 0)) == 3000
