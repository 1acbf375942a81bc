"""The outcome: who it is, and what its certificate says it may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from agentid.api.violation import listed
from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.identity.quoting import quoted
from agentid.policy.permissions import Permissions, covers_system

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import SerialNumber, SpiffeId

__all__ = ["AuthorizationState", "RevocationState", "VerifiedAgent", "Wanted"]


class AuthorizationState(StrEnum):
    """Where the permissions of a leaf stand."""

    ABSENT = "Absent"
    """It has no authorization extension: an identity, and nothing is granted."""

    UNKNOWN_VERSION = "UnknownVersion"
    """Its extension has a version nobody here knows: nothing is granted."""

    UNREADABLE = "Unreadable"
    """Its extension is malformed: nothing is granted, and no part of it is read."""

    INLINE = "Inline"
    """In the certificate."""

    RESOLVED = "Resolved"
    """In the policy document that was given; its hash is in the certificate."""

    UNRESOLVED = "Unresolved"
    """In a policy document that was not given: nothing is granted."""


class RevocationState(StrEnum):
    """What is known about the revocation of a leaf that was verified."""

    NOT_CHECKED = "NotChecked"
    """The verifier was given no CRLs."""

    NOT_REVOKED = "NotRevoked"
    """A CRL that is fresh and covers the leaf does not list it."""

    NONE_PUBLISHED = "NonePublished"
    """The leaf says that none will be published (RFC 9608): it only lives for a short time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an agent wants to do.

    Attributes:
        system: The name of the system, such as `erp.invoices`; no pattern.
        operation: The name of the operation, such as `read`.
    """

    system: str
    operation: str

    def __post_init__(self) -> None:
        """Refuse a question that asks nothing, or asks for many systems at once.

        Raises:
            InputError: A name is empty, or the system is a pattern.
        """
        if not self.system or not self.operation:
            msg = "wanted: system and operation must both be named"
            raise InputError(msg)
        if "*" in self.system:
            msg = f"wanted: the system {quoted(self.system)} is a pattern; name one system"
            raise InputError(msg)


@dataclass(frozen=True, slots=True)
class VerifiedAgent:
    """A leaf that was verified; made by `Verifier.verify` alone.

    Attributes:
        spiffe_id: Who it is.
        serial: The serial number of its certificate.
        not_after: The last second in which the certificate is valid.
        authority: The authority id of its issuer: the first 8 octets of the key identifier, hex.
        revocation: What is known about its revocation.
        authorization: Where its permissions stand.
        agent_class: The AgentClass, or None if the certificate says none that can be read.
        tier: Likewise: Low, Moderate, High or Critical.
        sponsor: Who answers for the agent, or None.
        permissions: What it may do, compliance tags included; None unless `authorization` is
            Inline or Resolved.
        policy_uri: Where the policy document can be fetched, or None.
    """

    spiffe_id: SpiffeId
    serial: SerialNumber
    not_after: datetime
    authority: str
    revocation: RevocationState
    authorization: AuthorizationState
    agent_class: str | None = None
    tier: str | None = None
    sponsor: str | None = None
    permissions: Permissions | None = None
    policy_uri: str | None = None

    def require(self, wanted: Wanted, *, at: datetime) -> None:
        """Ask that the certificate grants an operation on a system at a time.

        That the certificate is valid then, and not revoked, was asked when it was verified.

        Args:
            wanted: What is asked for.
            at: The time of it, aware.

        Raises:
            VerificationError: NoAuthorization, UnknownExtensionVersion, UnreadableExtension,
                PolicyMissing, NotPermitted or OutsideSchedule.
        """
        permissions = self.permissions
        if permissions is None:
            raise self._nothing_granted(wanted)
        asked = f"{self.spiffe_id}: {quoted(wanted.operation)} on {quoted(wanted.system)}"
        if not any(covers_system(pattern, wanted.system) for pattern in permissions.systems):
            allowed = listed(permissions.systems, nothing="no system")
            msg = f"{asked} is not granted: its certificate is for {allowed}"
            raise VerificationError(VerificationReason.NOT_PERMITTED, msg)
        if wanted.operation not in permissions.operations:
            allowed = listed(permissions.operations, nothing="no operation")
            msg = f"{asked} is not granted: its certificate allows {allowed}"
            raise VerificationError(VerificationReason.NOT_PERMITTED, msg)
        if permissions.schedule is not None:
            try:
                covered = permissions.schedule.covers(at)
            except InputError as error:  # a zone that this verifier's data do not have
                msg = f"{asked} is not granted: its schedule cannot be read: {error}"
                raise VerificationError(VerificationReason.OUTSIDE_SCHEDULE, msg) from error
            if not covered:
                msg = (
                    f"{asked} is not granted at {at.isoformat(timespec='seconds')}: outside "
                    f"{permissions.schedule}"
                )
                raise VerificationError(VerificationReason.OUTSIDE_SCHEDULE, msg)

    def _nothing_granted(self, wanted: Wanted) -> VerificationError:
        asked = f"{self.spiffe_id}: {quoted(wanted.operation)} on {quoted(wanted.system)}"
        if self.authorization is AuthorizationState.UNRESOLVED:
            return VerificationError(
                VerificationReason.POLICY_MISSING,
                f"{asked} cannot be judged without the policy document; fetch it from "
                f"{self.policy_uri} and give it",
            )
        if self.authorization is AuthorizationState.UNKNOWN_VERSION:
            return VerificationError(
                VerificationReason.UNKNOWN_EXTENSION_VERSION,
                f"{asked} is not granted: the authorization extension has a version that this "
                "verifier does not know; use a newer release",
            )
        if self.authorization is AuthorizationState.UNREADABLE:
            return VerificationError(
                VerificationReason.UNREADABLE_EXTENSION,
                f"{asked} is not granted: the authorization extension is malformed, so no part of "
                "it counts; ask for a new certificate",
            )
        return VerificationError(
            VerificationReason.NO_AUTHORIZATION,
            f"{asked} is not granted: the certificate has no authorization extension, so it "
            "proves an identity and grants nothing",
        )
