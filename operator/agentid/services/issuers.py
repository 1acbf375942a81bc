"""Looks after AgentIssuers: authorities made or taken up, exchanged step by step, and told of.

Secret ──read──► AuthoritySet ──next_step──► made ──► Secret replaced ──► …until there is none
▲
ledger, spec, what is published ─┘
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.agentissuer import (
    AgentIssuer,
    AgentIssuerStatus,
    AuthorityRole,
    BuiltinCa,
)
from agentid.api.conditions import (
    ConditionStatus,
    ConditionType,
    Reason,
    Wanted,
    set_conditions,
)
from agentid.api.violation import summarize
from agentid.constants import LABEL_MANAGED
from agentid.errors import ApiError, AuthorityError, InputError, UnavailableError
from agentid.issuers import (
    AuthoritySettings,
    BuiltinIssuer,
    GivenAuthority,
    JwtTerms,
    carried_out,
    ensure_authorities,
)
from agentid.kube.objects import version_of
from agentid.kube.resources import AGENT_ISSUERS
from agentid.kube.stores import SecretFiles
from agentid.policy.authorities import DropRoot
from agentid.policy.jwt_keys import DropJwtKey
from agentid.policy.jwt_rotation import JwtWish
from agentid.policy.rotation import Given, Wish, demands, next_step, waits_for
from agentid.policy.stages import Stage
from agentid.services.issuer_status import (
    Found,
    conditions_of,
    told_authorities,
    told_jwt_keys,
)
from agentid.services.statuses import reconciling, stalled, write_status
from agentid.services.usage import facts_of
from agentid.services.witness import Witness
from agentid.services.world import IssuerState
from agentid.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock
    from agentid.issuers import AuthoritySet, Kept
    from agentid.kube.client import Client
    from agentid.ledger import LedgerState
    from agentid.policy.authorities import Authorities, Step
    from agentid.policy.rotation import Facts
    from agentid.services.world import Parsed, World

__all__ = ["IssuerService", "Looked", "authority_secret"]

_log = structlog.stdlib.get_logger(__name__)

_MAX_NAME: Final = 50

_MOST_STEPS: Final = 12
"""Steps in one look; a whole rotation has five, and one of keys for JWT-SVIDs four. More would be
two that undo each other."""

_DEFAULTS: Final = BuiltinCa()

_CALM: Final = timedelta(minutes=1)
"""Until the next look while nothing is going on: for Secrets that people change."""

_BUSY: Final = timedelta(seconds=1)
"""Until the next look while a rotation goes on."""


def authority_secret(issuer: str) -> str:
    """The name of the Secret that holds the authorities of an issuer."""
    if len(issuer) <= _MAX_NAME:
        return f"agentid-ca-{issuer}"
    return f"agentid-ca-{issuer[: _MAX_NAME - 9]}-{hashlib.sha256(issuer.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at an issuer came to.

    Attributes:
        availability: Whether it can sign now and could not before, or the other way round.
        demands: Whether it asks something else of its certificates than before.
        again: When to look at it next.
    """

    availability: bool = False
    demands: bool = False
    again: timedelta = _CALM


class IssuerService:
    """AgentIssuers come in ones, so every look reads everything."""

    def __init__(
        self,
        *,
        world: World,
        client: Client,
        ledger: LedgerState,
        clock: Clock,
        random: Callable[[int], bytes],
        namespace: str,
        witness: Witness | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Take the parts.

        Args:
            world: Where issuers that can sign are put.
            client: The API server.
            ledger: What was issued and revoked.
            clock: For validity and transition times.
            random: Gives unpredictable octets.
            namespace: The operator's own, where authorities are kept.
            witness: Told of steps and of what the status says.
            metrics: Counts steps.
        """
        self._world = world
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._random = random
        self._namespace = namespace
        self._witness = witness or Witness()
        self._metrics = metrics or Metrics()
        # What was written last: the watch tells it later.
        # UID and version with it, as another leader may have told something else since.
        self._told: dict[str, tuple[str, int, AgentIssuerStatus]] = {}

    def conditions(self) -> dict[tuple[str, str], bool]:
        """By issuer and type: whether each condition that was told last is True, for a gauge."""
        return {
            (name, each.type): each.status is ConditionStatus.TRUE
            for name, (_, _, status) in self._told.items()
            for each in status.conditions
        }

    async def reconcile(self, name: str) -> Looked:
        """Make an issuer able to sign, go on with a rotation, and write its status.

        Raises:
            UnavailableError: Something is away; the issuer stays as it was.
        """
        parsed = self._world.issuers.get(name)
        before = self._world.issuer_states.get(name)
        if parsed is None:
            self._world.issuer_states.pop(name, None)
            self._told.pop(name, None)
            return Looked(availability=before is not None)
        state, reason, found = await self._look(parsed)
        self._world.issuer_states[name] = state
        await self._tell(parsed, state, reason, found)
        available = before is not None and before.issuer is not None
        looked = Looked(
            availability=before is None or available != (state.issuer is not None),
            demands=before is not None and before.demands != state.demands,
            again=_BUSY if found is not None and _in_motion(found) else _CALM,
        )
        if looked.availability:
            _log.info("issuer_looked_at", issuer=name, ready=state.issuer is not None)
        return looked

    async def _look(self, parsed: Parsed[AgentIssuer]) -> tuple[IssuerState, Reason, Found | None]:
        issuer = parsed.model
        if issuer is None:
            return IssuerState(None, summarize(parsed.faults)), Reason.INVALID_SPEC, None
        name = issuer.metadata.name
        secret = f"{self._namespace}/{authority_secret(name)}"
        try:
            found = await self._authorities(issuer)
            signs = BuiltinIssuer(
                name=name,
                authorities=found.authorities,
                clock=self._clock,
                random=self._random,
                jwt=JwtTerms(issuer.spec.jwt.token_lifetime, issuer.spec.jwt.oidc_issuer),
            )
        except AuthorityError as error:
            problem = f"Secret {_given_secret(self._namespace, issuer) or secret}: "
            problem += summarize(error.faults)
            return IssuerState(None, problem, passing=True), Reason.AUTHORITY_INVALID, None
        except InputError as error:
            return IssuerState(None, str(error)), Reason.INVALID_SPEC, None
        except ApiError as error:
            state = IssuerState(None, str(error), passing=True)
            return state, Reason.ISSUER_UNAVAILABLE, None
        asked = demands(found.authorities.records, found.wish.distrust)
        state = IssuerState(signs, authorities=found.authorities, demands=asked)
        return state, Reason.AVAILABLE, found

    async def _authorities(self, issuer: AgentIssuer) -> Found:
        """The authorities, after every step that can be taken now."""
        name = issuer.metadata.name
        settings = _settings(issuer)
        store = self._store(authority_secret(name))
        given = await self._given(issuer)
        kept = await ensure_authorities(
            store,
            settings,
            self._clock,
            self._random,
            given=given,
            known_root=_known_root(issuer),
        )
        wish = _wish(issuer, given)
        for _ in range(_MOST_STEPS):
            now = self._clock.now()
            facts = self._facts(issuer, kept.authorities)
            step = next_step(kept.authorities.records, wish, facts, now)
            if step is None:
                waits = waits_for(kept.authorities.records, wish, facts, now)
                return Found(kept.authorities, wish, waits)
            if kept.version is not None:
                made = await asyncio.to_thread(
                    carried_out, kept.authorities, step, settings, now, self._random, given
                )
                if await store.replace(made.files, kept.version):
                    _log.info("authority_step", issuer=name, step=type(step).__name__, of=str(step))
                    self._metrics.authority_steps.labels(name, type(step).__name__).inc()
                    distrusted = _is_about(step, kept.authorities.records, wish.distrust)
                    self._witness.authority_step(issuer, step, distrusted=distrusted)
            kept = await self._again(store, settings)
        message = f"the authorities of {name} do not come to rest; agentid tries again"
        raise UnavailableError(message)

    async def _again(self, store: SecretFiles, settings: AuthoritySettings) -> Kept:
        """What is stored now; nothing is made if it is gone."""
        return await ensure_authorities(
            store, settings, self._clock, self._random, known_root="that was just there"
        )

    def _facts(self, issuer: AgentIssuer, authorities: AuthoritySet) -> Facts:
        return facts_of(self._ledger, self._world, issuer, authorities.records, self._clock.now())

    async def _given(self, issuer: AgentIssuer) -> GivenAuthority | None:
        secret = issuer.spec.ca.secret
        if secret is None:
            return None
        stored = await self._store(secret.name).read()
        if stored is None:
            fault = "it does not exist; create it, of type kubernetes.io/tls"
            raise AuthorityError((fault,))
        return await asyncio.to_thread(
            GivenAuthority.read, stored.files, issuer.trust_domain, self._clock.now()
        )

    def _store(self, name: str) -> SecretFiles:
        return SecretFiles(
            self._client, namespace=self._namespace, name=name, labels={LABEL_MANAGED: "true"}
        )

    # Telling

    async def _tell(
        self, parsed: Parsed[AgentIssuer], state: IssuerState, reason: Reason, found: Found | None
    ) -> None:
        metadata, seen = AgentIssuer.metadata_of(parsed.body), AgentIssuer.status_of(parsed.body)
        version, old = version_of(parsed.body), seen
        told = self._told.get(metadata.name)
        if told is not None and told[0] == metadata.uid and told[1] > version:
            _, version, old = told
        model = parsed.model
        if state.issuer is None or found is None:
            is_stalled = reason is not Reason.ISSUER_UNAVAILABLE
            wanted = (stalled if is_stalled else reconciling)(reason, state.problem)
        else:
            wanted = conditions_of(state.issuer.trust_domain.name, found)
            withheld = self._world.withheld_bundles.get(metadata.name)
            if withheld is not None:
                wanted += (
                    Wanted(
                        ConditionType.BUNDLE_WITHHELD,
                        ConditionStatus.TRUE,
                        Reason.BUNDLE_OLDER,
                        withheld,
                    ),
                )
        status = AgentIssuerStatus(
            observed_generation=metadata.generation,
            conditions=set_conditions(
                old.conditions, wanted, self._clock.now(), metadata.generation
            ),
            trust_domain=None if model is None else str(model.trust_domain),
            # Those it had stay there while they cannot be read: that it had some is what keeps new
            # ones from being made in their place.
            authorities=old.authorities if found is None else told_authorities(found),
            jwt_keys=old.jwt_keys if found is None else told_jwt_keys(found),
            bundle_sequence=old.bundle_sequence
            if found is None
            else found.authorities.records.sequence,
            federation=self._world.federation.get(metadata.name, old.federation),
        )
        if status != old:
            version = await write_status(self._client, AGENT_ISSUERS, metadata, status.to_api())
            self._witness.issuer_told(metadata, status)
        self._told[metadata.name] = (metadata.uid, version, status)


def _is_about(step: Step, have: Authorities, distrust: frozenset[str]) -> bool:
    """Whether a step is about a root, or a key for JWT-SVIDs, that is distrusted."""
    if isinstance(step, DropJwtKey):
        return step.distrusted
    return isinstance(step, DropRoot) and any(
        root.id == step.id and root.fingerprint in distrust for root in have.roots
    )


def _in_motion(found: Found) -> bool:
    records = found.authorities.records
    staged = records.at(Stage.STAGED) or records.jwt_key_at(Stage.STAGED)
    return staged is not None or any(
        records.is_distrusted(each, found.wish.distrust) for each in records.issuing
    )


def _settings(issuer: AgentIssuer) -> AuthoritySettings:
    spec, defaults = issuer.spec, issuer.spec.ca.builtin or _DEFAULTS
    return AuthoritySettings(
        trust_domain=issuer.trust_domain,
        root_algorithm=defaults.root_algorithm,
        root_lifetime=defaults.root_lifetime,
        intermediate_algorithm=defaults.intermediate_algorithm,
        intermediate_lifetime=defaults.intermediate_lifetime,
        shards=spec.responder.shards,
        responder=spec.responder.url,
        jwt_algorithm=spec.jwt.algorithm,
    )


def _wish(issuer: AgentIssuer, given: GivenAuthority | None) -> Wish:
    spec, builtin = issuer.spec, issuer.spec.ca.builtin or _DEFAULTS
    return Wish(
        intermediate_lifetime=builtin.intermediate_lifetime,
        propagation_time=spec.rotation.propagation_time,
        distrust=frozenset(spec.distrust),
        rotate=issuer.rotation_requested,
        rotate_root=issuer.root_rotation_requested,
        given=None if given is None else Given(given.id, given.fingerprint),
        jwt=JwtWish(
            rotation_period=spec.jwt.rotation_period,
            propagation_time=spec.rotation.propagation_time,
            refresh_hint=spec.bundle.refresh_hint,
            rotate=issuer.jwt_rotation_requested,
        ),
    )


def _given_secret(namespace: str, issuer: AgentIssuer) -> str:
    secret = issuer.spec.ca.secret
    return "" if secret is None else f"{namespace}/{secret.name}"


def _known_root(issuer: AgentIssuer) -> str | None:
    told = issuer.status.authorities
    return next((each.fingerprint for each in told if each.role is AuthorityRole.ROOT), None)
