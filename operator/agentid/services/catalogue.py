"""Looks after the small kinds: makes issuers able to sign, and tells whether a class is usable."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.agentclass import AgentClass, AgentClassStatus
from agentid.api.agentissuer import AgentIssuer, AgentIssuerStatus, AuthorityRole, AuthorityStatus
from agentid.api.conditions import (
    ConditionStatus,
    ConditionType,
    Reason,
    Wanted,
    set_conditions,
)
from agentid.api.violation import summarize
from agentid.constants import LABEL_MANAGED
from agentid.errors import (
    ApiError,
    AuthorityError,
    ConflictError,
    InputError,
    NotFoundError,
    UnavailableError,
)
from agentid.issuers import AuthoritySettings, BuiltinIssuer, ensure_authorities
from agentid.kube.objects import resource_version_of
from agentid.kube.resources import AGENT_CLASSES, AGENT_ISSUERS
from agentid.kube.stores import SecretFiles
from agentid.services.world import IssuerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.api.model import ObjectMeta
    from agentid.clock import Clock
    from agentid.issuers import Issuer
    from agentid.kube.client import Client
    from agentid.kube.resources import Resource
    from agentid.services.world import Parsed, World

__all__ = ["Catalogue", "authority_secret"]

_log = structlog.stdlib.get_logger(__name__)

_MAX_NAME: Final = 50

_TRIES: Final = 3
"""To write a status while others write the object; each reads it anew."""


def authority_secret(issuer: str) -> str:
    """The name of the Secret that holds the authorities of an issuer."""
    if len(issuer) <= _MAX_NAME:
        return f"agentid-ca-{issuer}"
    return f"agentid-ca-{issuer[: _MAX_NAME - 9]}-{hashlib.sha256(issuer.encode()).hexdigest()[:8]}"


class Catalogue:
    """AgentIssuers and AgentClasses: tens of each, so every change looks at the object whole."""

    def __init__(
        self,
        *,
        world: World,
        client: Client,
        clock: Clock,
        random: Callable[[int], bytes],
        namespace: str,
    ) -> None:
        """Take the parts.

        Args:
            world: Where issuers that can sign are put.
            client: The API server.
            clock: For validity and transition times.
            random: Gives unpredictable octets.
            namespace: The operator's own, where authorities are kept.
        """
        self._world = world
        self._client = client
        self._clock = clock
        self._random = random
        self._namespace = namespace

    async def reconcile_issuer(self, name: str) -> bool:
        """Make an issuer able to sign, and write its status.

        Returns:
            Whether what identities can expect of it has changed.

        Raises:
            UnavailableError: Something is away; the issuer stays as it was.
        """
        parsed = self._world.issuers.get(name)
        before = self._world.issuer_states.get(name)
        if parsed is None:
            self._world.issuer_states.pop(name, None)
            return before is not None
        state, reason = await self._issuer_state(parsed)
        self._world.issuer_states[name] = state
        await self._write_issuer_status(parsed, state, reason)
        changed = before is None or (before.issuer is None) != (state.issuer is None)
        if changed:
            _log.info("issuer_looked_at", issuer=name, ready=state.issuer is not None)
        return changed

    async def reconcile_class(self, name: str) -> None:
        """Tell in the status of a class whether it can be used.

        Raises:
            UnavailableError: The API server is away.
        """
        parsed = self._world.classes.get(name)
        if parsed is None:
            return
        metadata, old = AgentClass.metadata_of(parsed.body), AgentClass.status_of(parsed.body)
        if parsed.model is None:
            wanted = _stalled(Reason.INVALID_SPEC, summarize(parsed.faults))
        else:
            wanted = self._class_conditions(parsed.model)
        now = self._clock.now()
        status = AgentClassStatus(
            observed_generation=metadata.generation,
            conditions=set_conditions(old.conditions, wanted, now, metadata.generation),
        )
        if status == old:
            return
        await self._write(AGENT_CLASSES, metadata, status.to_api())

    def _class_conditions(self, agent_class: AgentClass) -> tuple[Wanted, ...]:
        issuer = agent_class.spec.issuer_name
        if issuer not in self._world.issuers:
            message = (
                f"spec.issuerName: there is no AgentIssuer {issuer}; create it or name another "
                "one. The class proceeds by itself"
            )
            return (
                Wanted(ConditionType.READY, _FALSE, Reason.ISSUER_NOT_FOUND, message),
                Wanted(ConditionType.RECONCILING, _TRUE, Reason.ISSUER_NOT_FOUND, message),
            )
        message = f"Identities may use it; AgentIssuer {issuer} signs"
        return (Wanted(ConditionType.READY, _TRUE, Reason.AVAILABLE, message),)

    async def _issuer_state(self, parsed: Parsed[AgentIssuer]) -> tuple[IssuerState, Reason]:
        issuer = parsed.model
        if issuer is None:
            return IssuerState(None, summarize(parsed.faults)), Reason.INVALID_SPEC
        builtin, name = issuer.spec.ca.builtin, issuer.metadata.name
        if builtin is None:
            return IssuerState(None, "spec.ca names no authority"), Reason.INVALID_SPEC
        settings = AuthoritySettings(
            trust_domain=issuer.trust_domain,
            root_algorithm=builtin.root_algorithm,
            root_lifetime=builtin.root_lifetime,
            intermediate_algorithm=builtin.intermediate_algorithm,
            intermediate_lifetime=builtin.intermediate_lifetime,
        )
        secret = authority_secret(name)
        store = SecretFiles(
            self._client,
            namespace=self._namespace,
            name=secret,
            labels={LABEL_MANAGED: "true"},
        )
        where = f"Secret {self._namespace}/{secret}"
        try:
            authority = await ensure_authorities(
                store, settings, self._clock, self._random, known_root=_known_root(issuer)
            )
        except AuthorityError as error:
            problem = f"{where}: {summarize(error.faults)}"
            return IssuerState(None, problem, passing=True), Reason.AUTHORITY_INVALID
        except InputError as error:
            return IssuerState(None, str(error)), Reason.INVALID_SPEC
        except ApiError as error:
            return IssuerState(None, str(error), passing=True), Reason.ISSUER_UNAVAILABLE
        return IssuerState(
            BuiltinIssuer(name=name, authority=authority, clock=self._clock, random=self._random)
        ), Reason.AVAILABLE

    async def _write_issuer_status(
        self, parsed: Parsed[AgentIssuer], state: IssuerState, reason: Reason
    ) -> None:
        metadata, old = AgentIssuer.metadata_of(parsed.body), AgentIssuer.status_of(parsed.body)
        model = parsed.model
        if state.issuer is None:
            stalled = reason is not Reason.ISSUER_UNAVAILABLE
            wanted = (_stalled if stalled else _reconciling)(reason, state.problem)
        else:
            message = f"Signs for {state.issuer.trust_domain}"
            wanted = (Wanted(ConditionType.READY, _TRUE, Reason.AVAILABLE, message),)
        now = self._clock.now()
        status = AgentIssuerStatus(
            observed_generation=metadata.generation,
            conditions=set_conditions(old.conditions, wanted, now, metadata.generation),
            trust_domain=None if model is None else str(model.trust_domain),
            # Those it had stay there while they cannot be read: that it had some is what keeps new
            # ones from being made in their place.
            authorities=_authorities(state.issuer) or old.authorities,
        )
        if status == old:
            return
        await self._write(AGENT_ISSUERS, metadata, status.to_api())

    async def _write(
        self, resource: Resource, metadata: ObjectMeta, status: dict[str, object]
    ) -> None:
        version = metadata.resource_version
        for _ in range(_TRIES):
            body = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {
                    "name": metadata.name,
                    "uid": metadata.uid,
                    "resourceVersion": version,
                },
                "status": status,
            }
            try:
                await self._client.replace_status(resource, body)
            except NotFoundError:
                return
            except ConflictError:
                # Nobody else writes a status, so ours is still right for the newer object.
                version = resource_version_of(await self._client.get(resource, metadata.name))
            else:
                return
        message = f"{resource.kind} {metadata.name} changes faster than its status is written"
        raise UnavailableError(message)


_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


def _stalled(reason: Reason, message: str) -> tuple[Wanted, ...]:
    return (
        Wanted(ConditionType.READY, _FALSE, reason, message),
        Wanted(ConditionType.STALLED, _TRUE, reason, message),
    )


def _reconciling(reason: Reason, message: str) -> tuple[Wanted, ...]:
    return (
        Wanted(ConditionType.READY, _FALSE, reason, message),
        Wanted(ConditionType.RECONCILING, _TRUE, reason, message),
    )


def _known_root(issuer: AgentIssuer) -> str | None:
    told = issuer.status.authorities
    return next((each.fingerprint for each in told if each.role is AuthorityRole.ROOT), None)


def _authorities(issuer: Issuer | None) -> tuple[AuthorityStatus, ...]:
    if issuer is None:
        return ()
    return tuple(
        AuthorityStatus(
            role=AuthorityRole(info.role.value),
            subject=info.subject,
            serial=str(info.serial),
            algorithm=info.algorithm,
            fingerprint=info.fingerprint,
            not_before=info.validity.not_before,
            not_after=info.validity.not_after,
        )
        for info in issuer.authorities()
    )
