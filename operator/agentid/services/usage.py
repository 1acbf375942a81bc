"""What the ledger says of the certificates of an issuer's authorities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.errors import InputError
from agentid.identity import SerialNumber
from agentid.kube.objects import ObjectKey
from agentid.policy.rotation import Facts, Usage

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.api.agentissuer import AgentIssuer
    from agentid.ledger import Issued, LedgerState
    from agentid.policy.authorities import Authorities
    from agentid.services.world import World

__all__ = ["facts_of"]


def facts_of(
    ledger: LedgerState, world: World, issuer: AgentIssuer, authorities: Authorities, now: datetime
) -> Facts:
    """Gather what the rotation of an issuer's authorities is decided from.

    While one authority is all there is, nothing depends on its certificates, and they are not
    looked at.

    Args:
        ledger: What was issued and revoked.
        world: What is served, and what the identities' statuses say.
        issuer: The AgentIssuer.
        authorities: Its authorities.
        now: The present.
    """
    published = world.published_bundles.get(issuer.metadata.name, 0)
    if len(authorities.issuing) < 2 and len(authorities.roots) < 2:  # noqa: PLR2004 - one of each
        return Facts({}, None, world.served, published)
    usage: dict[str, Usage] = {}
    delivered: int | None = None
    for entry in ledger.entries():
        issued = entry.issued
        if issued.issuer != issuer.metadata.name:
            continue
        before = usage.get(issued.authority)
        until = issued.not_after if before is None else max(before.until, issued.not_after)
        in_force = None if before is None else before.in_force_until
        if entry.revoked is None:
            in_force = issued.not_after if in_force is None else max(in_force, issued.not_after)
            if issued.not_after >= now:
                with_bundle = _delivered_with(issued, authorities.sequence, ledger, world)
                delivered = with_bundle if delivered is None else min(delivered, with_bundle)
        usage[issued.authority] = Usage(until, in_force)
    return Facts(usage, delivered, world.served, published)


def _delivered_with(issued: Issued, newest: int, ledger: LedgerState, world: World) -> int:
    """The bundle that an agent has beside a certificate, or beside the one that took its place.

    A certificate that was replaced is in force until it expires, and nobody has it any more but for
    the time that a kubelet takes: what stands in the status of the identity is what was delivered.
    """
    if issued.pod is not None:
        return newest  # its bundle is a volume, which kubelets keep current by themselves
    if issued.bundle >= newest:
        return issued.bundle
    match world.identities.get(ObjectKey(issued.namespace, issued.name)):
        case {"status": {"certificate": {"serial": str(told)}}}:
            pass
        case _:
            return issued.bundle
    try:
        found = ledger.by_serial(SerialNumber.parse(told))
    except InputError:
        return issued.bundle
    if found is None or (found.issued.uid, found.issued.door) != (issued.uid, issued.door):
        return issued.bundle
    return max(issued.bundle, found.issued.bundle)
