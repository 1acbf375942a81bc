"""Object identifiers of agentid's own, below one arc.

The arc comes from a UUID that was drawn for agentid alone, 26703b39-2028-46d5-a6d3-169f081918a1, by
the method that Microsoft documents for its customers: 1.2.840.113556.1.8000.2554, then the UUID in
seven numbers. Nobody hands such arcs out, and nobody will draw the same one. The limits of readers
are kept: a number has at most 28 bits, since Go's encoding/asn1 reads no more than 31 and
RustCrypto's const-oid no more than 28, which rules out 2.25.<UUID> (Rec. ITU-T X.667); and the
encoding has at most 39 octets, since const-oid reads no longer ones, which is why a UUID with short
numbers was drawn.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["ARC", "AUTHORIZATION", "CLASS_POLICIES", "class_policy_oid"]

ARC: Final = "1.2.840.113556.1.8000.2554.9840.15161.8232.18133.42707.1482504.1644705"
"""Everything of agentid's own is below it; `docs/reference/oids.md` lists what is taken."""

AUTHORIZATION: Final = f"{ARC}.1.1"
"""id-agentid-authorization: the certificate extension of `agentid.pki.authorization`."""

CLASS_POLICIES: Final = f"{ARC}.2"
"""Below it is one certificate policy for each name of an AgentClass."""

_MASK: Final = (1 << 28) - 1


def class_policy_oid(class_name: str) -> str:
    """The certificate policy that a class has unless it names one, dotted.

    Two more numbers below `CLASS_POLICIES`: the first and the second 32 bits of the SHA-256 of the
    name, of each the last 28. So two classes share a policy by a chance of one in 2^56. The same
    name gives the same policy in every cluster; the trust domain says whose class is meant.
    """
    digest = sha256(class_name.encode()).digest()
    first, second = (int.from_bytes(digest[at : at + 4]) & _MASK for at in (0, 4))
    return f"{CLASS_POLICIES}.{first}.{second}"
