"""Whether the five promises were kept, write by write; pure."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from e2e.chaos.course import SKEW
from e2e.chaos.history import time_of
from e2e.chaos.model import ceiling, owes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.chaos.history import Delivered, History, Json, Recorded

__all__ = ["Broken", "kept"]

_BACKDATED: Final = timedelta(minutes=2)
"""Of a validity, what lies before it was made, for peers whose clocks are behind, and to spare."""
_NEVER: Final = b"hr.salaries"
"""What no class of a course has ever allowed; names stand in certificates as they are."""


@dataclass(frozen=True, slots=True, order=True)
class Broken:
    """One promise that was not kept.

    Attributes:
        promise: Its number in the README; 0 for what merely did not settle.
        subject: What it is about.
        what: What was seen.
    """

    promise: int
    subject: str
    what: str

    def __str__(self) -> str:
        """A line for people."""
        kind = f"promise {self.promise}" if self.promise else "not settled"
        return f"{kind}: {self.subject}: {self.what}"


def kept(history: History, namespaces: frozenset[str]) -> list[Broken]:
    """Everything in which a promise was broken since the first write, in these namespaces.

    Args:
        history: What was written.
        namespaces: Of the agents that are looked at.
    """
    return sorted(
        {
            *_one_identity(history, namespaces),
            *_within_class(history, namespaces),
            *_on_record_first(history, namespaces),
            *_nothing_forgotten(history),
            *_taken_for_a_reason(history, namespaces),
            *_revoked_for_a_reason(history, namespaces),
        }
    )


def _deliveries(
    history: History, namespaces: frozenset[str]
) -> Iterator[tuple[str, Delivered, x509.Certificate]]:
    for (namespace, _), contents in history.secrets.items():
        for each in contents:
            if namespace in namespaces and each.leaf is not None:
                yield f"{namespace}/{each.owner}", each, each.leaf


def _one_identity(history: History, namespaces: frozenset[str]) -> Iterator[Broken]:
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for agent, each, leaf in _deliveries(history, namespaces):
        holders[each.key].add(f"{agent} {each.serial}")
        if not each.key_fits:
            yield Broken(1, agent, f"the key delivered with {each.serial} is another one's")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        namespace, _, name = agent.partition("/")
        if [uri.partition("/ns/")[2] for uri in uris] != [f"{namespace}/agent/{name}"]:
            yield Broken(1, agent, f"{each.serial} is for {uris}")
    for shared in holders.values():
        if len(shared) > 1:
            yield Broken(1, ", ".join(sorted(shared)), "certificates that share a key")


def _within_class(history: History, namespaces: frozenset[str]) -> Iterator[Broken]:
    for agent, each, leaf in _deliveries(history, namespaces):
        recorded = history.issued.get(each.serial)
        if recorded is None:
            continue  # promise 3 tells
        lasts = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        classes = _classes(history, recorded)
        if not classes or lasts > max(ceiling(body) for body in classes) + _BACKDATED:
            yield Broken(
                2, agent, f"{each.serial} lives for {lasts}, longer than any form of its class"
            )
        if _NEVER in leaf.public_bytes(Encoding.DER):
            yield Broken(2, agent, f"{each.serial} says {_NEVER.decode()}")


def _on_record_first(history: History, namespaces: frozenset[str]) -> Iterator[Broken]:
    for agent, each, _ in _deliveries(history, namespaces):
        recorded = history.issued.get(each.serial)
        if recorded is None:
            yield Broken(
                3,
                agent,
                f"{each.serial} was delivered at revision {each.revision}, and is on no record",
            )
        elif recorded.revision >= each.revision:
            revisions = f"at revision {each.revision}, and recorded at {recorded.revision}"
            yield Broken(3, agent, f"{each.serial} was delivered {revisions}")


def _nothing_forgotten(history: History) -> Iterator[Broken]:
    there = history.on_record()
    seen = (each.seen for contents in history.secrets.values() for each in contents)
    now = max(seen, default=None)
    for kind, known in (("issued", history.issued), ("revoked", history.revoked)):
        for serial, recorded in known.items():
            good = now is not None and time_of(recorded.record["notAfter"]) > now
            if good and (kind, serial) not in there:
                number = 3 if kind == "issued" else 4
                yield Broken(number, serial, f"that it was {kind} is not on the ledger any more")


def _taken_for_a_reason(history: History, namespaces: frozenset[str]) -> Iterator[Broken]:
    for (namespace, _), contents in history.secrets.items():
        for before, after in pairwise(contents):
            if namespace not in namespaces or before.leaf is None or after.leaf is not None:
                continue
            recorded = history.issued.get(before.serial)
            if recorded is None or before.leaf.not_valid_after_utc <= after.seen:
                continue
            if not owes(history, recorded.record, recorded.revision, after.revision):
                yield Broken(
                    5, f"{namespace}/{before.owner}",
                    f"{before.serial}, valid, was taken out of its Secret without a reason, at "
                    f"revision {after.revision}",
                )  # fmt: skip


def _revoked_for_a_reason(history: History, namespaces: frozenset[str]) -> Iterator[Broken]:
    for serial, revoked in history.revoked.items():
        issued = history.issued.get(serial)
        if issued is None or issued.record["namespace"] not in namespaces:
            continue
        if owes(history, issued.record, issued.revision, revoked.revision):
            continue
        if time_of(issued.record["notBefore"]) > time_of(revoked.record["revokedAt"]):
            continue  # made by a clock that was ahead
        agent = (issued.record["namespace"], issued.record["name"])
        about = f"{agent[0]}/{agent[1]}"
        contents = [
            each
            for (namespace, _), of in history.secrets.items()
            if namespace == agent[0]
            for each in of
            if each.owner == agent[1] and each.revision <= revoked.revision
        ]
        if contents and contents[-1].serial == serial:
            yield Broken(
                5,
                about,
                f"{serial} was revoked while it was in use, without a reason ({_why(revoked)})",
            )
        elif _left(revoked) > timedelta(seconds=SKEW) and any(
            _told(change.body) == serial
            for change in history.identities[agent]
            if change.revision <= revoked.revision
        ):
            yield Broken(
                5, about, f"{serial} was renewed, and revoked without a reason ({_why(revoked)})"
            )


def _left(revoked: Recorded) -> timedelta:
    """How long a certificate would have lived on.

    By a clock that is ahead by more it had expired; then it is on no status any more, and nobody
    knows that it was delivered when the clock is set back.
    """
    record = revoked.record
    return time_of(record["notAfter"]) - time_of(record["revokedAt"])


def _why(revoked: Recorded) -> str:
    return f"{revoked.record['reason']} by {revoked.record['actor']}"


def _told(body: Json | None) -> str:
    status = ((body or {}).get("status") or {}).get("certificate") or {}
    return str(status.get("serial", ""))


def _classes(history: History, recorded: Recorded) -> list[Json]:
    name = json.loads(recorded.record["grant"])["class"]
    return [
        each.body
        for each in history.others["agentclasses", name]
        if each.body is not None and each.revision <= recorded.revision
    ]
