"""An AgentIssuer and its authorities, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.kube.objects import ObjectKey
from agentid.responder.inventory.bodies import (
    ConditionView,
    conditions_in,
    items_in,
    section_in,
    text_in,
    time_in,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["AuthorityView", "IssuerView", "JwtKeyView", "issuer_of"]


@dataclass(frozen=True, slots=True)
class AuthorityView:
    """One authority.

    Attributes:
        role: `Root` or `Issuing`.
        state: `Staged`, `Signing`, `Retired` or `Distrusted`.
        id: As in URLs.
        subject: Distinguished name.
        algorithm: Of its key.
        fingerprint: SHA-256.
        not_before: First second of its validity.
        not_after: Last second.
    """

    role: str
    state: str
    id: str
    subject: str
    algorithm: str
    fingerprint: str
    not_before: datetime | None
    not_after: datetime | None

    def spent(self, now: datetime) -> float | None:
        """How much of its validity is over, from 0 to 1; None if that is not known."""
        if self.not_before is None or self.not_after is None:
            return None
        whole = (self.not_after - self.not_before).total_seconds()
        over = (now - self.not_before).total_seconds()
        return min(max(over / whole, 0.0), 1.0) if whole > 0 else 1.0


@dataclass(frozen=True, slots=True)
class JwtKeyView:
    """One key for JWT-SVIDs.

    Attributes:
        kid: What tokens and bundles call it.
        state: `Staged`, `Signing`, `Retired` or `Distrusted`.
        algorithm: What it signs with.
        fingerprint: Its thumbprint in hexadecimal.
        since: When it came to this state.
    """

    kid: str
    state: str
    algorithm: str
    fingerprint: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class IssuerView:
    """One issuer.

    Attributes:
        name: Of the AgentIssuer.
        trust_domain: That it signs for.
        bundle_sequence: Of the bundle that is published; None if none is.
        conditions: Ready, Rotating, AuthoritiesCurrent and others.
        authorities: Roots first, the newest of each first.
        jwt_keys: Its keys for JWT-SVIDs, the newest first.
    """

    name: str
    trust_domain: str
    bundle_sequence: int | None
    conditions: tuple[ConditionView, ...]
    authorities: tuple[AuthorityView, ...]
    jwt_keys: tuple[JwtKeyView, ...] = ()


def issuer_of(body: Mapping[str, object]) -> IssuerView:
    """Read an AgentIssuer.

    Raises:
        InputError: It has no name.
    """
    status = section_in(body, "status")
    sequence = status.get("bundleSequence")
    return IssuerView(
        name=ObjectKey.of(body).name,
        trust_domain=text_in(section_in(body, "spec"), "trustDomain"),
        bundle_sequence=sequence if isinstance(sequence, int) else None,
        conditions=conditions_in(status),
        authorities=tuple(
            AuthorityView(
                role=text_in(each, "role"),
                state=text_in(each, "state"),
                id=text_in(each, "id"),
                subject=text_in(each, "subject"),
                algorithm=text_in(each, "algorithm"),
                fingerprint=text_in(each, "fingerprint"),
                not_before=time_in(each, "notBefore"),
                not_after=time_in(each, "notAfter"),
            )
            for each in items_in(status, "authorities")
        ),
        jwt_keys=tuple(
            JwtKeyView(
                kid=text_in(each, "kid"),
                state=text_in(each, "state"),
                algorithm=text_in(each, "algorithm"),
                fingerprint=text_in(each, "fingerprint"),
                since=time_in(each, "since"),
            )
            for each in items_in(status, "jwtKeys")
        ),
    )
