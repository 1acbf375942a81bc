"""Passes as traces: what is told, what is not, and when nobody is asked at all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.errors import InputError
from agentid.telemetry import tracing
from agentid.telemetry.otel import open_tracer
from tests.support.collecting import collecting

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.telemetry.tracing import Pass
    from agentid.testing.clock import ManualClock


class Kept:
    """A tracer that keeps what it takes."""

    def __init__(self) -> None:
        self.taken: list[tuple[Pass, datetime]] = []

    def take(self, done: Pass, end: datetime) -> None:
        """Keep it."""
        self.taken.append((done, end))


def test_a_pass_has_its_steps_with_their_times(clock: ManualClock) -> None:
    """Beginning with the wait in the queue, a step within a step included."""
    tracer, noon = Kept(), clock.now()
    with tracing.follow(tracer, clock, 2.0, {"name": "reader"}):
        with tracing.step("gather"):
            clock.advance(1)
            with tracing.step("judge"):
                clock.advance(1)
        clock.step(timedelta(hours=-1))  # a clock that is set back turns no step around
        with tracing.step("sign"):
            clock.advance(1)
        tracing.note(serial="0a")
        tracing.issued()
    ((done, end),) = tracer.taken
    offsets = [
        (step.name, (step.begin - noon).total_seconds(), (step.end - noon).total_seconds())
        for step in done.steps
    ]
    assert offsets == [
        ("queue wait", -2, 0), ("judge", 1, 2), ("gather", 0, 2), ("sign", 2, 3),
    ]  # fmt: skip
    assert (done.begin - noon, end - noon) == (timedelta(seconds=-2), timedelta(seconds=3))
    assert done.about == {"name": "reader", "serial": "0a"}
    assert not done.error


def test_a_pass_that_does_nothing_is_not_told(clock: ManualClock) -> None:
    """Whatever it looked at."""
    tracer = Kept()
    with tracing.follow(tracer, clock, 0, {}), tracing.step("gather"):
        pass
    assert tracer.taken == []


def test_a_pass_that_fails_is_told_with_its_step(clock: ManualClock) -> None:
    """The step that it broke off in has an end, and what came before is there."""
    tracer = Kept()

    def one() -> None:
        with tracing.follow(tracer, clock, 0, {}):
            with tracing.step("sign"):
                pass
            tracing.failed("IssuerUnavailable: it is away")
            with tracing.step("status write"):
                message = "no"
                raise ValueError(message)

    with pytest.raises(ValueError, match="no"):
        one()
    ((done, _),) = tracer.taken
    assert done.error == "IssuerUnavailable: it is away"
    assert [step.name for step in done.steps] == ["queue wait", "sign", "status write"]


async def test_passes_at_the_same_time_do_not_mix(clock: ManualClock) -> None:
    """Each task follows its own."""
    tracer = Kept()

    async def one(name: str) -> None:
        with tracing.follow(tracer, clock, 0, {"name": name}):
            for number in range(5):
                with tracing.step(f"{name} {number}"):
                    await asyncio.sleep(0)
            tracing.issued()

    await asyncio.gather(one("a"), one("b"))
    for done, _ in tracer.taken:
        name = done.about["name"]
        assert [step.name for step in done.steps[1:]] == [f"{name} {n}" for n in range(5)]


def test_outside_of_a_pass_nothing_is_followed(clock: ManualClock) -> None:
    """Nor where nobody traces: each of these is a lookup, and nothing else."""
    with tracing.follow(None, clock, 0, {}), tracing.step("sign"):
        tracing.note(serial="0a")
        tracing.issued()
        tracing.failed("no")


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp"}, id="no-endpoint"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, id="empty"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, id="none"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "TRUE"}, id="disabled"
        ),
    ],
)
def test_it_is_off_unless_the_environment_names_an_endpoint(environment: dict[str, str]) -> None:
    """Nobody's collector is guessed."""
    assert open_tracer(environment, instance="one") is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: zipkin is not served here; set it to otlp or none",
            id="exporter",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not served here; set it to http/protobuf",
            id="protocol",
        ),
    ],
)
def test_what_is_not_served_is_refused(environment: dict[str, str], message: str) -> None:
    """At the start, rather than by traces that never come."""
    with pytest.raises(InputError, match=message):
        open_tracer(environment, instance="one")


def test_nothing_of_opentelemetry_is_loaded_where_it_is_off() -> None:
    """It would cost memory in every operator."""
    program = (
        "import sys; import agentid.factory, agentid.controller; "
        "from agentid.telemetry.otel import open_tracer; open_tracer({}, instance='x'); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_failed_pass_reaches_the_collector_as_an_error(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing sends what waits."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "identities")
        tracer = open_tracer({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SERVICE_NAME": "y"},
                             instance="one")  # fmt: skip
        assert tracer is not None
        with tracing.follow(tracer, clock, 1.0, {"name": "reader"}):
            tracing.failed("SecretRefused: quota")
        tracer.close(10)
        ((root, wait),) = collector.traces_of("reader")
    assert root.error == "SecretRefused: quota"
    assert root.resource["service.name"] == "identities"
    assert (wait.name, wait.end - wait.begin) == ("queue wait", 1_000_000_000)
    assert root.begin == wait.begin


AWAY = """
from agentid.clock import SystemClock
from agentid.telemetry import tracing
from agentid.telemetry.otel import open_tracer
import os

clock, tracer = SystemClock(), open_tracer(os.environ, instance="one")
for _ in range(3_000):
    with tracing.follow(tracer, clock, 0, {}):
        tracing.issued()
tracer.close(0.5)
print("ended", flush=True)
"""


def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    """Of a process of its own, since the SDK's threads go on for as long as there is one."""
    with collecting() as collector:
        url = collector.url
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", AWAY], env=environment, capture_output=True, check=True
    )
    assert done.stdout == b"ended\n"
    assert time.monotonic() - begun < 8
