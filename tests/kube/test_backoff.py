"""How long what failed is left alone."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from agentid.kube.backoff import Backoff


def test_backoff_doubles_up_to_its_ceiling() -> None:
    """The bound doubles from half a second to five minutes; the wait is a share of it."""
    backoff = Backoff()
    assert [backoff.seconds(failures, 1.0) for failures in (1, 2, 3, 10, 11, 5000)] == [
        0.5, 1.0, 2.0, 256.0, 300.0, 300.0,
    ]  # fmt: skip
    assert backoff.seconds(3, 0.25) == 0.5


@given(
    failures=st.integers(1, 10_000),
    share=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.timedeltas(timedelta(0), timedelta(hours=1)),
)
def test_backoff_stays_within_its_bounds(
    failures: int, share: float, asked: timedelta | None
) -> None:
    """Never negative, never over the ceiling by itself, never less than was asked for."""
    wait = Backoff().seconds(failures, share, asked)
    least = asked.total_seconds() if asked else 0.0
    assert least <= wait <= max(300.0, least * 1.1)
