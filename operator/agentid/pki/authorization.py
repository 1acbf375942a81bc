"""What an agent may do, as its certificate says it: the authorization extension.

`docs/reference/agentid-authorization.asn1` is the syntax and
`docs/reference/authorization-extension.md` the meaning. One value has one encoding, and the decoder
refuses every other, so two verifiers never read two things from the same bytes.

A policy that would make the certificate too large is named by its hash and a URI instead; then the
certificate alone grants nothing, and `AgentAuthorization.resolve` reads the document that was
fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.hazmat import asn1

from agentid.errors import InputError, UnknownVersionError
from agentid.identity.quoting import quoted
from agentid.pki import schema
from agentid.pki.authorized_policy import (
    MAX_DOCUMENT_BYTES,
    NOTHING,
    VERSION,
    AuthorizedPolicy,
    AuthorizedSchedule,
    check_text,
    number,
    read_document,
)
from agentid.pki.der import SEQUENCE, tlv

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "MAX_INLINE_BYTES",
    "TIERS",
    "VERSION",
    "AgentAuthorization",
    "AuthorizedPolicy",
    "AuthorizedSchedule",
    "decode",
    "encode",
]

MAX_INLINE_BYTES: Final = 2048
"""The value of the extension. Both sides of a handshake send their chain, and with 2 KiB one of
ECDSA certificates stays below 4 KiB: three packets, of the ten that TCP and QUIC send at once
(RFC 6928, RFC 9002 §7.2). By reference the longest has 63 + 253 + 512 octets of text and some 60 of
the rest."""

TIERS: Final = ("Low", "Moderate", "High", "Critical")
"""The tiers; in the extension each is its place in this list."""

_MAX_CLASS: Final = 63
_MAX_SPONSOR: Final = 253
_MAX_URI: Final = 512
_HASH_OCTETS: Final = 32
# RFC 3986 §2: the characters of a URI.
_POLICY_URI: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)
_WHAT: Final = "agent authorization"

_OCTET_STRING: Final = 0x04
_UTF8_STRING: Final = 0x0C
# Implicit context tags, of the module: primitive 8x, constructed Ax.
_SPONSOR: Final = 0x80
_SYSTEMS: Final = 0xA1
_OPERATIONS: Final = 0xA2
_SCHEDULE: Final = 0xA3
_COMPLIANCE: Final = 0xA4
_URI: Final = 0x85
_VERSION: Final = asn1.encode_der(VERSION)
_TIERS: Final = {tier: asn1.encode_der(at) for at, tier in enumerate(TIERS)}


@dataclass(frozen=True, slots=True)
class AgentAuthorization:
    """The contents of the extension. Either the policy is in it, or a URI to fetch it from.

    Attributes:
        agent_class: The AgentClass that granted it.
        tier: One of `TIERS`.
        sponsor: Who answers for the agent, or None.
        policy: What it may do; None if the document at `policy_uri` says it.
        policy_hash: SHA-256 of the policy document, 32 octets.
        policy_uri: Where the document is, an http or https URI; None if the policy is here.
        der: The value of the extension.
    """

    agent_class: str
    tier: str
    sponsor: str | None
    policy: AuthorizedPolicy | None
    policy_hash: bytes
    policy_uri: str | None = None
    der: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, and encode the rest.

        Raises:
            InputError: A part is malformed; both or neither of policy and URI are there; the hash
                is not that of the policy; or the whole is larger than `MAX_INLINE_BYTES`.
        """
        check_text("class", self.agent_class, _MAX_CLASS)
        if self.tier not in TIERS:
            msg = f"{_WHAT}: {quoted(self.tier)} is no tier; use one of {', '.join(TIERS)}"
            raise InputError(msg)
        if self.sponsor is not None:
            check_text("sponsor", self.sponsor, _MAX_SPONSOR)
        if len(self.policy_hash) != _HASH_OCTETS:
            msg = f"{_WHAT}: a policy hash of {len(self.policy_hash)} octets, SHA-256 has 32"
            raise InputError(msg)
        if (self.policy is None) == (self.policy_uri is None):
            msg = f"{_WHAT}: either the policy or its URI has to be given, and not both"
            raise InputError(msg)
        if self.policy_uri is not None:
            _check_uri(self.policy_uri)
        elif self.policy is not None and self.policy_hash != self._hash_of(self.policy):
            msg = f"{_WHAT}: the policy hash is not that of the policy"
            raise InputError(msg)
        der = self._encoded()
        if len(der) > MAX_INLINE_BYTES:
            msg = (
                f"{_WHAT}: {len(der)} bytes, at most {MAX_INLINE_BYTES} fit into a certificate; "
                "give the policy by reference"
            )
            raise InputError(msg)
        object.__setattr__(self, "der", der)

    @classmethod
    def of(
        cls,
        *,
        agent_class: str,
        tier: str,
        sponsor: str | None,
        policy: AuthorizedPolicy,
        base_uri: str | None = None,
    ) -> AgentAuthorization:
        """The policy itself where it fits, or else its hash and `<base_uri>/policy/<hash>`.

        By reference, whoever serves the base URI owes verifiers the document.

        Args:
            agent_class: The AgentClass that grants it.
            tier: One of `TIERS`.
            sponsor: Who answers for the agent, or None.
            policy: What it may do.
            base_uri: Where documents are served, without a slash at the end; None if nowhere.

        Raises:
            InputError: A part is malformed, or the policy is too large and there is no base URI.
        """
        digest = _policy_hash(policy, agent_class, tier, sponsor)
        try:
            return cls(agent_class, tier, sponsor, policy, digest)
        except InputError:
            # Whatever else is wrong is wrong by reference as well.
            if base_uri is None:
                raise
        return cls(agent_class, tier, sponsor, None, digest, f"{base_uri}/policy/{digest.hex()}")

    def resolve(self, document: bytes) -> AuthorizedPolicy:
        """The policy that a fetched document states.

        Args:
            document: Bytes from outside, such as what `policy_uri` answered; at most 64 KiB.

        Raises:
            InputError: It is not the document whose hash the certificate carries, or it is not one
                that agentid writes.
            UnknownVersionError: It is of another version, so it grants nothing.
        """
        if len(document) <= MAX_DOCUMENT_BYTES:
            digest = sha256(document)
            if digest.digest() != self.policy_hash:
                msg = (
                    f"policy document: its SHA-256 is {digest.hexdigest()}, but the certificate "
                    f"names {self.policy_hash.hex()}; do not use it"
                )
                raise InputError(msg)
        policy = read_document(document)
        if self._hash_of(policy) != self.policy_hash:
            msg = (
                "policy document: it is not written canonically, or is about another class, tier "
                "or sponsor than the certificate; do not use it"
            )
            raise InputError(msg)
        return policy

    def _hash_of(self, policy: AuthorizedPolicy) -> bytes:
        return _policy_hash(policy, self.agent_class, self.tier, self.sponsor)

    def _encoded(self) -> bytes:
        """DER by hand, twice as fast as by the library, which `decode` reads it with."""
        policy = self.policy or NOTHING
        parts = [
            _VERSION,
            tlv(_UTF8_STRING, self.agent_class.encode("ascii")),
            _TIERS[self.tier],
            tlv(_OCTET_STRING, self.policy_hash),
        ]
        if self.sponsor is not None:
            parts.append(tlv(_SPONSOR, self.sponsor.encode("ascii")))
        parts.append(_encoded_policy(policy))
        if self.policy_uri is not None:
            parts.append(tlv(_URI, self.policy_uri.encode("ascii")))
        return tlv(SEQUENCE, b"".join(parts))


def _policy_hash(
    policy: AuthorizedPolicy, agent_class: str, tier: str, sponsor: str | None
) -> bytes:
    document = policy.document(agent_class=agent_class, tier=tier, sponsor=sponsor)
    return sha256(document).digest()


@lru_cache(maxsize=256)  # agents of a class mostly share one; each is as long as its document
def _encoded_policy(policy: AuthorizedPolicy) -> bytes:
    return b"".join(
        (
            _entries(_SYSTEMS, policy.systems),
            _entries(_OPERATIONS, policy.operations),
            b"" if policy.schedule is None else _schedule(policy.schedule),
            _entries(_COMPLIANCE, policy.compliance),
        )
    )


def _entries(tag: int, entries: tuple[str, ...]) -> bytes:
    if not entries:
        return b""
    return tlv(tag, b"".join([tlv(_UTF8_STRING, entry.encode("ascii")) for entry in entries]))


def _schedule(schedule: AuthorizedSchedule) -> bytes:
    der = asn1.encode_der(
        schema.AuthorizedSchedule(
            time_zone=schedule.time_zone,
            windows=[
                schema.AuthorizedWindow(start=start, end=end) for start, end in schedule.windows
            ],
        )
    )
    return bytes((_SCHEDULE, *der[1:]))  # the tag is implicit


def encode(authorization: AgentAuthorization) -> bytes:
    """The value of the extension, DER."""
    return authorization.der


def decode(der: bytes) -> AgentAuthorization:
    """Read the value of the extension; strict.

    Args:
        der: Bytes from outside, at most `MAX_INLINE_BYTES`.

    Raises:
        UnknownVersionError: It is of another version. It grants nothing.
        InputError: It is not what `encode` writes, to the last bit. It grants nothing either.
    """
    if len(der) > MAX_INLINE_BYTES:
        msg = f"{_WHAT}: {len(der)} bytes, at most {MAX_INLINE_BYTES} are read"
        raise InputError(msg)
    _check_version(der)
    read = schema.decode(schema.AgentAuthorization, der, what=_WHAT)
    uri = None if read.policy_uri is None else read.policy_uri.as_str()
    policy = AuthorizedPolicy(
        systems=tuple(read.systems or ()),
        operations=tuple(read.operations or ()),
        schedule=None
        if read.schedule is None
        else AuthorizedSchedule(
            read.schedule.time_zone,
            tuple((window.start, window.end) for window in read.schedule.windows),
        ),
        compliance=tuple(read.compliance or ()),
    )
    if not 0 <= read.tier < len(TIERS):
        msg = f"{_WHAT}: the tier {number(read.tier)} is not one of 0 to {len(TIERS) - 1}"
        raise InputError(msg)
    if uri is not None and policy != NOTHING:
        msg = f"{_WHAT}: it has both a policy and the URI of one"
        raise InputError(msg)
    authorization = AgentAuthorization(
        agent_class=read.agent_class,
        tier=TIERS[read.tier],
        sponsor=read.sponsor,
        policy=policy if uri is None else None,
        policy_hash=read.policy_hash,
        policy_uri=uri,
    )
    if authorization.der != der:
        msg = f"{_WHAT}: it is not the one encoding of what it says; an empty list is left out"
        raise InputError(msg)
    return authorization


def _check_version(der: bytes) -> None:
    """Look at the first element alone: what follows it is for its version to say."""
    elements = schema.decode_list(schema.Elements, der, what=_WHAT).items
    if not elements:
        msg = f"{_WHAT}: it is empty"
        raise InputError(msg)
    version = schema.decode(int, asn1.encode_der(elements[0]), what=f"{_WHAT}: the version")
    if version != VERSION:
        msg = (
            f"{_WHAT}: it is of version {number(version)}, and this program reads version "
            f"{VERSION}; it grants nothing here, use a newer release of agentid"
        )
        raise UnknownVersionError(msg)


def _check_uri(uri: str) -> None:
    if len(uri) > _MAX_URI or not _POLICY_URI.fullmatch(uri):
        msg = (
            f"{_WHAT}: the policy URI {quoted(uri)} is not an http or https URI of at most "
            f"{_MAX_URI} characters"
        )
        raise InputError(msg)
