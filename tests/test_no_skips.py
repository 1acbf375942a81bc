from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SKIPPED = {
    "by-mark": "import pytest\n@pytest.mark.skip(reason='not today')\ndef test_it(): ...\n",
    "in-the-test": "import pytest\ndef test_it(): pytest.skip('not today')\n",
    "whole-module": "import pytest\npytest.skip('not today', allow_module_level=True)\n",
    "expected-to-fail": "import pytest\n@pytest.mark.xfail(reason='not today')\ndef test_it(): 1/0",
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A session of its own over one folder, with the plugin as CI loads it."""
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "tests.no_skips"]
    return subprocess.run(
        [*command, f"--rootdir={folder}", *arguments, str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", [pytest.param(text, id=name) for name, text in SKIPPED.items()])
def test_a_skipped_test_fails_the_session(tmp_path: Path, source: str) -> None:
    """However a test comes to be skipped, the session fails and says which, and why."""
    (tmp_path / "test_one.py").write_text(source)
    (tmp_path / "test_two.py").write_text("def test_that_runs(): ...\n")
    session = run(tmp_path)
    assert session.returncode == pytest.ExitCode.TESTS_FAILED
    assert "CI allows no skips" in session.stdout
    assert "test_one.py" in session.stdout
    assert "not today" in session.stdout


def test_skips_in_workers_count(tmp_path: Path) -> None:
    """What a worker of xdist skips fails the session as well."""
    (tmp_path / "test_one.py").write_text(SKIPPED["in-the-test"])
    session = run(tmp_path, "--numprocesses=2")
    assert session.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_one.py::test_it: not today" in session.stdout


def test_a_session_without_skips_passes(tmp_path: Path) -> None:
    """A session in which everything ran is left as it is."""
    (tmp_path / "test_one.py").write_text("def test_that_runs(): ...\n")
    session = run(tmp_path)
    assert session.returncode == pytest.ExitCode.OK
    assert "CI allows no skips" not in session.stdout
