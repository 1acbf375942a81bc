"""Resources that a corpus begins with: each kind with little, and with every field that it has."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["API_VERSION", "NAMESPACE", "resources"]

API_VERSION: Final = "agentid.dev/v1alpha1"
NAMESPACE: Final = "finance"

Json = dict[str, Any]

_NOON: Final = "2026-11-01T12:00:00Z"
_LATER: Final = "2026-11-01T20:00:00Z"
_SCHEDULE: Final[Json] = {
    "timeZone": "Europe/Berlin",
    "windows": [{"days": ["Mon", "Tue", "Fri"], "start": "08:00", "end": "18:30"}],
}


def _condition(kind: str, status: str, reason: str) -> Json:
    return {
        "type": kind, "status": status, "reason": reason, "message": f"{reason} it is",
        "observedGeneration": 1, "lastTransitionTime": _NOON,
    }  # fmt: skip


def _whole(kind: str, name: str, spec: Json, status: Json | None = None, **metadata: Any) -> Json:  # noqa: ANN401 - JSON
    body: Json = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "generation": 1, "uid": f"uid-{name}", **metadata},
        "spec": spec,
    }
    return body if status is None else {**body, "status": status}


def resources() -> tuple[Json, ...]:
    """All of them; those with a status are as some release left them, the rest is looked after."""
    return (*_issuers(), *_classes(), *_identities(), *_revocations())


def _issuers() -> tuple[Json, ...]:
    authority = {
        "role": "Issuing", "state": "Retired", "id": "0123456789abcdef", "subject": "CN=old",
        "serial": "0a1b", "algorithm": "ECDSAP256", "fingerprint": "ab" * 32,
        "notBefore": _NOON, "notAfter": _LATER,
    }  # fmt: skip
    full = _whole(
        "AgentIssuer",
        "full",
        {
            "trustDomain": "full.example.org",
            "ca": {"builtin": {
                "rootAlgorithm": "ECDSAP521", "rootLifetime": "175200h",
                "intermediateAlgorithm": "ECDSAP384", "intermediateLifetime": "1440h",
            }},
            "rotation": {"propagationTime": "30m"},
            "distrust": ["cd" * 32],
            "responder": {"url": "http://status.example.org", "crlLifetime": "2h", "shards": 16},
            "bundle": {"refreshHint": "10m"},
            "jwt": {
                "algorithm": "ES384", "rotationPeriod": "336h", "tokenLifetime": "10m",
                "oidcIssuer": "https://oidc.example.org",
            },
            "federation": [
                {
                    "trustDomain": "partner.example.net", "profile": "https_spiffe",
                    "url": "https://partner.example.net/bundle",
                    "endpointSpiffeID": "spiffe://partner.example.net/bundle",
                    "bundle": '{"keys": []}',
                },
                {"trustDomain": "web.example.net", "profile": "https_web",
                 "url": "https://web.example.net/bundle"},
            ],
        },
        {
            "observedGeneration": 1,
            "conditions": [
                _condition("Ready", "True", "Available"),
                _condition("AuthoritiesCurrent", "True", "Available"),
                _condition("example.net/Audited", "Unknown", "SomebodyElses"),
            ],
            "trustDomain": "full.example.org",
            "authorities": [
                {**authority, "role": "Root", "state": state, "fingerprint": f"{at:02x}" * 32}
                for at, state in enumerate(("Signing", "Staged", "Distrusted"))
            ] + [authority],
            "jwtKeys": [
                {"kid": f"k{at}", "state": state, "algorithm": "ES384", "fingerprint": "ef" * 32,
                 "since": _NOON}
                for at, state in enumerate(("Staged", "Signing", "Retired"))
            ],
            "bundleSequence": 7,
            "federation": [
                {"trustDomain": "partner.example.net", "sequence": 3, "fetchedAt": _NOON},
                {"trustDomain": "web.example.net", "problem": "it did not answer"},
            ],
        },
    )  # fmt: skip
    given = _whole(
        "AgentIssuer",
        "given",
        {"trustDomain": "given.example.org", "ca": {"secret": {"name": "x"}}},
    )
    return (
        full,
        given,
        _whole("AgentIssuer", "main", {"trustDomain": "example.org", "ca": {"builtin": {}}}),
    )


def _classes() -> tuple[Json, ...]:
    tiers = {
        tier: {"lifetime": lifetime, "keyAlgorithm": algorithm, "deliveryModes": modes}
        for tier, lifetime, algorithm, modes in (
            ("Low", "8h", "ECDSAP256", ["Secret", "PodCertificate", "CSI"]),
            ("Moderate", "4h", "ECDSAP256", ["Secret", "CSI"]),
            ("High", "1h", "ECDSAP384", ["CSI"]),
            ("Critical", "15m", "ECDSAP384", ["CSI"]),
        )
    }
    full = _whole(
        "AgentClass",
        "full",
        {
            "issuerName": "full", "description": "Everything that a class can say",
            "lifetime": "8h", "keyAlgorithm": "ECDSAP256", "migration": {"keyAlgorithm": "MLDSA65"},
            "certificatePolicy": {
                "oid": "1.3.6.1.4.1.99999.1", "cpsURI": "https://pki.example.org/cps",
            },
            "authorization": {"critical": True}, "renewal": {"renewBefore": "2h"},
            "revocation": {"gracePeriod": "10m", "ephemeralLifetime": "30m"},
            "permissions": {
                "systems": ["erp.*", "crm.*"], "operations": ["list", "read", "settle"],
                "schedule": _SCHEDULE, "compliance": ["gdpr", "sox"],
            },
            "operations": [{"name": "settle", "implies": {
                "accessPrivileges": "ReadWrite", "decisionAuthority": "Bounded",
                "riskExposure": "Significant",
            }}],
            "delivery": {"modes": ["Secret", "PodCertificate", "CSI"]},
            "namespaces": {"names": ["finance", "team-*"]}, "requireSponsor": True,
            "maxTier": "High", "tiers": tiers,
        },
        {
            "observedGeneration": 1, "conditions": [_condition("Ready", "True", "Available")],
            "identities": 3,
            "keyAlgorithms": [{"algorithm": "ECDSAP256", "certificates": 2},
                              {"algorithm": "MLDSA65", "certificates": 1}],
        },
    )  # fmt: skip
    batch = _whole(
        "AgentClass",
        "batch",
        {
            "issuerName": "main", "namespaces": {"names": ["*"]}, "lifetime": "8h",
            "permissions": {"systems": ["erp.*"], "operations": ["list", "read"]},
            "delivery": {"modes": ["Secret", "PodCertificate", "CSI"]},
        },
    )  # fmt: skip
    short = _whole(
        "AgentClass",
        "short",
        {
            "issuerName": "main", "namespaces": {"names": ["*"]}, "lifetime": "1h",
            "permissions": {"systems": ["erp.*"], "operations": ["list", "read"]},
            "delivery": {"modes": ["PodCertificate"]}, "revocation": {"ephemeralLifetime": "1h"},
        },
    )  # fmt: skip
    minimal = {"issuerName": "main", "namespaces": {"names": ["*"]}}
    return full, batch, short, _whole("AgentClass", "minimal", minimal)


def _identity(name: str, spec: Json, status: Json | None = None) -> Json:
    return _whole(
        "AgentIdentity", name, spec, status,
        namespace=NAMESPACE, labels={"team": "billing"}, finalizers=["agentid.dev/revocation"],
        annotations={"agentid.dev/renew-requested": "2026-10-01T00:00:00Z"},
    )  # fmt: skip


def _identities() -> tuple[Json, ...]:
    asked = {
        "className": "batch", "subject": {"serviceAccountName": "default"},
        "sponsor": "team@example.com",
        "permissions": {"systems": ["erp.invoices"], "operations": ["read"]},
    }  # fmt: skip
    full = _identity(
        "full",
        {
            "className": "full", "sponsor": "team@example.com", "purpose": "Files invoices",
            "subject": {"serviceAccountName": "reader"},
            "permissions": {
                "systems": ["erp.invoices"], "operations": ["read"], "schedule": _SCHEDULE,
                "compliance": ["gdpr"],
            },
            "classification": {
                "accessPrivileges": "ReadOnly", "decisionAuthority": "Supervised",
                "riskExposure": "Limited", "lifespan": "Session",
            },
            "lifetime": "2h", "delivery": {"mode": "Secret", "secretName": "its-files"},
            "instances": "Shared", "suspend": False,
        },
        {
            "observedGeneration": 1,
            "conditions": [
                _condition("Ready", "True", "Issued"),
                _condition("Reconciling", "True", "Renewing"),
            ],
            "spiffeID": "spiffe://full.example.org/ns/finance/agent/full",
            "classification": {"tier": "Low", "score": 17, "reasons": ["it reads"]},
            "certificate": {
                "serial": "0a1b2c", "fingerprint": "ab" * 32, "notBefore": _NOON,
                "notAfter": _LATER, "renewalTime": _NOON, "issuer": "full",
                "keyAlgorithm": "ECDSAP256",
            },
            "delivery": {"secretName": "its-files", "secretUID": "uid-of-its-files"},
            "podCertificate": {
                "keyType": "ECDSAP256", "maxExpirationSeconds": 3600,
                "trustBundle": "agentid.dev:agent:full",
            },
            "pods": {
                "certificates": 2, "earliestNotAfter": _LATER,
                "lastRefusal": {"time": _NOON, "pod": "p-1", "reason": "NoIdentity",
                                "message": "it has no label"},
            },
            "withdrawalTime": _LATER, "activeCertificates": 3,
        },
    )  # fmt: skip
    return (
        full,
        _identity("reader", asked),
        _identity("writer", {**asked, "suspend": True}),
        _identity("porter", {**asked, "delivery": {"mode": "CSI"}, "instances": "PerPod"}),
        _identity(
            "carrier", {**asked, "className": "short", "delivery": {"mode": "PodCertificate"}}
        ),
        _identity(
            "minimal", {"className": "minimal", "subject": {"serviceAccountName": "default"}}
        ),
    )


def _revocations() -> tuple[Json, ...]:
    full = _whole(
        "AgentRevocation",
        "full",
        {
            "reason": "keyCompromise", "explanation": "A laptop was lost",
            "contact": "security@example.com", "dryRun": True, "hold": True, "release": False,
            "select": {
                "identities": [{"namespace": "finance", "name": "gone"}],
                "classNames": ["full"], "issuerNames": ["full"], "namespaces": ["finance"],
                "labelSelector": {
                    "matchLabels": {"team": "billing"},
                    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
                },
                "serials": ["0a1b2c"], "issued": {"after": _NOON, "before": _LATER},
            },
        },
        {
            "observedGeneration": 1, "conditions": [_condition("Ready", "True", "DryRun")],
            "phase": "DryRun", "startedAt": "2026-11-01T12:00:00.123456Z", "completedAt": _NOON,
            "matched": 2, "identities": 1, "revoked": 2, "progress": 100,
            "hits": [{
                "namespace": "finance", "name": "gone", "serial": "0a1b2c",
                "spiffeID": "spiffe://full.example.org/ns/finance/agent/gone", "why": "by name",
            }],
            "more": 1, "held": [{"namespace": "finance", "name": "gone"}],
        },
    )  # fmt: skip
    done = _whole(
        "AgentRevocation",
        "executed",
        {"reason": "superseded", "dryRun": False, "hold": True,
         "select": {"identities": [{"namespace": "finance", "name": "nobody"}]}},
        {
            "observedGeneration": 1, "conditions": [_condition("Ready", "True", "Executed")],
            "phase": "Executed", "startedAt": "2026-11-01T11:00:00.000001Z",
            "completedAt": _NOON, "matched": 0, "identities": 0, "revoked": 0, "progress": 100,
            "more": 0,
        },
    )  # fmt: skip
    minimal = _whole(
        "AgentRevocation", "minimal", {"reason": "unspecified", "select": {"namespaces": ["a"]}}
    )
    return full, done, minimal
