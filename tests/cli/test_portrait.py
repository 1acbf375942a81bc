"""One identity in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentid.api.conditions import REASON_MEANINGS, Reason
from agentid.cli.output import render_lines
from agentid.cli.portrait import Portrait, next_step_of
from agentid.cli.roster import Entry
from tests.cli.test_forecast import a_class
from tests.cli.test_roster import NOW, entry

Json = dict[str, Any]

SPEC: Json = {
    "purpose": "Reads",
    "subject": {"serviceAccountName": "bot"},
    "permissions": {
        "systems": ["erp.a"],
        "operations": ["read"],
        "schedule": {
            "timeZone": "UTC",
            "windows": [{"days": ["Mon"], "start": "08:00", "end": "18:00"}],
        },
    },
}


def told(found: Entry, **changes: Any) -> list[str]:  # noqa: ANN401 - what differs
    """The portrait as it is printed."""
    parts: Json = {"agent_class": a_class(), "class_problem": None, "now": NOW, **changes}
    return render_lines(Portrait(found, **parts).lines()).splitlines()


def with_status(found: Entry, **status: object) -> Entry:
    """The same with another status."""
    old: Any = found.body["status"]
    return Entry.of({**found.body, "status": {**old, **status}})


def test_a_healthy_one_word_for_word() -> None:
    """Who it is, what it may do of what its class allows, why its tier, and its certificate."""
    one = with_status(
        entry("bot", **SPEC),
        observedGeneration=0,
        classification={"tier": "Low", "score": 10, "reasons": ["first", "second"]},
    )
    assert told(one) == [
        "agent              bot in namespace a",
        "SPIFFE ID          spiffe://x/bot",
        "status             Ready",
        "why                m",
        "",
        "class              reader: Reads",
        "sponsor            team@example.com",
        "purpose            Reads",
        "runs as            ServiceAccount bot",
        "may reach          erp.a (of erp.*)",
        "may do there       read (of list, read)",
        "hours              Mon 08:00/Mon 18:00; UTC",
        "lifetime           as the class says, at most 1h",
        "delivered by       Secret bot-agentid",
        "",
        "tier               Low, score 10 of 100",
        "because            first",
        "                   second",
        "highest tier       Critical in this class",
        "",
        "certificate        4fac",
        "valid from         2026-11-01T11:00:00Z",
        "valid until        2026-11-01T13:00:00Z, 60m left",
        "renewed at         2026-11-01T12:40:00Z",
        "signed by          AgentIssuer main",
        "key                ED25519",
        "in force           1 on record; agentid ledger list --identity a/bot lists them",
    ]
    wide = told(one, wide=True)
    assert "SHA-256            00" in wide
    assert "                   Ready True since 2026-11-01T12:00:00Z" in wide


def test_the_pods_of_an_identity_are_told() -> None:
    """How many hold certificates, what is about to be taken from them, and who got none."""
    pods = {
        "certificates": 3,
        "earliestNotAfter": "2026-11-01T12:30:00Z",
        "lastRefusal": {
            "time": "2026-11-01T11:50:00Z",
            "pod": "bot-1",
            "reason": "ServiceAccountMismatch",
            "message": "it runs as default",
        },
    }
    mount = {"keyType": "ECDSAP256", "maxExpirationSeconds": 3600, "trustBundle": "agentid"}
    one = with_status(
        entry("bot", ends=None),
        certificate=None,
        podCertificate=mount,
        pods=pods,
        withdrawalTime="2026-11-01T12:02:00Z",
    )
    lines = told(one)
    at = next(number for number, line in enumerate(lines) if line.startswith("pods "))
    assert lines[at : at + 6] == [
        "pods               3 with certificates",
        "first end          2026-11-01T12:30:00Z, in 30m, unless renewed",
        "revoked at         2026-11-01T12:02:00Z, what gives more than is granted now",
        "                   restart the pods that hold it before",
        "last refusal       ServiceAccountMismatch, pod bot-1, at 2026-11-01T11:50:00Z",
        "                   it runs as default",
    ]
    bare = told(with_status(entry("bot", ends=None), certificate=None, podCertificate=mount))
    assert "pods               none holds a certificate" in bare


def test_one_that_is_refused_says_why_and_what_next() -> None:
    """Also that the latest change was not seen yet, and that the class cannot be read."""
    one = entry("bot", ready=("False", "ExceedsClass"), ends=None, **SPEC)
    lines = told(one, agent_class=None, class_problem="you may not read AgentClass reader")
    assert lines[2:6] == [
        "status             ExceedsClass",
        "why                m",
        "not seen yet       the controller has not looked at the latest change",
        f"next step          {next_step_of(one)}",
    ]
    assert (next_step_of(one) or "").startswith("ask for less, choose another class")
    assert "                   you may not read AgentClass reader" in lines
    assert "may reach          erp.a" in lines
    assert "certificate        none" in lines


def test_a_spec_that_does_not_parse_is_told_fault_by_fault() -> None:
    """In place of what it asks for."""
    lines = told(entry("bot", lifetime="soon", subject=None))
    assert any(line.startswith("malformed          spec.subject") for line in lines)
    assert any('spec.lifetime: "soon" is not a duration' in line for line in lines)
    assert not any(line.startswith("runs as") for line in lines)


def test_one_that_is_being_deleted_says_whom_it_waits_for() -> None:
    """By name."""
    body: Json = {**entry("bot", **SPEC).body}
    body["metadata"] = {
        **body["metadata"], "deletionTimestamp": "2026-11-01T11:59:00Z",
        "finalizers": ["agentid.dev/revocation"],
    }  # fmt: skip
    assert (
        "deletion           asked for at 2026-11-01T11:59:00Z; waits for agentid.dev/revocation"
        in told(Entry.of(body))
    )


def test_an_expired_certificate_is_told() -> None:
    """With the time that is over."""
    lines = told(entry("bot", ends=-timedelta(minutes=1), **SPEC))
    assert "valid until        2026-11-01T11:59:00Z, it has expired" in lines


NOT_OF_IDENTITIES = {
    Reason.AVAILABLE, Reason.AUTHORITY_INVALID, Reason.ROTATION_WAITS, Reason.ROTATION_BLOCKED,
    Reason.BUNDLE_OLDER, Reason.DRY_RUN, Reason.EXECUTING, Reason.EXECUTED, Reason.RELEASED,
    Reason.TOO_MANY_HELD, Reason.ISSUED, Reason.RENEWING,
}  # fmt: skip


@pytest.mark.parametrize("reason", sorted(set(REASON_MEANINGS) - NOT_OF_IDENTITIES))
def test_every_reason_has_a_next_step(reason: Reason) -> None:
    """Whatever keeps an identity from being Ready, its owner is told what to do."""
    assert next_step_of(entry("bot", ready=("False", reason)))


def test_no_next_step_where_nothing_is_to_be_done() -> None:
    """A ready one has none; one of a reason that is unknown here neither."""
    assert next_step_of(entry("bot")) is None
    assert next_step_of(entry("bot", ready=("False", "FromTheFuture"))) is None
    assert next_step_of(Entry.of({"metadata": {"name": "x"}, "spec": {}})) == (
        "wait some seconds; if it stays so, nobody is looking: agentid doctor"
    )


def test_the_same_for_programs() -> None:
    """How it is, why, and what next."""
    one = with_status(entry("bot", ready=("False", "Suspended"), **SPEC), observedGeneration=0)
    assert Portrait(one, None, None, datetime.now(UTC)).to_json() == {
        "standing": "Suspended", "ready": False, "why": "m",
        "nextStep": "agentid resume gives it a new certificate", "upToDate": True,
    }  # fmt: skip
