"""Runs tests that are coroutines; imported by the `conftest.py` of a folder that has such tests."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["pytest_pyfunc_call"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test: Coroutine[object, object, None] = pyfuncitem.obj(
        **{name: pyfuncitem.funcargs[name] for name in names}
    )
    asyncio.run(test)
    return True
