"""Tells what an image consists of, as CycloneDX 1.6."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["write_sbom"]

Component = dict[str, object]


def write_sbom(target: Path, *, packages: Path, system: Iterable[Path]) -> None:
    """Write the SBOM of what was installed.

    Args:
        target: Where to.
        packages: What pip installed, with its metadata, and agentid itself.
        system: Files that were taken from the system.
    """
    components: list[Component] = [
        *_debian(system),
        {
            "type": "library",
            "bom-ref": "python",
            "name": "python",
            "version": platform.python_version(),
            "purl": f"pkg:generic/python@{platform.python_version()}",
        },
        *_python(packages),
    ]
    document: Component = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "agentid",
                "name": "agentid",
                "version": _version(packages),
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n")


def _python(packages: Path) -> Iterator[Component]:
    for each in distributions(path=[str(packages)]):
        name = each.metadata["Name"].lower().replace("_", "-")
        component: Component = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{each.version}",
            "name": name,
            "version": each.version,
            "purl": f"pkg:pypi/{name}@{each.version}",
        }
        if expression := each.metadata.json.get("license_expression"):
            component["licenses"] = [{"expression": expression}]
        yield component


def _version(packages: Path) -> str:
    about = (packages / "agentid" / "_version.py").read_text()
    (version,) = re.findall(r'^__version__ = "(.+)"$', about, re.MULTILINE)
    return str(version)


def _debian(files: Iterable[Path]) -> Iterator[Component]:
    """The Debian packages that files are from; what is from none was built by itself."""
    owners: set[str] = set()
    for path in files:
        for place in {path, path.resolve(), Path("/", *path.resolve().parts[2:])}:
            asked = subprocess.run(
                ["dpkg-query", "--search", place], capture_output=True, text=True, check=False
            )
            lines = asked.stdout.splitlines()
            owners.update(
                line.partition(": ")[0] for line in lines if not line.startswith("diversion by")
            )
    packages = sorted({owner for line in owners for owner in line.split(", ")})
    if not packages:
        return
    form = "${Package} ${Version} ${Architecture}\\n"
    asked = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={form}", *packages],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line in asked.stdout.splitlines():
        name, version, architecture = line.split()
        purl = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
        yield {
            "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
        }  # fmt: skip
