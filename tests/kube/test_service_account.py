"""Outside a pod as in one: a ServiceAccount's directory against a real API server."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from agentid.clock import SystemClock
from agentid.errors import ForbiddenError, UnavailableError
from agentid.kube.client import Client
from agentid.kube.credentials import load_credentials
from agentid.kube.resources import CONFIG_MAPS
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.providers import Cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """Make a namespace with a ServiceAccount that may read ConfigMaps."""
    name = f"kube-{uuid.uuid4().hex[:12]}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("-n", name, "create", "serviceaccount", "reader")
    cluster.kubectl("-n", name, "create", "role", "reader", "--verb=list", "--resource=configmaps")
    account = f"--serviceaccount={name}:reader"
    cluster.kubectl("-n", name, "create", "rolebinding", "reader", "--role=reader", account)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def environ(cluster: Cluster, namespace: str, tmp_path: Path) -> dict[str, str]:
    """Return a pod's environment, and the directory that the kubelet would have made."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    published = ("get", "configmap", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    cluster.kubectl("-n", namespace, "wait", "--for=create", "configmap/kube-root-ca.crt")
    (tmp_path / "ca.crt").write_text(cluster.kubectl("-n", namespace, *published).stdout)
    (tmp_path / "namespace").write_text(namespace)
    write_token(cluster, namespace, tmp_path)
    return {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
        "AGENTID_SERVICEACCOUNT_DIR": str(tmp_path),
    }


def write_token(cluster: Cluster, namespace: str, directory: Path) -> None:
    """Write a fresh token, as the kubelet does in time."""
    created = cluster.kubectl("-n", namespace, "create", "token", "reader")
    (directory / "token").write_text(created.stdout)


@pytest.mark.integration
async def test_a_service_account_reads_what_it_may(
    cluster: Cluster, namespace: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """It may what its role says; a token that is refused is replaced by what the file holds."""
    credentials = await load_credentials(clock=SystemClock(), environ=environ)
    async with Client(credentials) as client:
        found = [item async for item in client.list(CONFIG_MAPS, namespace)]
        assert len(found) == 1
        with pytest.raises(ForbiddenError, match=r"403 Forbidden: .*cannot list resource"):
            _ = [item async for item in client.list(CONFIG_MAPS)]

    (tmp_path / "token").write_text("expired")
    credentials = await load_credentials(clock=SystemClock(), environ=environ)
    async with Client(credentials) as client:
        with pytest.raises(ForbiddenError, match="401 Unauthorized"):
            _ = [item async for item in client.list(CONFIG_MAPS, namespace)]
        write_token(cluster, namespace, tmp_path)
        assert len([item async for item in client.list(CONFIG_MAPS, namespace)]) == 1


@pytest.mark.integration
async def test_a_server_of_another_authority_is_not_spoken_to(
    environ: dict[str, str], namespace: str, tmp_path: Path
) -> None:
    """A certificate that the cluster's CA did not sign ends it before our token is sent."""
    (tmp_path / "ca.crt").write_bytes(ThrowawayCA().files["root.crt"])
    credentials = await load_credentials(clock=SystemClock(), environ=environ)
    async with Client(credentials) as client:
        with pytest.raises(UnavailableError, match=r"list configmaps .*: not sent, .*certificate"):
            _ = [item async for item in client.list(CONFIG_MAPS, namespace)]
