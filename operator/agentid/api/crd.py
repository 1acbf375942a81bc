"""The CustomResourceDefinitions, generated from the models."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.agentrevocation import AgentRevocation
from agentid.api.schema import field_schema
from agentid.constants import GROUP, VERSION

if TYPE_CHECKING:
    from agentid.api.model import Resource
    from agentid.api.schema import Schema

__all__ = ["crd_manifests", "render_crds"]

_WIDE: Final = 1
"""Priority of a printer column that only `-o wide` shows."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    json_path: str
    description: str
    type: str = "string"
    priority: int = 0

    def to_api(self) -> dict[str, object]:
        column: dict[str, object] = {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.json_path,
            "description": self.description,
        }
        return column | ({"priority": self.priority} if self.priority else {})


_AGE: Final = _Column("Age", ".metadata.creationTimestamp", "Time since it was created.", "date")
_READY: Final = _Column(
    "Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether it can be used now."
)
_REASON: Final = _Column(
    "Reason",
    '.status.conditions[?(@.type=="Ready")].reason',
    "Why it is ready or not, in one word.",
    priority=_WIDE,
)


@dataclass(frozen=True, slots=True)
class _Kind:
    model: type[Resource]
    plural: str
    short_name: str
    namespaced: bool
    selectable: tuple[str, ...]
    columns: tuple[_Column, ...]


_KINDS: Final = (
    _Kind(
        AgentIssuer,
        "agentissuers",
        "aiss",
        namespaced=False,
        selectable=(".spec.trustDomain",),
        columns=(
            _READY,
            _Column("Trust-Domain", ".spec.trustDomain", "SPIFFE trust domain it signs for."),
            _AGE,
            _REASON,
        ),
    ),
    _Kind(
        AgentClass,
        "agentclasses",
        "aclass",
        namespaced=False,
        selectable=(".spec.issuerName",),
        columns=(
            _READY,
            _Column("Issuer", ".spec.issuerName", "AgentIssuer that signs."),
            _Column("Lifetime", ".spec.lifetime", "Lifetime of certificates."),
            _Column("Max-Tier", ".spec.maxTier", "Highest tier that is accepted."),
            _AGE,
            _Column(
                "Identities",
                ".status.identities",
                "Number of AgentIdentities of the class.",
                "integer",
                _WIDE,
            ),
            _REASON,
        ),
    ),
    _Kind(
        AgentIdentity,
        "agentidentities",
        "aid",
        namespaced=True,
        selectable=(".spec.className", ".spec.suspend", ".spec.delivery.mode"),
        columns=(
            _READY,
            _Column("Class", ".spec.className", "AgentClass it belongs to."),
            _Column("Tier", ".status.classification.tier", "How strictly it is handled."),
            # Type string: type date would print the time that has passed since, and a notAfter
            # that is still to come as <invalid>.
            _Column("Not-After", ".status.certificate.notAfter", "When the certificate expires."),
            _AGE,
            _Column("SPIFFE ID", ".status.spiffeID", "Who the agent is.", priority=_WIDE),
            _Column(
                "Serial", ".status.certificate.serial", "Serial number in use.", priority=_WIDE
            ),
            _REASON,
        ),
    ),
    _Kind(
        AgentRevocation,
        "agentrevocations",
        "arev",
        namespaced=False,
        selectable=(".spec.reason", ".spec.dryRun"),
        columns=(
            _READY,
            _Column("Phase", ".status.phase", "How far it is."),
            _Column("Reason", ".spec.reason", "Why, as RFC 5280 has it."),
            _Column("Hits", ".status.matched", "Certificates that are hit.", "integer"),
            _Column("Revoked", ".status.revoked", "Certificates revoked so far.", "integer"),
            _Column("Dry-Run", ".spec.dryRun", "Whether it only tells.", "boolean"),
            _AGE,
            _Column(
                "Identities", ".status.identities", "AgentIdentities that are hit.",
                "integer", _WIDE,
            ),
            _Column("Hold", ".spec.hold", "Whether they are held.", "boolean", _WIDE),
            _Column("Started", ".status.startedAt", "When it was executed.", priority=_WIDE),
        ),
    ),
)  # fmt: skip


def _manifest(kind: _Kind) -> dict[str, object]:
    name = kind.model.KIND
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "agentid", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["agentid"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.to_api() for column in kind.columns],
                    "selectableFields": [{"jsonPath": path} for path in kind.selectable],
                    "schema": {"openAPIV3Schema": _root_schema(kind.model)},
                }
            ],
        },
    }


def _root_schema(model: type[Resource]) -> Schema:
    fields = model.model_fields
    return {
        "description": inspect.cleandoc(model.__doc__ or ""),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"Version of the API that the object is written in: "
                f"{GROUP}/{VERSION}.",
            },
            "kind": {"type": "string", "description": f"Kind of the object: {model.KIND}."},
            "metadata": {"type": "object"},
            "spec": field_schema(fields["spec"], f"{model.KIND}.spec"),
            "status": field_schema(fields["status"], f"{model.KIND}.status"),
        },
        "x-kubernetes-validations": [rule.validation() for rule in model.rules],
    }


def crd_manifests() -> tuple[dict[str, object], ...]:
    """The CustomResourceDefinitions of all kinds, ready to be applied."""
    return tuple(_manifest(kind) for kind in _KINDS)


def render_crds() -> dict[str, str]:
    """Write the CustomResourceDefinitions as YAML.

    Returns:
        From file name to content, one CRD each; `crds/` holds exactly these.
    """
    return {
        f"{GROUP}_{kind.plural}.yaml": _HEAD
        + yaml.safe_dump(_manifest(kind), sort_keys=False, allow_unicode=True, width=100)
        for kind in _KINDS
    }


_HEAD: Final = (
    "# Generated from the models in operator/agentid/api by `agentid crds`; do not edit.\n"
)
