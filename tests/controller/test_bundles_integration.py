"""Trust bundles on a real API server: accepted by it, where they are asked for, never back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from e2e.install import operator
from tests.support.api import until
from tests.support.manifests import issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.api import Api

pytestmark = pytest.mark.integration

Json = dict[str, Any]
NAME = "trusted"
CONFIG_MAP = f"agentid-bundle-{NAME}"
TRUST_BUNDLE = f"agentid.dev:agent:{NAME}"


@pytest.fixture
def trusted(api: Api) -> Iterator[str]:
    """An issuer of this test's own."""
    spec = {"trustDomain": "trusted.test", "rotation": {"propagationTime": "1s"}}
    api.create("agentissuers", issuer(NAME, **spec))
    yield NAME
    if api.object("agentissuers", NAME) is not None:
        api.delete("agentissuers", NAME)


def found(api: Api, *what: str) -> Json | None:
    """An object of any kind, None if there is none."""
    told = api.cluster.kubectl("get", *what, "--ignore-not-found", "-o", "json").stdout
    body: Json | None = json.loads(told) if told else None
    return body


def config_map(api: Api, namespace: str) -> Json:
    """The data of the bundle in a namespace, empty if there is none."""
    data: Json = (found(api, "configmap", CONFIG_MAP, "-n", namespace) or {}).get("data") or {}
    return data


def everywhere(api: Api, namespace: str) -> list[str]:
    """The roots as each of the three places has them."""
    trust_bundle = found(api, "clustertrustbundle", TRUST_BUNDLE) or {}
    return [
        config_map(api, "agentid-system").get("ca.crt", ""),
        (trust_bundle.get("spec") or {}).get("trustBundle", ""),
        config_map(api, namespace).get("ca.crt", ""),
    ]


def sequence(api: Api, namespace: str = "agentid-system") -> int:
    """The number of the bundle in a namespace, 0 if there is none."""
    text = config_map(api, namespace).get("bundle.json", "{}")
    number: int = json.loads(text).get("spiffe_sequence", 0)
    return number


def is_one(api: Api, namespace: str, roots: int) -> bool:
    """Whether there are so many roots, the same everywhere."""
    pem, *others = everywhere(api, namespace)
    return pem.count("BEGIN CERTIFICATE") == roots and all(each == pem for each in others)


def label(api: Api, namespace: str, text: str) -> None:
    """Label a namespace."""
    api.cluster.kubectl("label", "namespace", namespace, text, "--overwrite")


def test_the_bundle_is_one_in_all_places_and_grows_over_restarts(
    api: Api, make_namespace: Callable[[], str], trusted: str
) -> None:
    """Made, opted into, rotated under one operator, gone on from by the next, and removed."""
    namespace, other = make_namespace(), make_namespace()
    label(api, namespace, "agentid.dev/trust-bundle=enabled")
    api.free_lease()
    with operator(api.cluster, "bundles-1"):
        until("the first bundle", lambda: is_one(api, namespace, 1))
        (root,) = x509.load_pem_x509_certificates(everywhere(api, namespace)[0].encode())
        assert root.issuer == root.subject
        assert sequence(api) == sequence(api, namespace) == 1
        assert config_map(api, other) == {}

        # Another namespace asks, then does not.
        label(api, other, "agentid.dev/trust-bundle=enabled")
        until("the bundle where it is asked for", lambda: config_map(api, other))
        label(api, other, "agentid.dev/trust-bundle-")
        until("its end", lambda: not config_map(api, other))

        # A second root, and another hint.
        annotations = {"agentid.dev/rotate-root-requested": _now()}
        spec = {"bundle": {"refreshHint": "1m"}}
        patch = {"metadata": {"annotations": annotations}, "spec": spec}
        api.patch("agentissuers", trusted, patch)
        until("the second root", lambda: is_one(api, namespace, 2))
        number = sequence(api)
        assert number >= 2
        label(api, other, "agentid.dev/trust-bundle=enabled")
        until("the bundle where it is asked for", lambda: config_map(api, other))

    # While nobody looks one namespace asks no more.
    label(api, other, "agentid.dev/trust-bundle-")
    with operator(api.cluster, "bundles-2"):
        until("the end of what is not asked for", lambda: not config_map(api, other))
        until("one bundle", lambda: len(set(everywhere(api, namespace))) == 1)
        assert sequence(api) >= number
        api.delete("agentissuers", trusted)
        until("the end of everything", lambda: everywhere(api, namespace) == ["", "", ""])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
