"""The AgentRevocation that `agentid revoke` makes, and what its dry run says in words; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.agentrevocation import AgentRevocation
from agentid.api.fields import format_time
from agentid.cli.output import Cell, Column, counted
from agentid.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from agentid.api.agentrevocation import AgentRevocationStatus, IncidentReason
    from agentid.kube.objects import JsonObject

__all__ = ["COLUMNS", "Wish", "certificates", "manifest", "question", "rows"]

COLUMNS: Final = (
    Column("NAMESPACE"),
    Column("NAME"),
    Column("SERIAL"),
    Column("WHY"),
    Column("SPIFFE ID", wide=True),
)

_NO_NAME: Final = re.compile("[^a-z0-9]+")
_LONGEST: Final = 63
"""Characters of the name of an AgentRevocation."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be revoked, and why.

    Attributes:
        names: Names of AgentIdentities.
        serials: Serial numbers, hexadecimal.
        reason: For the CRL.
        explanation: What happened.
        contact: Whom to ask.
        hold: Whether the identities get no other certificate until somebody releases them.
        name: Of the AgentRevocation; None makes one.
    """

    names: tuple[str, ...]
    serials: tuple[str, ...]
    reason: IncidentReason
    explanation: str | None = None
    contact: str | None = None
    hold: bool = False
    name: str | None = None


def manifest(wish: Wish, namespace: str, now: datetime) -> JsonObject:
    """A dry run of what is wished.

    Args:
        wish: What.
        namespace: Of the identities.
        now: Makes the name one that was not there before.

    Raises:
        InputError: Neither identity nor serial is named, or both are.
        SpecError: A part of it is malformed.
    """
    if bool(wish.names) == bool(wish.serials):
        message = "give names of identities or --serial, one of the two"
        raise InputError(message)
    select: JsonObject = {"serials": [_even(each) for each in wish.serials]}
    if wish.names:
        select = {"identities": [{"namespace": namespace, "name": each} for each in wish.names]}
    about = {"explanation": wish.explanation, "contact": wish.contact}
    spec = {
        "reason": wish.reason.value,
        **{name: text for name, text in about.items() if text is not None},
        "hold": wish.hold,
        "dryRun": True,
        "select": select,
    }
    body: JsonObject = {
        "apiVersion": "agentid.dev/v1alpha1",
        "kind": AgentRevocation.KIND,
        "metadata": {"name": wish.name or _name(wish, now)},
        "spec": spec,
    }
    AgentRevocation.parse(body)
    return body


def question(status: AgentRevocationStatus, *, hold: bool) -> str:
    """What a person has to say yes to."""
    whose = counted(status.identities or 0, "identity", "identities")
    after = (
        "and hold what is selected until it is released"
        if hold
        else "which get new certificates at once"
    )
    return f"Revoke {certificates(status.matched or 0)} of {whose} for good, {after}?"


def certificates(count: int) -> str:
    """So many certificates."""
    return counted(count, "certificate", "certificates")


def rows(status: AgentRevocationStatus) -> Iterator[tuple[Cell, ...]]:
    """The certificates that are hit, as far as the status lists them."""
    for hit in status.hits:
        yield (
            Cell(hit.namespace),
            Cell(hit.name),
            Cell(hit.serial),
            Cell(hit.why),
            Cell(hit.spiffe_id),
        )


def _even(serial: str) -> str:
    """A serial as the resource takes it: as openssl, browsers and agentid print them."""
    digits = serial.replace(":", "").lower().removeprefix("0x")
    return f"0{digits}" if len(digits) % 2 else digits


def _name(wish: Wish, now: datetime) -> str:
    stamp = _NO_NAME.sub("", format_time(now).lower())
    about = _NO_NAME.sub("-", (wish.names or wish.serials)[0].lower()).strip("-")
    return f"revoke-{about[: _LONGEST - len(stamp) - 8].strip('-')}-{stamp}"
