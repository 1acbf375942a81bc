"""One protocol, one module per CA: how a leaf is had, whoever signs it.

What a leaf may say is decided above, by policy; what it looks like, below, in `pki`. Recording it
is left to the caller.
"""

from __future__ import annotations

from agentid.issuers.bootstrap import AuthoritySettings, AuthorityStore, ensure_authorities
from agentid.issuers.builtin import BACKDATE, BuiltinIssuer
from agentid.issuers.protocol import AuthorityInfo, AuthorityRole, Issuer, IssueRequest

__all__ = [
    "BACKDATE",
    "AuthorityInfo",
    "AuthorityRole",
    "AuthoritySettings",
    "AuthorityStore",
    "BuiltinIssuer",
    "IssueRequest",
    "Issuer",
    "ensure_authorities",
]
