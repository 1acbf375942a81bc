"""Manifests that tests begin from; each test changes what it is about."""

from __future__ import annotations

from typing import Any

__all__ = ["agent_class", "identity", "issuer"]

Json = dict[str, Any]


def issuer(name: str = "test", **spec: Any) -> Json:  # noqa: ANN401 - JSON
    """An AgentIssuer with authorities of its own."""
    return {
        "metadata": {"name": name},
        "spec": {"trustDomain": "agents.test", "ca": {"builtin": {}}, **spec},
    }


def agent_class(name: str, **spec: Any) -> Json:  # noqa: ANN401 - JSON
    """An AgentClass that serves every namespace and allows reading."""
    return {
        "metadata": {"name": name},
        "spec": {
            "issuerName": "test",
            "namespaces": {"names": ["*"]},
            "permissions": {"systems": ["erp.*", "crm.*"], "operations": ["list", "read"]},
            "revocation": {"gracePeriod": "1s"},
            **spec,
        },
    }


def identity(name: str, class_name: str, **spec: Any) -> Json:  # noqa: ANN401 - JSON
    """An AgentIdentity that asks for little."""
    return {
        "metadata": {"name": name},
        "spec": {
            "className": class_name,
            "sponsor": "team@example.com",
            "subject": {"serviceAccountName": "default"},
            "permissions": {"systems": ["erp.invoices"], "operations": ["read"]},
            **spec,
        },
    }
