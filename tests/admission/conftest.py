"""Coroutine tests, virtual time, and a desk that answers reviews."""

from __future__ import annotations

import pytest

from agentid.testing.clock import ManualClock
from tests.support.coroutines import pytest_pyfunc_call
from tests.support.reviewing import Desk

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
def desk(clock: ManualClock) -> Desk:
    """A desk that knows one issuer and one class."""
    return Desk(clock)
