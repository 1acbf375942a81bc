"""The installed policies and roles, tried by users who are not the admin."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from e2e.providers import Cluster

CONTROLLER: Final = "system:serviceaccount:agentid-system:agentid-controller"

Json = dict[str, Any]

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who asks the API server."""

    cluster: Cluster
    name: str

    def __call__(self, *args: str, body: Json | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as this user, with an object for `-f -`."""
        arguments = ("--as", self.name, *args) if self.name else args
        text = None if body is None else json.dumps(body)
        return self.cluster.kubectl(*arguments, stdin=text, check=False)

    def may(self, *args: str, body: Json | None = None) -> None:
        """Assert that the API server lets this through."""
        done = self(*args, body=body)
        assert done.returncode == 0, done.stderr

    def may_not(self, *args: str, body: Json | None = None, because: str) -> None:
        """Assert that the API server refuses this, with these words."""
        done = self(*args, body=body)
        assert done.returncode != 0, f"not refused: {args}"
        assert because in done.stderr, done.stderr


@pytest.fixture
def admin(installed: Cluster) -> User:
    """Who may do everything that policies do not forbid."""
    return User(installed, "")


@pytest.fixture
def controller(installed: Cluster) -> User:
    """The operator's ServiceAccount."""
    return User(installed, CONTROLLER)


@pytest.fixture
def team(installed: Cluster, namespace: str) -> User:
    """A member of an agent team, with the built-in role `edit` in the test's namespace."""
    name = f"member-{next(_numbers)}"
    binding = ("create", "rolebinding", name, "-n", namespace)
    installed.kubectl(*binding, "--clusterrole=edit", f"--user={name}")
    return User(installed, name)


@pytest.fixture
def allow_use(installed: Cluster) -> Iterator[Callable[[User, str], None]]:
    """Grants a user the verb `use` on a class, for the time of the test."""
    made: list[str] = []

    def allow(user: User, class_name: str) -> None:
        name = f"use-{next(_numbers)}"
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {
                    "apiGroups": ["agentid.dev"],
                    "resources": ["agentclasses"],
                    "resourceNames": [class_name],
                    "verbs": ["use"],
                }
            ],
        }
        installed.kubectl("create", "-f", "-", stdin=json.dumps(role))
        installed.kubectl(
            "create", "clusterrolebinding", name, f"--clusterrole={name}", f"--user={user.name}"
        )
        made.append(name)

    yield allow
    for name in made:
        installed.kubectl("delete", "clusterrole,clusterrolebinding", name)
