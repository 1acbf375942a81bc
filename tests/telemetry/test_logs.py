"""Log lines as a collector reads them: one JSON object each, and never key material."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agentid.telemetry.logs import configure_logging
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave logging as other tests expect it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("agentid", "kopf", "asyncio")}
    configured = structlog.get_config()
    yield
    root.handlers, root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def out() -> io.StringIO:
    """Where the log goes."""
    return io.StringIO()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    """What was logged, without the times."""
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    for each in found:
        assert each.pop("timestamp").endswith("Z")
    return found


def log() -> structlog.stdlib.BoundLogger:
    """A logger as every module has one."""
    made: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("agentid.services.identities")
    return made


def test_an_event_is_one_json_object(out: io.StringIO) -> None:
    """Event, level, time in UTC, and the values as keys, whatever their types."""
    configure_logging(stream=out)
    log().info("svid_issued", namespace="finance", name="reader", serial="0a", size=3, at=[1])
    assert lines(out) == [
        {
            "event": "svid_issued",
            "level": "info",
            "namespace": "finance",
            "name": "reader",
            "serial": "0a",
            "size": 3,
            "at": [1],
        }
    ]


def test_what_is_no_json_is_told_as_text(out: io.StringIO) -> None:
    """A value of any type must not lose the line that it stands in, and text stays on one."""
    configure_logging(stream=out)
    log().info("looked_at", who=ThrowawayCA().trust_domain, text="two\nlines")
    assert lines(out) == [
        {"event": "looked_at", "level": "info", "who": "example.org", "text": "two\nlines"}
    ]


def test_what_is_bound_once_is_in_every_line(out: io.StringIO) -> None:
    """The object of a pass, for instance."""
    configure_logging(stream=out)
    structlog.contextvars.bind_contextvars(namespace="finance")
    log().info("first")
    log().warning("second")
    assert [(each["event"], each["namespace"]) for each in lines(out)] == [
        ("first", "finance"),
        ("second", "finance"),
    ]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_level_is_the_least_severity(out: io.StringIO, level: str, shown: list[str]) -> None:
    """Of agentid's own events."""
    configure_logging(level, stream=out)
    for each in ("debug", "info", "warning", "error"):
        getattr(log(), each)("something")
    assert [each["level"] for each in lines(out)] == shown


def test_libraries_are_heard_from_warning_up(out: io.StringIO) -> None:
    """Even at debug: Kopf logs a line for each event of each object."""
    configure_logging("debug", stream=out)
    for name in ("kopf.objects", "asyncio", "aiohttp.server"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("%s of %s", "trouble", name)
    assert lines(out) == [
        {"event": f"trouble of {name}", "level": "warning", "logger": name}
        for name in ("kopf.objects", "asyncio", "aiohttp.server")
    ]


def test_a_traceback_is_part_of_its_line(out: io.StringIO) -> None:
    """With the cause, in one field."""
    configure_logging(stream=out)
    try:
        try:
            raise KeyError("inner")  # noqa: EM101, TRY301 - that is the test
        except KeyError as error:
            message = "outer"
            raise ValueError(message) from error
    except ValueError:
        log().exception("pass_crashed", name="reader")
    (line,) = lines(out)
    assert line["event"] == "pass_crashed"
    assert line["level"] == "error"
    assert "ValueError: outer" in line["exception"]
    assert "KeyError: 'inner'" in line["exception"]


@pytest.mark.parametrize(
    "key", ["token", "private_key", "key_pem", "bundle_pem", "PASSWORD", "bearer_token"]
)
def test_what_could_be_key_material_is_masked(out: io.StringIO, key: str) -> None:
    """Whoever logs it, by the name of the key."""
    configure_logging(stream=out)
    secret = ThrowawayCA().root.private_key_pem.decode()
    log().error("trouble", **{key: secret})
    assert lines(out) == [{"event": "trouble", "level": "error", key: "[masked]"}]


def test_credentials_do_not_show_their_key(out: io.StringIO) -> None:
    """Values that hold one tell who they are, and no more."""
    configure_logging(stream=out)
    ca = ThrowawayCA()
    issued = ca.issue()
    log().info("seen", one=issued, other=ca.authority, third=ca.intermediate, fourth=ca)
    text = out.getvalue()
    assert "PRIVATE" not in text
    assert "BEGIN" not in text


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_terminal_gets_text(out: io.StringIO) -> None:
    """Readable, and masked all the same."""
    del out
    terminal = Terminal()
    configure_logging(stream=terminal)
    log().info("svid_issued", name="reader", token="secret")
    assert "svid_issued" in terminal.getvalue()
    assert "secret" not in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["collector", "terminal"])
def test_a_traceback_shows_no_variables(stream: type[io.StringIO]) -> None:
    """What failed may have held a token or a key; lines of code are told, their values are not."""
    out = stream()
    configure_logging(stream=out)
    held = "secret" + "-token"
    try:
        held.index("x")
    except ValueError:
        log().exception("request_failed")
    assert "held.index" in out.getvalue()
    assert "secret-token" not in out.getvalue()
