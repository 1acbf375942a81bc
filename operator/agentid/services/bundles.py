"""Publishes trust bundles: to responders, to pods, and to namespaces that ask for them.

    authorities ─┐                    ┌─► ConfigMap in our namespace (if it is as we know it)
                 ├─► Publication ─────┼─► ClusterTrustBundle
    federation ──┘                    └─► ConfigMap in each namespace with the label

The first of the three is also the memory: a bundle never goes back behind what is stored there,
whichever replica leads, and whatever backup the authorities were restored from.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_ISSUER, LABEL_MANAGED, LABEL_PUBLICATION
from agentid.errors import (
    AgentIdError,
    AlreadyExistsError,
    ConflictError,
    InputError,
    NotFoundError,
)
from agentid.kube.backoff import Backoff
from agentid.kube.objects import metadata_of, resource_version_of
from agentid.kube.resources import CONFIG_MAPS, Selector
from agentid.services.bundle_documents import (
    ANNOTATION_FEDERATION,
    PublishedRoots,
    bundle_name,
    make_publication,
    published_roots,
)
from agentid.services.namespace_bundles import NamespaceBundles
from agentid.services.trust_bundles import TrustBundles
from agentid.services.waking import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.clock import Clock
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.services.bundle_documents import Publication
    from agentid.services.foreign import ForeignBundles
    from agentid.services.world import World

__all__ = ["BundlePublisher"]

_log = structlog.stdlib.get_logger(__name__)

_CHECK: Final = 600.0
"""Seconds between two looks at whether what was published is still there: whoever may change it is
not told of by any watch."""

_TRIES: Final = 3
"""To replace a ConfigMap that somebody else writes meanwhile; each reads it anew."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """The ConfigMap in the operator's namespace, as it was read or written last.

    Attributes:
        version: Its resourceVersion, empty if there is none yet.
        data: What it holds.
        notes: Its annotation.
        roots: What it publishes, None if that cannot be read.
    """

    version: str
    data: Mapping[str, str]
    notes: str
    roots: PublishedRoots | None


class BundlePublisher:
    """Runs on the leader alone; `run` does the work."""

    def __init__(
        self,
        *,
        world: World,
        client: Client,
        foreign: ForeignBundles,
        clock: Clock,
        random: Callable[[], float],
        namespace: str,
    ) -> None:
        """Take the parts.

        Args:
            world: Whose authorities are published, and which namespaces ask.
            client: The API server.
            foreign: What stands beside them; filled here from what is published.
            clock: For waits.
            random: A number in [0, 1) at each call, for back-off.
            namespace: The operator's own.
        """
        self._world = world
        self._client = client
        self._foreign = foreign
        self._clock = clock
        self._random = random
        self._namespace = namespace
        self._trust_bundles = TrustBundles(client, clock)
        self._namespaces = NamespaceBundles(world=world, client=client, namespace=namespace)
        self._stored: dict[str, _Stored] = {}
        self._bell = Bell(clock)
        self._turn = asyncio.Lock()

    def poke(self) -> None:
        """Authorities, foreign bundles or namespaces may have changed: look now."""
        self._bell.ring()

    async def run(self) -> None:
        """Publish until cancelled."""
        failures, waits = 0, Backoff(ceiling=timedelta(minutes=1))
        self._foreign.clear()
        self._world.published_bundles.clear()
        self._world.withheld_bundles.clear()
        loaded, check_at = False, self._clock.monotonic()
        while True:
            self._bell.clear()
            if self._clock.monotonic() >= check_at:
                self._forget()
                loaded, check_at = False, self._clock.monotonic() + _CHECK
            try:
                if not loaded:
                    await self._load()
                    loaded = True
                done = await self.publish_all()
            except AgentIdError as error:
                _log.warning("bundle_publication_failed", error=str(error))
                done = False
            failures = 0 if done else failures + 1
            left = max(check_at - self._clock.monotonic(), 0.0)
            wait = waits.seconds(failures, self._random()) if failures else left
            await self._bell.wait(min(wait, left))

    async def publish_all(self) -> bool:
        """Make everything what it is to be; True if it is.

        Raises:
            AgentIdError: The API server is away or refuses us.
        """
        names = sorted(self._world.issuers.keys() | self._stored.keys())
        done = True
        for name in names:
            try:
                done &= await self.publish(name)
            except AgentIdError as error:
                _log.warning("bundle_not_published", issuer=name, error=str(error))
                done = False
        async with self._turn:
            return await self._namespaces.leave(names) and done

    async def publish(self, issuer: str) -> bool:
        """Make what is published of an issuer what it is to be; writes nothing that is so already.

        Returns:
            Whether all of it is. False if something could not be written, or is not to be: a
            bundle that would go back. `run` comes again.

        Raises:
            AgentIdError: The API server is away or refuses us.
        """
        async with self._turn:
            parsed = self._world.issuers.get(issuer)
            if parsed is None:
                return await self._withdraw(issuer)
            await self._know(issuer)
            state = self._world.issuer_states.get(issuer)
            if parsed.model is None or state is None or state.authorities is None:
                return True  # what was published stays until there is something to say
            spec = parsed.model.spec
            publication = make_publication(
                issuer,
                state.authorities,
                spec.bundle.refresh_hint,
                self._foreign.of(issuer, (each.trust_domain for each in spec.federation)),
                spec.jwt.oidc_issuer,
            )
            if not await self._put(publication):
                return False
            self._world.published_bundles[issuer] = publication.sequence
            applied = await self._trust_bundles.apply(publication)
            if not applied.done:
                # Another leader may have published a later one: look before the next write.
                del self._stored[issuer]
            self._foreign.refuse(issuer, {**applied.problems, **publication.left_out})
            return await self._namespaces.apply(issuer, publication.shared) and applied.done

    # The ConfigMap in our namespace

    async def _know(self, issuer: str) -> _Stored:
        stored = self._stored.get(issuer)
        if stored is None:
            try:
                body = await self._client.get(CONFIG_MAPS, bundle_name(issuer), self._namespace)
            except NotFoundError:
                stored = _Stored("", {}, "", None)
            else:
                stored = self._read(issuer, body)
            self._stored[issuer] = stored
        if not self._foreign.is_known(issuer):
            self._foreign.restore(issuer, stored.data, stored.notes, self._clock.now())
        return stored

    async def _put(self, publication: Publication) -> bool:
        """Store it, unless that would be going back."""
        issuer = publication.issuer
        for _ in range(_TRIES):
            stored = await self._know(issuer)
            if stored.roots is not None and stored.roots.is_ahead_of(publication):
                self._hold_back(publication, stored.roots)
                del self._stored[issuer]  # somebody may remove it, as they are told to
                return False
            self._world.withheld_bundles.pop(issuer, None)
            if (stored.data, stored.notes) == (publication.data, publication.notes):
                return True
            try:
                body = self._manifest(publication, stored.version)
                write = self._client.replace if stored.version else self._client.create
                self._stored[issuer] = self._read(issuer, await write(CONFIG_MAPS, body))
            except (AlreadyExistsError, ConflictError, NotFoundError):
                del self._stored[issuer]
            except AgentIdError:
                del self._stored[issuer]  # it may have been carried out
                raise
            else:
                _log.info(
                    "bundle_published",
                    issuer=issuer,
                    sequence=publication.sequence,
                    roots=len(publication.roots),
                    foreign=len(publication.foreign),
                )
                return True
        return False

    def _hold_back(self, publication: Publication, there: PublishedRoots) -> None:
        name = f"{self._namespace}/{bundle_name(publication.issuer)}"
        problem = (
            f"bundle {publication.sequence} is not published, since bundle {there.sequence} with "
            f"other roots or keys, or a later one, is in ConfigMap {name}: the authorities were "
            "restored from an older backup; restore the newer ones, or, if those are lost, delete "
            "that ConfigMap and have every verifier take the bundle anew"
        )
        if self._world.withheld_bundles.get(publication.issuer) != problem:
            _log.error("bundle_withheld", issuer=publication.issuer, problem=problem)
            self._world.withheld_bundles[publication.issuer] = problem

    def _manifest(self, publication: Publication, version: str) -> JsonObject:
        return {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {
                "namespace": self._namespace,
                "name": bundle_name(publication.issuer),
                "labels": {
                    LABEL_MANAGED: "true",
                    LABEL_PUBLICATION: "bundle",
                    LABEL_ISSUER: publication.issuer,
                },
                "annotations": {ANNOTATION_FEDERATION: publication.notes},
                **({"resourceVersion": version} if version else {}),
            },
            "data": dict(publication.data),
        }

    def _read(self, issuer: str, body: JsonObject) -> _Stored:
        found, annotations = body.get("data"), metadata_of(body).get("annotations")
        data = found if isinstance(found, dict) else {}
        notes = annotations.get(ANNOTATION_FEDERATION) if isinstance(annotations, dict) else None
        roots = None
        try:
            roots = published_roots(data)
        except InputError as error:
            _log.error("published_bundle_unreadable", issuer=issuer, error=str(error))
        return _Stored(resource_version_of(body), data, str(notes or ""), roots)

    # Looking after it

    def _forget(self) -> None:
        self._stored.clear()
        self._trust_bundles.forget()
        self._namespaces.forget()

    async def _load(self) -> None:
        """Know every issuer of which anything is published, also those that are gone."""
        selector = Selector(labels=f"{LABEL_PUBLICATION}=bundle")
        listed = self._client.list(CONFIG_MAPS, self._namespace, selector=selector)
        async with aclosing(listed) as bodies:
            async for body in bodies:
                labels = metadata_of(body).get("labels")
                if not isinstance(labels, dict) or labels.get(LABEL_PUBLICATION) != "bundle":
                    continue
                issuer = labels.get(LABEL_ISSUER)
                if isinstance(issuer, str):
                    self._stored[issuer] = self._read(issuer, body)

    async def _withdraw(self, issuer: str) -> bool:
        """Remove what is published of an issuer that is gone; our own last, which tells of it."""
        done = await self._trust_bundles.withdraw(issuer)
        done &= await self._namespaces.withdraw(issuer)
        if not done:
            return False
        with suppress(NotFoundError):
            await self._client.delete(CONFIG_MAPS, bundle_name(issuer), self._namespace)
        self._stored.pop(issuer, None)
        self._foreign.drop(issuer)
        self._world.published_bundles.pop(issuer, None)
        self._world.withheld_bundles.pop(issuer, None)
        _log.info("bundle_withdrawn", issuer=issuer)
        return True
