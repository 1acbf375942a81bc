"""Generates what Argo CD reads, from the scripts of AgentIdentity: `python -m gitops [--check]`.

The health of the other kinds is the same script, and the patch of Argo CD's ConfigMap holds all of
them. With `--check` nothing is written; the exit code is 1 if something would be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import yaml

__all__ = ["main", "rendered"]

ARGOCD: Final = Path(__file__).parent / "argocd"
_GROUP: Final = "agentid.dev"
_KINDS: Final = ("AgentIssuer", "AgentClass", "AgentIdentity", "AgentRevocation")
_HEAD: Final = (
    "# Generated from resource_customizations by `make gitops`; do not edit.\n"
    "# kubectl patch configmap argocd-cm -n argocd --type=merge --patch-file argocd-cm-patch.yaml\n"
)


class _Dumper(yaml.SafeDumper):
    """Writes scripts as they read: line by line."""


def _lines(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _lines)


def rendered(argocd: Path = ARGOCD) -> dict[Path, str]:
    """Every generated file, by its path."""
    of_identity = argocd / "resource_customizations" / _GROUP / "AgentIdentity"
    health = (of_identity / "health.lua").read_text(encoding="utf-8")
    folders = of_identity.parent
    copies = {folders / kind / "health.lua": health for kind in _KINDS if kind != of_identity.name}
    actions = of_identity / "actions"
    offered = {
        "discovery.lua": (actions / "discovery.lua").read_text(encoding="utf-8"),
        "definitions": [
            {"name": script.parent.name, "action.lua": script.read_text(encoding="utf-8")}
            for script in sorted(actions.glob("*/action.lua"))
        ],
    }
    data = {f"resource.customizations.health.{_GROUP}_{kind}": health for kind in _KINDS}
    data[f"resource.customizations.actions.{_GROUP}_{of_identity.name}"] = _yaml(offered)
    return {**copies, argocd / "argocd-cm-patch.yaml": _HEAD + _yaml({"data": data})}


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100)


def main(arguments: list[str], argocd: Path = ARGOCD) -> int:
    """Write the files, or compare them; return the exit code."""
    stale = [
        (path, content)
        for path, content in rendered(argocd).items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    if "--check" in arguments:
        for path, _ in stale:
            sys.stderr.write(f"{path} is not what its sources make; run `make gitops`\n")
        return 1 if stale else 0
    for path, content in stale:
        path.write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
