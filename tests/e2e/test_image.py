"""The image: what is in it, and what is not."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from agentid import __version__
from e2e.image import IMAGE, BuiltImage, image, unpacked_size

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image needs root"),
]

LOCK = Path(__file__).parents[2] / "requirements" / "runtime.txt"


@pytest.fixture(scope="module")
def built() -> BuiltImage:
    """The image of this tree."""
    return image()


@pytest.fixture(scope="module")
def files(built: BuiltImage) -> dict[str, tarfile.TarInfo]:
    """Everything in it, by path."""
    found: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(built.archive) as archive:
        for layer in part(archive, "manifest.json")[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                found |= {each.name.removeprefix("./"): each for each in content}
    return found


def part(archive: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401 - JSON
    """A document of the image."""
    file = archive.extractfile(name)
    assert file is not None
    return json.load(file)


def test_it_is_small(built: BuiltImage) -> None:
    """Less than 200 MB on a node, not compressed."""
    assert unpacked_size(built) < 200_000_000


def test_it_has_no_shell_and_nothing_to_install_with(files: dict[str, tarfile.TarInfo]) -> None:
    """Whoever gets into a pod of it finds an interpreter and no more."""
    programs = {
        path for path, each in files.items() if path.startswith("usr/bin/") and not each.isdir()
    }
    assert {re.sub(r"[0-9.]+$", "", path) for path in programs} == {"usr/bin/python"}
    assert not [path for path in files if re.search(r"(^|/)(pip|ensurepip|dpkg|apt)(/|$)", path)]
    assert not [path for path, each in files.items() if each.mode & 0o6000], "setuid"


def test_nothing_in_it_can_be_written_by_its_user(files: dict[str, tarfile.TarInfo]) -> None:
    """Everything is root's; only /tmp is open, where the root file system is."""
    assert {each.uid for each in files.values()} == {0}
    writable = {path for path, each in files.items() if each.mode & 0o022 and not each.issym()}
    assert writable == {"tmp"}


def test_it_runs_as_a_number(built: BuiltImage) -> None:
    """Kubernetes can tell that a numeric user is not root; it has no entry but ours."""
    with tarfile.open(built.archive) as archive:
        (manifest,) = part(archive, "manifest.json")
        config = part(archive, manifest["Config"])["config"]
    assert manifest["RepoTags"] == [IMAGE]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/python3", "-m", "agentid"]


def test_the_sbom_tells_what_was_installed(built: BuiltImage) -> None:
    """Every locked dependency in its locked version, the interpreter, and Debian's libraries."""
    sbom = json.loads(built.sbom.read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["version"] == __version__
    told = {each["purl"] for each in sbom["components"]}
    locked = {
        f"pkg:pypi/{name}@{version}"
        for name, version, marker in re.findall(
            r"^([a-z0-9.-]+)==(\S+)( ;.*)? \\$", LOCK.read_text(), re.MULTILINE
        )
        if "win32" not in marker
    }
    assert {purl for purl in told if purl.startswith("pkg:pypi/")} == locked
    kinds = {purl.partition("@")[0] for purl in told - locked}
    assert {"pkg:generic/python", "pkg:deb/debian/libc6", "pkg:deb/debian/libssl3t64"} <= kinds
    assert len(told) == len(sbom["components"])


def test_no_address_of_an_index_is_in_it(
    built: BuiltImage, files: dict[str, tarfile.TarInfo]
) -> None:
    """Nor where this machine gets its packages."""
    assert not [path for path in files if path.endswith(("pip.conf", "sources.list", ".sources"))]
    assert "://" not in built.sbom.read_text()
