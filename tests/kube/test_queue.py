"""The work queue: what is handed out, when, and in which order."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.errors import InternalError
from agentid.kube.objects import ObjectKey
from agentid.kube.queue import Lane, QueueClosedError, WorkQueue

if TYPE_CHECKING:
    from agentid.testing.clock import ManualClock

Queue = WorkQueue[ObjectKey]


def key(name: str, namespace: str = "finance") -> ObjectKey:
    """Return a key, of one namespace unless it matters."""
    return ObjectKey(namespace, name)


def make_queue(clock: ManualClock, share: float = 0.999999) -> Queue:
    """Return a queue whose jitter always draws the same share of the bound."""
    return WorkQueue(clock=clock, random=lambda: share, namespace_of=lambda found: found.namespace)


async def take_all(queue: Queue) -> list[ObjectKey]:
    """Hand out and finish what waits now."""
    taken = []
    while queue.depth:
        taken.append(await queue.get())
        queue.done(taken[-1])
    return taken


async def test_ten_adds_are_one_look(clock: ManualClock) -> None:
    """A key that waits is not added twice: the look will see all that happened."""
    queue = make_queue(clock)
    for _ in range(10):
        queue.add(key("a"))
    assert await take_all(queue) == [key("a")]


async def test_a_key_is_with_one_worker_at_a_time(clock: ManualClock) -> None:
    """Added while in work, a key is handed out again only after it was given back."""
    queue = make_queue(clock)
    queue.add(key("a"))
    first = await queue.get()
    queue.add(key("a"))
    queue.add(key("a"))
    assert queue.depth == 0
    queue.done(first)
    assert await take_all(queue) == [key("a")]
    assert queue.working == 0


async def test_a_waiting_worker_is_woken_by_an_add(clock: ManualClock) -> None:
    """Whoever waits gets the key that comes, and each key wakes one."""
    queue = make_queue(clock)
    workers = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await clock.settle()
    queue.add(key("a"))
    queue.add(key("b"))
    await clock.settle()
    assert [worker.result() for worker in workers if worker.done()] == [key("a"), key("b")]
    await queue.close()
    with pytest.raises(QueueClosedError, match=r"^$"):
        await workers[2]


async def test_a_cancelled_worker_passes_its_wake_up_on(clock: ManualClock) -> None:
    """A key that woke a worker which is cancelled in that moment goes to the next worker."""
    queue = make_queue(clock)
    first, second = (asyncio.ensure_future(queue.get()) for _ in range(2))
    await clock.settle()
    queue.add(key("a"))
    first.cancel()
    await clock.settle()
    assert first.cancelled()
    assert second.result() == key("a")


async def test_a_cancelled_worker_leaves_nothing_behind(clock: ManualClock) -> None:
    """A worker that stops waiting takes no key that comes later."""
    queue = make_queue(clock)
    first = asyncio.ensure_future(queue.get())
    await clock.settle()
    first.cancel()
    queue.add(key("a"))
    await clock.settle()
    assert await queue.get() == key("a")


# Lanes and turns


async def test_revocations_come_first_then_changes(clock: ManualClock) -> None:
    """Lanes go by urgency, whatever came first."""
    queue = make_queue(clock)
    queue.add(key("renewal"), Lane.BACKGROUND)
    queue.add(key("edit"), Lane.CHANGE)
    queue.add(key("delete"), Lane.REVOCATION)
    assert [found.name for found in await take_all(queue)] == ["delete", "edit", "renewal"]


async def test_a_waiting_key_moves_to_the_more_urgent_lane_only(clock: ManualClock) -> None:
    """A key that was to be renewed and is then deleted overtakes; never the other way round."""
    queue = make_queue(clock)
    queue.add(key("a"), Lane.BACKGROUND)
    queue.add(key("b"), Lane.CHANGE)
    queue.add(key("a"), Lane.REVOCATION)
    queue.add(key("a"), Lane.BACKGROUND)
    assert queue.depth_by_lane() == {Lane.REVOCATION: 1, Lane.CHANGE: 1, Lane.BACKGROUND: 0}
    assert [found.name for found in await take_all(queue)] == ["a", "b"]


async def test_what_came_as_urgent_while_in_work_is_urgent_afterwards(clock: ManualClock) -> None:
    """A deletion seen during a renewal does not queue up behind other renewals."""
    queue = make_queue(clock)
    queue.add(key("a"), Lane.BACKGROUND)
    in_work = await queue.get()
    queue.add(key("b"), Lane.CHANGE)
    queue.add(key("a"), Lane.REVOCATION)
    queue.add(key("a"), Lane.BACKGROUND)
    queue.done(in_work)
    assert [found.name for found in await take_all(queue)] == ["a", "b"]


async def test_no_lane_is_starved_by_a_flood(clock: ManualClock) -> None:
    """Under a flood of revocations, changes wait 8 turns at most, renewals 17."""
    queue = make_queue(clock)
    for number in range(100):
        for lane in Lane:
            queue.add(key(f"{lane.name}-{number}"), lane)
    lanes = [(await queue.get()).name.split("-")[0] for _ in range(100)]
    assert lanes[:7] == ["REVOCATION"] * 7
    for start in range(len(lanes) - 17):
        assert "CHANGE" in lanes[start : start + 8]
        assert "BACKGROUND" in lanes[start : start + 17]
    assert lanes.count("REVOCATION") > 80


async def test_a_large_tenant_delays_another_by_one_turn(clock: ManualClock) -> None:
    """Of 5,000 keys of one namespace, one is handed out before the single key of another."""
    queue = make_queue(clock)
    for number in range(5000):
        queue.add(key(f"k{number}", "large"))
    queue.add(key("only", "small"))
    assert [(await queue.get()).namespace for _ in range(3)] == ["large", "small", "large"]


async def test_namespaces_take_turns_and_keep_their_order(clock: ManualClock) -> None:
    """Within a namespace first come, first served; across namespaces round robin."""
    queue = make_queue(clock)
    for namespace, count in (("a", 3), ("b", 1), ("c", 2)):
        for number in range(count):
            queue.add(key(str(number), namespace))
    order = [str(found) for found in await take_all(queue)]
    assert order == ["a/0", "b/0", "c/0", "a/1", "c/1", "a/2"]


# Failing


async def test_a_failing_key_comes_again_by_itself(clock: ManualClock) -> None:
    """A worker that waits is woken when the back-off ends, without any add."""
    queue = make_queue(clock)
    queue.add(key("a"))
    assert queue.retry(await queue.get()) == timedelta(seconds=0.5 * 0.999999)
    worker = asyncio.ensure_future(queue.get())
    await clock.run_for(0.49)
    assert not worker.done()
    assert queue.backing_off == 1
    await clock.run_for(0.02)
    assert worker.result() == key("a")
    assert queue.backing_off == 0


async def test_the_shorter_of_two_backoffs_wakes_first(clock: ManualClock) -> None:
    """A back-off that ends before the one being waited for is not slept over."""
    queue = make_queue(clock)
    for name in ("long", "short"):
        queue.add(key(name))
    long, short = await queue.get(), await queue.get()
    queue.retry(long, after=timedelta(minutes=4))
    worker = asyncio.ensure_future(queue.get())
    await clock.settle()
    queue.retry(short)
    await clock.run_for(1)
    assert worker.result() == short
    await queue.close()


async def test_every_backoff_wakes_a_worker_of_its_own(clock: ManualClock) -> None:
    """Two workers wait for two keys: the second is woken as well as the first."""
    queue = make_queue(clock)
    for name in ("a", "b"):
        queue.add(key(name))
    queue.retry(await queue.get(), after=timedelta(seconds=10))
    queue.retry(await queue.get(), after=timedelta(seconds=20))
    workers = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    await clock.run_for(30)
    assert [worker.result() for worker in workers] == [key("a"), key("b")]


async def test_a_failing_key_holds_up_nobody(clock: ManualClock) -> None:
    """With one worker and a key that always fails, a thousand others pass at once."""
    queue = make_queue(clock)
    queue.add(key("broken"))
    for number in range(1000):
        queue.add(key(f"k{number}"))
    seen: list[str] = []
    while queue.depth:
        found = await queue.get()
        seen.append(found.name)
        (queue.retry if found.name == "broken" else queue.done)(found)
    assert len(seen) == 1001
    assert seen.count("broken") == 1


async def test_failures_in_a_row_wait_longer_and_success_forgets_them(clock: ManualClock) -> None:
    """Each failure doubles the bound; once dealt with, the next failure is a first one."""
    queue = make_queue(clock)
    waits = []
    for _ in range(4):
        queue.add(key("a"), Lane.BACKGROUND)
        found = await queue.get()
        waits.append(round(queue.retry(found).total_seconds(), 3))
        clock.advance(400)
    assert waits == [0.5, 1.0, 2.0, 4.0]
    queue.done(await queue.get())
    queue.add(key("a"), Lane.BACKGROUND)
    assert queue.retry(await queue.get()).total_seconds() < 0.51


async def test_what_the_other_side_asks_for_is_respected(clock: ManualClock) -> None:
    """A Retry-After is waited out in full, and up to a tenth more."""
    queue = make_queue(clock, share=0.5)
    queue.add(key("a"))
    wait = queue.retry(await queue.get(), after=timedelta(seconds=20))
    assert wait == timedelta(seconds=21)


async def test_a_users_change_ends_the_backoff(clock: ManualClock) -> None:
    """A new spec is looked at now, and its first failure waits as a first failure does."""
    queue = make_queue(clock)
    queue.add(key("a"))
    for _ in range(6):
        queue.retry(await queue.get())
        clock.advance(400)
    queue.retry(await queue.get())
    assert (queue.depth, queue.backing_off) == (0, 1)
    queue.add(key("a"), Lane.CHANGE)
    assert (queue.depth, queue.backing_off) == (1, 0)
    assert queue.retry(await queue.get()).total_seconds() < 0.51


async def test_a_background_look_does_not_end_the_backoff(clock: ManualClock) -> None:
    """A resynchronisation does not bring a failing key back early: nothing has changed."""
    queue = make_queue(clock)
    queue.add(key("a"))
    queue.retry(await queue.get())
    queue.add(key("a"), Lane.BACKGROUND)
    assert (queue.depth, queue.backing_off) == (0, 1)


async def test_a_change_during_a_failing_look_is_looked_at_now(clock: ManualClock) -> None:
    """What failed was not the latest, so there is no waiting."""
    queue = make_queue(clock)
    queue.add(key("a"))
    found = await queue.get()
    queue.add(key("a"), Lane.CHANGE)
    assert queue.retry(found, after=timedelta(minutes=5)) == timedelta(0)
    assert await queue.get() == key("a")


async def test_a_failed_revocation_comes_back_as_a_revocation(clock: ManualClock) -> None:
    """A key keeps its lane through the back-off."""
    queue = make_queue(clock)
    queue.add(key("a"), Lane.REVOCATION)
    queue.retry(await queue.get())
    clock.advance(1)
    queue.add(key("b"), Lane.CHANGE)
    assert next(found.name for found in await take_all(queue)) == "a"


# Ends


async def test_what_is_forgotten_does_not_come(clock: ManualClock) -> None:
    """A key that is gone is dropped where it waits, backs off, or was added in work."""
    queue = make_queue(clock)
    for name in ("waiting", "failing", "working"):
        queue.add(key(name))
    queue.forget(key("waiting"))
    queue.retry(await queue.get())
    in_work = await queue.get()
    queue.add(in_work)
    queue.forget(key("failing"))
    queue.forget(in_work)
    queue.forget(key("unknown"))
    queue.done(in_work)
    clock.advance(400)
    assert (queue.depth, queue.working, queue.backing_off) == (0, 0, 0)


async def test_a_closed_queue_hands_out_nothing_more(clock: ManualClock) -> None:
    """Closing ends every worker's loop; what is in work is given back as ever."""
    queue = make_queue(clock)
    queue.add(key("a"))
    queue.add(key("b"))
    in_work = await queue.get()
    seen: list[ObjectKey] = []

    async def work() -> None:
        seen.extend([found async for found in queue])

    await queue.close()
    await asyncio.wait_for(work(), 1)
    queue.add(key("c"))
    assert queue.retry(in_work) == timedelta(0)
    assert (seen, queue.backing_off, queue.working) == ([], 0, 0)


async def test_giving_back_what_is_not_in_work_is_a_defect(clock: ManualClock) -> None:
    """A key is given back once; twice means that two workers believe to have it."""
    queue = make_queue(clock)
    queue.add(key("a"))
    queue.done(await queue.get())
    for give_back in (queue.done, queue.retry):
        with pytest.raises(InternalError, match=r"finance/a was given back, but is not in work"):
            give_back(key("a"))


# What metrics show


async def test_waits_are_told(clock: ManualClock) -> None:
    """The longest wait is known at any time, and every wait when it ends."""
    told: list[tuple[Lane, float]] = []
    queue: Queue = WorkQueue(
        clock=clock,
        random=random.Random(1).random,
        namespace_of=lambda found: found.namespace,
        on_get=lambda _, lane, seconds: told.append((lane, seconds)),
    )
    assert queue.oldest_wait() == timedelta(0)
    queue.add(key("a"), Lane.BACKGROUND)
    clock.advance(2)
    queue.add(key("b"))
    clock.advance(1)
    assert queue.oldest_wait() == timedelta(seconds=3)
    await take_all(queue)
    assert told == [(Lane.CHANGE, 1.0), (Lane.BACKGROUND, 3.0)]


async def test_stuck_is_not_busy(clock: ManualClock) -> None:
    """Promise 5: a key that waits while others are handed out is no reason to restart anything."""
    queue = make_queue(clock)
    clock.advance(1000)
    assert queue.stuck_for() == timedelta(0), "nobody waits"
    for name in "abc":
        queue.add(key(name), Lane.BACKGROUND)
    clock.advance(200)
    assert queue.stuck_for() == timedelta(seconds=200)
    queue.done(await queue.get())
    clock.advance(150)
    assert queue.oldest_wait() == timedelta(seconds=350)
    assert queue.stuck_for() == timedelta(seconds=150)
