"""Foreign bundles: fetched at their pace, kept when their endpoint fails, never mixed up."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api.agentissuer import AgentIssuer, FederationStatus
from agentid.errors import SpecError, UnavailableError
from agentid.services.bundle_endpoint import Endpoint, fetch_bundle
from agentid.services.federation import Federation
from agentid.services.foreign import ForeignBundle, ForeignBundles, federated_data, notes_of
from agentid.services.world import IssuerState, Parsed, World
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.clock import ManualClock
from tests.services.bundle_documents import document
from tests.services.endpoints import ca_of_now, serve, svid
from tests.support.manifests import issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Json = dict[str, Any]

THEIRS = "foreign.test"
URL = "https://foreign.test/bundle"
WEB = {"trustDomain": THEIRS, "url": URL}
SPIFFE = {
    "trustDomain": THEIRS,
    "url": URL,
    "profile": "https_spiffe",
    "endpointSpiffeID": "spiffe://foreign.test/bundle",
}


class Room:
    """A leader's federation on virtual time, with an endpoint of our making.

    Attributes:
        answer: What the endpoint serves next: a document, or what goes wrong.
        asked: What was asked so far, and when.
        changed: The issuers that were told of.
    """

    def __init__(self, *federation: Json, status: tuple[FederationStatus, ...] = ()) -> None:
        self.clock = ManualClock(NOON)
        self.world = World()
        self.foreign = ForeignBundles(self.clock)
        self.ca = ThrowawayCA(THEIRS)
        self.answer: bytes | Exception = document(self.ca)
        self.asked: list[tuple[float, Endpoint]] = []
        self.changed: list[str] = []
        self.put(*federation, status=status)
        self.federation = Federation(
            world=self.world,
            foreign=self.foreign,
            clock=self.clock,
            random=lambda: 0.0,
            fetch=self.fetch,
        )

    def put(self, *federation: Json, status: tuple[FederationStatus, ...] = ()) -> None:
        """The issuer as the watch tells it."""
        body = issuer("test", trustDomain="example.org", federation=list(federation))
        if status:
            body["status"] = {"federation": [each.to_api() for each in status]}
        self.world.issuers["test"] = Parsed.of(AgentIssuer.parse, body)
        assert self.world.issuers["test"].model is not None, self.world.issuers["test"].faults

    async def fetch(self, endpoint: Endpoint) -> bytes:
        """Stand in for the network."""
        self.asked.append((self.clock.monotonic(), endpoint))
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def known(self) -> None:
        """Nothing was published of the issuer before."""
        self.foreign.restore("test", {}, "", self.clock.now())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have it run as the leader does."""
        task = asyncio.create_task(self.federation.run(self.changed.append))
        try:
            await self.clock.settle()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def status(self) -> FederationStatus:
        """What is told of the one relation."""
        (told,) = self.world.federation["test"]
        return told

    def sequence(self) -> int | None:
        """The number of the bundle that is kept."""
        kept = self.foreign.get("test", THEIRS)
        assert kept is not None
        return kept.sequence

    def gaps(self) -> list[float]:
        """Seconds between one request and the next."""
        times = [at for at, _ in self.asked]
        return [later - earlier for earlier, later in itertools.pairwise(times)]


async def test_a_bundle_is_fetched_kept_and_told() -> None:
    """With its number and the moment; the issuer is published and told of once."""
    room = Room(WEB)
    room.known()
    async with room.running():
        assert room.status() == FederationStatus(trust_domain=THEIRS, sequence=1, fetched_at=NOON)
        kept = room.foreign.get("test", THEIRS)
        assert kept is not None
        assert kept.bundle.der == room.ca.bundle.der
        assert kept.bundle.trust_domain.name == THEIRS
        told = len(room.changed)
        await room.clock.run_for(timedelta(minutes=10))
        assert len(room.asked) > 5
        assert len(room.changed) == told, "nothing has changed"


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        pytest.param(60, 60, id="as-the-bundle-asks"),
        pytest.param(None, 300, id="five-minutes-by-default"),
        pytest.param(0, 10, id="never-without-pause"),
        pytest.param(10**7, 86400, id="once-a-day-at-least"),
    ],
)
async def test_the_endpoint_is_asked_at_the_pace_of_its_bundle(
    hint: int | None, seconds: int
) -> None:
    """Within bounds: it is somebody else's document."""
    room = Room(WEB)
    room.known()
    room.answer = document(room.ca, spiffe_refresh_hint=hint)
    async with room.running():
        await room.clock.run_for(seconds * 2.5)
        assert room.gaps() == [seconds, seconds]


async def test_nothing_is_fetched_before_it_is_known_what_is_published() -> None:
    """A bundle could go back otherwise, and be verified by roots that are long gone."""
    room = Room(WEB)
    async with room.running():
        await room.clock.run_for(5)
        assert room.asked == []
        room.known()
        await room.clock.settle()
        assert len(room.asked) == 1


# Failures


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(UnavailableError("foreign.test:443 is away"), "is away", id="unreachable"),
        pytest.param(b"<html>", "SPIFFE bundle: it does not parse", id="garbage"),
        pytest.param(b'{"spiffe_sequence":9}', "keys is missing", id="no-keys"),
        pytest.param(b'{"keys":[' * 100_000, "does not parse", id="nested"),
        pytest.param(b'{"keys":[],"spiffe_sequence":-1}', "out of range", id="a-negative-number"),
    ],
)
async def test_what_was_fetched_last_stays_when_the_next_answer_is_none(
    answer: bytes | Exception, problem: str
) -> None:
    """It is told why, once, and the time of the bundle that is kept stays."""
    room = Room(WEB)
    room.known()
    async with room.running():
        room.answer = answer
        told = len(room.changed)
        await room.clock.run_for(timedelta(hours=1))
        status = room.status()
        assert status.problem is not None
        assert problem in status.problem
        assert (status.sequence, status.fetched_at) == (1, NOON)
        assert room.sequence() == 1
        assert len(room.changed) == told + 1
        room.answer = document(room.ca, 2)
        await room.clock.run_for(timedelta(minutes=6))
        assert room.status().problem is None
        assert room.sequence() == 2


async def test_failures_make_the_pauses_longer() -> None:
    """Up to five minutes, and never shorter than five seconds."""
    room = Room(WEB)
    room.known()
    room.answer = UnavailableError("away")
    room.federation._random = lambda: 0.999
    async with room.running():
        await room.clock.run_for(timedelta(hours=1))
        gaps = room.gaps()
        assert gaps[:3] == pytest.approx([5.5, 10, 20], rel=0.01)
        assert gaps[-1] == pytest.approx(300, rel=0.01)


async def test_a_defect_on_one_endpoint_ends_nothing() -> None:
    """It is told, and everything else goes on."""
    room = Room(WEB)
    room.known()
    room.answer = ZeroDivisionError()
    async with room.running():
        assert "a defect in agentid" in str(room.status().problem)
        room.answer = document(room.ca)
        await room.clock.run_for(timedelta(minutes=11))
        assert room.status().problem is None


async def test_a_bundle_that_goes_back_is_refused() -> None:
    """Whoever has taken over the endpoint must not bring back a root that is gone."""
    room = Room(WEB)
    room.known()
    room.answer = document(room.ca, 7)
    async with room.running():
        room.answer = document(ThrowawayCA(THEIRS, seed="old"), 6)
        await room.clock.run_for(timedelta(minutes=5))
        assert "serves bundle 6, and 7 was fetched from it before" in str(room.status().problem)
        kept = room.foreign.get("test", THEIRS)
        assert kept is not None
        assert (kept.sequence, kept.bundle.der) == (7, room.ca.bundle.der)


async def test_a_bundle_without_a_number_is_the_newest() -> None:
    """SPIFFE Federation §4.2."""
    room = Room(WEB)
    room.known()
    room.answer = document(room.ca, 7)
    async with room.running():
        room.answer = document(room.ca, None)
        await room.clock.run_for(timedelta(minutes=2))
        assert room.sequence() is None
        assert room.status().problem is None


async def test_a_number_beyond_json_is_told_as_far_as_it_goes() -> None:
    """SPIFFE allows 64 bits, the status 53."""
    room = Room(WEB)
    room.known()
    room.answer = document(room.ca, 2**64 - 1)
    async with room.running():
        assert room.status().sequence == 2**53 - 1
        assert room.sequence() == 2**64 - 1


async def test_our_own_trust_domain_is_not_foreign() -> None:
    """It is refused in words, and nobody is asked."""
    room = Room(WEB | {"trustDomain": "example.org"})
    room.known()
    async with room.running():
        assert "is the trust domain of this AgentIssuer itself" in str(room.status().problem)
        assert room.asked == []


def test_a_trust_domain_that_is_named_twice_is_refused() -> None:
    """A bundle has one source; the issuer does not parse."""
    body = issuer("test", federation=[WEB, WEB | {"url": "https://other.test/"}])
    with pytest.raises(SpecError, match=r'"foreign\.test" is listed twice; remove one'):
        AgentIssuer.parse(body)


async def test_what_cannot_be_published_is_told() -> None:
    """Whoever publishes says why, and the status with it."""
    room = Room(WEB)
    room.known()
    async with room.running():
        room.foreign.refuse("test", {THEIRS: "it does not fit"})
        await room.clock.settle()
        assert room.status().problem == "it does not fit"
        room.foreign.refuse("test", {})
        await room.clock.settle()
        assert room.status().problem is None


# Over restarts


async def test_a_restart_tells_nothing_that_was_told_before() -> None:
    """Neither while endpoints have not answered yet, nor once they have answered as before."""
    before = FederationStatus(trust_domain=THEIRS, sequence=1, fetched_at=NOON, problem="away")
    room = Room(WEB, status=(before,))
    kept = ForeignBundle.read(room.ca.trust_domain, document(room.ca), fetched_at=NOON, first="")
    data = {federated_data(THEIRS): kept.document}
    room.foreign.restore("test", data, notes_of([kept]), NOON)
    room.answer = UnavailableError("away")
    room.clock.advance(3600)
    async with room.running():
        assert room.world.federation["test"] == (before,)
        assert room.changed == []
        assert room.sequence() == 1


async def test_relations_come_and_go_with_the_spec() -> None:
    """One that is gone is asked no more, and forgotten."""
    room = Room(WEB)
    room.known()
    async with room.running():
        room.put()
        room.federation.poke()
        await room.clock.run_for(timedelta(minutes=10))
        assert len(room.asked) == 1
        assert room.foreign.get("test", THEIRS) is None
        assert room.world.federation["test"] == ()
        del room.world.issuers["test"]
        room.federation.poke()
        await room.clock.settle()
        assert room.world.federation == {}


async def test_other_terms_are_followed_at_once() -> None:
    """Another URL is asked without waiting for the hint of the bundle from the one before."""
    room = Room(WEB)
    room.known()
    async with room.running():
        room.put(WEB | {"url": "https://moved.test/"})
        room.federation.poke()
        await room.clock.settle()
        assert [each.url for _, each in room.asked] == [URL, "https://moved.test/"]


# By whose roots an endpoint is verified


async def test_a_spiffe_endpoint_is_verified_by_the_first_bundle_then_by_the_latest() -> None:
    """SPIFFE Federation §5.2.2.4."""
    first, later = ThrowawayCA(THEIRS, seed="first"), ThrowawayCA(THEIRS)
    room = Room(SPIFFE | {"bundle": first.bundle.pem.decode()})
    room.known()
    async with room.running():
        await room.clock.run_for(90)
        assert [each.roots for _, each in room.asked] == [first.bundle.der, later.bundle.der]
        assert {str(each.spiffe_id) for _, each in room.asked} == {"spiffe://foreign.test/bundle"}


async def test_another_first_bundle_begins_anew() -> None:
    """The way back when their roots were replaced while we could not fetch; and only once."""
    first, second = ThrowawayCA(THEIRS, seed="first"), ThrowawayCA(THEIRS, seed="second")
    room = Room(SPIFFE | {"bundle": first.bundle.pem.decode()})
    room.known()
    async with room.running():
        room.put(SPIFFE | {"bundle": document(second).decode()})
        room.federation.poke()
        await room.clock.run_for(90)
        assert [each.roots for _, each in room.asked] == [
            first.bundle.der,
            second.bundle.der,
            room.ca.bundle.der,
        ]


async def test_the_latest_bundle_goes_on_after_a_restart() -> None:
    """The first one in the spec may be years old by then."""
    text = ThrowawayCA(THEIRS, seed="first").bundle.pem.decode()
    first = hashlib.sha256(text.encode()).hexdigest()
    room = Room(SPIFFE | {"bundle": text})
    kept = ForeignBundle.read(room.ca.trust_domain, document(room.ca), fetched_at=NOON, first=first)
    data = {federated_data(THEIRS): kept.document}
    room.foreign.restore("test", data, notes_of([kept]), NOON)
    async with room.running():
        assert [each.roots for _, each in room.asked] == [room.ca.bundle.der]


async def test_an_endpoint_of_a_third_trust_domain_is_verified_by_its_bundle() -> None:
    """SPIFFE Federation §5.2.2.2: one that is not self-serving."""
    third = ThrowawayCA("third.test")
    room = Room(
        SPIFFE | {"endpointSpiffeID": "spiffe://third.test/bundle"},
        {"trustDomain": "third.test", "url": "https://third.test/bundle"},
    )
    kept = ForeignBundle.read(third.trust_domain, document(third), fetched_at=NOON, first="")
    data = {federated_data("third.test"): kept.document}
    room.foreign.restore("test", data, notes_of([kept]), NOON)
    async with room.running():
        asked = {each.url: each.roots for _, each in room.asked}
        assert asked[URL] == third.bundle.der


async def test_an_endpoint_of_our_own_trust_domain_is_verified_by_our_bundle() -> None:
    """Such as an agent of ours that fetches for others."""
    room = Room(SPIFFE | {"endpointSpiffeID": "spiffe://example.org/bundle"})
    ours = ThrowawayCA("example.org").authority_set
    room.world.issuer_states["test"] = IssuerState(None, authorities=ours)
    room.known()
    async with room.running():
        assert room.asked[0][1].roots == ours.bundle.der


@pytest.mark.parametrize(
    ("bundle", "problem"),
    [
        pytest.param("nonsense", "holds no PEM block", id="no-pem"),
        pytest.param("{", "SPIFFE bundle: it does not parse", id="no-json"),
    ],
)
async def test_a_first_bundle_that_cannot_be_read_is_told(bundle: str, problem: str) -> None:
    """By its field; nobody is asked."""
    room = Room(SPIFFE | {"bundle": bundle})
    room.known()
    async with room.running():
        told = str(room.status().problem)
        assert f"spec.federation[{THEIRS}].bundle" in told
        assert problem in told
        assert room.asked == []


async def test_a_first_bundle_is_needed_before_anything_is_fetched() -> None:
    """Without one there is nobody to believe."""
    room = Room(SPIFFE)
    room.known()
    room.federation._fetch = fetch_bundle
    async with room.running():
        for _ in range(100):
            if "test" in room.world.federation:
                break
            await asyncio.sleep(0.01)
            await room.clock.settle()
        assert "there is no root by which spiffe://foreign.test/bundle" in str(
            room.status().problem
        )


# On the wire


async def test_a_rotation_of_their_roots_is_followed_over_real_tls() -> None:
    """A bundle with both roots, then an endpoint below the new one, verified by that bundle."""
    old, new = ca_of_now(seed="old"), ca_of_now(seed="new")
    both: Json = json.loads(document(old, 2))
    both["keys"] += json.loads(document(new))["keys"]
    async with (
        serve(svid(old), json.dumps(both).encode()) as first,
        serve(svid(new), document(new, 3)) as second,
    ):
        spec = SPIFFE | {
            "url": first.url,
            "endpointSpiffeID": str(old.spiffe_id("bundle")),
            "bundle": old.bundle.pem.decode(),
        }
        room = Room(spec)
        room.federation._fetch = fetch_bundle
        room.known()
        async with room.running():
            await _until(room, 2)
            room.put(spec | {"url": second.url})
            room.federation.poke()
            await _until(room, 3)
            kept = room.foreign.get("test", THEIRS)
            assert kept is not None
            assert kept.bundle.der == new.bundle.der


async def _until(room: Room, sequence: int) -> None:
    for _ in range(300):
        kept = room.foreign.get("test", THEIRS)
        if kept is not None and kept.sequence == sequence:
            return
        await asyncio.sleep(0.01)
        await room.clock.settle()
    message = f"bundle {sequence} did not come; {room.world.federation}"
    raise AssertionError(message)
