"""`python -m monitoring.promtool`: have Prometheus itself check the rules, and try each alert."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from monitoring.cases import CASES, HEALTHY
from monitoring.dashboard import ROWS
from monitoring.documented import ROOT
from monitoring.prometheus import program

if TYPE_CHECKING:
    from collections.abc import Mapping

_RULES: Final = ROOT / "helm/agentid/files/rules.yaml"
_FIRING: Final = 'count(ALERTS{{alertname=~"{}",alertstate="firing"}})'


def main() -> int:
    """Check the rules, then each case; the exit code of promtool."""
    tool = program("promtool")
    with tempfile.TemporaryDirectory() as directory:
        queries = Path(directory) / "queries.yaml"
        queries.write_text(yaml.safe_dump(_queries()))
        subprocess.run([tool, "check", "rules", str(_RULES), str(queries)], check=True)
    tests = [_test(HEALTHY, ".*", 60, 0)]
    for case in CASES:
        tests.append(_test(case.raises, case.alert, case.minutes, case.count))
        tests.append(_test(case.stays, case.alert, case.minutes, 0))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cases.yaml"
        path.write_text(yaml.safe_dump({"rule_files": [str(_RULES)], "tests": tests}))
        return subprocess.run([tool, "test", "rules", str(path)], check=False).returncode


def _queries() -> dict[str, object]:
    """The dashboard's queries as rules, for their grammar."""
    rules = [
        {"record": f"panel:query{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(
            query.expr for row in ROWS for panel in row.panels for query in panel.queries
        )
    ]
    return {"groups": [{"name": "dashboard", "rules": rules}]}


def _test(series: Mapping[str, str], alert: str, minutes: int, count: int) -> dict[str, object]:
    expected = [{"labels": "{}", "value": count}] if count else []
    return {
        "name": f"{alert} is raised" if count else f"{alert} is not raised",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": _FIRING.format(alert),
                "eval_time": f"{minutes}m",
                "exp_samples": expected,
            }
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
