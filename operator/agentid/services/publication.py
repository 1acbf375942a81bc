"""Publishes CRLs: signed as soon as something is revoked, and well before they run out.

    ledger ──► shards that changed ─┐
    clock ───► shards that are due ─┴─► sign ─► ConfigMap (only if it is as we know it) ─► responder

Each CRL is one ConfigMap, which every responder serves. A number, and a thisUpdate, only ever grow:
they go on from what is stored, and a write that somebody else was faster with begins anew from
theirs. A failed write leaves the CRL to be signed again at the next round.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_PUBLICATION
from agentid.errors import (
    AgentIdError,
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
)
from agentid.issuers.locations import ROOT_SHARD, crl_uri
from agentid.kube.backoff import Backoff
from agentid.kube.objects import resource_version_of
from agentid.kube.resources import CONFIG_MAPS, Selector
from agentid.pki.crl import make_crl
from agentid.services.crl_objects import PublishedCrl, crl_name, manifest_of
from agentid.services.crl_shards import CrlKey, Shards, root_entries, root_key
from agentid.services.waking import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from agentid.clock import Clock
    from agentid.issuers import AuthoritySet
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.ledger import Durable, Ledger
    from agentid.pki import Authority
    from agentid.pki.crl import CrlEntry
    from agentid.services.world import World
    from agentid.telemetry.metrics import Metrics

__all__ = ["CrlPublisher"]

_log = structlog.stdlib.get_logger(__name__)

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)

_SIGNED_AFTER: Final = 4
"""A CRL is signed anew when a quarter of its lifetime has passed; agentid may be away for the rest
before verifiers that insist on a fresh one refuse everybody."""

_PACE: Final = 0.25
"""Seconds from one round to the next while revocations keep coming. A round writes each shard that
changed once, so a storm costs 4 writes a second for each shard, and a revocation waits for no more
than this before it is signed."""

_TOGETHER: Final = 8
"""CRLs written at a time; the API server takes no more of them at once for the better."""

_LARGE: Final = 2000
"""Entries from which on a CRL is signed in a thread: about 10 ms on the event loop."""

_LOOK: Final = 30.0
"""Seconds between two looks for CRLs that are due."""

_ROOT_AT_LEAST: Final = timedelta(days=1)
_ROUNDED: Final = timedelta(seconds=1)
"""What a nextUpdate may lack, since the times in a CRL are whole seconds."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A CRL that is to be published."""

    key: CrlKey
    issuer: str
    authority: Authority
    uri: str | None
    entries: list[CrlEntry] = field(repr=False)
    lifetime: timedelta


class CrlPublisher:
    """Runs on the leader alone; `run` does the work."""

    def __init__(
        self,
        *,
        world: World,
        client: Client,
        ledger: Ledger,
        clock: Clock,
        random: Callable[[], float],
        namespace: str,
        metrics: Metrics,
    ) -> None:
        """Take the parts.

        Args:
            world: Whose authorities sign; told which of them are served.
            client: The API server.
            ledger: What is revoked.
            clock: For the times on CRLs.
            random: A number in [0, 1) at each call, for back-off.
            namespace: The operator's own, where CRLs are kept.
            metrics: Told about every CRL.
        """
        self._world = world
        self._client = client
        self._ledger = ledger
        self._clock = clock
        self._random = random
        self._namespace = namespace
        self._metrics = metrics
        self._shards = Shards(ledger.state)
        self._stored: dict[CrlKey, PublishedCrl] = {}
        self._changed: set[CrlKey] = set()
        self._bell = Bell(clock)

    def next_updates(self) -> dict[str, datetime]:
        """Until when the CRLs of each issuer may be relied on: the first that runs out."""
        found: dict[str, datetime] = {}
        for name, authorities in self._authorities():
            ids = {*authorities.issuing, *authorities.roots}
            ends = [one.next_update for key, one in self._stored.items() if key.authority in ids]
            if ends:
                found[name] = min(ends)
        return found

    def poke(self) -> None:
        """Authorities may have come or gone: look now."""
        self._bell.ring()

    async def run(self) -> None:
        """Publish until cancelled."""
        unsubscribe = self._ledger.subscribe(self.learn)
        failures, waits = 0, Backoff(ceiling=timedelta(seconds=5))
        try:
            loaded = False
            while True:
                self._bell.clear()
                try:
                    if not loaded:
                        await self.load()
                        loaded = True
                    await self.publish()
                    failures = 0
                except AgentIdError as error:
                    failures += 1
                    wait = waits.seconds(failures, self._random())
                    self._metrics.crl_failures.inc()
                    _log.warning(
                        "crl_publication_failed", error=str(error), again_in=round(wait, 1)
                    )
                    await self._clock.sleep(wait)
                    continue
                await self._clock.sleep(_PACE)
                await self._bell.wait(_LOOK)
        finally:
            unsubscribe()

    async def publish(self) -> int:
        """Do one round: everything that changed or is due.

        Returns:
            How many CRLs were written.

        Raises:
            AgentIdError: One could not be; what was not is left for the next round.
        """
        now = self._clock.now()
        new = self._shards.follow(one.records for _, one in self._authorities())
        self._changed |= self._outdated(new)
        orders = list(self._orders(now))
        slots = asyncio.Semaphore(_TOGETHER)

        async def one(order: _Order) -> None:
            async with slots:
                await self._publish(order)

        results = await asyncio.gather(*map(one, orders), return_exceptions=True)
        self._tell_served()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await self._forget()
        return len(orders)

    # What is to be done

    def _authorities(self) -> Iterator[tuple[str, AuthoritySet]]:
        for name, state in self._world.issuer_states.items():
            if state.authorities is not None:
                yield name, state.authorities

    def _orders(self, now: datetime) -> Iterator[_Order]:
        for name, found in self._authorities():
            lifetime = self._lifetime(name)
            for each in found.records.issuing:
                if now > each.validity.not_after:
                    continue
                for shard in range(each.shards):
                    key = CrlKey(each.id, str(shard))
                    if key in self._changed or self._is_due(key, now):
                        # From here on a change makes it due again.
                        self._changed.discard(key)
                        uri = crl_uri(each.responder, each.id, shard)
                        entries = self._shards.entries(key)
                        authority = found.issuing[each.id]
                        yield _Order(key, name, authority, uri, entries, lifetime)
            yield from self._root_orders(name, found, now)

    def _root_orders(self, name: str, found: AuthoritySet, now: datetime) -> Iterator[_Order]:
        """The CRL of a root is good for as long as anything below it: its key may be elsewhere."""
        for root in found.records.roots:
            authority = found.roots[root.id].authority
            if authority is None or now > authority.not_after:
                continue
            below = [each for each in found.records.issuing if each.root == root.id]
            until = max((each.validity.not_after for each in below), default=now)
            key, entries = root_key(root.id), root_entries(root)
            stored = self._stored.get(key)
            news = stored is None or {e.serial for e in stored.names} != {e.serial for e in entries}
            if (
                news
                or stored is None
                or stored.next_update < until - _ROUNDED
                or self._is_due(key, now)
            ):
                lifetime = max(until - now, _ROOT_AT_LEAST)
                yield _Order(key, name, authority, None, entries, lifetime)

    def _lifetime(self, issuer: str) -> timedelta:
        parsed = self._world.issuers.get(issuer)
        if parsed is None or parsed.model is None:
            return timedelta(hours=4)
        return parsed.model.spec.responder.crl_lifetime

    def _is_due(self, key: CrlKey, now: datetime) -> bool:
        stored = self._stored.get(key)
        if stored is None:
            return True
        return now >= stored.this_update + (stored.next_update - stored.this_update) / _SIGNED_AFTER

    # Doing it

    async def _publish(self, order: _Order) -> None:
        try:
            await self._write(order, self._stored.get(order.key))
        except (AlreadyExistsError, ConflictError, NotFoundError):
            # Somebody else was faster, or has removed it: go on from what is there.
            self._stored.pop(order.key, None)
            self._again(order.key)
            try:
                name = crl_name(order.issuer, order.key)
                self._take(await self._client.get(CONFIG_MAPS, name, self._namespace))
            except NotFoundError:
                return
        except BaseException:
            self._again(order.key)
            raise

    def _again(self, key: CrlKey) -> None:
        self._changed.add(key)
        self._bell.ring()

    async def _write(self, order: _Order, before: PublishedCrl | None) -> None:
        now = self._clock.now().replace(microsecond=0)
        # A clock that was set back does not make it older than its authority or its predecessor.
        begins = order.authority.validity.not_before
        this_update = max(now, begins, begins if before is None else before.this_update)
        next_update = (this_update + order.lifetime).replace(microsecond=0)
        number = 1 if before is None else before.number + 1
        arguments = (order.authority, order.entries, number, this_update, next_update, order.uri)
        began = self._clock.monotonic()
        if len(order.entries) > _LARGE:
            der = await asyncio.to_thread(make_crl, *arguments)
        else:
            der = make_crl(*arguments)
        body = manifest_of(
            order.issuer,
            order.key,
            der,
            namespace=self._namespace,
            version=None if before is None else before.version,
        )
        if before is None:
            stored = await self._client.create(CONFIG_MAPS, body)
        else:
            stored = await self._client.replace(CONFIG_MAPS, body)
        self._stored[order.key] = PublishedCrl(
            crl_name(order.issuer, order.key),
            number,
            this_update,
            next_update,
            resource_version_of(stored),
            tuple(order.entries),
        )
        # A clock that is ahead must not take off what verifiers have to find for a while yet.
        certain = self._ledger.trusted_now() or _LONG_AGO
        self._shards.signed(order.key, min(this_update, certain), order.entries)
        self._metrics.crls.labels(order.issuer).inc()
        self._metrics.crl_seconds.observe(self._clock.monotonic() - began)
        _log.info(
            "crl_published",
            issuer=order.issuer,
            authority=order.key.authority,
            shard=order.key.shard,
            number=number,
            entries=len(order.entries),
        )

    async def load(self) -> None:
        """Go on from what is published."""
        self._stored.clear()
        # Anew: while another replica led, nobody told this publisher what was revoked.
        self._shards = Shards(self._ledger.state)
        self._shards.follow(one.records for _, one in self._authorities())
        selector = Selector(labels=f"{LABEL_PUBLICATION}=crl")
        async with aclosing(
            self._client.list(CONFIG_MAPS, self._namespace, selector=selector)
        ) as bodies:
            async for body in bodies:
                self._take(body)
        self._changed |= self._outdated(self._shards.authorities)

    def _outdated(self, authorities: Container[str]) -> set[CrlKey]:
        """CRLs that lack what was revoked while nobody published them."""

        def lacks(key: CrlKey, stored: PublishedCrl) -> bool:
            wanted = {entry.serial for entry in self._shards.entries(key)}
            return wanted != {entry.serial for entry in stored.names}

        return {
            key
            for key, stored in self._stored.items()
            if key.authority in authorities and key.shard != ROOT_SHARD and lacks(key, stored)
        }

    def _take(self, body: JsonObject) -> None:
        """Take in a CRL as it is stored; one that cannot be read is published anew."""
        if (found := PublishedCrl.read(body)) is None:
            return
        key, stored = found
        self._stored[key] = stored
        if key.shard != ROOT_SHARD:
            self._shards.keep(key, stored.names)

    async def _forget(self) -> None:
        """Remove the CRLs of authorities that are gone."""
        found = dict(self._authorities())
        if self._world.issuers.keys() - found.keys():
            return  # an issuer whose authorities cannot be read just now has some all the same
        known = {name for one in found.values() for name in (*one.issuing, *one.roots)}
        for key in [key for key in self._stored if key.authority not in known]:
            with suppress(NotFoundError):
                await self._client.delete(CONFIG_MAPS, self._stored[key].name, self._namespace)
            del self._stored[key]

    def _tell_served(self) -> None:
        """Tell which issuing authorities have all their CRLs published."""
        self._world.served_crls = frozenset(
            each.id
            for _, one in self._authorities()
            for each in one.records.issuing
            if all(CrlKey(each.id, str(shard)) in self._stored for shard in range(each.shards))
        )

    def learn(self, durable: Durable) -> None:
        """Something became durable; the ledger's listener."""
        changed = self._shards.learn(durable.records)
        if changed:
            self._changed |= changed
            self._bell.ring()
