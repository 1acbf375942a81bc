"""A corpus in a cluster of today, where objects have other UIDs than the ledger names."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agentid.ledger.configmaps import DATA_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["moved_segments"]

Json = dict[str, Any]


def moved_segments(bodies: list[Json], uids: Mapping[str, str]) -> list[Json]:
    """The same segments with other UIDs in their records, sealed and chained anew.

    Args:
        bodies: Their ConfigMaps.
        uids: New ones by old ones.
    """
    hashes: dict[str, str] = {}
    moved = []
    for body in sorted(bodies, key=_created):
        text = body["data"][DATA_KEY]
        for old, new in {**uids, **hashes}.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        lines = text.splitlines(keepends=True)
        content = "".join(lines[:-1])
        digest = sha256(content.encode()).hexdigest()
        hashes[json.loads(lines[-1])["sha256"]] = digest
        moved.append({**body, "data": {DATA_KEY: f'{content}{{"sha256":"{digest}"}}\n'}})
    return moved


def _created(body: Json) -> tuple[str, str]:
    header = json.loads(body["data"][DATA_KEY].splitlines()[0])
    return header["created"], body["metadata"]["name"]
