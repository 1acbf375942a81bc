"""What has to be, by the objects alone: a model of agentid that is obviously right, and slow."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.chaos.history import Agent, Change, History, Json

__all__ = ["allows", "ceiling", "condition", "forms", "hits", "lifetime", "owes", "within"]

_UNITS: Final = {"h": 3600, "m": 60, "s": 1}


def lifetime(words: str) -> timedelta:
    """A duration such as `1h30m`."""
    parts = re.findall(r"(\d+)([hms])", words)
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def within(less: Json, more: Json) -> bool:
    """Whether permissions lie within others: systems by name or by prefix, operations by name."""
    return all(
        any(_covers(pattern, name) for pattern in more["systems"]) for name in less["systems"]
    ) and set(less["operations"]) <= set(more["operations"])


def _covers(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def allows(agent_class: Json, spec: Json) -> bool:
    """Whether a class gives an identity what it asks for."""
    return within(spec["permissions"], agent_class["spec"]["permissions"])


def ceiling(agent_class: Json) -> timedelta:
    """The longest lifetime of a class."""
    return lifetime(agent_class["spec"]["lifetime"])


def condition(body: Json, kind: str) -> Json:
    """One condition of an object, empty if it is not there."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    found: Json = next((each for each in conditions if each["type"] == kind), {})
    return found


def forms(changes: list[Change], first: int, last: int) -> Iterator[Json | None]:
    """The forms that an object had between two revisions, beginning with that at the first."""
    before = [each for each in changes if each.revision <= first]
    yield before[-1].body if before else None
    for each in changes:
        if first < each.revision <= last:
            yield each.body


def hits(incident: Json, agent: Agent, record: Json) -> bool:
    """Whether an AgentRevocation takes back a certificate."""
    spec = incident["spec"]
    if spec.get("dryRun", True):
        return False
    select = spec["select"]
    named = [(each["namespace"], each["name"]) for each in select.get("identities", ())]
    of_class = json.loads(record["grant"])["class"]
    return (not named or agent in named) and of_class in select.get("classNames", [of_class])


def owes(history: History, record: Json, first: int, last: int) -> bool:
    """Whether anything between two revisions is a reason to take a certificate away.

    Its identity is gone, suspended or asks for another class or for less; its class gives less; or
    an incident hits it.
    """
    agent, grant = (record["namespace"], record["name"]), json.loads(record["grant"])
    for body in forms(history.identities[agent], first, last):
        if body is None or body["metadata"]["uid"] != record["uid"]:
            return True
        spec = body["spec"]
        if (
            "deletionTimestamp" in body["metadata"]
            or spec.get("suspend")
            or spec["className"] != grant["class"]
            or not within(grant["permissions"], spec["permissions"])
        ):
            return True
    for body in forms(history.others["agentclasses", grant["class"]], first, last):
        if body is None or not within(grant["permissions"], body["spec"]["permissions"]):
            return True
        if ceiling(body) < timedelta(seconds=grant["lifetimeSeconds"]):
            return True
    incidents = [
        changes for (plural, _), changes in history.others.items() if plural == "agentrevocations"
    ]
    return any(
        body is not None and hits(body, agent, record)
        for changes in incidents
        for body in forms(changes, first, last)
    )
