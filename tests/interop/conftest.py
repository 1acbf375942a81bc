"""What the tests with other people's programs share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.api import Api

if TYPE_CHECKING:
    from e2e.providers import Cluster


@pytest.fixture(scope="session")
def api(installed: Cluster) -> Api:
    """The cluster, seen from outside."""
    return Api(installed)
