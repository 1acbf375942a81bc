"""Every error that agentid raises on purpose.

```
AgentIdError
├── InputError               bytes or text from outside are not what they claim to be
│   ├── SpecError            a resource does not parse; carries every violation found
│   ├── AuthorityError       stored authorities cannot be used; carries every fault found
│   ├── LedgerCorruptError   a ledger segment is not what its writer wrote
│   └── UnknownVersionError  it is well-formed as far as its version; a later agentid wrote it
├── VerificationError        a certificate, or what it is asked for, is refused; carries the reason
├── IssuanceDeniedError      the issuer understood the request and refuses it
├── UnavailableError         something we depend on is away or throttles us; carries retry_after
├── ApiError                 the API server answered a request with an error
│   ├── NotFoundError        404
│   ├── AlreadyExistsError   409 on create
│   ├── ConflictError        409 on write: the object has changed since it was read
│   ├── PreconditionError    a JSON Patch `test` operation did not hold; nothing was written
│   ├── ForbiddenError       401 or 403, from RBAC or from an admission policy
│   ├── InvalidError         422, the object breaks its schema or a validation rule
│   └── WatchExpiredError    410, the history a list or a watch would go on from is gone
└── InternalError            an invariant of agentid's own does not hold
```

`agentid.workload` adds two that are errors of the module ssl as well: OwnIdentityError and
PeerRefusedError.

A class exists only where a caller decides differently. The message of each is written for the
person who reads it: what object and field, what was found, what is allowed, what to do next.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

__all__ = [
    "AgentIdError",
    "AlreadyExistsError",
    "ApiError",
    "AuthorityError",
    "ConflictError",
    "ForbiddenError",
    "InputError",
    "InternalError",
    "InvalidError",
    "IssuanceDeniedError",
    "LedgerCorruptError",
    "NotFoundError",
    "PreconditionError",
    "SpecError",
    "UnavailableError",
    "UnknownVersionError",
    "VerificationError",
    "VerificationReason",
    "WatchExpiredError",
]


class AgentIdError(Exception):
    """The root of all errors that agentid raises on purpose."""


class InputError(AgentIdError):
    """Bytes or text from outside are not what they claim to be."""


class SpecError(InputError):
    """A resource does not parse.

    Attributes:
        violations: One sentence for each fault, in the order of the fields.
    """

    def __init__(self, violations: Sequence[str]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(self.violations))


class AuthorityError(InputError):
    """Stored authorities cannot be used.

    Attributes:
        faults: One sentence for each fault found.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class LedgerCorruptError(InputError):
    """A ledger segment is not what its writer wrote; the message names object, line and fault."""


class UnknownVersionError(InputError):
    """The bytes are of a version that this program does not know, so they grant nothing here."""


class VerificationReason(StrEnum):
    """Why a verifier refuses; a closed list, in the order of the steps of verification."""

    MALFORMED = "Malformed"
    """The chain or token does not parse, is empty or too long, or breaks a rule of syntax."""

    NOT_A_LEAF = "NotALeaf"
    """The first certificate is that of an authority."""

    NOT_AN_SVID = "NotAnSvid"
    """A certificate breaks a rule of the X509-SVID standard, such as exactly one URI SAN, or a
    token one of the JWT-SVID standard."""

    UNTRUSTED_DOMAIN = "UntrustedDomain"
    """The verifier has no bundle of the trust domain that the leaf or token claims."""

    UNTRUSTED_ROOT = "UntrustedRoot"
    """No authority in the bundle of that trust domain is the issuer of the chain."""

    UNKNOWN_KEY = "UnknownKey"
    """A token names a key that is not in the bundle of its trust domain."""

    BROKEN_CHAIN = "BrokenChain"
    """A certificate of the chain does not name the next one as its issuer."""

    BAD_SIGNATURE = "BadSignature"
    """A signature does not verify under the key of the next certificate, or that a token names."""

    WEAK_KEY = "WeakKey"
    """A key, or the hash of a signature, is weaker than the verifier accepts."""

    NOT_AN_AUTHORITY = "NotAnAuthority"
    """A certificate above the leaf may not sign certificates."""

    PATH_TOO_LONG = "PathTooLong"
    """More authorities stand between an authority and the leaf than its path length allows."""

    NAME_CONSTRAINT = "NameConstraint"
    """A name lies outside what an authority above may sign for."""

    WRONG_PURPOSE = "WrongPurpose"
    """An authority may not sign for the purpose that is asked for."""

    CERTIFICATE_POLICY = "CertificatePolicy"
    """An authority requires a certificate policy, and none holds along the whole chain."""

    UNKNOWN_CRITICAL = "UnknownCritical"
    """A critical extension is not understood."""

    NOT_YET_VALID = "NotYetValid"
    """A certificate of the chain, or the token, is not valid yet."""

    EXPIRED = "Expired"
    """A certificate of the chain, or the token, has expired."""

    REVOKED = "Revoked"
    """A certificate of the chain is on its issuer's CRL."""

    REVOCATION_UNKNOWN = "RevocationUnknown"
    """No CRL that is fresh, signed by the issuer and covers the certificate is at hand."""

    WRONG_AUDIENCE = "WrongAudience"
    """A token is for somebody else."""

    NO_AUTHORIZATION = "NoAuthorization"
    """Something is asked for, and the leaf has no authorization extension."""

    UNKNOWN_EXTENSION_VERSION = "UnknownExtensionVersion"
    """Something is asked for, and the authorization extension has a version nobody here knows."""

    UNREADABLE_EXTENSION = "UnreadableExtension"
    """Something is asked for, and the authorization extension is malformed."""

    POLICY_MISSING = "PolicyMissing"
    """Something is asked for, and the policy that the leaf names by its hash was not given."""

    POLICY_MISMATCH = "PolicyMismatch"
    """The policy document that was given is not the one that the leaf names."""

    NOT_PERMITTED = "NotPermitted"
    """The leaf does not grant the operation on the system."""

    OUTSIDE_SCHEDULE = "OutsideSchedule"
    """The leaf grants it, but not at this time."""


class VerificationError(AgentIdError):
    """A certificate, or what it is asked for, is refused.

    Attributes:
        reason: Which rule it breaks, for machines; the message is for people.
    """

    def __init__(self, reason: VerificationReason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class IssuanceDeniedError(AgentIdError):
    """The issuer understood the request and refuses it; the message holds its own words."""


class UnavailableError(AgentIdError):
    """Something agentid depends on is away or throttles us; the same request may work later.

    Attributes:
        retry_after: How long the other side asked us to wait, or None if it did not say.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ApiError(AgentIdError):
    """The API server answered a request with an error.

    Attributes:
        status: The HTTP status code.
        reason: The `reason` of the API's Status object, such as `Invalid`; empty if it gave none.
    """

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFoundError(ApiError):
    """The object, or the kind itself, does not exist."""


class AlreadyExistsError(ApiError):
    """An object of this name exists, so it was not created."""


class ConflictError(ApiError):
    """The object has changed since it was read, so it was not written.

    Attributes:
        uid: Of the object that is there, where the request named another UID; else None.
    """

    def __init__(
        self, message: str, *, status: int, reason: str = "", uid: str | None = None
    ) -> None:
        super().__init__(message, status=status, reason=reason)
        self.uid = uid


class PreconditionError(ApiError):
    """A JSON Patch `test` operation (RFC 6902 §4.6) did not hold; nothing was written."""


class ForbiddenError(ApiError):
    """RBAC or an admission policy refuses the request."""


class InvalidError(ApiError):
    """The object breaks its schema or one of its validation rules."""


class WatchExpiredError(ApiError):
    """The resourceVersion or page token to go on from is too old; list again from the start."""


class InternalError(AgentIdError):
    """An invariant of agentid's own does not hold: a defect, to be reported with its log lines."""
