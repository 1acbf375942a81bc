"""An operator whose issuer service answers, and plugins of nodes that nobody runs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agentid.constants import CSI_DRIVER
from e2e.install import start_operator
from tests.controller.conftest import api, make_class
from tests.support.api import until
from tests.support.coroutines import pytest_pyfunc_call
from tests.support.manifests import identity
from tests.support.node_plugins import NodePlugins
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.install import Operator
    from e2e.providers import Cluster
    from tests.support.api import Api

__all__ = ["Service", "api", "make_class", "pytest_pyfunc_call"]


@dataclass(frozen=True, slots=True)
class Service:
    """A replica whose issuer service is up.

    Attributes:
        operator: The process.
        port: Of the service.
        probes: Of its probes and metrics.
    """

    operator: Operator
    port: int
    probes: int


def start_service(api: Api, name: str) -> Service:
    """Start a replica, and return once it is ready."""
    port, probes = ports(2)
    started = start_operator(api.cluster, name, probes, issuer_port=port)
    log = started.log

    def serves() -> bool:
        assert started.process.poll() is None, log.read_text()[-4000:]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(f"the service of {name}", serves, 60)
    return Service(started, port, probes)


@pytest.fixture(scope="module")
def plugins(cluster: Cluster, installed: Cluster) -> Iterator[NodePlugins]:
    """The plugins, and what opens the door CSI, which is closed again behind them."""
    assert installed is cluster
    made = NodePlugins(cluster)
    made.install()
    yield made
    cluster.kubectl("delete", "csidriver", CSI_DRIVER, "--ignore-not-found")


@pytest.fixture(scope="module")
def service(api: Api, plugins: NodePlugins) -> Iterator[Service]:
    """A replica that runs throughout the module; it leads."""
    api.free_lease()
    started = start_service(api, "issuing")
    assert plugins.authorities()
    try:
        yield started
    finally:
        started.operator.stop()
    assert started.operator.process.returncode == 0, started.operator.log.read_text()[-4000:]


@pytest.fixture
def make_reader(api: Api, namespace: str, make_class: Callable[..., str]) -> Callable[..., str]:
    """Makes an AgentIdentity that delivers by CSI, ready for its pods; returns its name."""

    def make(name: str = "reader", class_fields: dict[str, Any] | None = None, **spec: Any) -> str:  # noqa: ANN401 - JSON
        class_name = make_class(**(class_fields or {}))
        body = identity(name, class_name, delivery={"mode": "CSI"}, **spec)
        api.create("agentidentities", body, namespace)
        api.until_ready(namespace, name)
        return name

    return make
