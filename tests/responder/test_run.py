"""One run of the process: what it begins with, and how it ends."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING

import pytest

from agentid.errors import ForbiddenError, InternalError
from agentid.responder import run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def open_files() -> Iterator[tuple[int, int]]:
    """The limits of this process, put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised(open_files: tuple[int, int]) -> None:
    """A soft limit below our own would end connections where nobody expects it."""
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    run._allow_connections(400)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1056, hard)
    run._allow_connections(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1056, hard)


async def forever() -> None:
    """Work that does not end."""
    await asyncio.Event().wait()


async def refused() -> None:
    """Work that fails."""
    await asyncio.sleep(0)
    message = "not allowed"
    raise ForbiddenError(message, status=403)


async def ended() -> None:
    """Work that ends though it must not."""


async def test_a_stop_ends_all_work() -> None:
    """In order, and without an error."""
    stop = asyncio.Event()
    stop.set()
    await run._until(stop, [forever(), forever()])


async def test_what_fails_ends_the_process_with_its_error() -> None:
    """The rest is not left behind."""
    before = asyncio.all_tasks()
    with pytest.raises(ForbiddenError, match="not allowed"):
        await run._until(asyncio.Event(), [forever(), refused()])
    assert asyncio.all_tasks() == before


async def test_work_that_ends_is_a_defect() -> None:
    """None of it ends by itself."""
    with pytest.raises(InternalError, match="a part of the responder ended"):
        await run._until(asyncio.Event(), [forever(), ended()])
