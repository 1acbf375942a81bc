"""The same answers as JSON, for scripts; the names are those of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.api.fields import format_time
from agentid.ledger.wire import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import TypeVar

    from agentid.kube.objects import ObjectKey
    from agentid.ledger import Entry, Revoked
    from agentid.responder.inventory.agents import Agent
    from agentid.responder.inventory.authorities import IssuerView
    from agentid.responder.inventory.bodies import ConditionView
    from agentid.responder.inventory.catalogue import Revocation
    from agentid.responder.inventory.views import Overview, Rows

    T = TypeVar("T")

__all__ = [
    "agent_record",
    "agent_row",
    "gone_record",
    "issuer_record",
    "overview_record",
    "revocation_record",
    "rows_record",
]

Json = dict[str, object]


def rows_record(rows: Rows[T], each: Callable[[T], Json]) -> Json:
    """One page of rows."""
    return {
        "total": rows.total,
        "page": rows.page,
        "pages": rows.pages,
        "items": [each(row) for row in rows.items],
    }


def overview_record(told: Overview) -> Json:
    """Agents, counted."""
    return {
        "agents": told.total,
        "states": {state.value: count for state, count in told.by_state.items()},
        "tiers": dict(told.by_tier),
        "classes": [
            {"name": name, "agents": sum(tiers.values()), "tiers": dict(tiers)}
            for name, tiers in told.by_class
        ],
        "expires": {expiry.value: count for expiry, count in told.by_expiry.items()},
        "overdue": told.overdue,
    }


def agent_row(agent: Agent, revoked: Revoked | None) -> Json:
    """One agent, as in a list."""
    return {
        "namespace": agent.key.namespace,
        "name": agent.key.name,
        "className": agent.class_name,
        "tier": agent.tier or None,
        "state": agent.state,
        "reason": agent.reason or None,
        "message": agent.message or None,
        "sponsor": agent.sponsor or None,
        "purpose": agent.purpose or None,
        "spiffeID": agent.spiffe_id or None,
        "serial": agent.serial or None,
        "notAfter": _time(agent.not_after),
        "renewalTime": _time(agent.renewal_time),
        "issuer": agent.issuer or None,
        "revoked": None if revoked is None else _revoked(revoked),
    }


def agent_record(agent: Agent, revoked: Revoked | None, certificates: Sequence[Entry]) -> Json:
    """One agent, with everything on record about it."""
    return {
        **agent_row(agent, revoked),
        "serviceAccount": agent.service_account,
        "delivery": agent.delivery,
        "created": _time(agent.created),
        "score": agent.score,
        "reasons": list(agent.reasons),
        "conditions": [_condition(each) for each in agent.conditions],
        "certificates": [_certificate(entry) for entry in certificates],
    }


def gone_record(key: ObjectKey, certificates: Sequence[Entry]) -> Json:
    """What is on record of an agent whose AgentIdentity was deleted."""
    return {
        "namespace": key.namespace,
        "name": key.name,
        "state": "Gone",
        "certificates": [_certificate(entry) for entry in certificates],
    }


def _certificate(entry: Entry) -> Json:
    return {
        "serial": str(entry.serial),
        "issuer": entry.issued.issuer,
        "authority": entry.issued.authority,
        "issuedAt": time_text(entry.issued.issued_at),
        "notBefore": time_text(entry.issued.not_before),
        "notAfter": time_text(entry.issued.not_after),
        "delivery": entry.issued.door,
        "revoked": None if entry.revoked is None else _revoked(entry.revoked),
    }


def revocation_record(each: Revocation) -> Json:
    """One revocation."""
    return {
        "serial": str(each.revoked.serial),
        "namespace": None if each.key is None else each.key.namespace,
        "name": None if each.key is None else each.key.name,
        "className": each.class_name or None,
        "issuer": each.issuer or None,
        "notAfter": time_text(each.revoked.not_after),
        **_revoked(each.revoked),
    }


def issuer_record(issuer: IssuerView) -> Json:
    """One issuer with its authorities, and its keys for JWT-SVIDs."""
    return {
        "name": issuer.name,
        "trustDomain": issuer.trust_domain,
        "bundleSequence": issuer.bundle_sequence,
        "conditions": [_condition(each) for each in issuer.conditions],
        "authorities": [
            {
                "role": each.role,
                "state": each.state,
                "id": each.id,
                "subject": each.subject,
                "algorithm": each.algorithm,
                "fingerprint": each.fingerprint,
                "notBefore": _time(each.not_before),
                "notAfter": _time(each.not_after),
            }
            for each in issuer.authorities
        ],
        "jwtKeys": [
            {
                "kid": each.kid,
                "state": each.state,
                "algorithm": each.algorithm,
                "fingerprint": each.fingerprint,
                "since": _time(each.since),
            }
            for each in issuer.jwt_keys
        ],
    }


def _revoked(revoked: Revoked) -> Json:
    return {
        "reason": revoked.reason.value,
        "revokedAt": time_text(revoked.revoked_at),
        "actor": revoked.actor,
    }


def _condition(each: ConditionView) -> Mapping[str, object]:
    return {
        "type": each.type,
        "status": each.status,
        "reason": each.reason,
        "message": each.message,
        "lastTransitionTime": _time(each.since),
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else format_time(instant)
