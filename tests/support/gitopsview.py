"""What Argo CD and Flux make of objects, by their own code: `tests/gitops/gitopsview`."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from e2e.toolchain import gitopsview

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CUSTOMIZATIONS",
    "Health",
    "action",
    "actions",
    "argo_health",
    "decode",
    "drifts",
    "flux_health",
    "kstatus",
]

Json = dict[str, Any]

_GITOPS: Final = Path(__file__).parents[2] / "gitops"
CUSTOMIZATIONS: Final = _GITOPS / "argocd" / "resource_customizations" / "agentid.dev"
EXPRESSIONS: Final = _GITOPS / "example" / "flux" / "teams" / "health-checks.yaml"


@dataclass(frozen=True, slots=True)
class Health:
    """What a tool says of one object."""

    status: str
    message: str


def _ask(command: str, told: object, file: Path | None = None) -> Any:  # noqa: ANN401 - JSON
    done = subprocess.run(
        [gitopsview(), command, *([str(file)] if file else [])],
        input=json.dumps(told), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def argo_health(*objects: Json) -> list[Health]:
    """Argo CD's health of objects of one kind, by the script of the kind."""
    script = CUSTOMIZATIONS / str(objects[0]["kind"]) / "health.lua"
    return [Health(**each) for each in _ask("health", objects, script)]


def actions(body: Json) -> set[str]:
    """The actions that Argo CD offers on an AgentIdentity."""
    found = _ask("run", body, CUSTOMIZATIONS / "AgentIdentity" / "actions" / "discovery.lua")
    return {name for name, each in found.items() if not each.get("disabled")}


def action(name: str, body: Json) -> Json:
    """What an action of Argo CD makes of an AgentIdentity."""
    made = _ask("run", body, CUSTOMIZATIONS / "AgentIdentity" / "actions" / name / "action.lua")
    assert isinstance(made, dict)
    return made


def kstatus(*objects: Json) -> list[Health]:
    """Flux's status of objects."""
    return [Health(**each) for each in _ask("kstatus", objects)]


def flux_health(tmp_path: Path, *objects: Json) -> list[Health]:
    """Flux's status of objects of one kind by the health check expressions that we ship."""
    component = yaml.safe_load(EXPRESSIONS.read_text())
    shipped = component["spec"]["healthCheckExprs"]
    (of_kind,) = (each for each in shipped if each["kind"] == objects[0]["kind"])
    chosen = {name: text for name, text in of_kind.items() if name not in {"apiVersion", "kind"}}
    file = tmp_path / "expressions.json"
    file.write_text(json.dumps(chosen))
    return [Health(**each) for each in _ask("expressions", objects, file)]


def drifts(pairs: Sequence[Json], document: Path | None = None) -> list[Json]:
    """What Argo CD finds of each `config`, `live`, and `predicted` with a document of OpenAPI."""
    found = _ask("drift", pairs, document)
    assert isinstance(found, list)
    return found


def decode(objects: Sequence[Json]) -> list[str]:
    """Names of objects of Flux's kinds, each read strictly into Flux's own types."""
    found = _ask("decode", objects)
    assert isinstance(found, list)
    return found
