"""The style sheet and the icon: files of the package, named by their hash, so kept by browsers."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ASSETS", "URLS", "Asset"]

_TYPES: Final = {"css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served.

    Attributes:
        body: Its bytes.
        media_type: What they are.
    """

    body: bytes = field(repr=False)
    media_type: str


def _load() -> tuple[Mapping[str, Asset], Mapping[str, str]]:
    assets, urls = {}, {}
    for name in ("inventory.css", "icon.svg"):
        body = files(__package__).joinpath("static", name).read_bytes()
        stem, _, kind = name.partition(".")
        url = f"/static/{stem}.{sha256(body).hexdigest()[:_DIGITS]}.{kind}"
        assets[url] = Asset(body, _TYPES[kind])
        urls[name] = url
    return assets, urls


ASSETS, URLS = _load()
"""By URL; and the URL of each by its name."""
