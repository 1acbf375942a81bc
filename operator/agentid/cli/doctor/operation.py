"""Checks of what runs: Lease, ledger, authorities, CRLs, bundles, responder, resources; pure."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agentid.api.agentissuer import AuthorityRole, AuthorityState
from agentid.api.conditions import ConditionStatus, ConditionType, Reason
from agentid.api.fields import format_time, parse_time
from agentid.cli.doctor.facts import Unreadable
from agentid.cli.doctor.findings import Finding, Severity
from agentid.cli.output import span
from agentid.errors import InputError
from agentid.ledger import AlarmKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from agentid.api.agentissuer import AgentIssuer, AuthorityStatus
    from agentid.api.conditions import Condition
    from agentid.cli.doctor.facts import Crl, Facts
    from agentid.kube.objects import JsonObject

__all__ = ["authorities", "bundles", "crls", "lease", "ledger", "resources", "responder"]

_SKEW: Final = 5.0
_OVERDUE: Final = {AuthorityRole.ISSUING: 4, AuthorityRole.ROOT: 8}
"""Of the lifetime: what part is left when a successor should long have been there. One is made
when a third, or a fifth, is left (docs/operations/authorities.md)."""

_GO_BACK: Final = "install that release again; docs/operations/upgrade.md"

_LOG: Final = "look at the operator's log"


def lease(facts: Facts) -> Iterator[Finding]:
    """A controller leads, and its clock is right."""
    about, body = "controller", facts.lease
    if isinstance(body, Unreadable):
        yield Finding(Severity.UNKNOWN, about, body.why)
        return
    start = f"start it, or look why it does not run: kubectl -n {facts.namespace} get pods"
    if body is None:
        found = f"there is no Lease in namespace {facts.namespace}: none has ever run there"
        yield Finding(
            Severity.PROBLEM, about, found, f"{start}; --operator-namespace names another"
        )
        return
    spec = body.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    holder, renewed = str(spec.get("holderIdentity") or ""), _time(spec.get("renewTime"))
    seconds = spec.get("leaseDurationSeconds")
    if renewed is None or not isinstance(seconds, int):
        yield Finding(Severity.PROBLEM, about, "its Lease does not say when it was renewed", start)
        return
    written = _written(body) or renewed
    silent = facts.now - written
    if not holder:
        yield Finding(Severity.PROBLEM, about, "the last one has stopped, and none leads", start)
    elif silent > timedelta(seconds=seconds):
        found = f"{holder} renewed its Lease {span(silent)} ago, and then no more; none leads"
        yield Finding(Severity.PROBLEM, about, found, start)
    else:
        yield Finding(Severity.OK, about, f"{holder} leads")
    skew = (renewed - written).total_seconds()
    if abs(skew) > _SKEW:
        way = "ahead of" if skew > 0 else "behind"
        yield Finding(
            Severity.PROBLEM,
            "clock of the controller",
            f"it is {abs(skew):.0f} s {way} the API server, and dates certificates by it",
            "set the clock of its node",
        )


def _written(body: JsonObject) -> datetime | None:
    """When the Lease was last written, by the clock of the API server."""
    metadata = body.get("metadata")
    managed = metadata.get("managedFields") if isinstance(metadata, dict) else None
    entries = managed if isinstance(managed, list) else []
    times = [_time(each.get("time")) for each in entries if isinstance(each, dict)]
    return max((each for each in times if each is not None), default=None)


def _time(text: object) -> datetime | None:
    try:
        return parse_time(str(text))
    except InputError:
        return None


def ledger(facts: Facts) -> Iterator[Finding]:
    """The ledger is whole."""
    report = facts.ledger
    if isinstance(report, Unreadable):
        yield Finding(Severity.UNKNOWN, "ledger", report.why)
        return
    for alarm in report.alarms:
        if alarm.kind is AlarmKind.LATER_FORMAT:
            found = f"nothing is issued: {alarm.detail}"
            yield Finding(Severity.PROBLEM, "ledger", found, _GO_BACK)
            continue
        yield Finding(
            Severity.PROBLEM,
            "ledger",
            f"{alarm.kind.value}: {alarm.detail}",
            "keep a copy before anything else (agentid ledger export), and see "
            "docs/operations/ledger-export.md",
        )
    if not report.alarms:
        found = f"it is whole: {report.records} records in {report.segments} segments"
        yield Finding(Severity.OK, "ledger", found)


def authorities(facts: Facts) -> Iterator[Finding]:
    """Every issuer can sign, and its authorities have successors in time."""
    if isinstance(facts.issuers, Unreadable):
        yield Finding(Severity.UNKNOWN, "issuers", facts.issuers.why)
        return
    if not facts.issuers:
        yield Finding(
            Severity.WARNING, "issuers", "there is none, so nothing can be issued",
            "create an AgentIssuer; manifests/samples has one",
        )  # fmt: skip
    for name, issuer in facts.issuers.items():
        about = f"AgentIssuer {name}"
        faults = [
            *_conditions(about, issuer.status.conditions, f"agentid issuer show {name}"),
            *_expiry(about, issuer, facts.now),
        ]
        yield from faults or [Finding(Severity.OK, about, _until(issuer))]


def _until(issuer: AgentIssuer) -> str:
    signing = [each for each in issuer.status.authorities if each.state is AuthorityState.SIGNING]
    ends = min((each.not_after for each in signing), default=None)
    return "it signs" if ends is None else f"it signs; the first authority ends {format_time(ends)}"


def _expiry(about: str, issuer: AgentIssuer, now: datetime) -> Iterator[Finding]:
    known = issuer.status.authorities
    for each in known:
        if each.state is not AuthorityState.SIGNING:
            continue
        left = each.not_after - now
        which = f"{each.role.lower()} authority {each.id or each.fingerprint[:16]}"
        rotate = f"agentid issuer rotate {issuer.metadata.name}"
        if each.role is AuthorityRole.ROOT:
            rotate += " --root"
        if left <= timedelta(0):
            found = f"its {which} has expired: nothing it signed is accepted any more"
            yield Finding(Severity.PROBLEM, about, found, rotate)
        elif left * _OVERDUE[each.role] < each.not_after - each.not_before and not _succeeded(
            each, known
        ):
            found = f"its {which} ends in {span(left)}, and no successor is there"
            yield Finding(Severity.WARNING, about, found, f"{rotate}; {_LOG}")


def _succeeded(one: AuthorityStatus, known: Iterable[AuthorityStatus]) -> bool:
    return any(
        each.role is one.role
        and each.not_after > one.not_after
        and each.state in {AuthorityState.STAGED, AuthorityState.SIGNING}
        for each in known
    )


def _conditions(about: str, conditions: Iterable[Condition], remedy: str) -> Iterator[Finding]:
    """What the controller itself complains about."""
    by_type = {each.type: each for each in conditions}
    ready = by_type.get(ConditionType.READY)
    stalled = by_type.get(ConditionType.STALLED)
    if stalled is not None:
        yield Finding(Severity.PROBLEM, about, f"{stalled.reason}: {stalled.message}", remedy)
    elif ready is None or ready.status is ConditionStatus.UNKNOWN:
        found = "no controller has looked at it yet"
        yield Finding(Severity.WARNING, about, found, "see what is said of the controller")
    elif ready.status is ConditionStatus.FALSE:
        yield Finding(Severity.PROBLEM, about, f"{ready.reason}: {ready.message}", remedy)
    current = by_type.get(ConditionType.AUTHORITIES_CURRENT)
    if current is not None and current.status is ConditionStatus.FALSE:
        yield Finding(Severity.PROBLEM, about, f"{current.reason}: {current.message}", remedy)
    withheld = by_type.get(ConditionType.BUNDLE_WITHHELD)
    if withheld is not None and withheld.status is ConditionStatus.TRUE:
        yield Finding(Severity.PROBLEM, about, f"{withheld.reason}: {withheld.message}", remedy)


def crls(facts: Facts) -> Iterator[Finding]:
    """Every CRL is current, and signed anew in time."""
    if isinstance(facts.crls, Unreadable):
        yield Finding(Severity.UNKNOWN, "CRLs", facts.crls.why)
        return
    faults = [fault for crl in facts.crls if (fault := _crl(crl, facts.now)) is not None]
    yield from faults
    if not faults and facts.crls:
        first = min(each.next_update for each in facts.crls)
        found = f"{len(facts.crls)} are current; the first ends {format_time(first)}"
        yield Finding(Severity.OK, "CRLs", found)
    if not facts.crls and facts.issuers:
        yield Finding(
            Severity.PROBLEM, "CRLs", "none is published, so verifiers that ask refuse everybody",
            _LOG,
        )  # fmt: skip


def _crl(crl: Crl, now: datetime) -> Finding | None:
    about = f"CRL {crl.name}"
    if crl.fault:
        return Finding(Severity.PROBLEM, about, crl.fault, f"delete its ConfigMap; {_LOG}")
    if crl.next_update < now:
        found = f"it ended {span(now - crl.next_update)} ago: verifiers that ask refuse its agents"
        return Finding(Severity.PROBLEM, about, found, f"have a controller run; {_LOG}")
    if (crl.next_update - now) * 2 < crl.next_update - crl.this_update:
        found = f"it ends in {span(crl.next_update - now)}, and should have been signed anew"
        return Finding(Severity.WARNING, about, found, f"have a controller run; {_LOG}")
    return None


def bundles(facts: Facts) -> Iterator[Finding]:
    """The trust bundle of every issuer is published, in the version that its status tells."""
    if isinstance(facts.bundles, Unreadable) or isinstance(facts.issuers, Unreadable):
        if isinstance(facts.bundles, Unreadable):
            yield Finding(Severity.UNKNOWN, "bundles", facts.bundles.why)
        return
    for name, issuer in facts.issuers.items():
        about, wanted = f"bundle of AgentIssuer {name}", issuer.status.bundle_sequence
        there = facts.bundles.get(name)
        if wanted is None:
            continue  # it never signed; its conditions say why
        if there is None:
            yield Finding(Severity.PROBLEM, about, "it is not published", _LOG)
        elif there < wanted:
            found = f"sequence {there} is published, and {wanted} is the newest"
            yield Finding(Severity.PROBLEM, about, found, _LOG)
        else:
            yield Finding(Severity.OK, about, f"sequence {there} is published")


def responder(facts: Facts) -> Iterator[Finding]:
    """Something answers where certificates say that CRLs and OCSP are."""
    if isinstance(facts.issuers, Unreadable):
        return
    hosts = {urlsplit(each.spec.responder.url).hostname or "" for each in facts.issuers.values()}
    for host in sorted(hosts):
        about = f"responder {host}"
        name, _, rest = host.partition(".")
        if rest not in {f"{facts.namespace}.svc", f"{facts.namespace}.svc.cluster.local"}:
            found = "it is outside of the cluster, and was not asked"
            yield Finding(Severity.UNKNOWN, about, found)
        elif isinstance(facts.services, Unreadable):
            yield Finding(Severity.UNKNOWN, about, facts.services.why)
        elif name not in facts.services:
            yield Finding(
                Severity.PROBLEM,
                about,
                f"there is no Service {facts.namespace}/{name}, which certificates name: verifiers "
                "that ask for revocations get no answer",
                "run agentid responder behind that Service, or set spec.responder.url of the "
                "AgentIssuer (docs/operations/responder.md)",
            )
        elif not facts.services[name]:
            found = f"nothing ready is behind Service {facts.namespace}/{name}"
            remedy = f"kubectl -n {facts.namespace} get pods"
            yield Finding(Severity.PROBLEM, about, found, remedy)
        else:
            found = f"{facts.services[name]} ready behind Service {facts.namespace}/{name}"
            yield Finding(Severity.OK, about, found)


def resources(facts: Facts) -> Iterator[Finding]:
    """Classes, identities and incidents are as they should be."""
    for name, fault in facts.malformed.items():
        kind, _, object_name = name.partition(" ")
        remedy = f"kubectl edit {kind.lower()} {object_name}"
        yield Finding(Severity.PROBLEM, name, f"it does not parse: {fault}", remedy)
    for (kind, path), names in facts.unknown.items():
        which = f"{kind} {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
        yield Finding(
            Severity.WARNING, which, f"{path} is not known to this release, and not heeded",
            "use the release that brought it, or remove it; docs/operations/upgrade.md",
        )  # fmt: skip
    yield from _classes(facts)
    yield from _incidents(facts)
    yield from _identities(facts)


def _classes(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.classes, Unreadable):
        yield Finding(Severity.UNKNOWN, "classes", facts.classes.why)
        return
    faults = [
        finding
        for name, found in facts.classes.items()
        for finding in _conditions(
            f"AgentClass {name}", found.status.conditions, f"kubectl edit agentclass {name}"
        )
    ]
    yield from faults or [Finding(Severity.OK, "classes", f"{len(facts.classes)} can be used")]


def _incidents(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.incidents, Unreadable):
        yield Finding(Severity.UNKNOWN, "incidents", facts.incidents.why)
        return
    for name, found in facts.incidents.items():
        for each in found.status.conditions:
            if each.type == ConditionType.STALLED:
                yield Finding(
                    Severity.PROBLEM, f"AgentRevocation {name}", each.message,
                    "docs/operations/incidents.md",
                )  # fmt: skip


def _identities(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.identities, Unreadable):
        yield Finding(Severity.UNKNOWN, "identities", facts.identities.why)
        return
    intended = {Reason.SUSPENDED, Reason.HELD, Reason.DELETING}
    unready = Counter(
        each.standing
        for each in facts.identities
        if not each.is_ready and each.standing not in intended
    )
    for reason, count in sorted(unready.items()):
        yield Finding(
            Severity.WARNING,
            "identities",
            f"{count} of {len(facts.identities)} are not Ready: {reason}",
            "agentid list -A --not-ready tells which, and agentid show why",
        )
    if not unready:
        found = f"all {len(facts.identities)} are Ready, or are kept from it on purpose"
        yield Finding(Severity.OK, "identities", found)
