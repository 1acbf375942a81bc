"""Distinguished names, compared as RFC 5280 §7.1 has it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final, TypeAlias

from agentid.errors import InputError
from agentid.pki import schema

__all__ = ["ComparableName", "comparable", "comparable_of", "is_within", "same_name"]

ComparableName: TypeAlias = tuple[tuple[tuple[str, str | bytes], ...], ...]
"""A name whose equality is that of RFC 5280 §7.1: for each RDN its attributes, sorted, each the
dotted OID and the value: prepared text, or for other types the tag and the contents."""

_ENCODINGS: Final = {
    b"\x0c": "utf-8",  # UTF8String
    b"\x13": "ascii",  # PrintableString
    b"\x14": "latin-1",  # TeletexString, as everybody reads it
    b"\x16": "ascii",  # IA5String: domainComponent, emailAddress
    b"\x1c": "utf-32-be",  # UniversalString
    b"\x1e": "utf-16-be",  # BMPString
}


def same_name(first: bytes, second: bytes) -> bool:
    """Whether two names in DER are equal: in their bytes, or by case, white space and string type.

    Raises:
        InputError: Their bytes differ and one of them is no Name.
    """
    return first == second or comparable(first) == comparable(second)


def is_within(name: ComparableName, base: ComparableName) -> bool:
    """Whether a name lies in the subtree of another (RFC 5280 §4.2.1.10, directoryName)."""
    return name[: len(base)] == base


@lru_cache(maxsize=1024)
def comparable(der: bytes) -> ComparableName:
    """The comparable form of a Name in DER.

    Raises:
        InputError: It is not one.
    """
    return comparable_of(schema.decode_list(schema.Name, der, what="distinguished name"))


def comparable_of(name: schema.Name) -> ComparableName:
    """The comparable form of a decoded Name.

    Raises:
        InputError: A text in it is not of its declared type.
    """
    return tuple(
        tuple(
            sorted(
                (
                    (
                        attribute.oid.dotted_string,
                        _prepared(attribute.value.tag_bytes, bytes(attribute.value.data)),
                    )
                    for attribute in group.as_list()
                ),
                key=repr,  # texts and bytes do not compare
            )
        )
        for group in name.items
    )


def _prepared(tag: bytes, contents: bytes) -> str | bytes:
    """RFC 4518 in short: compatibility forms and case are one, white space counts once."""
    encoding = _ENCODINGS.get(tag)
    if encoding is None:
        return tag + contents
    try:
        text = contents.decode(encoding)
    except UnicodeDecodeError as error:
        msg = f"distinguished name: an attribute of type {tag.hex()} is not {encoding}"
        raise InputError(msg) from error
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
