"""`python -m monitoring [--check]`: write the generated files, or compare them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from agentid.telemetry.audit_schema import audit_schema
from monitoring import dashboard, rules
from monitoring.documented import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _schema() -> str:
    return json.dumps(audit_schema(), indent=2, ensure_ascii=False) + "\n"


FILES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/reference/audit-v1.schema.json": _schema,
    "helm/agentid/files/dashboard.json": dashboard.render,
    "helm/agentid/files/rules.yaml": rules.render,
}


def main(arguments: list[str]) -> int:
    """Do it; 1 if a file is not as it would be generated."""
    stale = [name for name in FILES if not _is_current(name)]
    if arguments == ["--check"]:
        for name in stale:
            print(f"{name} is not what `make monitoring` generates; run it", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[name](), encoding="utf-8")
        print(f"wrote {name}")
    return 0


def _is_current(name: str) -> bool:
    path = ROOT / name
    return path.exists() and path.read_text(encoding="utf-8") == FILES[name]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
