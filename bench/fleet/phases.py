"""The two phases: thousands of pods come, and go again."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from agentid.clock import SystemClock
from agentid.constants import LABEL_IDENTITY
from agentid.errors import (
    AlreadyExistsError,
    ForbiddenError,
    InvalidError,
    UnavailableError,
)
from agentid.kube.objects import uid_of
from agentid.kube.reflector import ChangeType, reflect
from agentid.kube.resources import PODS, Selector
from agentid.kube.stores import ConfigMaps
from agentid.ledger import LedgerView
from agentid.ledger.configmaps import ConfigMapSegments
from bench.fleet.lives import pod_body
from bench.fleet.recorded import Recorded
from bench.load import many
from e2e.errors import E2EError
from e2e.install import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.kube.reflector import Change
    from bench.fleet.lives import Life
    from bench.fleet.nodes import Nodes

__all__ = ["Fleet", "following"]

_WITH_LABEL: Final = Selector(labels=LABEL_IDENTITY)
_PATIENCE: Final = 120.0
"""Seconds without any news after which a run is given up."""

_LOOK: Final = 0.2
"""Seconds between two looks at whether a phase is over: each goes through all pods."""

_AGAIN: Final = 0.5
"""Seconds until a pod is made again that was refused, as controllers of pods do."""


class Fleet:
    """All pods of a run; `following` has it told what becomes of them.

    Attributes:
        lives: The pods.
        recorded: What the ledger says of them.
        refused: How many creates were refused, or not answered, and repeated.
        changed: Set whenever there is news.
    """

    def __init__(
        self, client: Client, lives: Sequence[Life], nodes: Nodes, changed: asyncio.Event
    ) -> None:
        """Touch nothing yet.

        Args:
            client: Of the admin, who makes and deletes pods.
            lives: The pods.
            nodes: Whose kubelets and plugins ask.
            changed: What `nodes` set, too.
        """
        self.lives = lives
        self.changed = changed
        self.recorded = Recorded(changed.set)
        self.refused = 0
        self._client = client
        self._nodes = nodes
        self._by_key = {life.key: life for life in lives}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    # The phases

    async def come(self) -> None:
        """Make all pods, 32 at a time, and return once each has its certificate.

        Raises:
            AgentIdError: A pod, or its certificate, is refused.
            E2EError: There is no progress any more.
        """
        await many(partial(self._create, life) for life in self.lives)
        await self._until("certificates", self._is_issued)

    async def go(self) -> None:
        """Delete all pods, 32 at a time; return once each is gone and has nothing in force.

        Raises:
            AgentIdError: A pod cannot be deleted.
            E2EError: There is no progress any more.
        """
        await many(partial(self._delete, life) for life in self.lives)
        await self._until("revocations", self._is_revoked)

    async def _create(self, life: Life) -> None:
        self._check()
        body = pod_body(life)
        life.sent = time.monotonic()
        while True:
            try:
                await self._client.create(PODS, body)
            except AlreadyExistsError:
                pass  # the answer to an earlier try was lost
            except (UnavailableError, ForbiddenError, InvalidError):
                # Where the webhook did not answer, a policy refuses the pod that has no volume.
                if time.monotonic() > life.sent + _PATIENCE:
                    raise
                self.refused += 1
                await asyncio.sleep(_AGAIN)
                continue
            if life.created is None:
                life.created = time.monotonic()
            return

    async def _delete(self, life: Life) -> None:
        life.deleted = time.monotonic()
        await self._client.delete(PODS, life.key.name, life.key.namespace, uid=life.uid)

    def _is_issued(self, life: Life) -> bool:
        seen = self._nodes.kubelets.issued.get(life.key)
        if seen is not None:
            life.issued = seen
        return life.issued is not None

    def _is_revoked(self, life: Life) -> bool:
        moment = self.recorded.revoked_at(life.uid)
        if moment is not None:
            life.revoked = moment
        return moment is not None and life.gone is not None

    async def _until(self, what: str, holds: Callable[[Life], bool]) -> None:
        """Return once something holds of each pod."""
        left, progress = list(self.lives), time.monotonic()
        while True:
            self._check()
            still = [life for life in left if not holds(life)]
            if not still:
                return
            now = time.monotonic()
            if len(still) < len(left):
                progress = now
            elif now > progress + _PATIENCE:
                msg = (
                    f"{what}: nothing has happened for {_PATIENCE:.0f} s, and {len(still)} of "
                    f"{len(self.lives)} pods wait, such as {still[0].key}"
                )
                raise E2EError(msg)
            left = still
            self.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), _PATIENCE)
            await asyncio.sleep(_LOOK)

    # What is seen

    async def watch(self) -> None:
        """Follow the pods, and have each one's node ask once it is there, until cancelled."""
        changes = reflect(
            self._client, PODS, clock=SystemClock(), random=random.random, selector=_WITH_LABEL
        )
        async with aclosing(changes):
            async for change in changes:
                life = None if change.key is None else self._by_key.get(change.key)
                if life is not None:
                    self._see(life, change)

    def _see(self, life: Life, change: Change) -> None:
        now = time.monotonic()
        if change.type is ChangeType.ADDED:
            life.uid = uid_of(change.object)
            if life.created is None:
                life.created = now
            self.begin(self._serve(life, change.object))
        elif change.type is ChangeType.DELETED:
            life.gone = now
            self.changed.set()

    async def _serve(self, life: Life, pod: JsonObject) -> None:
        await self._nodes.serve(life, pod)
        self.changed.set()

    def begin(self, work: Coroutine[object, object, None]) -> None:
        """Have work done beside; what fails of it is raised by the phase that is under way."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self.changed.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._nodes.kubelets.check()

    async def end(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def following(fleet: Fleet, client: Client) -> AsyncIterator[None]:
    """Have a fleet told of its pods, and of what stands on the ledger, while the context is open.

    Args:
        fleet: None of its pods is there yet.
        client: Of somebody who may read pods and the ledger.

    Raises:
        AgentIdError: The ledger cannot be read.
    """
    clock = SystemClock()
    store = ConfigMaps(client, clock=clock, random=random.random)
    view = LedgerView(ConfigMapSegments(store, NAMESPACE), clock=clock)
    view.subscribe(fleet.recorded.learn)
    await view.start()
    fleet.begin(fleet.watch())
    try:
        yield
    finally:
        await fleet.end()
        await view.close()
