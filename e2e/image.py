"""Builds the image without Docker and without a registry: by buildah, over a Debian made here.

The Dockerfile is the one that Docker builds. Its base is made of Debian's packages, and gets the
name that its FROM line has. The locked wheels are downloaded outside and handed in, so no package
index is asked from within. The result is kept in the user's cache directory under a hash of
everything that goes into it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentid import __version__
from e2e import toolchain
from e2e.cache import alone, cache
from e2e.errors import E2EError
from e2e.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "CLIENTS_IMAGE",
    "EXAMPLE_IMAGE",
    "IMAGE",
    "BuiltImage",
    "clients_image",
    "example_image",
    "image",
    "load",
    "node_of",
    "unpacked_size",
]

IMAGE: Final = f"localhost/agentid:{__version__}"
"""What it is called where it is built, and what the chart asks for by default."""

EXAMPLE_IMAGE: Final = f"localhost/agentid-example:{__version__}"
"""The agents of examples/; their manifests ask for it."""

CLIENTS_IMAGE: Final = f"localhost/agentid-clients:{__version__}"
"""Clients of the Workload API and of SDS that others wrote, for tests."""

_ROOT: Final = Path(__file__).parent.parent
_SBOM: Final = "usr/share/agentid/sbom.cdx.json"


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What an image is made of.

    Attributes:
        tag: What it is called.
        dockerfile: Below the root of the checkout.
        lock: The requirements that are installed in it.
        folders: What else goes into it.
        sbom: Where in it its SBOM is, None where it has none.
        program: Builds a program in Go that goes into it, from one of the folders; its Dockerfile
            finds it in the context `programs`.
    """

    tag: str
    dockerfile: str
    lock: str
    folders: tuple[str, ...]
    sbom: str | None = None
    program: Callable[[], Path] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Everything of the checkout that it depends on."""
        return (*self.folders, self.dockerfile, self.lock)


_AGENTID: Final = _Recipe(
    IMAGE,
    "operator/agentid/Dockerfile",
    "requirements/runtime.txt",
    ("image", "operator/agentid"),
    _SBOM,
)
_EXAMPLE: Final = _Recipe(
    EXAMPLE_IMAGE,
    "examples/Dockerfile",
    "requirements/examples.txt",
    ("examples", "operator/agentid"),
)
_CLIENTS: Final = _Recipe(
    CLIENTS_IMAGE,
    "tests/support/clients/Dockerfile",
    "requirements/clients.txt",
    ("tests/support/clients", "tests/node/gospiffe"),
    program=toolchain.gospiffe,
)

_SUITE: Final = "trixie"
_PACKAGES: Final = "ca-certificates,python3,python3-pip"
_TOOLS: Final = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
_PYTHON: Final = "3.13"
_KEPT: Final = 3
"""Earlier images that stay, for work on several branches; each takes 150 MB."""

_GLIBC: Final = range(41, 16, -1)
"""Minor releases of glibc 2 whose wheels run on trixie's, newest first."""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in files.

    Attributes:
        archive: As `docker save` writes it.
        sbom: What it consists of, CycloneDX; not written where the image has none.
    """

    archive: Path
    sbom: Path


def image() -> BuiltImage:
    """Return the image, after building it if anything that goes into it has changed.

    Raises:
        E2EError: It cannot be built here; the message says what is missing.
    """
    return _image(_AGENTID)


def example_image() -> BuiltImage:
    """Return the image of the example agents, likewise.

    Raises:
        E2EError: It cannot be built here; the message says what is missing.
    """
    return _image(_EXAMPLE)


def clients_image() -> BuiltImage:
    """Return the image of SPIFFE clients that others wrote, likewise.

    Raises:
        E2EError: It cannot be built here; the message says what is missing.
    """
    return _image(_CLIENTS)


def _image(recipe: _Recipe) -> BuiltImage:
    kind = recipe.tag.rpartition("/")[2].partition(":")[0].replace("agentid", "image")
    place = cache() / kind / _digest(recipe)
    built = BuiltImage(place / "agentid.tar", place / "agentid.cdx.json")
    place.mkdir(parents=True, exist_ok=True)
    with alone(place / "lock"):
        if not built.archive.exists():
            _require_tools()
            _build(recipe, built)
            _forget(place)
    return built


def load(built: BuiltImage, cluster: Path) -> None:
    """Give the image to the node of a cluster of ours.

    Args:
        built: The image.
        cluster: The directory of the cluster.

    Raises:
        E2EError: The cluster has no node, or the node refuses it.
    """
    socket = node_of(cluster)
    if socket is None:
        msg = f"{cluster} has no node that could take an image; start one: make cluster-up NODE=1"
        raise E2EError(msg)
    ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
    _run(*ctr, "images", "import", built.archive)


def node_of(cluster: Path) -> Path | None:
    """The socket of the containerd of a cluster of ours, None where it has no node."""
    socket = cluster.absolute() / "node" / "containerd.sock"
    return socket if socket.exists() else None


def _forget(newest: Path) -> None:
    """Remove what was built before but for the last few: every change of the package makes one."""
    former = [each for each in newest.parent.iterdir() if each != newest]
    former.sort(key=lambda each: each.stat().st_mtime, reverse=True)
    for each in former[_KEPT:]:
        shutil.rmtree(each, ignore_errors=True)


def _digest(recipe: _Recipe) -> str:
    hashed = hashlib.sha256(f"{_SUITE} {_PACKAGES}".encode())
    for path in _sources(recipe):
        content = path.read_bytes()
        hashed.update(f"{path.relative_to(_ROOT)} {len(content)}\n".encode() + content)
    return hashed.hexdigest()[:16]


def _sources(recipe: _Recipe) -> Iterator[Path]:
    for name in recipe.inputs:
        found = _ROOT / name
        paths = sorted(found.rglob("*")) if found.is_dir() else [found]
        yield from (path for path in paths if path.is_file() and "__pycache__" not in path.parts)


def _require_tools() -> None:
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        msg = f"an image is built by programs that are not there; as root: {' '.join(command)}"
        raise E2EError(msg)
    say(f"Installing: {' '.join(command)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False).returncode:
        # A machine that is new has no list of packages yet.
        _run("apt-get", "update")
        _run(*command, environment=quiet)


def _build(recipe: _Recipe, built: BuiltImage) -> None:
    say(f"Building {recipe.tag} (a minute or two the first time, then cached)")
    base, wheels = _base(), _wheels(_ROOT / recipe.lock)
    dockerfile = _ROOT / recipe.dockerfile
    from_line = re.search(r"^FROM (\S+)(?: AS build)?$", dockerfile.read_text(), re.MULTILINE)
    if from_line is None:
        msg = f"{dockerfile}: no line `FROM …` with the base"
        raise E2EError(msg)
    with tempfile.TemporaryDirectory(dir=built.archive.parent) as scratch:
        work = Path(scratch)
        storage = ["--root", str(work / "storage"), "--runroot", str(work / "run")]
        buildah = ["buildah", *storage, "--storage-driver", "vfs"]
        empty = _run(*buildah, "from", "scratch").strip()
        _run(*buildah, "add", empty, base)
        _run(*buildah, "commit", "--quiet", "--rm", empty, f"localhost/{from_line[1]}")
        (work / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        programs: list[str] = []
        if recipe.program is not None:
            programs = ["--build-context", f"programs={recipe.program().parent}"]
        _run(
            *buildah, "bud", *programs, "--isolation", "chroot", "--pull-never",
            "--timestamp", "0", "--file", dockerfile, "--tag", recipe.tag,
            "--volume", f"{work / 'pip.conf'}:/etc/pip.conf:ro",
            "--volume", f"{wheels}:/wheels:ro",
            _ROOT,
        )  # fmt: skip
        if recipe.sbom is not None:
            container = _run(*buildah, "from", "--pull-never", recipe.tag).strip()
            mounted = Path(_run(*buildah, "mount", container).strip())
            shutil.copy(mounted / recipe.sbom, built.sbom)
            _run(*buildah, "umount", container)
        archive = work / "agentid.tar"
        _run(*buildah, "push", recipe.tag, f"docker-archive:{archive}:{recipe.tag}")
        archive.replace(built.archive)


def _base() -> Path:
    """A Debian with what the first stage needs, as an archive of its files."""
    key = hashlib.sha256(f"{_SUITE} {_PACKAGES}".encode()).hexdigest()[:16]
    archive = cache() / "base" / key / "base.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with alone(archive.parent / "lock"):
        if not archive.exists():
            made = archive.with_name("making.tar")
            options = ["--variant=minbase", f"--include={_PACKAGES}", "--quiet"]
            _run("mmdebstrap", *options, _SUITE, made, _mirror())
            made.replace(archive)
    return archive


def _mirror() -> str:
    """The mirror of Debian that this machine uses."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    for uri in _run(*targets, "Origin: Debian", "Label: Debian").split():
        return uri
    msg = "apt knows no mirror of Debian; the image's base is made of Debian's packages"
    raise E2EError(msg)


def _wheels(lock: Path) -> Path:
    """The locked dependencies as wheels for the image's interpreter."""
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = cache() / "wheels" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.parent / "lock"):
        if not folder.exists():
            machine = platform.machine()
            platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC]
            making = folder.with_name(f"{key}.making")
            _run(
                sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                "--require-hashes", "--no-deps", "--only-binary=:all:",
                f"--python-version={_PYTHON}", *platforms, "--dest", making, "--requirement", lock,
            )  # fmt: skip
            making.rename(folder)
    return folder


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-15:])
        msg = f"{command[0]} failed:\n{said}"
        raise E2EError(msg)
    return done.stdout


def unpacked_size(built: BuiltImage) -> int:
    """Bytes of the image's layers, as a node keeps them."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.unpack_archive(built.archive, scratch, "tar")
        manifest = json.loads((Path(scratch) / "manifest.json").read_text())
        return sum((Path(scratch) / layer).stat().st_size for layer in manifest[0]["Layers"])
