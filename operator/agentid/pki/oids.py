"""Object identifiers of agentid's own, below one arc.

The arc comes from a UUID that was drawn for agentid alone, 38fc4b1b-421d-4d3f-8569-74b42b2c04d8, by
the method that Microsoft documents for its customers: 1.2.840.113556.1.8000.2554, then the UUID in
seven numbers. Nobody hands such arcs out, and nobody can draw the same one. Each number fits into
31 bits, which 2.25.<UUID> (Rec. ITU-T X.667) does not: Go's encoding/asn1 reads no larger ones.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["ARC", "AUTHORIZATION", "CLASS_POLICIES", "class_policy_oid"]

ARC: Final = "1.2.840.113556.1.8000.2554.14588.19227.16925.19775.34153.7648299.2884824"
"""Everything of agentid's own is below it; `docs/reference/oids.md` lists what is taken."""

AUTHORIZATION: Final = f"{ARC}.1.1"
"""id-agentid-authorization: the certificate extension of `agentid.pki.authorization`."""

CLASS_POLICIES: Final = f"{ARC}.2"
"""Below it is one certificate policy for each name of an AgentClass."""

_MASK: Final = (1 << 31) - 1


def class_policy_oid(class_name: str) -> str:
    """The certificate policy that a class has unless it names one, dotted.

    Two more numbers below `CLASS_POLICIES`: the first and the second 32 bits of the SHA-256 of the
    name, each without its highest bit. So two classes share a policy by a chance of one in 2^62,
    and the same name gives the same policy in every cluster: what a class allows differs between
    them, what a trust domain is says which one is meant.
    """
    digest = sha256(class_name.encode()).digest()
    first, second = (int.from_bytes(digest[at : at + 4]) & _MASK for at in (0, 4))
    return f"{CLASS_POLICIES}.{first}.{second}"
