"""`python -m e2e.chaos --seeds 1 2 3`: what `make chaos` calls."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from e2e.chaos.run import arena
from e2e.progress import say


async def _run(seeds: list[int], seconds: float, directory: Path) -> list[int]:
    failed = []
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one
    # As by Ctrl-C: what was started has to be ended.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with arena(directory) as made:
        for seed in seeds:
            began = time.monotonic()
            outcome = await made.run(seed, seconds)
            counts = ", ".join(f"{n} {what}" for what, n in sorted(outcome.counts.items()))
            say(
                f"seed {seed}: {'BROKEN' if outcome.broken else 'kept'}, settled "
                f"{outcome.settled:.0f} s after the faults, {time.monotonic() - began:.0f} s in all"
            )
            say(f"  {counts}")
            if outcome.last:
                say(f"  last: {outcome.last[-1]}")
            for each in outcome.broken:
                say(f"  {each}")
            if outcome.broken:
                failed.append(seed)
                say(f"  its events: {outcome.log}; the replicas' logs: {directory}")
                say(f"  again: make chaos SEEDS={seed} CHAOS_SECONDS={seconds:g}")
    return failed


def main() -> int:
    """Run the seeds that are asked for; 1 if one of them broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m e2e.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults, for each seed")
    parser.add_argument("--dir", type=Path, default=Path("build/chaos"))
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    try:
        failed = asyncio.run(_run(args.seeds, args.seconds, args.dir.absolute()))
    except asyncio.CancelledError:
        say("ended before its time")
        return 1
    if failed:
        say(f"{len(failed)} of {len(args.seeds)} seeds broke a promise: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
