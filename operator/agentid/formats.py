"""What is said of something stored that a later release wrote.

Whatever agentid stores and reads again has a number in it: the version of its format. It is raised
when a release writes what an earlier one would misread, and something unknown in a version that is
known is refused like a later one. Who meets a later version says so, and leaves the thing as it is:
it is read again once a release runs that knows it. `docs/adr/0018` has the rules.

A later version may say, under `READ_BY`, which release reads it, so that an earlier one can tell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agentid._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["READ_BY", "later_version"]

READ_BY: Final = "readBy"
"""Beside the version, in formats above 1: the first release of agentid that reads it."""

_RELEASE: Final = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}[a-z0-9.]{0,16}", re.ASCII)


def later_version(body: Mapping[str, object], key: str, known: int) -> str | None:
    """What to say of something whose version is above the known one; None if it is not.

    Args:
        body: Where the version stands.
        key: Under which name.
        known: The latest version that this release reads.
    """
    found = body.get(key)
    if type(found) is not int or found <= known:
        return None
    told = body.get(READ_BY)
    release = told if isinstance(told, str) and _RELEASE.fullmatch(told) else None
    who = "a later release" if release is None else f"agentid {release}"
    back = "the release that wrote it" if release is None else f"agentid {release} or later"
    up_to = "1" if known == 1 else f"1 to {known}"
    return (
        f"{key} {found} was written by {who}, and agentid {__version__} reads {key} {up_to}; it is "
        f"left as it is: go back to {back} (docs/operations/upgrade.md)"
    )
