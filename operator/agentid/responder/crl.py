"""The CRLs as they were published, by authority and shard.

What is served is byte for byte what the operator published, so all replicas serve the same. Two
rules stand between the two:

- No number goes back. Whatever is published, and whatever is deleted, this process never serves a
  CRL with a lower cRLNumber than one that it has served (RFC 5280 §5.2.3).
- A deletion takes nothing away that still holds: a CRL is served until its nextUpdate has passed,
  and one that is published still also afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509

from agentid.errors import InputError
from agentid.pki.boundary import reading
from agentid.pki.crl import crl_pem
from agentid.responder.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

__all__ = ["MAX_CRL_BYTES", "ROOT", "CrlKey", "CrlShelf", "ServedCrl", "read_served_crl"]

_log = structlog.stdlib.get_logger(__name__)

MAX_CRL_BYTES: Final = 1024 * 1024
"""What one ConfigMap can hold."""

ROOT: Final = "root"
"""In place of a shard's number: the CRL of a root, about its intermediates."""

_SHARD: Final = re.compile(rf"(?:0|[1-9][0-9]{{0,5}}|{ROOT})", re.ASCII)
_AUTHORITY: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class CrlKey:
    """Which CRL.

    Attributes:
        authority: Authority id of who signs it.
        shard: A number in decimal, or `root`.
    """

    authority: str
    shard: str

    @classmethod
    def parse(cls, authority: str, shard: str) -> CrlKey:
        """Read the two parts of a path or of a name.

        Raises:
            InputError: There can be no such CRL.
        """
        if not _AUTHORITY.fullmatch(authority):
            msg = "an authority id has 16 lower-case hexadecimal digits"
            raise InputError(msg)
        if not _SHARD.fullmatch(shard):
            msg = f"a CRL shard is a number without leading zeros, or {ROOT}"
            raise InputError(msg)
        return cls(authority, shard)


@dataclass(frozen=True, slots=True)
class ServedCrl:
    """One CRL.

    Attributes:
        issuer: The AgentIssuer.
        key: Which one it is.
        number: Its cRLNumber.
        this_update: When it was made.
        next_update: When the next one is due at the latest.
        der: It in DER.
        pem: It in PEM.
        published: Whether it is published still.
    """

    issuer: str
    key: CrlKey
    number: int
    this_update: datetime
    next_update: datetime
    der: Document = field(repr=False)
    pem: Document = field(repr=False)
    published: bool = True


def read_served_crl(
    issuer: str,
    key: CrlKey,
    der: bytes,
    max_age: timedelta,
    authority: x509.Certificate | None = None,
) -> ServedCrl:
    """Read a CRL as far as the responder has to know it.

    Args:
        issuer: The AgentIssuer.
        key: Which one it should be.
        der: Bytes from outside.
        max_age: How long a cache of HTTP may keep it.
        authority: Who should have signed it; None while unknown, then verifiers find out.

    Raises:
        InputError: It is no CRL, or not one of this authority, or it has no number or nextUpdate.
    """
    what = f"CRL {key.shard} of {key.authority}"
    if len(der) > MAX_CRL_BYTES:
        msg = f"{what}: {len(der)} bytes, at most {MAX_CRL_BYTES} are read"
        raise InputError(msg)
    with reading(f"{what}: it does not parse"):
        crl = x509.load_der_x509_crl(der)
        this_update, next_update = crl.last_update_utc, crl.next_update_utc
        try:
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            signer = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except x509.ExtensionNotFound as error:
            msg = f"{what}: it lacks {error.oid.dotted_string} (RFC 5280 §5.2.1, §5.2.3)"
            raise InputError(msg) from error
        if authority is not None and not crl.is_signature_valid(_signing_key(authority)):
            msg = f"{what}: its signature is not that of the authority"
            raise InputError(msg)
    found = (signer.key_identifier or b"")[:8].hex()
    if found != key.authority:
        msg = f"{what}: its authorityKeyIdentifier is that of {found or 'nobody'}"
        raise InputError(msg)
    if next_update is None:
        msg = f"{what}: it has no nextUpdate (RFC 5280 §5.1.2.5)"
        raise InputError(msg)
    seconds = int(max_age.total_seconds())
    return ServedCrl(
        issuer,
        key,
        number,
        this_update,
        next_update,
        # RFC 5280 §4.2.1.13: a single DER encoded CRL.
        Document(der, "application/pkix-crl", this_update, next_update, seconds),
        Document(crl_pem(der), "application/x-pem-file", this_update, next_update, seconds),
    )


def _signing_key(authority: x509.Certificate) -> CertificateIssuerPublicKeyTypes:
    # Nothing but an authority's key is in an authority's certificate; the library refuses others.
    return authority.public_key()  # type: ignore[return-value]


class CrlShelf:
    """All CRLs that are served.

    Args:
        max_age: How long a cache of HTTP may keep one.
    """

    def __init__(self, max_age: timedelta) -> None:
        self._max_age = max_age
        self._crls: dict[CrlKey, ServedCrl] = {}
        self._numbers: dict[CrlKey, int] = {}
        self._all: dict[str, Document] = {}

    def publish(
        self, issuer: str, key: CrlKey, der: bytes, authority: x509.Certificate | None = None
    ) -> None:
        """Serve this one from now on; `read_served_crl` says what is checked.

        Raises:
            InputError: It cannot be served; what was served before still is.
        """
        crl = read_served_crl(issuer, key, der, self._max_age, authority)
        served = self._numbers.get(key, -1)
        if crl.number < served:
            msg = (
                f"CRL {key.shard} of {key.authority}: number {crl.number} is published and "
                f"{served} has been served; a number never goes back (RFC 5280 §5.2.3)"
            )
            raise InputError(msg)
        self._numbers[key] = crl.number
        self._crls[key] = crl
        self._all.pop(issuer, None)

    def withdraw(self, key: CrlKey) -> None:
        """It is published no longer; it is served until its nextUpdate has passed."""
        if (crl := self._crls.get(key)) is not None:
            self._crls[key] = replace(crl, published=False)

    def get(self, key: CrlKey, now: datetime) -> ServedCrl | None:
        """The current CRL, None if there is none."""
        crl = self._crls.get(key)
        if crl is None or crl.published or now < crl.next_update:
            return crl
        _log.info("crl_dropped", issuer=crl.issuer, authority=key.authority, shard=key.shard)
        del self._crls[key]
        self._all.pop(crl.issuer, None)
        return None

    def of(self, issuer: str, now: datetime) -> tuple[ServedCrl, ...]:
        """The current CRLs of an issuer, by authority and shard."""
        return tuple(crl for crl in self.current(now) if crl.issuer == issuer)

    def current(self, now: datetime) -> Iterator[ServedCrl]:
        """All current CRLs, by authority and shard."""
        for key in sorted(self._crls):
            if (crl := self.get(key, now)) is not None:
                yield crl

    def all_of(self, issuer: str, now: datetime) -> Document | None:
        """The current CRLs of an issuer as one PEM file; None if there is none."""
        crls = self.of(issuer, now)  # also drops what has gone, and with it what was made of it
        if not crls:
            return None
        if issuer not in self._all:
            self._all[issuer] = Document(
                b"".join(crl.pem.body for crl in crls),
                "application/x-pem-file",
                max(crl.this_update for crl in crls),
                min(crl.next_update for crl in crls),
                int(self._max_age.total_seconds()),
            )
        return self._all[issuer]
