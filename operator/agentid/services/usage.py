"""What the ledger says of the certificates of an issuer's authorities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.policy.rotation import Facts, Usage

if TYPE_CHECKING:
    from agentid.ledger import LedgerState
    from agentid.policy.authorities import Authorities

__all__ = ["facts_of"]


def facts_of(
    ledger: LedgerState, issuer: str, authorities: Authorities, served: frozenset[str]
) -> Facts:
    """Gather what the rotation of an issuer's authorities is decided from.

    While one authority is all there is, nothing depends on its certificates, and they are not
    looked at.

    Args:
        ledger: What was issued and revoked.
        issuer: The name of the AgentIssuer.
        authorities: Its authorities.
        served: Ids of the authorities whose CRLs and OCSP signer are published.
    """
    if len(authorities.issuing) < 2 and len(authorities.roots) < 2:  # noqa: PLR2004 - one of each
        return Facts({}, None, served)
    usage: dict[str, Usage] = {}
    delivered: int | None = None
    for entry in ledger.entries():
        issued = entry.issued
        if issued.issuer != issuer:
            continue
        before = usage.get(issued.authority)
        until = issued.not_after if before is None else max(before.until, issued.not_after)
        in_force = None if before is None else before.in_force_until
        if entry.revoked is None:
            in_force = issued.not_after if in_force is None else max(in_force, issued.not_after)
            delivered = issued.bundle if delivered is None else min(delivered, issued.bundle)
        usage[issued.authority] = Usage(until, in_force)
    return Facts(usage, delivered, served)
