"""The doctor accompanies an installation from an empty cluster until it runs, and as it breaks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from e2e.install import NAMESPACE, install, operator
from e2e.providers import DevCluster
from tests.support.api import Api, until
from tests.support.command import Command
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

ROOT: Final = Path(__file__).parents[2]

_turns = itertools.count(1)

RESPONDER: Final = [
    {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "agentid-responder", "namespace": NAMESPACE},
        "spec": {"ports": [{"port": 80}]},
    },
    {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "agentid-responder-1", "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "agentid-responder"},
        },
        "endpoints": [{"addresses": ["198.18.0.9"], "conditions": {"ready": True}}],
        "ports": [{"port": 8081}],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this module's own, without agentid; it is broken on purpose."""
    own = DevCluster(tmp_path_factory.mktemp("bare"))
    try:
        yield own.up()
    finally:
        own.down()


def are_gone(bare: Cluster) -> bool:
    """Whether no definition is left; each that is, is touched.

    The API server gives up on the objects of a definition whose storage is just being set up, and
    comes back to it after five minutes, or when it changes.
    """
    left = bare.kubectl("get", "crds", "-o", "name").stdout.split()
    if left:
        turn = f"test.example.com/turn={next(_turns)}"
        bare.kubectl("annotate", "--overwrite", *left, turn, check=False)
    return not left


def test_an_installation_from_nothing_until_it_breaks(bare: Cluster) -> None:
    """At each step it says what is missing, and no more; everything in place, it is content."""
    run = Command(str(bare.kubeconfig))

    # Nothing.
    for arguments in (("list",), ("suspend", "x"), ("issuer", "show", "x"), ("renew", "x")):
        run(*arguments).fails_in_one_line("agentid is not installed", "agentid doctor")
    looked = run("doctor")
    assert looked.code == 1
    assert "problem            CRD agentidentities.agentid.dev: it is not installed" in looked.out
    assert "→ agentid crds | kubectl apply --server-side -f -" in looked.out
    assert "ValidatingAdmissionPolicy agentid-class-use: it is not installed" in looked.out
    assert "rights of agentid-system/agentid-controller: it may not get agentid" in looked.out
    assert "controller: there is no Lease in namespace agentid-system" in looked.out

    # Definitions of another release.
    rendered = run("crds").out
    bare.kubectl("create", "-f", "-", stdin=rendered.replace("name: v1alpha1", "name: v1alpha0"))
    # By its path, as kubectl may keep what another cluster served on the same port.
    asked = ("get", "--raw", "/apis/agentid.dev/v1alpha0/agentidentities")
    until("served", lambda: bare.kubectl(*asked, check=False).returncode == 0)
    run("list").fails_in_one_line("agentid is not installed, or in another version")
    assert "version v1alpha1 is not served" in run("doctor").out
    bare.kubectl("delete", "--wait=false", "-f", "-", stdin=rendered)
    until("the end of these definitions", lambda: are_gone(bare), 60)

    # Everything but a controller.
    install(bare)
    until("served", lambda: run("list").code == 0, 90)
    told = run("doctor", "-o", "wide")
    assert told.code == 1
    assert "ok                 CRD agentidentities.agentid.dev: v1alpha1 is served" in told.out
    assert "ok                 ValidatingAdmissionPolicy agentid-ledger: it is in force" in told.out
    assert "ok                 rights of agentid-system/agentid-controller: it has" in told.out

    # A controller, and somewhere to ask about revocations.
    api = Api(bare)
    api.create("agentissuers", issuer())
    api.create("agentclasses", agent_class("reader"))
    api.create("agentidentities", identity("agent", "reader"), "default")
    for body in RESPONDER:
        bare.kubectl("create", "-f", "-", stdin=yaml.safe_dump(body))
    with operator(bare, "doctor"):
        api.until_ready("default", "agent")
        until("well", lambda: run("doctor").code == 0, 90)
        well = json.loads(run("doctor", "-o", "json").out)
        assert {each["severity"] for each in well} == {"ok"}
        assert {"controller", "ledger", "CRLs", "AgentIssuer test", "identities"} <= {
            each["about"] for each in well
        }

        # Somebody takes things away.
        bare.kubectl("delete", "validatingadmissionpolicybinding", "agentid-ledger")
        bare.kubectl("delete", "service", "agentid-responder", "-n", NAMESPACE)
        broken = run("doctor")
        assert broken.code == 1
        assert "agentid-ledger: nothing binds it, so it is not in force" in broken.out
        assert "there is no Service agentid-system/agentid-responder" in broken.out

    # And the controller stops.
    assert "controller: the last one has stopped, and none leads" in run("doctor").out
    bare.kubectl("delete", "rolebinding", "agentid-controller", "-n", NAMESPACE)
    until("revoked", lambda: "it may not get secrets, " in run("doctor").out, 90)
