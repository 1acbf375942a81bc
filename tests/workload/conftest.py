"""A trust domain with agents, for real handshakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.coroutines import pytest_pyfunc_call
from tests.support.workloads import Domain

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    """Whose agents' directories are below the folder of the test."""
    return Domain(tmp_path)
