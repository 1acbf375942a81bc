"""The syntaxes of the API's strings, each with the message that a wrong one gets."""

from __future__ import annotations

import re
import zoneinfo
from functools import cache
from importlib import resources
from typing import Annotated, Final

from agentid.api.fields import Prose, Text
from agentid.api.model import MAX_NAME_LENGTH
from agentid.errors import InputError

__all__ = [
    "ClockTime",
    "ComplianceTag",
    "Contact",
    "DayEnd",
    "Hex",
    "NamespaceName",
    "NamespacePattern",
    "OperationName",
    "Purpose",
    "ResourceName",
    "SecretName",
    "ServiceAccountName",
    "Shown",
    "Sponsor",
    "SystemPattern",
    "ZoneName",
    "load_zone",
]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"

# C0, DEL, C1; line and paragraph separators; and everything that changes the direction of the text
# around it or is invisible in it. The joiners U+200C and U+200D stay: Persian and emoji need them.
_PRINTABLE: Final = (
    "[^\\u0000-\\u001f\\u007f-\\u009f\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]"
)

_OBJECT_NAME: Final = "lower-case letters, digits, '-' and '.'"

ResourceName = Annotated[
    str,
    Text(
        _SUBDOMAIN,
        MAX_NAME_LENGTH,
        f"is not the name of an object: {_OBJECT_NAME}, a letter or digit at both ends",
        f"give the name of an existing object of at most {MAX_NAME_LENGTH} characters",
    ),
]

ServiceAccountName = Annotated[
    str,
    Text(
        _SUBDOMAIN,
        253,
        f"is not the name of a ServiceAccount: {_OBJECT_NAME}, a letter or digit at both ends",
        "give the name of the ServiceAccount that the agent's pods run as",
    ),
]

SecretName = Annotated[
    str,
    Text(
        _SUBDOMAIN,
        253,
        f"is not the name of a Secret: {_OBJECT_NAME}, a letter or digit at both ends",
        "choose a name of at most 253 characters, or leave it out",
    ),
]

NamespaceName = Annotated[
    str,
    Text(
        _LABEL,
        63,
        "is not the name of a namespace: lower-case letters, digits and '-', a letter or digit at "
        "both ends",
        "give the name of one namespace of at most 63 characters",
    ),
]

NamespacePattern = Annotated[
    str,
    Text(
        rf"{_LABEL}|[a-z0-9][-a-z0-9]*\*|\*",
        64,
        "is neither the name of a namespace nor a prefix followed by one '*'",
        "write a name such as finance, a prefix such as team-*, or * for every namespace",
    ),
]

SystemPattern = Annotated[
    str,
    Text(
        rf"({_LABEL}\.)*({_LABEL}|\*)",
        253,
        "is not a dotted lower-case name; '*' may stand only as the last segment",
        "write a name such as erp.invoices, erp.* for everything beneath erp, or * for everything",
    ),
]

OperationName = Annotated[
    str,
    Text(
        "[a-z]([-a-z0-9]*[a-z0-9])?",
        63,
        "is not the name of an operation: lower-case letters, digits and '-'",
        "use list, search, read, create, update, delete, execute, approve, transfer, configure, "
        "grant, or an operation that the AgentClass defines",
    ),
]

ComplianceTag = Annotated[
    str,
    Text(
        _LABEL,
        63,
        "is not a compliance tag: lower-case letters, digits and '-'",
        "write a tag such as gdpr or pci-dss",
    ),
]

# RFC 5322 §3.2.3 dot-atom before the @, a host name behind it; or scheme and visible ASCII.
_ADDRESS: Final = (
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
    r"|[a-z][a-z0-9+.-]*:[!-~]+"
)
_NO_ADDRESS: Final = "is neither an e-mail address nor a URI in visible ASCII characters"

Contact = Annotated[
    str,
    Text(
        _ADDRESS,
        253,
        _NO_ADDRESS,
        "name whom to ask, such as team@example.com or https://example.com/teams/7",
    ),
]

Sponsor = Annotated[
    str,
    Text(
        _ADDRESS,
        253,
        _NO_ADDRESS,
        "name who answers for the agent, such as team@example.com or https://example.com/teams/7",
    ),
]

Purpose = Annotated[
    str,
    Text(
        f"{_PRINTABLE}+",
        1024,
        "holds control characters, line breaks or invisible characters",
        "write it as one line of plain text of at most 1024 characters",
    ),
]

ClockTime = Annotated[
    str,
    Text(
        "([01][0-9]|2[0-3]):[0-5][0-9]",
        5,
        "is not a time of day",
        "write it as HH:MM from 00:00 to 23:59",
    ),
]

DayEnd = Annotated[
    str,
    Text(
        "([01][0-9]|2[0-3]):[0-5][0-9]|24:00",
        5,
        "is not a time of day",
        "write it as HH:MM from 00:00 to 24:00",
    ),
]

Shown = Annotated[str, Prose(253)]
"""A short text that agentid writes into a status."""

Hex = Annotated[
    str,
    Text(
        "([0-9a-f][0-9a-f])+",
        64,
        "is not hexadecimal",
        "write an even number of lower-case digits",
        by_people=False,
    ),
]
"""A serial number or a SHA-256 fingerprint that agentid writes into a status."""


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@cache
def load_zone(name: str) -> zoneinfo.ZoneInfo:
    """Load a time zone from the data that agentid ships.

    The machine's own data are left aside: replicas on different nodes must judge alike.

    Args:
        name: Of the IANA database, such as `Europe/Berlin`.

    Raises:
        InputError: The shipped database has no such zone.
    """
    if re.fullmatch(_ZONE, name) is None or name not in _zone_names():
        msg = "is not a time zone of the IANA database; write one such as Europe/Berlin or UTC"
        raise InputError(msg)
    path = resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with path.open("rb") as data:
        return zoneinfo.ZoneInfo.from_file(data, key=name)


_ZONE: Final = "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"

ZoneName = Annotated[
    str,
    Text(
        _ZONE,
        64,
        "is not a time zone of the IANA database",
        "write one such as Europe/Berlin or UTC",
        check=load_zone,
    ),
]
