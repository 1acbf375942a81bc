"""A pytest plugin for CI: a session in which a test was skipped has failed.

A suite that quietly skips what it cannot run shows green for promises that nobody checked.
"""

from __future__ import annotations

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember tests that were skipped or are expected to fail."""
    if report.skipped or hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember modules that skipped themselves."""
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a session with skipped tests into a failed one."""
    if _skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that should have run."""
    for nodeid in _skipped:
        terminalreporter.write_line(f"skipped, and CI allows no skips: {nodeid}", red=True)
