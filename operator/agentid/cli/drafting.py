"""The manifest that `agentid init` writes, out of answers; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import ValidationError

from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentrevocation import IdentityReference
from agentid.api.model import violations_of
from agentid.constants import GROUP, VERSION
from agentid.errors import SpecError
from agentid.identity import TrustDomain
from agentid.policy.judge import Refused, judge
from agentid.services.gathering import SERVED_DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentid.api.agentclass import AgentClass
    from agentid.kube.objects import JsonObject

__all__ = ["QUESTIONS", "Draft", "Question", "faults_of", "to_yaml"]

_SOME_DOMAIN: Final = TrustDomain("example.org")
"""Whether a class allows something does not hang on the trust domain."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Answers so far; what is None was not answered yet."""

    namespace: str
    name: str | None = None
    class_name: str | None = None
    sponsor: str | None = None
    purpose: str | None = None
    service_account: str | None = None
    systems: tuple[str, ...] | None = None
    operations: tuple[str, ...] | None = None

    def to_body(self) -> JsonObject:
        """The manifest; what is empty is left out."""
        permissions = {
            "systems": list(self.systems or ()),
            "operations": list(self.operations or ()),
        }
        spec = {
            "className": self.class_name,
            "sponsor": self.sponsor,
            "purpose": self.purpose,
            "subject": {"serviceAccountName": self.service_account},
            "permissions": {name: found for name, found in permissions.items() if found},
        }
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": AgentIdentity.KIND,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {name: found for name, found in spec.items() if found},
        }


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a draft lacks.

    Attributes:
        field: The path of the field in the manifest that it is about.
        option: The option that answers it.
        text: The question.
        take: Puts an answer into a draft.
        default: What is offered, None if nothing is.
        hint: What the class allows, empty where that says nothing.
        is_open: Whether a draft lacks it.
        is_required: Whether there is no manifest without it.
    """

    field: str
    option: str
    text: str
    take: Callable[[Draft, str], Draft]
    is_open: Callable[[Draft], bool]
    default: Callable[[Draft], str] = lambda _: ""
    hint: Callable[[AgentClass], str] = lambda _: ""
    is_required: Callable[[AgentClass | None], bool] = lambda _: True


def _many(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


QUESTIONS: Final = (
    Question(
        "metadata.name", "NAME", "Name of the agent",
        lambda draft, text: replace(draft, name=text),
        lambda draft: draft.name is None,
    ),
    Question(
        "spec.className", "--class", "Its AgentClass",
        lambda draft, text: replace(draft, class_name=text),
        lambda draft: draft.class_name is None,
    ),
    Question(
        "spec.sponsor", "--sponsor", "Who answers for it (e-mail address or URI)",
        lambda draft, text: replace(draft, sponsor=text),
        lambda draft: draft.sponsor is None,
        is_required=lambda found: found is not None and found.spec.require_sponsor,
    ),
    Question(
        "spec.purpose", "--purpose", "What it is for, in one line",
        lambda draft, text: replace(draft, purpose=text),
        lambda draft: draft.purpose is None,
        is_required=lambda _: False,
    ),
    Question(
        "spec.subject.serviceAccountName", "--service-account", "ServiceAccount of its pods",
        lambda draft, text: replace(draft, service_account=text),
        lambda draft: draft.service_account is None,
        default=lambda draft: draft.name or "",
    ),
    Question(
        "spec.permissions.systems", "--system", "Systems that it may reach, with commas between",
        lambda draft, text: replace(draft, systems=_many(text)),
        lambda draft: draft.systems is None,
        hint=lambda found: ", ".join(found.spec.permissions.systems) or "nothing",
        is_required=lambda _: False,
    ),
    Question(
        "spec.permissions.operations", "--operation", "What it may do there, with commas between",
        lambda draft, text: replace(draft, operations=_many(text)),
        lambda draft: draft.operations is None,
        hint=lambda found: ", ".join(found.spec.permissions.operations) or "nothing",
        is_required=lambda _: False,
    ),
)  # fmt: skip
"""In the order in which they are asked."""


def faults_of(draft: Draft, agent_class: AgentClass | None, now: datetime) -> tuple[str, ...]:
    """What is wrong with a draft, by itself or for its class; in sentences that begin with a field.

    Args:
        draft: Which.
        agent_class: The class that it names, None if that is not known.
        now: From when on schedules of different zones are compared.
    """
    named = _name_faults(draft)
    try:
        identity = AgentIdentity.parse(draft.to_body())
    except SpecError as error:
        return (*named, *error.violations)
    if named:
        return named
    if agent_class is None:
        return ()
    verdict = judge(
        identity, agent_class, _SOME_DOMAIN, available_deliveries=SERVED_DELIVERIES, now=now
    )
    if isinstance(verdict, Refused):
        return tuple(each.sentence for each in verdict.violations)
    return ()


def _name_faults(draft: Draft) -> tuple[str, ...]:
    """What the API server would say of name and namespace; the parser leaves these to it."""
    try:
        IdentityReference.model_validate({"namespace": draft.namespace, "name": draft.name})
    except ValidationError as error:
        return tuple(f"metadata.{each.sentence}" for each in violations_of(error))
    return ()


def to_yaml(draft: Draft) -> str:
    """The manifest as a file."""
    return yaml.safe_dump(draft.to_body(), sort_keys=False, allow_unicode=True, width=100)
