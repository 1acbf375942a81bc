"""Fetches the bundles of foreign trust domains, each at the pace it asks for.

    spec.federation ─► one task for each endpoint: fetch ─► verify ─► ForeignBundles ─► publish
                                                       └─► status.federation, if it changed

What was fetched last stays when an endpoint is away, answers nonsense or goes back.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.api.agentissuer import BundleProfile, FederationStatus
from agentid.errors import AgentIdError, InputError
from agentid.identity import SpiffeId, TrustDomain
from agentid.kube.backoff import Backoff
from agentid.pki.load import read_certificates
from agentid.pki.pem import MAX_CHAIN_PEM_BYTES
from agentid.pki.spiffe_bundle import decode_spiffe_bundle
from agentid.services.bundle_endpoint import Endpoint, fetch_bundle
from agentid.services.foreign import ForeignBundle
from agentid.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agentid.api.agentissuer import AgentIssuer, FederationSpec
    from agentid.clock import Clock
    from agentid.services.foreign import ForeignBundles
    from agentid.services.world import World

__all__ = ["Federation"]

_log = structlog.stdlib.get_logger(__name__)

_DEFAULT_HINT: Final = timedelta(minutes=5)
"""Between two fetches where the bundle does not say (SPIFFE Federation §4.1)."""

_SHORTEST: Final = timedelta(seconds=10)
_LONGEST: Final = timedelta(days=1)
"""Bounds of what a bundle may say: somebody else's document must not have us ask without pause, nor
keep us from ever hearing that a root of theirs is gone."""

_AT_LEAST: Final = timedelta(seconds=5)
"""After a failure; the first waits grow from here."""

_LOOK: Final = 30.0
"""Seconds between two looks for issuers whose published bundles have become known."""

_TOGETHER: Final = 4
"""Requests at a time."""

_MOST_WORDS: Final = 1000
"""Characters of a problem; the status takes 1024."""

_MOST_ROOTS: Final = 32
_MOST_SEQUENCE: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class _Relation:
    """A foreign trust domain beside an issuer."""

    issuer: str
    trust_domain: str


@dataclass(frozen=True, slots=True)
class _Terms:
    """What was agreed on; a task follows one set of terms.

    Attributes:
        own: The issuer's trust domain.
        spec: The foreign one.
    """

    own: TrustDomain
    spec: FederationSpec


class Federation:
    """Runs on the leader alone; `run` does the work."""

    def __init__(
        self,
        *,
        world: World,
        foreign: ForeignBundles,
        clock: Clock,
        random: Callable[[], float],
        fetch: Callable[[Endpoint], Awaitable[bytes]] = fetch_bundle,
        metrics: Metrics | None = None,
    ) -> None:
        """Take the parts.

        Args:
            world: The issuers; told what came of each relation.
            foreign: Where bundles are kept.
            clock: For waits, and for when a bundle was seen first.
            random: A number in [0, 1) at each call.
            fetch: Asks an endpoint.
            metrics: Counts failures.
        """
        self._world = world
        self._foreign = foreign
        self._clock = clock
        self._random = random
        self._fetch = fetch
        self._metrics = metrics or Metrics()
        # When each was fetched last, by the monotonic clock; what never was, since it is followed.
        self._fetched: dict[_Relation, float] = {}
        self._slots = asyncio.Semaphore(_TOGETHER)
        # What came of the last look at each; None if it was in order.
        self._problems: dict[_Relation, str | None] = {}
        self._changed: Callable[[str], None] = lambda _: None

    def ages(self) -> dict[tuple[str, str], float]:
        """Seconds since each was last fetched, by issuer and trust domain; leaders alone know."""
        now = self._clock.monotonic()
        return {
            (relation.issuer, relation.trust_domain): now - since
            for relation, since in self._fetched.items()
        }

    def poke(self) -> None:
        """Issuers may have changed: look now."""
        self._foreign.bell.ring()

    async def run(self, changed: Callable[[str], None]) -> None:
        """Fetch until cancelled.

        Args:
            changed: Called with the name of an issuer whose foreign bundles, or their status, are
                others than before.
        """
        self._changed = changed
        self._problems.clear()
        self._fetched.clear()
        self._world.federation.clear()
        following: dict[_Relation, tuple[_Terms, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._foreign.bell.clear()
                wanted = dict(self._relations())
                for relation, (terms, task) in tuple(following.items()):
                    if wanted.get(relation) != terms:
                        task.cancel()
                        del following[relation]
                        self._problems.pop(relation, None)
                        self._fetched.pop(relation, None)
                for relation, terms in wanted.items():
                    if relation not in following:
                        task = group.create_task(self._follow(relation, terms))
                        following[relation] = (terms, task)
                self._tidy()
                await self._foreign.bell.wait(_LOOK)

    def _issuers(self) -> Iterator[tuple[str, AgentIssuer]]:
        for name, parsed in tuple(self._world.issuers.items()):
            # Before it is known what was fetched last nothing is: a bundle could go back.
            if parsed.model is not None and self._foreign.is_known(name):
                yield name, parsed.model

    def _relations(self) -> Iterator[tuple[_Relation, _Terms]]:
        for name, issuer in self._issuers():
            for spec in issuer.spec.federation:
                yield _Relation(name, spec.trust_domain), _Terms(issuer.trust_domain, spec)

    def _tidy(self) -> None:
        """Forget what is federated with no more, and tell what is new."""
        for name, issuer in self._issuers():
            self._foreign.keep(
                name, frozenset(each.trust_domain for each in issuer.spec.federation)
            )
            self._tell(name, issuer)
        for name in self._world.federation.keys() - self._world.issuers.keys():
            del self._world.federation[name]

    async def _follow(self, relation: _Relation, terms: _Terms) -> None:
        failures, waits = 0, Backoff(base=_AT_LEAST, ceiling=_DEFAULT_HINT)
        self._fetched[relation] = self._clock.monotonic()
        while True:
            try:
                async with self._slots:
                    hint = await self._look(relation, terms)
            except AgentIdError as error:
                failures += 1
                self._note(relation, str(error)[:_MOST_WORDS])
                wait = waits.seconds(failures, self._random(), _AT_LEAST)
            except Exception:  # noqa: BLE001 - see below
                # What somebody else's server brings about must not end the leader.
                _log.exception(
                    "federation_crashed", issuer=relation.issuer, trust_domain=relation.trust_domain
                )
                failures += 1
                self._note(relation, "a defect in agentid; the controller's log tells more")
                wait = waits.seconds(failures, self._random(), _DEFAULT_HINT)
            else:
                failures = 0
                self._fetched[relation] = self._clock.monotonic()
                self._note(relation, None)
                wait = hint.total_seconds() * (1 - self._random() / 10)
            await self._clock.sleep(wait)

    async def _look(self, relation: _Relation, terms: _Terms) -> timedelta:
        """Fetch one bundle; how long until the next."""
        trust_domain = TrustDomain.parse(relation.trust_domain)
        _check(terms)
        first = hashlib.sha256((terms.spec.bundle or "").encode()).hexdigest()
        endpoint = self._endpoint(relation, terms, first)
        document = await self._fetch(endpoint)
        fetched = ForeignBundle.read(
            trust_domain, document, fetched_at=self._clock.now().replace(microsecond=0), first=first
        )
        known = self._foreign.get(relation.issuer, trust_domain.name)
        if known is not None:
            # SPIFFE Federation §4.2: without a number the one that was fetched last is the newest.
            there, here = fetched.sequence, known.sequence
            if there is not None and here is not None and there < here:
                msg = (
                    f"the endpoint serves bundle {there}, and {here} was fetched from it before, "
                    "which stays; if that is how it is meant, take the trust domain out of "
                    "spec.federation for a moment"
                )
                raise InputError(msg)
        if known is None or (known.document, known.first) != (fetched.document, first):
            if known is not None and known.document == fetched.document:
                fetched = ForeignBundle.read(
                    trust_domain, document, fetched_at=known.fetched_at, first=first
                )
            self._foreign.put(relation.issuer, fetched)
            _log.info(
                "foreign_bundle_fetched",
                issuer=relation.issuer,
                trust_domain=trust_domain.name,
                sequence=fetched.sequence,
                roots=len(fetched.bundle.authorities),
            )
            self._changed(relation.issuer)
        hint = _DEFAULT_HINT if fetched.refresh_hint is None else fetched.refresh_hint
        return min(max(hint, _SHORTEST), _LONGEST)

    def _endpoint(self, relation: _Relation, terms: _Terms, first: str) -> Endpoint:
        """Where to ask, and by whose roots whoever answers is verified."""
        spec = terms.spec
        given = () if spec.bundle is None else _given(spec.bundle, spec.trust_domain)
        if spec.profile is BundleProfile.HTTPS_WEB:
            return Endpoint(spec.url, given)
        wanted = SpiffeId.parse(spec.endpoint_spiffe_id)
        theirs = wanted.trust_domain.name
        known = self._foreign.get(relation.issuer, theirs)
        if known is not None and (
            # SPIFFE Federation §5.2.2.4: the first bundle for the first fetch, the latest for all
            # others; another first bundle in the spec begins anew.
            theirs != relation.trust_domain or spec.bundle is None or known.first == first
        ):
            return Endpoint(spec.url, known.bundle.der, wanted)
        state = self._world.issuer_states.get(relation.issuer)
        if not given and theirs == terms.own.name and state and state.authorities:
            given = state.authorities.bundle.der
        return Endpoint(spec.url, given, wanted)

    # Telling

    def _note(self, relation: _Relation, problem: str | None) -> None:
        if problem is not None:
            labels = relation.issuer, relation.trust_domain
            self._metrics.federation_failures.labels(*labels).inc()
        before = self._problems.get(relation, "")
        self._problems[relation] = problem
        if problem is not None and problem != before:
            _log.warning(
                "foreign_bundle_not_fetched",
                issuer=relation.issuer, trust_domain=relation.trust_domain, problem=problem,
            )  # fmt: skip
        parsed = self._world.issuers.get(relation.issuer)
        if parsed is not None and parsed.model is not None:
            self._tell(relation.issuer, parsed.model)

    def _tell(self, name: str, issuer: AgentIssuer) -> None:
        """Hand the status on, once every endpoint was asked: a restart alone changes none."""
        told: dict[str, FederationStatus] = {}
        for spec in issuer.spec.federation:
            relation = _Relation(name, spec.trust_domain)
            if relation not in self._problems:
                return
            known = self._foreign.get(name, spec.trust_domain)
            refusal = self._foreign.refusal(name, spec.trust_domain)
            told[spec.trust_domain] = FederationStatus(
                trust_domain=spec.trust_domain,
                sequence=_shown(known),
                fetched_at=None if known is None else known.fetched_at,
                problem=self._problems[relation] or (refusal and refusal[:_MOST_WORDS]),
            )
        status = tuple(told.values())
        before = self._world.federation.get(name, issuer.status.federation)
        self._world.federation[name] = status
        if status != before:
            self._changed(name)


def _shown(known: ForeignBundle | None) -> int | None:
    """The sequence as JSON can hold it everywhere; SPIFFE allows 64 bits."""
    if known is None or known.sequence is None:
        return None
    return min(known.sequence, _MOST_SEQUENCE)


def _check(terms: _Terms) -> None:
    """Refuse what would have two bundles stand for our trust domain.

    Raises:
        InputError: It would.
    """
    name = terms.spec.trust_domain
    if name == terms.own.name:
        msg = (
            f"{name} is the trust domain of this AgentIssuer itself, whose bundle is made here and "
            "not fetched; remove it from spec.federation"
        )
        raise InputError(msg)


def _given(text: str, trust_domain: str) -> tuple[bytes, ...]:
    """The roots in `spec.federation[].bundle`, in DER.

    Raises:
        InputError: They are neither PEM nor a SPIFFE bundle document.
    """
    what = f"spec.federation[{trust_domain}].bundle"
    if text.lstrip().startswith("{"):
        try:
            return decode_spiffe_bundle(text.encode(), TrustDomain.parse(trust_domain)).x509.der
        except InputError as error:
            msg = f"{what}: {error}"
            raise InputError(msg) from error
    found = read_certificates(text.encode(), what=what, limit=MAX_CHAIN_PEM_BYTES, most=_MOST_ROOTS)
    return tuple(each.public_bytes(Encoding.DER) for each in found)
