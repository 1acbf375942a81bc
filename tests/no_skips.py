"""A pytest plugin for CI: a session in which a test was skipped has failed.

A suite that quietly skips what it cannot run shows green for promises that nobody checked. A test
that is expected to fail is one more such promise. `make` loads this where `CI` is `true`.
"""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Start with nothing skipped."""
    config.pluginmanager.register(_NoSkips(), "agentid-no-skips")


class _NoSkips:
    """Watches the reports of one session; with xdist, those that its workers send."""

    def __init__(self) -> None:
        self._not_run: dict[str, str] = {}  # node id: the reason given

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember tests that were skipped or are expected to fail."""
        expected: str | None = getattr(report, "wasxfail", None)
        if report.skipped or expected is not None:
            self._not_run[report.nodeid] = expected or _reason(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember modules that skipped themselves."""
        if report.skipped:
            self._not_run[report.nodeid] = _reason(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Turn a session that was green but for skipped tests into a failed one."""
        if self._not_run and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the tests that should have run."""
        if self._not_run:
            terminalreporter.section("not run, and CI allows no skips", red=True)
        for nodeid, reason in self._not_run.items():
            terminalreporter.write_line(f"{nodeid}: {reason}", red=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The words that a skip was given, out of pytest's (path, line, words)."""
    match report.longrepr:
        case (_, _, str(words)):
            return words.removeprefix("Skipped: ")
        case _:
            return "no reason given"
