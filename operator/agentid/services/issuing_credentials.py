"""The certificate by which node plugins know the issuer service, kept in one Secret.

    tls.crt, tls.key    what all replicas serve
    next.crt, next.key  what they will serve once plugins trust it
    ca.crt              what plugins trust: the authorities of both

Each certificate has an authority of its own, which signs nothing else (`pki.serving`). Plugins have
a copy of `ca.crt` from a ConfigMap (`services.issuer_trust`) by a volume, which the kubelet brings
up to date within a minute or two. So a successor is told first, and served once that ConfigMap has
said so for long enough; that order is never left, whoever leads and whenever it stops.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import AgentIdError, InputError
from agentid.identity import SerialNumber, Validity
from agentid.issuers import BACKDATE
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.keys import load_private_key
from agentid.pki.load import read_certificates
from agentid.pki.pem import MAX_CHAIN_PEM_BYTES
from agentid.pki.serving import make_serving_certificate
from agentid.services.issuer_trust import AUTHORITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.kube.stores import SecretFiles
    from agentid.services.issuer_trust import IssuerTrust, Told

__all__ = ["ISSUER_SECRET", "ISSUER_SERVICE", "IssuingCredentials", "served_name"]

_log = structlog.stdlib.get_logger(__name__)

ISSUER_SECRET: Final = "agentid-issuer"  # noqa: S105 - a name
"""The Secret, in the operator's namespace."""

ISSUER_SERVICE: Final = "agentid-issuer"
"""The Service in front of the replicas, in the operator's namespace."""

CERTIFICATE, KEY = "tls.crt", "tls.key"
_NEXT_CERTIFICATE, _NEXT_KEY = "next.crt", "next.key"

_LIFETIME: Final = timedelta(days=30)
_RENEWED_AFTER: Final = timedelta(days=15)
"""Of a certificate: for so long plugins go on while nobody leads."""

_SETTLE: Final = timedelta(minutes=10)
"""From telling a successor to serving it; a kubelet takes a minute or two for what is mounted."""

_LOOK: Final = 30.0
_SERIAL_OCTETS: Final = 16
_MAX_AUTHORITIES: Final = 8


def served_name(namespace: str) -> str:
    """The DNS name by which node plugins dial the service."""
    return f"{ISSUER_SERVICE}.{namespace}.svc"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key, of use."""

    certificate: bytes
    key: bytes
    made: datetime
    not_after: datetime


class IssuingCredentials:
    """Runs on the leader alone; `run` does the work."""

    def __init__(
        self,
        *,
        store: SecretFiles,
        trust: IssuerTrust,
        namespace: str,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        """Take the parts.

        Args:
            store: The Secret.
            trust: What plugins are told.
            namespace: Of the Service.
            clock: For validity, and to wait by.
            random: Gives unpredictable octets.
        """
        self._store = store
        self._trust = trust
        self._name = served_name(namespace)
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Look after the Secret until cancelled."""
        while True:
            try:
                await self.renew()
            except AgentIdError as error:
                _log.warning("issuing_credentials_failed", error=str(error))
            await self._clock.sleep(_LOOK)

    async def renew(self) -> bool:
        """Do what is due; True if anything was written.

        Raises:
            AgentIdError: It could not be done; what is there goes on.
        """
        stored = await self._store.read()
        held = {} if stored is None else stored.files
        told = await self._trust.read()
        files = await self._next(held, told)
        if files is not None:
            if stored is None:
                written = await self._store.create(files)
            else:
                written = await self._store.replace(files, stored.version)
            if not written:
                return False
            _log.info("issuing_credentials_written", files=sorted(files))
            held = files
        now = self._clock.now()
        trusted = _authorities(held.get(AUTHORITIES, b""), now)
        if _told_since(told, trusted, now) is not None:
            return files is not None
        await self._trust.tell(_pem(trusted), now, told)
        return True

    async def _next(self, files: Mapping[str, bytes], told: Told | None) -> dict[str, bytes] | None:
        """What the Secret is to hold; None if it is as it should be."""
        now = self._clock.now()
        trusted = _authorities(files.get(AUTHORITIES, b""), now)
        serving = self._pair(files, CERTIFICATE, KEY, trusted)
        coming = self._pair(files, _NEXT_CERTIFICATE, _NEXT_KEY, trusted)
        if serving is None and coming is None:
            made, authority = await asyncio.to_thread(self._make, now)
            return _files(made, None, (authority,))
        if serving is None:
            return _files(coming, None, trusted[-2:])
        if coming is not None:
            since = _told_since(told, trusted, now)
            if since is not None and now - max(since, coming.made + BACKDATE) >= _SETTLE:
                # The old authority stays trusted for as long as replicas may serve by it.
                return _files(coming, None, trusted[-2:])
            return None
        if now - serving.made >= _RENEWED_AFTER:
            made, authority = await asyncio.to_thread(self._make, now)
            return _files(serving, made, (*trusted[-1:], authority))
        return None

    def _make(self, now: datetime) -> tuple[_Pair, x509.Certificate]:
        validity = Validity.of(now, _LIFETIME, BACKDATE)
        made = make_serving_certificate(self._name, validity, self._serial(), self._serial())
        pair = _Pair(made.leaf_pem, made.private_key_pem, validity.not_before, validity.not_after)
        return pair, made.authority

    def _pair(
        self,
        files: Mapping[str, bytes],
        certificate: str,
        key: str,
        trusted: tuple[x509.Certificate, ...],
    ) -> _Pair | None:
        """A pair that is good, of our name, and that plugins trust."""
        pem, private, now = files.get(certificate, b""), files.get(key, b""), self._clock.now()
        try:
            leaf = _read(pem, certificate)[0]
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            named = names.get_values_for_type(x509.DNSName) == [self._name]
            matches = load_private_key(private, what=key).public_key() == leaf.public_key()
            known = any(each.subject == leaf.issuer for each in trusted)
        except (InputError, x509.ExtensionNotFound, *LIBRARY_ERRORS):
            return None
        made, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if not (named and matches and known and made <= now < end):
            return None
        return _Pair(pem, private, made, end)

    def _serial(self) -> SerialNumber:
        return SerialNumber.from_random(self._random(_SERIAL_OCTETS))


def _files(
    serving: _Pair | None, coming: _Pair | None, authorities: tuple[x509.Certificate, ...]
) -> dict[str, bytes]:
    files = {
        AUTHORITIES: _pem(authorities),
    }
    if serving is not None:
        files |= {CERTIFICATE: serving.certificate, KEY: serving.key}
    if coming is not None:
        files |= {_NEXT_CERTIFICATE: coming.certificate, _NEXT_KEY: coming.key}
    return files


def _told_since(
    told: Told | None, authorities: tuple[x509.Certificate, ...], now: datetime
) -> datetime | None:
    """Since when plugins are told just this; None if they are not, or nobody knows since when."""
    if told is None or told.authorities != _pem(authorities):
        return None
    return None if told.since is None or told.since > now else told.since


def _pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _authorities(pem: bytes, now: datetime) -> tuple[x509.Certificate, ...]:
    """Those that are good, the oldest first; of what is damaged none."""
    try:
        found = _read(pem, AUTHORITIES)
    except InputError:
        return ()
    return tuple(each for each in found if now < each.not_valid_after_utc)


def _read(pem: bytes, what: str) -> list[x509.Certificate]:
    return read_certificates(pem, what=what, limit=MAX_CHAIN_PEM_BYTES, most=_MAX_AUTHORITIES)
