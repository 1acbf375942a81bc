"""Kubelets that ask, and an operator that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.controller.conftest import api, make_class, running
from tests.support.coroutines import pytest_pyfunc_call
from tests.support.pod_requests import Kubelets

if TYPE_CHECKING:
    from e2e.providers import Cluster

__all__ = ["api", "make_class", "pytest_pyfunc_call", "running"]


@pytest.fixture(scope="session")
def kubelets(cluster: Cluster) -> Kubelets:
    """The kubelets of nodes that nobody runs."""
    return Kubelets(cluster)
