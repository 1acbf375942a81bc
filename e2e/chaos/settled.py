"""Whether everything is, in the end, as the objects ask for; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cryptography import x509

from e2e.chaos.history import time_of
from e2e.chaos.model import allows, condition, hits, within
from e2e.chaos.promises import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from e2e.chaos.history import Agent, History, Json

__all__ = ["unsettled"]


def unsettled(history: History, namespaces: frozenset[str], now: datetime) -> list[Broken]:
    """Everything that is not yet as it has to be, in these namespaces.

    Args:
        history: What was written.
        namespaces: Of the agents that are looked at.
        now: What is expired by then does not matter any more.
    """
    agents = {agent for agent in history.identities if agent[0] in namespaces}
    found: list[Broken] = []
    for agent in sorted(agents):
        body = history.identities[agent][-1].body
        found += _agent(history, agent, body, now)
    return [*found, *_on_crls(history, now), *_incidents(history, now)]


def _live(history: History, agent: Agent, now: datetime) -> dict[str, Json]:
    """Records of an agent's certificates that are neither expired nor revoked."""
    return {
        serial: each.record
        for serial, each in history.issued.items()
        if (each.record["namespace"], each.record["name"]) == agent
        and serial not in history.revoked
        and time_of(each.record["notAfter"]) > now
    }


def _agent(  # noqa: C901, PLR0912 - one after the other, as an auditor asks
    history: History, agent: Agent, body: Json | None, now: datetime
) -> Iterator[Broken]:
    about, live = "/".join(agent), _live(history, agent, now)
    if body is None:
        for serial in live:
            yield Broken(4, about, f"is gone, and {serial} is in force")
        return
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    for serial, record in live.items():
        if record["uid"] != metadata["uid"]:
            yield Broken(4, about, f"its namesake is gone, and {serial} is in force")
    if "deletionTimestamp" in metadata:
        yield Broken(0, about, "is still being deleted")
        return
    if status.get("observedGeneration") != metadata["generation"]:
        yield Broken(0, about, "its status is of an earlier generation")
        return
    contents = history.secrets[agent[0], f"{agent[1]}-agentid"]
    delivered = contents[-1].serial if contents else ""
    if delivered in history.revoked:
        yield Broken(4, about, f"{delivered} is revoked, and lies in the Secret")
    if spec.get("suspend"):
        for serial in live:
            yield Broken(4, about, f"is suspended, and {serial} is in force")
        if delivered:
            yield Broken(4, about, f"is suspended, and {delivered} lies in the Secret")
        if condition(body, "Suspended").get("status") != "True":
            yield Broken(0, about, "does not say that it is suspended")
        return
    agent_class = history.latest("agentclasses", spec["className"])
    if agent_class is None:
        return
    for serial, record in live.items():
        grant = json.loads(record["grant"])
        of = history.latest("agentclasses", grant["class"])
        if of is not None and not within(grant["permissions"], of["spec"]["permissions"]):
            yield Broken(2, about, f"{serial} gives more than its class, and is in force")
    if not allows(agent_class, spec):
        if condition(body, "Stalled").get("status") != "True":
            yield Broken(0, about, "asks for more than its class gives, and is not Stalled")
        return
    replaced = {str(each.record["replaces"]) for each in history.issued.values()}
    owner = contents[-1].owner if contents else ""
    yield from _ready(about, body, live, delivered, owner, replaced)


def _ready(  # noqa: C901 - likewise
    about: str, body: Json, live: dict[str, Json], delivered: str, owner: str, replaced: set[str]
) -> Iterator[Broken]:
    spec = body["spec"]
    for kind, wanted in (("Ready", "True"), ("Stalled", ""), ("Reconciling", "")):
        found = condition(body, kind)
        if found.get("status", "") != wanted and not (
            wanted == "" and found.get("status") == "False"
        ):
            yield Broken(
                0,
                about,
                f"{kind} is {found.get('status')}: {found.get('reason')}: {found.get('message')}",
            )
    told = ((body.get("status") or {}).get("certificate") or {}).get("serial", "")
    if told != delivered or (delivered and f"/{owner}" != about[about.index("/") :]):
        yield Broken(
            5, about, f"the status tells of {told}, and the Secret holds {delivered} of {owner}"
        )
    if not told:
        yield Broken(0, about, "has no certificate")
        return
    if told not in live:
        yield Broken(5, about, f"{told} is revoked, expired or on no record, and there is no other")
        return
    grant = json.loads(live[told]["grant"])
    if (grant["class"], grant["sponsor"]) != (spec["className"], spec["sponsor"]):
        yield Broken(0, about, f"{told} is for {grant['class']} and {grant['sponsor']}")
    asked = spec["permissions"]
    if not (within(grant["permissions"], asked) and within(asked, grant["permissions"])):
        yield Broken(0, about, f"{told} gives {grant['permissions']}")
    # An ordinary renewal leaves the one before; anything else in force is a stray.
    allowed = replaced | {told}
    for serial, record in live.items():
        if serial in allowed:
            continue
        if not within(json.loads(record["grant"])["permissions"], asked):
            yield Broken(
                2, about, f"{serial} gives what is not asked for any more, and is in force"
            )
        else:
            yield Broken(0, about, f"{serial} was never confirmed, and is in force beside {told}")


def _on_crls(history: History, now: datetime) -> Iterator[Broken]:
    lists = {name: x509.load_der_x509_crl(der) for name, der in history.crls.items() if der}
    for serial, revoked in history.revoked.items():
        issued = history.issued.get(serial)
        if issued is None or issued.record["shard"] is None:
            continue
        if time_of(revoked.record["notAfter"]) <= now:
            continue
        record = issued.record
        name = f"agentid-crl-{record['issuer']}-{record['authority']}-{record['shard']}"
        crl = lists.get(name)
        if crl is None or crl.get_revoked_certificate_by_serial_number(int(serial, 16)) is None:
            yield Broken(4, serial, f"is revoked, and not on the CRL {name}")


def _incidents(history: History, now: datetime) -> Iterator[Broken]:
    for (plural, name), changes in history.others.items():
        body = changes[-1].body
        if plural != "agentrevocations" or body is None or body["spec"].get("dryRun", True):
            continue
        if (body.get("status") or {}).get("phase") != "Executed":
            yield Broken(0, name, "the incident is not executed")
        began = changes[0].revision
        for serial, each in history.issued.items():
            agent = (each.record["namespace"], each.record["name"])
            if (
                each.revision < began
                and serial not in history.revoked
                and time_of(each.record["notAfter"]) > now
                and hits(body, agent, each.record)
            ):
                yield Broken(4, name, f"the incident hits {serial}, which is in force")
