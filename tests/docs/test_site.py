"""The site is built without a warning, and says what the pages say in the checkout."""

from __future__ import annotations

import logging
import os
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt
from properdocs.commands.build import build
from properdocs.config import load_config
from properdocs.exceptions import Abort

from website.pages import ROOT, ordered, slug

if TYPE_CHECKING:
    from pathlib import Path

_DOCS = ROOT / "docs"
_PAGES = sorted(path.relative_to(_DOCS).as_posix() for path in _DOCS.rglob("*.md"))
_ALL = [*_DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "manifests").rglob("*.md")]
_COUNTED = ("h1", "h2", "h3", "table", "tr", "ul", "ol", "li", "pre", "strong", "em", "code")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a warning fails."""
    target = tmp_path_factory.mktemp("site")
    warnings: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    keep = Keep(logging.WARNING)
    logging.getLogger("properdocs").addHandler(keep)
    try:
        build(load_config(str(ROOT / "properdocs.yml"), site_dir=str(target), strict=True))
    finally:
        logging.getLogger("properdocs").removeHandler(keep)
    assert warnings == []
    return target


class _Html(HTMLParser):
    def __init__(self, *, within: str = "") -> None:
        super().__init__()
        self._within, self._depth = within, 0
        self.tags: list[str] = []
        self.assets: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names += [found["id"] or ""] if "id" in found else []
        if tag in {"script", "img", "iframe"} or (tag == "link"):
            self.assets += [found.get("src") or found.get("href") or ""]
        if tag == self._within or (self._depth and tag == "nav"):
            self._depth += 1 if tag == self._within else 1000
        if not self._within or 0 < self._depth < 1000:
            self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._within:
            self._depth -= 1
        elif tag == "nav" and self._depth >= 1000:
            self._depth -= 1000


def _read(text: str, *, within: str = "") -> _Html:
    found = _Html(within=within)
    found.feed(text)
    return found


@pytest.mark.parametrize("page", _PAGES)
def test_a_page_reads_the_same_on_the_site(page: str, site: Path) -> None:
    """The site's Markdown and CommonMark, as forges have it, see the same lists and tables."""
    source = (_DOCS / page).read_text(encoding="utf-8")
    plain = _read(MarkdownIt("commonmark").enable("table").render(source)).tags
    target = site / page.replace("README.md", "index.md").replace(".md", ".html")
    built = _read(target.read_text(encoding="utf-8"), within="main").tags
    assert {tag: built.count(tag) for tag in _COUNTED} == {
        tag: plain.count(tag) for tag in _COUNTED
    }


def test_every_page_is_in_the_list(site: Path) -> None:
    """A new page comes in by itself, at its place; none is left out."""
    listed = [path for _, paths in ordered(_PAGES) for path in paths]
    assert sorted(listed) == _PAGES
    assert listed[:3] == ["index.md", "getting-started.md", "concepts.md"]
    assert (site / "search" / "search_index.json").stat().st_size > 0


def test_a_page_outside_the_sections_is_refused() -> None:
    """It would be on the site and in no list."""
    with pytest.raises(ValueError, match=r"docs/elsewhere/a\.md: its folder is no section"):
        ordered(["elsewhere/a.md"])


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("nowhere.md", id="page"),
        pytest.param("index.md#nowhere", id="heading"),
        pytest.param("../nowhere.py", id="file-of-the-checkout"),
        pytest.param("/index.html", id="absolute"),
    ],
)
def test_a_link_to_nowhere_fails_the_build(link: str, tmp_path: Path) -> None:
    """`make docs` stops at it, as CI does."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n[A link]({link})\n")
    config = load_config(
        str(ROOT / "properdocs.yml"),
        docs_dir=str(tmp_path / "docs"),
        site_dir=str(tmp_path / "out"),
    )
    with pytest.raises(Abort, match="Aborted with 1 warnings in strict mode"):
        build(config)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Styles, scripts and pictures are the site's own, so that it works without a network."""
    for path in site.rglob("*.html"):
        outside = [
            each
            for each in _read(path.read_text(encoding="utf-8")).assets
            if each.startswith(("http:", "https:", "//"))
        ]
        assert outside == [], path


_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def _anchors(path: Path) -> set[str]:
    text = _FENCED.sub("", path.read_text(encoding="utf-8"))
    return {slug(heading.replace("`", ""), "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("path", _ALL, ids=lambda path: os.path.relpath(path, ROOT))
def test_links_lead_somewhere_in_the_checkout(path: Path) -> None:
    """To a file that is there, and to a heading that it has; to the web by https, in good form."""
    for link in _LINK.findall(_FENCED.sub("", path.read_text(encoding="utf-8"))):
        if "://" in link:
            assert re.fullmatch(r"https://[a-z0-9.-]+(/[!-~]*)?", link), link
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        assert file.is_relative_to(ROOT), link
        assert not anchor or anchor in _anchors(file), link


def test_figures_of_sizing_are_measured_ones() -> None:
    """Each number in its tables stands on one of the pages that say how it was measured."""
    sources = ("benchmarks.md", "operations/responder.md")
    texts = [(_DOCS / name).read_text(encoding="utf-8") for name in sources]
    texts += [
        next((_DOCS / "adr").glob(f"{number}-*.md")).read_text(encoding="utf-8")
        for number in ("0002", "0009")
    ]
    number = re.compile(r"(?<![\w.,-])\d+(?:[.,]\d+)*(?!\w)")
    measured = {found for text in texts for found in number.findall(text)}
    page = (_DOCS / "operations" / "sizing.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) > 20
    assert {row: set(number.findall(row)) - measured for row in rows} == {
        row: set() for row in rows
    }
