"""What the tests of the node plugin share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentid.clock import SystemClock
from agentid.node.mounts import mounts, unmount
from agentid.testing.node_issuer import FakeNodeIssuer
from tests.support.coroutines import pytest_pyfunc_call
from tests.support.node_mounts import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_pyfunc_call"]


@pytest.fixture
def issuer() -> FakeNodeIssuer:
    """An issuer service in the present of the machine, since real clients look at the clock."""
    return FakeNodeIssuer(SystemClock())


@pytest.fixture
def node(short_path: Path, issuer: FakeNodeIssuer) -> Iterator[Node]:
    """A node without pods."""
    made = Node(short_path, issuer)
    made.settings.targets.mkdir()
    yield made
    for mount in reversed(mounts()):
        if short_path in mount.path.parents:
            unmount(mount.path)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="n") as folder:
        yield Path(folder)
