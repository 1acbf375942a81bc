"""What the chart renders, put to a real API server: strict about fields, and about Pod Security."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from e2e.chart import CHART, MANIFESTS, helm
from e2e.toolchain import helm3
from tests.helm.conftest import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

FOREIGN = "monitoring.coreos.com"
"""Kinds that are served only where the Prometheus operator is installed."""

MATRIX = [
    pytest.param({}, id="defaults"),
    pytest.param(
        {
            "image": {
                "repository": "registry.example:5000/agents/agentid",
                "digest": f"sha256:{'0123456789abcdef' * 4}",
                "pullPolicy": "Always",
                "pullSecrets": ["registry", "mirror"],
            },
            "logLevel": "debug",
        },
        id="image",
    ),
    pytest.param(
        {
            component: {
                "replicas": 5,
                "resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                "maxUnavailable": "40%",
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {"kubernetes.io/os": "linux", "zoned": "true"},
                "tolerations": [{"key": "agents", "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}
                            ]
                        }
                    }
                },
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 2,
                        "topologyKey": "rack",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "minDomains": 3,
                    }
                ],
                "podLabels": {"team": "platform", "numeric": "1"},
                "podAnnotations": {"note": "a: b # c", "flag": "true"},
            }
            for component in ("controller", "responder", "admission")
        },
        id="placement",
    ),
    pytest.param(
        {
            component: {
                "resources": {},
                "maxUnavailable": 0,
                "affinity": {},
                "topologySpreadConstraints": [],
                "replicas": 1,
            }
            for component in ("controller", "responder", "admission")
        },
        id="as little as possible",
    ),
    pytest.param(
        {
            "responder": {
                "service": {
                    "type": "LoadBalancer",
                    "annotations": {"example.com/internal": "true"},
                    "externalTrafficPolicy": "Local",
                    "loadBalancerClass": "example.com/internal",
                },
                "tls": {"secretName": "responder-web"},
                "limits": {"rate": 0, "clientConnections": 64},
                "periods": {"ocspWindow": 30, "staleAfter": 200.5},
            }
        },
        id="responder",
    ),
    pytest.param({"responder": {"service": {"type": "NodePort"}}}, id="node port"),
    pytest.param({"networkPolicy": {"enabled": False}}, id="no network policies"),
    pytest.param(
        {
            "networkPolicy": {
                "http": {"from": []},
                "https": {
                    "from": [
                        {
                            "namespaceSelector": {"matchLabels": {"team": "gateways"}},
                            "podSelector": {"matchLabels": {"app": "gateway"}},
                        }
                    ]
                },
                "metrics": {"from": [{"podSelector": {}}]},
            }
        },
        id="network policies",
    ),
    pytest.param(
        {
            "node": {
                "kubeletPath": "/var/lib/k0s/kubelet",
                "publishSeconds": 7.5,
                "volumeMib": 2,
                "resources": {},
                "updateStrategy": {"type": "OnDelete"},
                "priorityClassName": "",
                "nodeSelector": {"agents": "true"},
                "tolerations": [],
                "podLabels": {"team": "platform"},
                "podAnnotations": {"note": "a: b # c"},
            },
            "networkPolicy": {"issuer": {"from": []}},
        },
        id="node",
    ),
    pytest.param({"node": {"enabled": False}}, id="no node plugin"),
    pytest.param({"rbac": {"aggregateToBuiltinRoles": False}}, id="no aggregation"),
    pytest.param({"crds": {"install": False}}, id="no definitions"),
    pytest.param(
        {
            "controller": {
                "audit": "off",
                "env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "FLAG": "true"},
            },
            "monitoring": {"dashboard": {"enabled": True}},
        },
        id="telemetry",
    ),
    pytest.param(
        {
            "inventory": {"enabled": True},
            "networkPolicy": {"inventory": {"from": [{"podSelector": {}}]}},
        },
        id="inventory",
    ),
    pytest.param({"admission": {"mode": "Policy"}}, id="admission by policy"),
    pytest.param({"admission": {"mode": "None"}}, id="no admission"),
    pytest.param(
        {
            "admission": {"mode": "Webhook", "timeoutSeconds": 10, "replicas": 3},
            "networkPolicy": {"webhook": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
        },
        id="admission by webhook",
    ),
    pytest.param(
        {"monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
        id="monitoring",
    ),
    pytest.param(
        {
            "issuer": {
                "trustDomain": "agents.example.com",
                "name": "main",
                "spec": {"responder": {"crlLifetime": "1h"}, "rotation": {"propagationTime": "1h"}},
            }
        },
        id="issuer",
    ),
]


@pytest.fixture(scope="module")
def restricted(installed: Cluster) -> Iterator[str]:
    """A namespace that tells of every pod that Pod Security `restricted` would refuse."""
    label = "pod-security.kubernetes.io/warn=restricted"
    installed.kubectl("create", "namespace", "restricted")
    installed.kubectl("label", "namespace", "restricted", label)
    # Pods are refused where their ServiceAccount is not there yet.
    installed.kubectl("create", "serviceaccount", "agentid-test", "-n", "restricted")
    yield "restricted"
    installed.kubectl("delete", "namespace", "restricted", "--wait=false")


@pytest.fixture
def dry_run(installed: Cluster, restricted: str) -> Callable[[str], str]:
    """Puts objects to the API server, without effect; returns its warnings."""
    strict = (
        "--dry-run=server",
        "--validate=strict",
        "--force-conflicts",
        "--namespace",
        restricted,
    )

    def run(text: str) -> str:
        done = installed.kubectl("apply", "--server-side", *strict, "-f", "-", stdin=text)
        return done.stderr

    return run


@pytest.mark.parametrize("values", MATRIX)
def test_the_api_server_takes_it_without_a_warning(
    values: dict[str, object],
    dry_run: Callable[[str], str],
    restricted: str,
    tmp_path: Path,
) -> None:
    """All of it, hooks and tests included: no unknown field, nothing that `restricted` refuses.

    But for the node plugin, which is privileged and has folders of the node, and nothing else that
    even `baseline` refuses. Helm 3 renders the same.
    """
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))
    options = ("--namespace", restricted, "--values", str(file), "--kube-version", "1.37.2")
    template = ("template", "agentid", str(CHART), *options)
    made = objects(helm(*template))
    assert sorted(made, key=str) == sorted(objects(helm(*template, program=helm3())), key=str)
    known = [each for each in made if not each["apiVersion"].startswith(FOREIGN)]
    plugins = [each for each in known if each["kind"] == "DaemonSet"]
    others = [each for each in known if each not in plugins]
    assert dry_run("\n---\n".join(json.dumps(each) for each in others)) == ""
    for each in plugins:
        warned = dry_run(json.dumps(each))
        assert warned.count("Warning") == 1
        assert {"privileged", "hostPath"} <= set(re.findall(r"\w+", warned))
        assert not {"hostNetwork", "hostPID", "hostPort"} & set(re.findall(r"\w+", warned))


def test_pods_that_are_not_restricted_would_be_told_of(dry_run: Callable[[str], str]) -> None:
    """The silence above means something, for pods as for fields."""
    pod = {"containers": [{"name": "main", "image": "localhost/agentid"}]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "loose"},
        "spec": {
            "selector": {"matchLabels": {"app": "loose"}},
            "template": {"metadata": {"labels": {"app": "loose"}}, "spec": pod},
        },
    }
    assert "would violate PodSecurity" in dry_run(json.dumps(body))


def test_the_manifests_can_be_applied_as_they_are(installed: Cluster) -> None:
    """`kubectl apply -k manifests`, by the API server's own checks."""
    strict = ("--dry-run=server", "--validate=strict", "--force-conflicts")
    done = installed.kubectl("apply", "--server-side", *strict, "-k", str(MANIFESTS))
    assert done.stderr == ""
    made = [line.split()[0] for line in done.stdout.splitlines()]
    assert "deployment.apps/agentid-controller" in made
    assert "mutatingadmissionpolicy.admissionregistration.k8s.io/agentid-finalizer" in made
    assert len(made) == len(set(made))
