"""Coroutine tests, and virtual time."""

from __future__ import annotations

import pytest

from agentid.testing.clock import ManualClock
from tests.support.coroutines import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that moves only when told to."""
    return ManualClock()
