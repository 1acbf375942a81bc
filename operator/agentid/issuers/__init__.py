"""One protocol, one module per CA: how a leaf is had, whoever signs it.

What a leaf may say is decided above, by policy; what it looks like, below, in `pki`. Recording it
is left to the caller.
"""

from __future__ import annotations

from agentid.issuers.authorities import AuthorityStore, Kept, ensure_authorities
from agentid.issuers.authority_set import AuthoritySet
from agentid.issuers.builtin import BACKDATE, BuiltinIssuer, JwtTerms, authority_infos
from agentid.issuers.making import AuthoritySettings, GivenAuthority, carried_out
from agentid.issuers.protocol import (
    AuthorityInfo,
    AuthorityRole,
    Claims,
    Issuer,
    IssueRequest,
    JwtIssuer,
    JwtRequest,
    Signed,
)

__all__ = [
    "BACKDATE",
    "AuthorityInfo",
    "AuthorityRole",
    "AuthoritySet",
    "AuthoritySettings",
    "AuthorityStore",
    "BuiltinIssuer",
    "Claims",
    "GivenAuthority",
    "IssueRequest",
    "Issuer",
    "JwtIssuer",
    "JwtRequest",
    "JwtTerms",
    "Kept",
    "Signed",
    "authority_infos",
    "carried_out",
    "ensure_authorities",
]
