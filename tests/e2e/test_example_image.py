"""The image of the examples: its programs start in it, as a user that is a number."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from e2e.image import EXAMPLE_IMAGE, example_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image needs root"),
]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file system."""
    folder = tmp_path_factory.mktemp("image")
    with tarfile.open(example_image().archive) as archive:
        archive.extractall(folder / "parts", filter="data")
    (manifest,) = json.loads((folder / "parts" / "manifest.json").read_text())
    assert manifest["RepoTags"] == [EXAMPLE_IMAGE]
    config = json.loads((folder / "parts" / manifest["Config"]).read_text())["config"]
    assert config["User"] == "65532:65532"
    (folder / "root").mkdir()
    for layer in manifest["Layers"]:
        command = ["tar", "--extract", "--file", folder / "parts" / layer]
        subprocess.run([*command, "--directory", folder / "root"], check=True)
    return folder / "root"


@pytest.mark.parametrize(
    "program", ["two_agents.archive", "two_agents.clerk", "mcp.tools", "mcp.assistant"]
)
def test_a_program_gets_as_far_as_its_identity(unpacked: Path, program: str) -> None:
    """Everything that it imports is there; what it lacks is what a pod is given."""
    done = subprocess.run(
        [
            "chroot", "--userspec=65532:65532", unpacked, "/usr/bin/env", "PYTHONPATH=/opt/agents",
            "PYTHONDONTWRITEBYTECODE=1", "python3", "-m", f"examples.{program}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "OwnIdentityError: /var/run/agentid: no credentials.pem" in done.stderr, done.stderr
