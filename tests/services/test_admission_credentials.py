"""What the webhook serves with: trusted first, renewed in time, mended when changed."""

from __future__ import annotations

import asyncio
import base64
import secrets
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import AgentIdError, PreconditionError, UnavailableError
from agentid.identity import Validity
from agentid.kube.stores import SecretFiles
from agentid.pki.load import read_certificates
from agentid.pki.serving import make_serving_certificate
from agentid.services.admission_credentials import AdmissionCredentials, served_name
from agentid.services.webhook_trust import WebhookTrust
from agentid.testing.api_server import FakeApiServer
from agentid.testing.ca import ThrowawayCA
from agentid.testing.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentid.kube.client import Client

SYSTEM = "agentid-system"
SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/agentid-admission"
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
OURS = f"{HOOKS}/agentid-pods"
DAY, SETTLE = timedelta(days=1), timedelta(seconds=10)


def hook(name: str = "agentid-admission", **config: str) -> dict[str, Any]:
    """A webhook that calls a Service of the operator's namespace."""
    service = {"namespace": SYSTEM, "name": name, "path": "/pods"}
    return {"name": "pods.agentid.dev", "clientConfig": {"service": service, **config}}


class HastyClock(ManualClock):
    """Time goes on by itself wherever somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        """Move on, and say so."""
        self.slept.append(seconds)
        self.on_sleep()
        self.advance(seconds)
        await asyncio.sleep(0)


class CrashError(Exception):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Room:
    """A fake API server with a webhook configuration, and the service on it."""

    server: FakeApiServer
    client: Client
    clock: HastyClock
    service: AdmissionCredentials

    def configure(self, *hooks: dict[str, Any], path: str = OURS) -> None:
        """Store a webhook configuration, as Helm does."""
        self.server.put(
            path, {"metadata": {"name": path.rsplit("/", maxsplit=1)[-1]}, "webhooks": list(hooks)}
        )

    def bundle(self, index: int = 0, path: str = OURS) -> bytes:
        """The caBundle of a webhook; empty if it has none."""
        body: Any = self.server.objects[path]
        return base64.b64decode(body["webhooks"][index]["clientConfig"].get("caBundle", ""))

    def files(self) -> dict[str, bytes]:
        """What the webhook reads."""
        body: Any = self.server.objects[SECRET]
        return {name: base64.b64decode(content) for name, content in body["data"].items()}

    def put_files(self, files: dict[str, bytes]) -> None:
        """Change what it reads, behind everybody's back."""
        body: Any = self.server.objects[SECRET]
        encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
        self.server.put(SECRET, body | {"data": encoded})

    def leaf(self) -> x509.Certificate:
        """The certificate that is served."""
        return certificates(self.files()["tls.crt"])[0]

    def trusts_the_leaf(self) -> bool:
        """Whether the API server would believe whoever serves what is in the Secret."""
        leaf = self.leaf()
        return any(
            leaf.issuer == each.subject and each.not_valid_after_utc > self.clock.now()
            for each in certificates(self.bundle())
        )

    def writes(self) -> list[str]:
        """Method and path of each write."""
        return [
            f"{method} {path.split('?')[0]}"
            for method, path, _, _ in self.server.requests
            if method != "GET"
        ]


def certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a file."""
    return read_certificates(pem, what="file", limit=1 << 20, most=8) if pem else []


@asynccontextmanager
async def opened(*hooks: dict[str, Any]) -> AsyncIterator[Room]:
    """A room whose configuration holds these webhooks; none without any."""
    clock = HastyClock()
    async with FakeApiServer() as server, server.client() as client:
        room = Room(server, client, clock, service_on(client, clock))
        if hooks:
            room.configure(*hooks)
        yield room


def service_on(client: Client, clock: HastyClock) -> AdmissionCredentials:
    """What a leader runs."""
    labels = {"agentid.dev/managed": "true"}
    return AdmissionCredentials(
        store=SecretFiles(client, namespace=SYSTEM, name="agentid-admission", labels=labels),
        trust=WebhookTrust(
            client, name="agentid-pods", namespace=SYSTEM, service="agentid-admission"
        ),
        namespace=SYSTEM,
        clock=clock,
        random=secrets.token_bytes,
    )


async def test_without_a_webhook_configuration_nothing_is_made() -> None:
    """In the modes Policy and None there is nobody who would serve."""
    async with opened() as room:
        assert not await room.service.renew()
        assert room.writes() == []
        room.configure(hook())
        assert await room.service.renew(), "it may come later"
        assert room.trusts_the_leaf()


async def test_the_first_certificate_is_trusted_before_it_is_there() -> None:
    """For the name of the Service; what is written is the caBundle, and then the Secret."""
    async with opened(hook()) as room:
        assert await room.service.renew()
        assert room.writes() == [f"PATCH {OURS}", f"POST {SECRET.rpartition('/')[0]}"]
        assert room.clock.slept == [], "nobody serves anything yet that could be refused"
        assert sorted(room.files()) == ["ca.crt", "tls.crt", "tls.key"]
        assert room.bundle() == room.files()["ca.crt"]
        leaf = room.leaf()
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["agentid-admission.agentid-system.svc"]
        assert leaf.not_valid_after_utc - room.clock.now() < 7 * DAY
        metadata: Any = room.server.objects[SECRET]["metadata"]
        assert metadata["labels"] == {"agentid.dev/managed": "true"}
        before = len(room.writes())
        assert not await room.service.renew()
        assert len(room.writes()) == before, "nothing is due, so nothing is written"


async def test_renewed_daily_with_a_bundle_of_old_and_new() -> None:
    """API servers believe both before the new one is served, and for a day afterwards."""
    async with opened(hook()) as room:
        await room.service.renew()
        (first,) = certificates(room.bundle())
        old = room.leaf()
        room.clock.advance(DAY)

        def between() -> None:
            new, kept = certificates(room.bundle())
            assert kept == first
            assert new != first
            assert room.leaf() == old, "not before all API servers have heard of it"

        room.clock.on_sleep = between
        assert await room.service.renew()
        assert room.clock.slept == [10.0]
        assert room.leaf().not_valid_after_utc - old.not_valid_after_utc >= DAY
        assert room.leaf().public_key() != old.public_key()
        second, kept = certificates(room.files()["ca.crt"])
        assert kept == first
        old.verify_directly_issued_by(first)
        room.leaf().verify_directly_issued_by(second)
        room.clock.on_sleep = lambda: None
        room.clock.advance(DAY)
        await room.service.renew()
        assert certificates(room.bundle())[1:] == [second], "of all before, the last one alone"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="taken away by an upgrade of Helm"),
        pytest.param({"caBundle": "bm90IGEgY2VydGlmaWNhdGU="}, id="no certificate"),
        pytest.param({"caBundle": "%%%"}, id="no base64"),
        pytest.param({"caBundle": "Cg=="}, id="empty, as cainjector leaves it"),
    ],
)
async def test_a_ca_bundle_that_is_changed_is_mended(change: dict[str, str]) -> None:
    """Whoever did it; the certificate stays."""
    async with opened(hook()) as room:
        await room.service.renew()
        leaf = room.leaf()
        room.configure(hook(**change))
        assert await room.service.renew()
        assert room.leaf() == leaf
        assert room.trusts_the_leaf()


@pytest.mark.parametrize("labels", [None, {}, {"agentid.dev/managed": "false"}])
async def test_a_secret_of_somebody_else_is_left_alone(labels: dict[str, str] | None) -> None:
    """The caBundle too, at every look; the sentence says which Secret, and what to do."""
    async with opened(hook(caBundle="dGhlaXJz")) as room:
        metadata = {"name": "agentid-admission", "namespace": SYSTEM}
        if labels is not None:
            metadata |= {"labels": labels}  # type: ignore[dict-item]
        theirs = {"metadata": metadata, "data": {"tls.crt": "eA=="}}
        room.server.put(SECRET, theirs)
        for _ in range(3):
            with pytest.raises(
                UnavailableError,
                match=r"^Secret agentid-system/agentid-admission does not carry the label "
                r"agentid\.dev/managed=true, so it is somebody else's and is left alone; delete or "
                r"rename it, and agentid makes its own$",
            ):
                await room.service.renew()
        assert room.writes() == []
        assert room.bundle() == b"theirs"
        room.server.remove(SECRET)
        assert await room.service.renew()
        assert room.trusts_the_leaf()


async def test_drift_is_mended_within_15_seconds() -> None:
    """By the time between two looks."""
    async with opened(hook()) as room:
        await room.service.renew()
        room.configure(hook())
        ends = [0]

        def tick() -> None:
            ends[0] += 1
            if ends[0] == 2:
                raise CrashError

        room.clock.on_sleep = tick
        with pytest.raises(CrashError):
            await room.service.run()
        assert room.clock.slept[0] <= 15
        assert room.trusts_the_leaf()


async def test_nothing_but_our_own_ca_bundles_is_touched() -> None:
    """Not those of other configurations, of other Services, or of a URL."""
    theirs = hook("somebody-elses", caBundle="dGhlaXJz")
    url: dict[str, Any] = {"name": "c", "clientConfig": {"url": "https://example.org/"}}
    async with opened(theirs, hook(), url, hook()) as room:
        other = f"{HOOKS}/agentid-other"
        room.configure(hook(), path=other)
        before: Any = room.server.objects[OURS]
        await room.service.renew()
        after: Any = room.server.objects[OURS]
        assert room.bundle(0) == b"theirs"
        assert room.bundle(1) == room.bundle(3) == room.files()["ca.crt"]
        assert room.bundle(2) == room.bundle(0, other) == b""
        for each in (1, 3):
            del after["webhooks"][each]["clientConfig"]["caBundle"]
        assert after["webhooks"] == before["webhooks"]
        assert not [each for each in room.writes() if other in each]


async def test_a_configuration_of_somebody_else_under_our_name_is_left_alone() -> None:
    """It calls nothing of ours, so there is nothing to serve."""
    async with opened(hook("somebody-elses")) as room:
        assert not await room.service.renew()
        assert room.writes() == []


async def test_a_configuration_that_changes_meanwhile_is_looked_at_again() -> None:
    """Places may have moved; the next look starts from what there is then."""
    async with opened(hook()) as room:
        seen = await trust_of(room).read()
        assert seen is not None
        room.configure(hook("somebody-elses"), hook())
        with pytest.raises(PreconditionError):
            await trust_of(room).set(b"ours", seen)
        assert room.bundle(0) == room.bundle(1) == b""


def trust_of(room: Room) -> WebhookTrust:
    """The caBundles of the room's configuration."""
    return WebhookTrust(
        room.client, name="agentid-pods", namespace=SYSTEM, service="agentid-admission"
    )


def another(room: Room, *, name: str = served_name(SYSTEM)) -> dict[str, bytes]:
    """The files of a certificate that is in order by itself."""
    ca = ThrowawayCA(seed="another")
    validity = Validity.of(room.clock.now(), 7 * DAY, timedelta(minutes=1))
    made = make_serving_certificate(name, validity, ca.serial(), ca.serial())
    return {
        "tls.crt": made.leaf_pem,
        "tls.key": made.private_key_pem,
        "ca.crt": made.authority_pem,
    }


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        pytest.param(lambda files, _: {**files, "tls.crt": b""}, True, id="no certificate"),
        pytest.param(lambda files, _: {**files, "tls.crt": b"x"}, True, id="no PEM"),
        pytest.param(lambda files, _: {**files, "tls.key": b""}, True, id="no key"),
        pytest.param(lambda files, _: {**files, "ca.crt": b""}, False, id="no authority"),
        pytest.param(lambda files, _: {**files, "ca.crt": files["tls.key"]}, False, id="a key"),
        pytest.param(
            lambda files, room: {**files, "tls.key": another(room)["tls.key"]}, True,
            id="the key of another certificate",
        ),
        pytest.param(
            lambda files, room: {**files, "ca.crt": another(room)["ca.crt"]}, False,
            id="the authority of another certificate",
        ),
        pytest.param(
            lambda _, room: another(room, name="agentid-admission.other.svc"), False,
            id="another name",
        ),
        pytest.param(
            lambda files, room: {**files, "ca.crt": files["ca.crt"] + another(room)["ca.crt"] * 2},
            True, id="more authorities than ours",
        ),
        pytest.param(lambda files, _: {**files, "ca.crt": files["tls.crt"]}, False, id="a leaf"),
        pytest.param(lambda _, __: {}, False, id="nothing"),
    ],
)  # fmt: skip
async def test_a_secret_that_is_damaged_is_made_anew(
    damage: Callable[[dict[str, bytes], Room], dict[str, bytes]], *, kept: bool
) -> None:
    """With the authority of what webhooks may serve still, as far as the Secret tells it."""
    async with opened(hook()) as room:
        await room.service.renew()
        before = certificates(room.bundle())[0]
        room.put_files(damage(room.files(), room))
        assert await room.service.renew()
        assert room.trusts_the_leaf()
        assert len(certificates(room.bundle())) <= 2
        assert (before in certificates(room.bundle())) is kept
        assert not await room.service.renew()


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(timedelta(hours=-1), id="set back"),
        pytest.param(8 * DAY, id="after a week without a leader"),
    ],
)
async def test_a_certificate_that_is_not_valid_now_is_made_anew(step: timedelta) -> None:
    """Whatever the clock did."""
    async with opened(hook()) as room:
        await room.service.renew()
        room.clock.step(step)
        assert await room.service.renew()
        assert room.trusts_the_leaf()
        leaf = room.leaf()
        assert leaf.not_valid_before_utc <= room.clock.now() < leaf.not_valid_after_utc


class MortalClient:
    """A client whose process dies before a write, or after it."""

    def __init__(self, client: Client, step: Callable[[], None]) -> None:
        self._client = client
        self._step = step

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of any method
        method = getattr(self._client, name)
        if name == "get":
            return method

        async def write(*args: object, **kwargs: object) -> object:
            self._step()
            done = await method(*args, **kwargs)
            self._step()
            return done

        return write


async def dies(room: Room, at: int) -> bool:
    """Look once, as a process that dies at its step `at`; whether it came to that."""
    left = [at]

    def step() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise CrashError

    room.clock.on_sleep = step
    mortal = cast("Client", MortalClient(room.client, step))
    try:
        await service_on(mortal, room.clock).renew()
    except CrashError:
        return True
    else:
        return False
    finally:
        room.clock.on_sleep = lambda: None


@pytest.mark.parametrize("at", range(5))
async def test_a_crash_at_any_step_of_a_renewal_heals(at: int) -> None:
    """What is served is trusted all along, and the next leader begins again."""
    async with opened(hook()) as room:
        await room.service.renew()
        room.clock.advance(DAY)
        assert await dies(room, at), "there are five: two writes from both sides, and the wait"
        assert room.trusts_the_leaf()
        await service_on(room.client, room.clock).renew()
        assert room.trusts_the_leaf()
        assert room.clock.now() - room.leaf().not_valid_before_utc < DAY
        assert room.bundle() == room.files()["ca.crt"]


async def test_a_renewal_has_no_step_more() -> None:
    """Else the sweep above would miss one."""
    async with opened(hook()) as room:
        await room.service.renew()
        room.clock.advance(DAY)
        assert not await dies(room, 5)


async def test_a_rival_is_not_overwritten() -> None:
    """Whoever led a moment ago may write still; the next look starts from there."""
    async with opened(hook()) as room:
        await room.service.renew()
        room.clock.advance(DAY)
        theirs = another(room)
        room.clock.on_sleep = lambda: room.put_files(theirs)
        with pytest.raises(UnavailableError, match="changed by somebody else"):
            await room.service.renew()
        assert room.files() == theirs
        room.clock.on_sleep = lambda: None
        assert await room.service.renew()
        assert room.trusts_the_leaf()


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 3600, 86400, 3 * 86400, 8 * 86400])),
    st.tuples(st.just("die"), st.integers(0, 4)),
    st.tuples(st.just("fail"), st.sampled_from([403, 409, 422, 500, 503])),
    st.tuples(st.just("upgrade"), st.just(0)),
    st.tuples(st.just("uninstall"), st.just(0)),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("look"), st.just(0)),
)


async def take(room: Room, step: str, number: int) -> bool:
    """Something happens to an installation; whether a look went through."""
    match step:
        case "wait":
            room.clock.advance(number)
        case "die":
            return not await dies(room, number)
        case "upgrade":
            room.configure(hook())
        case "uninstall" if OURS in room.server.objects:
            room.server.remove(OURS)
        case "lose" if SECRET in room.server.objects:
            room.server.remove(SECRET)
        case "fail":
            room.server.fail_next(number)
            with suppress(AgentIdError):
                await room.service.renew()
            room.server.answers.clear()
        case "look":
            await room.service.renew()
            return True
        case _:
            pass
    return False


@given(st.lists(STEPS, max_size=12))
@settings(max_examples=60)
def test_after_any_course_of_events_one_look_puts_it_right(steps: list[tuple[str, int]]) -> None:
    """And as long as nobody takes anything away, nothing untrusted is ever served."""

    async def course() -> None:
        async with opened(hook()) as room:
            await room.service.renew()
            touched = False
            for step, number in steps:
                looked = await take(room, step, number)
                healed = looked and OURS in room.server.objects
                touched = not healed and (touched or step in {"upgrade", "uninstall", "lose"})
                if not touched and room.leaf().not_valid_after_utc > room.clock.now():
                    assert room.trusts_the_leaf()
            room.configure(hook())
            await room.service.renew()
            assert room.trusts_the_leaf()
            assert room.bundle() == room.files()["ca.crt"]
            assert not await room.service.renew()

    asyncio.run(course())
