"""An operator that runs, and the cluster as seen from outside."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from e2e.install import operator
from tests.services.conftest import cluster as fake_cluster
from tests.support.api import Api
from tests.support.coroutines import pytest_pyfunc_call
from tests.support.manifests import agent_class, issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.install import Operator
    from e2e.providers import Cluster

__all__ = ["fake_cluster", "pytest_pyfunc_call"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api(installed: Cluster) -> Api:
    """The cluster, with the issuer `test`."""
    made = Api(installed)
    if made.object("agentissuers", "test") is None:
        made.create("agentissuers", issuer())
    return made


@pytest.fixture(scope="module")
def running(api: Api) -> Iterator[Operator]:
    """An operator that runs throughout the module, as its own ServiceAccount."""
    with operator(api.cluster, "module") as started:
        yield started
        assert started.process.poll() is None, started.log.read_text()[-4000:]


@pytest.fixture
def make_class(api: Api) -> Iterator[Callable[..., str]]:
    """Makes AgentClasses that go with the test; takes fields of the spec."""
    made: list[str] = []

    def make(**spec: object) -> str:
        name = f"class-{next(_numbers)}"
        api.create("agentclasses", agent_class(name, **spec))
        made.append(name)
        return name

    yield make
    for name in made:
        if api.object("agentclasses", name) is not None:
            api.delete("agentclasses", name)
