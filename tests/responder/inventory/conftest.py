"""A page that is served throughout a module, with people who may and may not see it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.api import until
from tests.support.inventory import rights, site_of, token_of
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster
    from tests.support.inventory import Site

HOSTILE: Final = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>&amp;"
"""A purpose that would do something if it were taken for HTML."""

_PEOPLE: Final = "page-people"
_AGENTS: Final = ("page-a", "page-b")


@dataclass(frozen=True, slots=True)
class Stage:
    """The page and who looks at it.

    Attributes:
        site: The page.
        officer: Token of somebody who may list everywhere.
        team: Of somebody who may list in `page-a` alone.
        nobody: Of somebody who may list nothing.
    """

    site: Site
    officer: str = field(repr=False)
    team: str = field(repr=False)
    nobody: str = field(repr=False)


def _apply(cluster: Cluster, body: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(body))


@pytest.fixture(scope="module")
def stage(installed: Cluster) -> Iterator[Stage]:
    """Three people, two namespaces with five agents that no operator looks at, and the page."""
    for name in (_PEOPLE, *_AGENTS):
        installed.kubectl("create", "namespace", name)
    for account in ("officer", "team", "nobody"):
        installed.kubectl("create", "serviceaccount", account, "-n", _PEOPLE)
    binding = ("--clusterrole=agentid-view", f"--serviceaccount={_PEOPLE}:officer")
    installed.kubectl("create", "clusterrolebinding", "page-officer", *binding)
    binding = ("--clusterrole=agentid-view", f"--serviceaccount={_PEOPLE}:team")
    installed.kubectl("create", "rolebinding", "page-team", "-n", "page-a", *binding)
    group: dict[str, Any] = {"apiVersion": "agentid.dev/v1alpha1"}
    _apply(installed, group | {"kind": "AgentIssuer"} | issuer("page-issuer"))
    made = agent_class("page-class", issuerName="page-issuer")
    _apply(installed, group | {"kind": "AgentClass"} | made)
    for namespace in _AGENTS:
        for name in ("reader", "writer"):
            body = group | {"kind": "AgentIdentity"} | identity(name, "page-class")
            body["metadata"]["namespace"] = namespace
            _apply(installed, body)
    body = group | {"kind": "AgentIdentity"} | identity("hostile", "page-class", purpose=HOSTILE)
    body["metadata"]["namespace"] = "page-a"
    _apply(installed, body)
    with rights(installed), site_of(installed, "inventory") as site:
        tokens = [token_of(installed, _PEOPLE, each) for each in ("officer", "team", "nobody")]
        until("the page", lambda: site.ask("/agents.json", tokens[0]).status == 200)
        yield Stage(site, *tokens)
    installed.kubectl("delete", "clusterrolebinding", "page-officer")
    for namespace in _AGENTS:
        installed.kubectl("delete", "agentidentities", "--all", "-n", namespace, "--wait=false")
        for agent in ("reader", "writer", "hostile"):
            clear = ("--type=merge", "-p", '{"metadata":{"finalizers":[]}}')
            installed.kubectl("patch", "agentidentity", agent, "-n", namespace, *clear, check=False)
    installed.kubectl("delete", "agentclass/page-class", "agentissuer/page-issuer")
    installed.kubectl("delete", "namespace", _PEOPLE, *_AGENTS)
