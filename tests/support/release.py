"""A release of the chart on a node of our own, as a platform engineer has it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from e2e import toolchain
from e2e.errors import E2EError
from tests.support.api import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from e2e.providers import Cluster

__all__ = ["AGENTS", "NAMESPACE", "Held", "Release"]

NAMESPACE: Final = "identities"
"""Not the usual one: the chart may be installed anywhere."""

AGENTS: Final = "agents"
"""Where the agents live; Pod Security is enforced there too."""

_PATIENCE: Final = "180s"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """What an agent has in its hands.

    Attributes:
        serial: Of its certificate, by its status.
        secret: UID and resourceVersion of its Secret.
    """

    serial: str
    secret: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Release:
    """The release `agentid` in a cluster."""

    cluster: Cluster

    def helm(self, *args: str) -> str:
        """Run the real Helm as the cluster's admin; what it prints.

        Raises:
            E2EError: It failed, with what it said and what the pods are doing.
        """
        done = subprocess.run(
            [toolchain.helm(), *args, "--namespace", NAMESPACE],
            capture_output=True, text=True, check=False,
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)},
        )  # fmt: skip
        if done.returncode != 0:
            pods = self.cluster.kubectl("describe", "pods", "-n", NAMESPACE, check=False).stdout
            msg = f"helm {' '.join(args)}:\n{done.stdout}{done.stderr}\n{pods}"
            raise E2EError(msg)
        return done.stdout

    def install(self, chart: Path, values: Mapping[str, object]) -> str:
        """Install the chart, wait until everything is ready, and return the notes."""
        file = self.cluster.directory / "values.yaml"
        file.write_text(json.dumps(values))
        options = ("--values", str(file), "--wait", "--timeout", _PATIENCE)
        return self.helm("upgrade", "--install", "agentid", str(chart), *options)

    def rollback(self, revision: int) -> None:
        """Go back to an earlier revision."""
        self.helm("rollback", "agentid", str(revision), "--wait", "--timeout", _PATIENCE)

    def get(self, kind: str, namespace: str = "") -> list[Json]:
        """All objects of a kind, in a namespace or of the cluster."""
        where = ("-n", namespace) if namespace else ()
        listed = self.cluster.kubectl("get", kind, *where, "-o", "json").stdout
        items: list[Json] = json.loads(listed)["items"]
        return items

    def apply(self, *bodies: Json) -> None:
        """Apply objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)

    def until_issued(self, *names: str) -> dict[str, Held]:
        """Wait until these agents have their Secrets; what each holds."""

        def issued() -> bool:
            found = self.held()
            return all(name in found for name in names)

        until(f"certificates for {', '.join(names)}", issued, 90)
        return {name: held for name, held in self.held().items() if name in names}

    def held(self) -> dict[str, Held]:
        """What the agents hold that are Ready, by name."""
        secrets = {
            each["metadata"]["name"]: each["metadata"] for each in self.get("secrets", AGENTS)
        }
        found = {}
        for each in self.get("agentidentities", AGENTS):
            name, status = each["metadata"]["name"], each.get("status", {})
            ready = [
                one["status"] for one in status.get("conditions", ()) if one["type"] == "Ready"
            ]
            if ready == ["True"] and name in secrets:
                metadata = secrets[name]
                found[name] = Held(
                    status["certificate"]["serial"], (metadata["uid"], metadata["resourceVersion"])
                )
        return found
