"""Coroutine tests on virtual time."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from agentid.testing.clock import ManualClock
from agentid.testing.segments import MemorySegments


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemorySegments:
    """Return an empty backend that stamps with the test's clock."""
    return MemorySegments(clock.now)
