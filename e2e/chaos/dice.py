"""Chance that can be had again: each question has its own answer, whoever asks first."""

from __future__ import annotations

import random

__all__ = ["dice"]


def dice(seed: int, *about: object) -> random.Random:
    """A source for one question, such as the fate of the third request of a replica.

    Processes answer in another order at each run. So no two questions share a source: what one of
    them is told does not depend on how many others were asked before.
    """
    return random.Random("/".join(str(each) for each in (seed, *about)))  # noqa: S311 - no secret
