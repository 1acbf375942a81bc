"""What the guides say is done, and what is printed is what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from website.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DOCS = ROOT / "docs"
_GUIDES = [_DOCS / "getting-started.md", *sorted((_DOCS / "guides").glob("*.md"))]


@pytest.mark.integration
@pytest.mark.parametrize("page", _GUIDES, ids=lambda page: page.stem)
def test_guide(page: Path, walk: Callable[[Path], None]) -> None:
    """Whoever follows a guide gets to its end, and sees what it shows."""
    walk(page)
