"""What `init` makes of answers, and `revoke` of wishes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agentid.api.agentrevocation import AgentRevocation, AgentRevocationStatus, IncidentReason
from agentid.cli.drafting import QUESTIONS, Draft, faults_of, to_yaml
from agentid.cli.output import render_table
from agentid.cli.revocation import COLUMNS, Wish, manifest, question, rows
from agentid.errors import InputError
from tests.cli.test_forecast import a_class

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)

WHOLE = Draft(
    "a", "bot", "reader", "team@example.com", "Reads", "bot", ("erp.a",), ("read",)
)  # fmt: skip


def test_a_draft_word_for_word() -> None:
    """As people write it, in the order in which they read it."""
    assert to_yaml(WHOLE) == (
        "apiVersion: agentid.dev/v1alpha1\n"
        "kind: AgentIdentity\n"
        "metadata:\n"
        "  name: bot\n"
        "  namespace: a\n"
        "spec:\n"
        "  className: reader\n"
        "  sponsor: team@example.com\n"
        "  purpose: Reads\n"
        "  subject:\n"
        "    serviceAccountName: bot\n"
        "  permissions:\n"
        "    systems:\n"
        "    - erp.a\n"
        "    operations:\n"
        "    - read\n"
    )
    assert faults_of(WHOLE, a_class(), NOW) == ()


def test_every_question_fills_its_field() -> None:
    """After all of them nothing is open, and the class has nothing to say against it."""
    answers = iter(["bot", "reader", "team@example.com", "", "", "erp.a, erp.b erp.a", "read"])
    draft = Draft("a")
    for each in QUESTIONS:
        assert each.is_open(draft), each.text
        draft = each.take(draft, next(answers) or each.default(draft))
        assert not each.is_open(draft), each.text
    assert draft.systems == ("erp.a", "erp.b")
    assert draft.service_account == "bot"
    assert faults_of(draft, a_class(), NOW) == ()


def test_a_class_is_asked_before_it_is_applied() -> None:
    """What it refuses is told in the words of the controller."""
    narrow = a_class(permissions={"systems": ["erp.a"]})
    (fault,) = faults_of(WHOLE, narrow, NOW)
    assert fault.startswith('spec.permissions.operations: "read" is outside the ceiling')


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (replace(WHOLE, name="My Agent"), 'metadata.name: "My Agent" is not the name of an obj'),
        (replace(WHOLE, namespace="A"), 'metadata.namespace: "A" is not the name of a namespace'),
        (replace(WHOLE, sponsor="nobody"), 'spec.sponsor: "nobody"'),
    ],
    ids=["name", "namespace", "sponsor"],
)
def test_what_the_api_server_would_refuse_is_not_written(draft: Draft, message: str) -> None:
    """Each fault begins with its field, by which it is asked for again."""
    (fault,) = faults_of(draft, None, NOW)
    assert fault.startswith(message)


def revocation(wish: Wish) -> Any:  # noqa: ANN401 - JSON
    """The AgentRevocation that is made."""
    return manifest(wish, "finance", NOW)


def test_a_wish_becomes_a_dry_run() -> None:
    """Of one identity; nothing is executed by creating it."""
    made = revocation(Wish(("reader",), (), IncidentReason.KEY_COMPROMISE, contact="a@b.c"))
    assert made["metadata"]["name"] == "revoke-reader-20261101t120000z"
    assert made["spec"] == {
        "reason": "keyCompromise", "contact": "a@b.c", "hold": False, "dryRun": True,
        "select": {"identities": [{"namespace": "finance", "name": "reader"}]},
    }  # fmt: skip


@pytest.mark.parametrize("serial", ["0FAC", "0x0fac", "0f:ac", "FAC"])
def test_serials_are_taken_as_programs_print_them(serial: str) -> None:
    """With colons, in capitals, with 0x, or without the leading zero."""
    made = revocation(Wish((), (serial,), IncidentReason.SUPERSEDED))
    assert made["spec"]["select"] == {"serials": ["0fac"]}


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        pytest.param(Wish((), (), IncidentReason.SUPERSEDED), "give names of ident", id="nothing"),
        pytest.param(
            Wish(("a",), ("0f",), IncidentReason.SUPERSEDED), "one of the two", id="both"
        ),
        pytest.param(
            Wish((), ("none",), IncidentReason.SUPERSEDED), "is not a serial number", id="serial"
        ),
        pytest.param(
            Wish(("A B",), (), IncidentReason.SUPERSEDED), "is not the name of an obj", id="name"
        ),
        pytest.param(
            Wish(("a",), (), IncidentReason.SUPERSEDED, contact="nobody"), "contact", id="contact"
        ),
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_not_sent(wish: Wish, message: str) -> None:
    """It is refused before anything is created."""
    with pytest.raises(InputError, match=message):
        revocation(wish)


def test_a_long_name_still_makes_one() -> None:
    """The name of the AgentRevocation is cut so that it is one."""
    made = revocation(Wish(("a" * 63,), (), IncidentReason.SUPERSEDED))
    assert len(made["metadata"]["name"]) <= 63
    AgentRevocation.parse(made)


def test_the_question_says_how_much_goes() -> None:
    """And what becomes of the agents."""
    one = AgentRevocationStatus(matched=1, identities=1)
    many = AgentRevocationStatus(matched=3, identities=2)
    assert question(one, hold=False) == (
        "Revoke 1 certificate of 1 identity for good, which get new certificates at once?"
    )
    assert question(many, hold=True) == (
        "Revoke 3 certificates of 2 identities for good, and hold what is selected until it is "
        "released?"
    )
    hit = {"namespace": "a", "name": "b", "serial": "4f", "spiffeID": "s", "why": "serial 4f"}
    status = AgentRevocationStatus.model_validate({"hits": [hit]})
    assert render_table(COLUMNS, rows(status)).splitlines()[1].split() == [
        "a", "b", "4f", "serial", "4f",
    ]  # fmt: skip
