"""Fixtures that every room of the tests may use: the real cluster of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.providers import provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real API server of this session's own, ended with it."""
    chosen = provider(tmp_path_factory.mktemp("cluster"))
    try:
        yield chosen.up()
    finally:
        chosen.down()
