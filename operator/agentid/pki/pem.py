"""PEM, RFC 7468, read within bounds."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

from agentid.errors import InputError
from agentid.identity.quoting import quoted

__all__ = [
    "MAX_BUNDLE_PEM_BYTES",
    "MAX_CERTIFICATE_BYTES",
    "MAX_CHAIN_CERTIFICATES",
    "MAX_CHAIN_PEM_BYTES",
    "MAX_KEY_PEM_BYTES",
    "PemBlock",
    "certificate_pem",
    "read_blocks",
]

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
"""One certificate in DER. An ML-DSA-87 key and signature take 7.2 KiB; a SPIFFE ID, which stands in
it once, and the authorization extension up to 2 KiB each; four URIs and a policy 2.2 KiB; two
distinguished names of ours 0.4 KiB; all other extensions 0.3 KiB: below 14.2 KiB. The rest is room
for authorities of others, which have none of the long parts but the key and signature."""

MAX_CHAIN_CERTIFICATES: Final = 8
"""Certificates in one chain: leaf, intermediates, root; ours have three."""

MAX_CHAIN_PEM_BYTES: Final = 256 * 1024
"""A whole chain in PEM. Base64 with a line end after every 64 characters turns 16 KiB into
16 KiB x 4/3 x 65/64 = 21.7 KiB, the two marker lines add 54 bytes: 8 certificates take 174 KiB.
The rest is room for the explanatory text that tools write between the blocks."""

MAX_BUNDLE_PEM_BYTES: Final = 1024 * 1024
"""A bundle in PEM: what one ConfigMap or Secret can hold."""

MAX_KEY_PEM_BYTES: Final = 16 * 1024
"""A private key in PEM. An RSA 4096 key in PKCS#8 has 2.4 KiB of DER, so 3.2 KiB of PEM. ML-DSA-87
has 54 bytes as we write it, and 4.9 KiB, so 6.6 KiB of PEM, where the expanded key stands beside
the seed (RFC 9881 §6). The rest is room for explanatory text."""

# RFC 7468 §3: a label is printable ASCII. Ours and OpenSSL's are capitals, digits and spaces.
_BEGIN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]{1,64})-----[ \t\r]*$", re.MULTILINE)
_WHITESPACE = re.compile(rb"[ \t\r\n]+")


@dataclass(frozen=True, slots=True, repr=False)
class PemBlock:
    """One block; `repr` shows no contents, since they may be a private key."""

    label: str
    der: bytes

    def __repr__(self) -> str:
        """The label and the length."""
        return f"PemBlock(label={self.label!r}, der=<{len(self.der)} bytes>)"


def read_blocks(data: bytes, *, what: str, limit: int) -> tuple[PemBlock, ...]:
    """The PEM blocks in the order in which they stand; text between them is passed over.

    Time is linear in the length of the data. The contents of the blocks are not looked at.

    Args:
        data: Bytes from outside.
        what: How messages name the data, such as `issuing.crt`.
        limit: The most bytes that are accepted.

    Raises:
        InputError: The data is longer than the limit, holds no block, or a block is cut short or is
            not Base64.
    """
    if len(data) > limit:
        msg = f"{what} has {len(data)} bytes, at most {limit} are read; give only what is needed"
        raise InputError(msg)
    blocks: list[PemBlock] = []
    position = 0
    while begin := _BEGIN.search(data, position):
        label = begin[1].decode("ascii")
        end_line = b"-----END %b-----" % begin[1]
        end = data.find(end_line, begin.end())
        following = _BEGIN.search(data, begin.end())
        if end < 0 or (following is not None and following.start() < end):
            msg = (
                f"{what}: the PEM block {len(blocks) + 1}, {label}, has no END line, so it is cut "
                "short; restore it from where it came"
            )
            raise InputError(msg)
        text = _WHITESPACE.sub(b"", data[begin.end() : end])
        try:
            der = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            msg = (
                f"{what}: the PEM block {len(blocks) + 1}, {label}, is not Base64, so it is cut "
                "short or altered; restore it from where it came"
            )
            raise InputError(msg) from error
        blocks.append(PemBlock(label, der))
        position = end + len(end_line)
    if not blocks:
        start = quoted(data[:32].decode("latin-1"))
        found = f"begins with {start}" if data else "is empty"
        msg = f"{what} holds no PEM block, it {found}; give PEM, which begins with -----BEGIN"
        raise InputError(msg)
    return tuple(blocks)


def certificate_pem(der: bytes) -> bytes:
    """One certificate as PEM, lines of 64 characters, with a line end at the end."""
    return _to_pem("CERTIFICATE", der)


def _to_pem(label: Literal["CERTIFICATE"], der: bytes) -> bytes:
    text = binascii.b2a_base64(der, newline=False)
    full, rest = divmod(len(text), 64)
    # `struct` cuts the lines in a quarter of the time that slices take.
    lines = b"\n".join(struct.unpack("64s" * full + (f"{rest}s" if rest else ""), text))
    marker = label.encode("ascii")
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (marker, lines, marker)
