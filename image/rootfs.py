"""Puts together what the image consists of: `python3 -m image.rootfs PACKAGES ROOTFS`.

The Dockerfile runs it, in a stage that has Python and pip. What it takes out of that stage is the
interpreter with its library, the shared objects that these and the packages load, the certificates
of the web's authorities, and PACKAGES. What it took is told in an SBOM, which lies in the image.
Why: `docs/adr/0012-chart-and-image.md`.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

from image.sbom import write_sbom

SBOM: Final = "usr/share/agentid/sbom.cdx.json"

_LEFT_OUT: Final = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "config-3*", "test", "tests", "idlelib",
    "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip", "pydoc_data",
    "EXTERNALLY-MANAGED", "_curses*", "_dbm*", "_gdbm*", "_sqlite3*", "_test*", "_tkinter*",
    "readline*", "sqlite3",
)  # fmt: skip
"""Of the standard library: what needs a terminal, a window or a database, and tests."""

_FILES: Final = {
    "etc/passwd": "agentid:x:65532:65532::/:/nonexistent\n",
    "etc/group": "agentid:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_CERTIFICATES_FROM: Final = Path("/usr/share/ca-certificates")
"""Which package the file was put together from."""

_MERGED: Final = ("lib", "lib64")
"""Directories that are links into /usr, as on every Debian."""


def main(packages: Path, rootfs: Path) -> None:
    """Fill ROOTFS."""
    interpreter = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    for name in _MERGED:
        (rootfs / "usr" / name).mkdir(parents=True)
        (rootfs / name).symlink_to(f"usr/{name}")
    (rootfs / "tmp").mkdir()
    (rootfs / "tmp").chmod(0o1777)
    for name, text in _FILES.items():
        target = rootfs / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    shutil.copytree(library, _below(rootfs, library), ignore=_LEFT_OUT)
    shutil.copytree(packages, _below(rootfs, packages), ignore=_unneeded)
    taken = [interpreter, _CERTIFICATES, *_shared_objects(interpreter, rootfs)]
    for path in taken:
        target = _below(rootfs, path.parent.resolve() / path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    python = rootfs / "usr/bin/python3"
    if not python.exists():
        python.parent.mkdir(parents=True, exist_ok=True)
        python.symlink_to(interpreter)
    _remember_places(rootfs)
    # Nothing can be compiled where nothing can be written.
    compileall.compile_dir(
        rootfs, quiet=2, workers=0, stripdir=rootfs, prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        rx=re.compile(r"/kubernetes/|/pygments/lexers/|/pip/"),
    )  # fmt: skip
    system = (*taken, library, _CERTIFICATES_FROM)
    write_sbom(rootfs / SBOM, packages=packages, system=system)
    _make_equal(rootfs)


def _unneeded(directory: str, names: list[str]) -> set[str]:
    """What of a package nothing loads: the classes of `kubernetes` for each API there is."""
    path = Path(directory)
    generated = {"api"} if path.name == "client" and "kubernetes" in path.parts else set()
    return {"__pycache__", "bin", *generated}.intersection(names)


def _below(rootfs: Path, path: Path) -> Path:
    return rootfs / path.relative_to("/")


def _shared_objects(interpreter: Path, rootfs: Path) -> list[Path]:
    """What the interpreter and every extension in ROOTFS load, the loader included."""
    found: set[Path] = set()
    for program in (interpreter, *rootfs.rglob("*.so*")):
        listed = subprocess.run(
            ["ldd", program], capture_output=True, text=True, check=False
        ).stdout
        found.update(Path(path) for path in re.findall(r"(/\S+) \(0x", listed))
    return sorted(path for path in found if not path.is_relative_to(rootfs))


def _remember_places(rootfs: Path) -> None:
    """Tell the loader where shared objects are, which some interpreters keep below /usr/local."""
    places = {path.parent for path in rootfs.rglob("*.so.*") if "opt" not in path.parts}
    configuration = rootfs / "etc/ld.so.conf"
    configuration.write_text("".join(f"/{place.relative_to(rootfs)}\n" for place in sorted(places)))
    subprocess.run(["/sbin/ldconfig", "-r", rootfs], check=True)
    shutil.rmtree(rootfs / "var", ignore_errors=True)


def _make_equal(rootfs: Path) -> None:
    """Give everything one time, so that equal inputs make equal images."""
    for path in (*rootfs.rglob("*"), rootfs):
        os.utime(path, (0, 0), follow_symlinks=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
