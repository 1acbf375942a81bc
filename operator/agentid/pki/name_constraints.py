"""Name constraints, RFC 5280 §4.2.1.10: read, and held against the names of a certificate.

Understood are URIs, DNS names, IP addresses, e-mail addresses and directory names. A constraint on
another form of name refuses every certificate that has a name of that form.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.identity.quoting import quoted
from agentid.pki import schema
from agentid.pki.distinguished import ComparableName, comparable, is_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryptography.hazmat import asn1

__all__ = [
    "DIRECTORY",
    "EMAIL",
    "GeneralName",
    "NameConstraints",
    "check_names",
    "general_names",
    "read_constraints",
]

GeneralName: TypeAlias = tuple[int, bytes]
"""The number of its tag in `GeneralName` (RFC 5280 §4.2.1.6), and its contents."""

EMAIL: Final = 1
DNS: Final = 2
DIRECTORY: Final = 4
URI: Final = 6
ADDRESS: Final = 7

_FORMS: Final[Mapping[int, str]] = {
    0: "otherName",
    EMAIL: "rfc822Name",
    DNS: "dNSName",
    3: "x400Address",
    DIRECTORY: "directoryName",
    5: "ediPartyName",
    URI: "uniformResourceIdentifier",
    ADDRESS: "iPAddress",
    8: "registeredID",
}

_MAX_COMPARISONS: Final = 10_000
"""Names of one certificate times subtrees above it. 16 KiB hold thousands of each, whose product
would keep a verifier busy for minutes; honest certificates have a dozen of one and one of the
other."""

_TAG_NUMBER: Final = 0x1F
_IPV4_BYTES: Final = 4
_IPV6_BYTES: Final = 16
_HOST: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:@%\[\]]+)(?::[0-9]*)?(?:[/?#].*)?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_IPV4: Final = re.compile(r"[0-9.]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """What an authority may sign for: the bases of its subtrees."""

    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]


def general_names(der: bytes, *, what: str) -> tuple[GeneralName, ...]:
    """The names of a GeneralNames in DER, such as the value of subjectAltName.

    Raises:
        InputError: It does not parse.
    """
    items = schema.decode_list(schema.GeneralNames, der, what=what).items
    return tuple(_general_name(item) for item in items)


def read_constraints(der: bytes) -> NameConstraints:
    """The value of a nameConstraints extension.

    Raises:
        InputError: It does not parse, is empty, or limits the depth of a subtree, which RFC 5280
            forbids.
    """
    decoded = schema.decode(schema.NameConstraints, der, what="nameConstraints")
    subtrees = [*(decoded.permitted or ()), *(decoded.excluded or ())]
    if not subtrees:
        msg = "nameConstraints: it is empty"
        raise InputError(msg)
    if any(subtree.minimum != 0 or subtree.maximum is not None for subtree in subtrees):
        msg = "nameConstraints: a subtree has a minimum or maximum, which RFC 5280 forbids"
        raise InputError(msg)
    return NameConstraints(
        tuple(_general_name(subtree.base) for subtree in decoded.permitted or ()),
        tuple(_general_name(subtree.base) for subtree in decoded.excluded or ()),
    )


def check_names(
    names: Iterable[GeneralName], constraints: Iterable[NameConstraints], *, what: str
) -> None:
    """Hold the names of a certificate against the constraints of all authorities above it.

    A name must lie in a permitted subtree of every authority that permits any of its form, and in
    no excluded one.

    Args:
        names: Its alternative names; its subject as a directoryName unless empty; and the e-mail
            addresses in its subject if it has no others.
        constraints: Those of the authorities above.
        what: How a message names the certificate.

    Raises:
        VerificationError: NameConstraint.
    """
    every, limits = tuple(names), tuple(constraints)
    subtrees = sum(len(each.permitted) + len(each.excluded) for each in limits)
    if len(every) * subtrees > _MAX_COMPARISONS:
        msg = f"{what}: {len(every)} names and {subtrees} subtrees are too many to compare"
        raise VerificationError(VerificationReason.NAME_CONSTRAINT, msg)
    for name in every:
        for limit in limits:
            try:
                _check(name, limit)
            except InputError as error:
                msg = f"{what}: {_shown(name)} {error}"
                raise VerificationError(VerificationReason.NAME_CONSTRAINT, msg) from error


def _check(name: GeneralName, limit: NameConstraints) -> None:
    form, value = name
    permitted = [base for kind, base in limit.permitted if kind == form]
    excluded = [base for kind, base in limit.excluded if kind == form]
    if not permitted and not excluded:
        return
    lies_in = _MATCHERS.get(form)
    if lies_in is None:
        msg = "is constrained by an authority above in a way that is not supported"
        raise InputError(msg)
    if any(lies_in(value, base) for base in excluded) or (
        form == DNS and any(_wildcard_reaches(value, base) for base in excluded)
    ):
        msg = "is excluded by the name constraints of an authority above"
        raise InputError(msg)
    if permitted and not any(lies_in(value, base) for base in permitted):
        msg = "is not permitted by the name constraints of an authority above"
        raise InputError(msg)


def _uri_lies_in(value: bytes, base: bytes) -> bool:
    """RFC 5280 §4.2.1.10: the host is that of the constraint, or beneath `.` and a domain."""
    match = _HOST.fullmatch(_text(value))
    if match is None:
        msg = "has no host name that could be held against the name constraints above"
        raise InputError(msg)
    host, wanted = match[1].lower(), _text(base).lower()
    if _IPV4.fullmatch(host):  # one of IPv6 has brackets, and so no host name
        msg = "has an address in place of the host name that name constraints ask for"
        raise InputError(msg)
    if not wanted:
        msg = "is held against a name constraint that names no host"
        raise InputError(msg)
    return host.endswith(wanted) if wanted[0] == "." else host == wanted


def _dns_lies_in(value: bytes, base: bytes) -> bool:
    """Zero or more labels to the left of the constraint."""
    name, wanted = _text(value).lower(), _text(base).lower()
    if not all(name.split(".")):
        msg = "is no DNS name that could be held against the name constraints above"
        raise InputError(msg)
    if not wanted:
        return True
    if not all(wanted.split(".")):
        # Some write `.` and a domain, as for URIs, and mean different things by it.
        msg = "is held against a name constraint that is no DNS name"
        raise InputError(msg)
    return name == wanted or name.endswith(f".{wanted}")


def _wildcard_reaches(value: bytes, base: bytes) -> bool:
    """Whether a wildcard could stand for the excluded name itself."""
    name, wanted = _text(value).lower(), _text(base).lower()
    return name.startswith("*.") and wanted.partition(".")[2] == name[2:]


def _email_lies_in(value: bytes, base: bytes) -> bool:
    """One mailbox, all mailboxes of a host, or of the hosts beneath `.` and a domain."""
    local, _, host = _text(value).rpartition("@")
    if not local or not host or "@" in local:
        msg = "is no e-mail address that could be held against the name constraints above"
        raise InputError(msg)
    host = host.lower()
    wanted_local, at, wanted = _text(base).rpartition("@")
    wanted = wanted.lower()
    if at:
        return (local, host) == (wanted_local, wanted)
    return host.endswith(wanted) if wanted[:1] == "." else host == wanted


def _address_lies_in(value: bytes, base: bytes) -> bool:
    """An address and a mask of the same length."""
    size = len(base) // 2
    if len(value) not in {_IPV4_BYTES, _IPV6_BYTES} or size not in {_IPV4_BYTES, _IPV6_BYTES}:
        msg = "is no address that could be held against the name constraints above"
        raise InputError(msg)
    if len(value) != size:
        return False
    mask = int.from_bytes(base[size:])
    hosts = mask ^ ((1 << 8 * size) - 1)
    if len(base) % 2 or hosts & (hosts + 1):
        msg = "is held against a name constraint that is no network"
        raise InputError(msg)
    return int.from_bytes(value) & mask == int.from_bytes(base[:size]) & mask


def _directory_lies_in(value: bytes, base: bytes) -> bool:
    return is_within(_directory(value), _directory(base))


_MATCHERS: Final[Mapping[int, Callable[[bytes, bytes], bool]]] = {
    EMAIL: _email_lies_in,
    DNS: _dns_lies_in,
    DIRECTORY: _directory_lies_in,
    URI: _uri_lies_in,
    ADDRESS: _address_lies_in,
}


def _general_name(item: asn1.TLV) -> GeneralName:
    tag = item.tag_bytes
    if len(tag) != 1 or tag[0] & 0xC0 != 0x80:  # noqa: PLR2004 - context-specific, X.690 §8.1.2.2
        msg = f"general name: the tag {tag.hex()} is none of a GeneralName"
        raise InputError(msg)
    return tag[0] & _TAG_NUMBER, bytes(item.data)


def _directory(contents: bytes) -> ComparableName:
    # The tag is explicit, since Name is a CHOICE (X.680 §31.2.7): the contents are a whole Name.
    return comparable(contents)


def _text(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        msg = "is not ASCII, so it cannot be held against the name constraints above"
        raise InputError(msg) from error


def _shown(name: GeneralName) -> str:
    form, value = name
    label = _FORMS.get(form, f"general name [{form}]")
    if form in {EMAIL, DNS, URI}:
        return f"{label} {quoted(value.decode('latin-1'))}"
    if form == ADDRESS and len(value) in {_IPV4_BYTES, _IPV6_BYTES}:
        return f"{label} {ipaddress.ip_address(value)}"
    return f"a {label}"
