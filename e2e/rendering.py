"""What `helm template` prints, taken apart again into the files it came from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["HEADER", "by_template", "kustomization"]

HEADER: Final = "# Rendered from helm/agentid by `make chart`; do not edit.\n"

_SOURCE: Final = re.compile(r"\A# Source: [^/]+/templates/(\S+)\n")


def by_template(printed: str) -> dict[str, str]:
    """Gather the documents of each template.

    Args:
        printed: What `helm template` printed, in the order in which Helm installs.

    Returns:
        By path below `templates`, one text with the documents in that order.
    """
    found: dict[str, list[str]] = {}
    for path, document in _documents(printed):
        found.setdefault(path, []).append(document)
    return {path: HEADER + "---\n".join(documents) for path, documents in sorted(found.items())}


def _documents(printed: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^---\n", printed, flags=re.MULTILINE):
        if (source := _SOURCE.match(part)) is None:
            continue
        lines = (line.rstrip() for line in part[source.end() :].strip().splitlines())
        yield source[1], "\n".join(lines) + "\n"


def kustomization(files: Mapping[str, str]) -> str:
    """The kustomization that installs the namespace and all these files."""
    resources = "".join(f"  - {path}\n" for path in ("namespace.yaml", *sorted(files)))
    return (
        f"{HEADER}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        f"resources:\n{resources}"
    )
