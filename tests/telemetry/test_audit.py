"""The form of audit events: closed, published, and explained."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentid.api.model import api_name
from agentid.telemetry.audit import (
    SCHEMA,
    Actor,
    AuditEvent,
    Certificate,
    Counts,
    Decision,
    ObjectRef,
    encode,
    hash_of,
)
from agentid.telemetry.audit_schema import audit_schema
from tests.support.auditing import SCHEMA_FILE, read_events

PAGE = Path(__file__).parents[2] / "docs/reference/audit.md"
NOON = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LEAST = AuditEvent(
    schema=SCHEMA,
    time=NOON,
    id="w-1",
    decision=Decision.ISSUED,
    reason="first",
    actor=Actor("agentid-controller"),
    object=ObjectRef("AgentIdentity", "reader"),
)
MOST = replace(
    LEAST,
    actor=Actor("agentid-controller", "argo\n\x1b[31m\u2028"),
    object=ObjectRef("AgentIdentity", "reader", "finance", "u", "7", 2, "aa"),
    message='says "no"\n',
    spiffe_id="spiffe://example.org/ns/finance/agent/reader",
    class_name="batch",
    issuer="test",
    tier="Low",
    sponsor="Zoë <z@example.com>",
    certificate=Certificate("0a", NOON, "ff", NOON, "ECDSAP256", "aa", "Secret", "0b"),
    authority="aa",
    counts=Counts(3, 2, 1),
    violations=("one", "two"),
    inputs=(ObjectRef("AgentClass", "batch"),),
    grant_hash="bb",
)


def test_the_schema_file_is_generated() -> None:
    """From the classes that events are made of."""
    assert json.loads(SCHEMA_FILE.read_text()) == audit_schema()


@pytest.mark.parametrize("event", [LEAST, MOST], ids=["least", "most"])
def test_an_event_is_one_line_that_the_schema_takes(event: AuditEvent) -> None:
    """Whatever stands in its fields, which people write."""
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    (read,) = read_events(line)
    assert read["time"] == "2026-11-01T12:00:00.250000Z"
    assert read["actor"].get("fieldManager") == event.actor.field_manager


def test_what_is_absent_is_left_out() -> None:
    """No null and no empty list, so an event is as short as it can be."""
    assert json.loads(encode(LEAST)) == {
        "schema": "agentid.dev/audit/v1",
        "time": "2026-11-01T12:00:00.250000Z",
        "id": "w-1",
        "decision": "Issued",
        "reason": "first",
        "actor": {"name": "agentid-controller"},
        "object": {"kind": "AgentIdentity", "name": "reader"},
    }


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"more": 1}, id="unknown-field"),
        pytest.param({"decision": "Allowed"}, id="unknown-decision"),
        pytest.param({"schema": "agentid.dev/audit/v2"}, id="other-version"),
        pytest.param({"object": {"kind": "AgentIdentity"}}, id="field-missing"),
        pytest.param({"sponsor": None}, id="null"),
        pytest.param({"time": "yesterday"}, id="no-time"),
    ],
)
def test_the_schema_refuses_what_is_no_event(change: dict[str, Any]) -> None:
    """It is closed."""
    event = json.loads(encode(MOST)) | change
    with pytest.raises(AssertionError, match=next(iter(change))):
        read_events(json.dumps(event).encode())


def test_every_field_and_decision_is_described() -> None:
    """In the schema, field by field, and on the page."""
    definitions: Any = audit_schema()["$defs"]
    for name, part in definitions.items():
        for field, about in part.get("properties", {}).items():
            assert about["description"], (name, field)
    page = PAGE.read_text()
    cells = " ".join(re.findall(r"^\|([^|]*)\|", page, re.MULTILINE))
    rows = set(re.findall(r"`(\w+)`", cells))
    assert {api_name(each.name) for each in fields(AuditEvent)} <= rows
    assert {each.value for each in Decision} <= rows


def test_the_event_on_the_page_is_one() -> None:
    """With ellipses where values are long."""
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    times = {"notBefore": "2026-11-25T15:03:05Z", "notAfter": "2026-11-25T16:04:05Z"}
    text = block.replace('"notBefore":"…","notAfter":"…"', json.dumps(times)[1:-1])
    (event,) = read_events(json.dumps(json.loads(text)).encode())
    assert list(event) == [each for each in map(api_name, _names()) if each in event]


def _names() -> list[str]:
    return [each.name for each in fields(AuditEvent)]


def test_a_hash_is_that_of_the_page() -> None:
    """JSON with sorted keys and without spaces, as `jq -cjS` writes it."""
    text = '{"a":{},"b":[1,"ü"]}'
    assert hash_of({"b": [1, "ü"], "a": {}}) == hashlib.sha256(text.encode()).hexdigest()
    assert hash_of(text) == hashlib.sha256(text.encode()).hexdigest()
