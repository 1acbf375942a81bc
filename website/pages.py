"""What the site generator is told about the pages: their order, their anchors, links out of docs/.

The pages are written to be read in the checkout as well, where links lead to any file of it. On the
site there is nothing but docs/, so a link that leaves it becomes plain text there, if the file that
it leads to exists; else it stays, and the strict build fails on it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from properdocs.config.defaults import ProperDocsConfig
    from properdocs.structure.files import Files
    from properdocs.structure.pages import Page

__all__ = ["ROOT", "on_files", "on_page_markdown", "ordered", "slug"]

ROOT: Final = Path(__file__).parent.parent

_SECTIONS: Final = (
    ("", "Start"),
    ("guides", "Guides"),
    ("operations", "Operations"),
    ("operations/runbooks", "Runbooks"),
    ("security", "Security"),
    ("reference", "Reference"),
    ("development", "Development"),
    ("adr", "Decisions"),
)
"""Folders of docs/ in the order in which they are shown; a new page of them comes in by itself."""

_FIRST: Final = {
    "": ("index.md", "getting-started.md", "concepts.md"),
    "guides": (
        "first-agent.md",
        "choose-a-class.md",
        "workload.md",
        "verify-an-agent.md",
        "incident.md",
        "rotate-an-authority.md",
        "root-key-offline.md",
        "post-quantum.md",
        "federation.md",
        "adoption.md",
        "tenancy.md",
    ),
    "operations": ("install.md", "upgrade.md", "sizing.md", "backup.md", "disaster.md"),
    "reference": (
        "agentissuer.md",
        "agentclass.md",
        "agentidentity.md",
        "agentrevocation.md",
        "conditions.md",
        "errors.md",
    ),
    "adr": ("README.md",),
}
"""Pages that come first in their folder; the others follow by name."""

_LINK: Final = re.compile(r"\[([^\]]*)\]\(((?:\.\./|[A-Za-z0-9_])[^)\s#]*)(#[^)\s]*)?\)")


def slug(heading: str, separator: str) -> str:
    """The anchor of a heading, as GitHub makes it, so that a link holds in both places."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", separator)


def ordered(paths: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Sort pages into sections.

    Args:
        paths: Of all pages, below docs/.

    Returns:
        Each section that has pages, with them in order.

    Raises:
        ValueError: A page is in a folder that is no section.
    """
    folders: dict[str, list[str]] = {folder: [] for folder, _ in _SECTIONS}
    for path in sorted(paths):
        folder = str(PurePosixPath(path).parent).removeprefix(".")
        if folder not in folders:
            message = f"docs/{path}: its folder is no section of the site; name it in {__file__}"
            raise ValueError(message)
        folders[folder].append(path)
    return [(title, _sorted(folder, folders[folder])) for folder, title in _SECTIONS
            if folders[folder]]  # fmt: skip


def _sorted(folder: str, paths: list[str]) -> list[str]:
    first = [f"{folder}/{name}".lstrip("/") for name in _FIRST.get(folder, ())]
    return [path for path in first if path in paths] + [path for path in paths if path not in first]


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Make the navigation of the pages that there are."""
    paths = [file.src_uri for file in files.documentation_pages()]
    config.nav = [{title: pages} for title, pages in ordered(paths)]
    return files


def on_page_markdown(markdown: str, page: Page, config: ProperDocsConfig, files: Files) -> str:
    """Make plain text of links to files of the checkout that are not on the site."""
    del config
    here = ROOT / "docs" / PurePosixPath(page.file.src_uri).parent

    def plain(found: re.Match[str]) -> str:
        target = (here / found[2]).resolve()
        on_site = target.is_relative_to(ROOT / "docs") and (
            files.get_file_from_path(target.relative_to(ROOT / "docs").as_posix()) is not None
        )
        return found[1] if target.exists() and not on_site else found[0]

    return _LINK.sub(plain, markdown)
