"""Bytes in, bytes out: keys, profiles, leaves, authorities and what certificates say.

No clock and no input or output: the present, serial numbers and bytes are handed in. Which identity
may have which certificate is left to `policy`; when and through which CA one is issued, to
`issuers`; recording it, to `ledger`.
"""

from __future__ import annotations

from agentid.pki.algorithm import KeyAlgorithm
from agentid.pki.authority import Authority
from agentid.pki.bundle import X509Bundle
from agentid.pki.keys import (
    PrivateKey,
    PublicKey,
    check_public_key,
    generate,
    load_private_key,
    load_public_key,
    to_pkcs8_pem,
)
from agentid.pki.leaf import Leaf, PreparedLeaf, prepare, sign
from agentid.pki.profile import LeafProfile
from agentid.pki.self_made import CertifiedKey, make_intermediate, make_root
from agentid.pki.signer import LocalSigner, Signer

__all__ = [
    "Authority",
    "CertifiedKey",
    "KeyAlgorithm",
    "Leaf",
    "LeafProfile",
    "LocalSigner",
    "PreparedLeaf",
    "PrivateKey",
    "PublicKey",
    "Signer",
    "X509Bundle",
    "check_public_key",
    "generate",
    "load_private_key",
    "load_public_key",
    "make_intermediate",
    "make_root",
    "prepare",
    "sign",
    "to_pkcs8_pem",
]
