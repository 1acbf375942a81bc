"""What a kubelet does with identities over time: it renews them, and takes up new roots.

It takes a quarter of an hour, which is how soon a kubelet renews at the earliest, so `make e2e`
leaves it out and `make e2e-full` runs it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from e2e.chart import CHART
from e2e.image import image, load
from e2e.providers import DevCluster
from tests.support.api import until
from tests.support.opted_in import (
    agent,
    agent_class,
    deployment,
    live_by_pod,
    names_of,
    on_record,
)
from tests.support.release import AGENTS, NAMESPACE, Release

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="a kubelet needs root"),
]

VALUES: dict[str, Any] = {
    "image": {"pullPolicy": "Never"},
    "issuer": {
        "trustDomain": "agents.example.com",
        "spec": {"rotation": {"propagationTime": "1m"}},
    },
}
PODS = 6
"""A kubelet adds up to five minutes by chance to the time that it is told; the first of six is
early."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart on a node, and pods that look after nothing."""
    directory = tmp_path_factory.mktemp("refresh")
    cluster = DevCluster(directory)
    try:
        made = Release(cluster.up(node=True, install_packages=True))
        load(image(), directory)
        for namespace in (NAMESPACE, AGENTS):
            made.cluster.kubectl("create", "namespace", namespace)
        made.install(CHART, VALUES)
        made.apply(agent_class(lifetime="1h", renewal={"renewBefore": "44m"}), agent("long"))
        until("the agent", lambda: "podCertificate" in str(made.get("agentidentities", AGENTS)))
        made.apply(deployment("long", PODS))
        yield made
    finally:
        cluster.down()


def read(release: Release, pod: str, file: str) -> list[x509.Certificate]:
    """Certificates as a running container reads them now."""
    command = ("exec", pod, "-n", AGENTS, "--", "cat", f"/var/run/agentid/{file}")
    text = release.cluster.kubectl(*command).stdout
    return x509.load_pem_x509_certificates(text.encode())


def test_new_roots_and_new_certificates_reach_running_pods(release: Release) -> None:
    """The certificate after `beginRefreshAt`, for another key; the bundle within some minutes.

    A kubelet keeps what it knows of a bundle for two minutes, and looks at a pod's volumes every
    minute or so.
    """
    names = names_of(release, "long", PODS, 120)
    first = {name: read(release, name, "tls.crt")[0] for name in names}
    began = time.monotonic()
    assert len(read(release, names[0], "ca.crt")) == 1
    issuer = ("agentissuer", "default")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    note = f"agentid.dev/rotate-root-requested={now}"
    release.cluster.kubectl("annotate", *issuer, note)
    until("two roots in a pod", lambda: len(read(release, names[0], "ca.crt")) == 2, 420)

    def renewed() -> dict[str, x509.Certificate]:
        found = {name: read(release, name, "tls.crt")[0] for name in names}
        return {
            name: leaf
            for name, leaf in found.items()
            if leaf.serial_number != first[name].serial_number
        }

    until("a renewal", renewed, 1200)
    waited = time.monotonic() - began
    assert waited > 480, "no kubelet renews before beginRefreshAt"
    (name, leaf), *_ = renewed().items()
    assert leaf.public_key() != first[name].public_key()
    bundle = x509.load_pem_x509_certificates(
        release.cluster.kubectl(
            "exec", name, "-n", AGENTS, "--", "cat", "/var/run/agentid/credentials.pem"
        ).stdout.encode()
    )
    assert bundle[0].serial_number == leaf.serial_number, "one pair, exchanged together"
    live = live_by_pod(release, name="long")
    assert f"{leaf.serial_number:x}" in [serial.lstrip("0") for serial in live[name]]
    record = on_record(release, "long")
    assert {each["state"] for each in record.values()} == {"live"}, "a renewal revokes nothing"
    uids = {each["metadata"]["name"] for each in release.get("pods", AGENTS)}
    assert uids == set(names), "no pod was started anew"
