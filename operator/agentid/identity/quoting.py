"""How text from outside is quoted in a message."""

from __future__ import annotations

__all__ = ["quoted"]

# Long enough to recognise a name, short enough for a condition message that quotes several.
_SHOWN = 64


def quoted(text: object) -> str:
    """The text in quotation marks, safe to print and short.

    Control characters and everything outside ASCII are escaped, so that a message can neither move
    a terminal's cursor nor show a look-alike letter; what is longer than 64 characters is cut, and
    its length is given. Something that is no text is named by its type.
    """
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    shown = ascii(text[:_SHOWN])[1:-1]
    cut = f"… ({len(text)} characters)" if len(text) > _SHOWN else ""
    return f'"{shown}"{cut}'
