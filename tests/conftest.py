"""Fixtures that every room of the tests may use: the real cluster of the session."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from e2e.install import Operator, install
from e2e.providers import provider

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from e2e.providers import Cluster

# Hypothesis's own limit of 200 ms for one example fails where other processes take the cores.
settings.register_profile("agentid", deadline=timedelta(seconds=5))
settings.load_profile("agentid")

_numbers = itertools.count(1)

_LOG_SHOWN = 200
"""Lines of an operator's log that are shown with a test that failed."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the operator said that a whole module shares, where one of its tests fails."""
    report = yield
    shared = item.funcargs.get("running") if isinstance(item, pytest.Function) else None
    if report.failed and isinstance(shared, Operator):
        end = shared.log.read_text(encoding="utf-8").splitlines()[-_LOG_SHOWN:]
        report.sections.append(("End of the operator's log", "\n".join(end)))
    return report


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server of this session's own, ended with it."""
    chosen = provider(tmp_path_factory.mktemp("cluster"))
    try:
        yield chosen.up()
    finally:
        chosen.down()


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Cluster:
    """The same with agentid's resource definitions, RBAC and policies in force."""
    install(cluster)
    return cluster


@pytest.fixture
def make_namespace(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes namespaces that go with the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test-{next(_numbers)}"
        cluster.kubectl("create", "namespace", name)
        made.append(name)
        return name

    yield make
    if made:
        cluster.kubectl("delete", "namespace", "--wait=false", "--ignore-not-found", *made)


@pytest.fixture
def namespace(make_namespace: Callable[[], str]) -> str:
    """A namespace of this test's own."""
    return make_namespace()
