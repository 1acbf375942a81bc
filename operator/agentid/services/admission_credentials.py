"""What the admission webhook serves with, and that the API server trusts it.

```
 1. make authority and certificate     pki/serving.py; the authority's key is gone again
 2. caBundle := new + current          the API server believes both
 3. wait                               until every API server has heard of it
 4. Secret   := new certificate        webhooks take it up; ca.crt = new + current
```
It may end after any step: before 4 nobody has the new certificate, and the next look starts with
another. At every look the caBundle is made what the Secret's `ca.crt` says, so that an upgrade by
Helm, or somebody's edit, lasts for seconds.

Where there is no webhook configuration there is nothing to serve, and nothing is made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.constants import LABEL_MANAGED
from agentid.errors import AgentIdError, InputError, UnavailableError
from agentid.identity import SerialNumber, Validity
from agentid.issuers import BACKDATE
from agentid.kube.backoff import Backoff
from agentid.pki.boundary import LIBRARY_ERRORS
from agentid.pki.keys import load_private_key
from agentid.pki.load import read_certificates
from agentid.pki.pem import MAX_CHAIN_PEM_BYTES
from agentid.pki.serving import make_serving_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from agentid.clock import Clock
    from agentid.kube.stores import SecretFiles
    from agentid.services.webhook_trust import WebhookTrust

__all__ = [
    "ADMISSION_SECRET",
    "ADMISSION_SERVICE",
    "WEBHOOK_CONFIGURATION",
    "AdmissionCredentials",
    "served_name",
]

_log = structlog.stdlib.get_logger(__name__)

ADMISSION_SECRET: Final = "agentid-admission"  # noqa: S105 - a name
"""The Secret, in the operator's namespace: `tls.crt`, `tls.key`, `ca.crt`."""

ADMISSION_SERVICE: Final = "agentid-admission"
"""The Service in front of the webhooks, in the operator's namespace."""

WEBHOOK_CONFIGURATION: Final = "agentid-pods"
"""The MutatingWebhookConfiguration whose caBundle is set."""

_CERTIFICATE, _KEY, _AUTHORITIES = "tls.crt", "tls.key", "ca.crt"

_LIFETIME: Final = timedelta(days=7)
"""Of a certificate: webhooks go on for so long while nobody leads."""

_RENEWED_AFTER: Final = timedelta(days=1)
"""A certificate that is older is made anew."""

_LOOK: Final = 10.0
"""Seconds between two looks, two reads each: for so long nobody may believe our webhook after the
caBundle was taken away."""

_SETTLE: Final = 10.0
"""Seconds between caBundle and Secret: API servers hear of the first by a watch, and one that has
not would refuse the new certificate."""

_TRUSTED: Final = 2
"""Authorities in a bundle: the current one, and the one before it, whose certificate a webhook may
serve for another moment."""

_MAX_AUTHORITIES: Final = 8
"""Of which more are no bundle of ours."""

_SERIAL_OCTETS: Final = 16


def served_name(namespace: str) -> str:
    """The DNS name by which API servers dial the webhook."""
    return f"{ADMISSION_SERVICE}.{namespace}.svc"


@dataclass(frozen=True, slots=True)
class _Held:
    """What the Secret holds of use.

    Attributes:
        authorities: Those of `ca.crt`, the current one first.
        serves: Whether certificate and key serve on as they are.
    """

    authorities: tuple[x509.Certificate, ...]
    serves: bool


class AdmissionCredentials:
    """Runs on the leader alone; `run` does the work."""

    def __init__(
        self,
        *,
        store: SecretFiles,
        trust: WebhookTrust,
        namespace: str,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        """Take the parts.

        Args:
            store: The Secret.
            trust: The caBundle.
            namespace: Of the Service.
            clock: For validity, and to wait by.
            random: Gives unpredictable octets.
        """
        self._store = store
        self._trust = trust
        self._namespace = namespace
        self._name = served_name(namespace)
        self._clock = clock
        self._random = random
        self.wanted = False
        """Whether there is a webhook to serve for; as of the last look, which leaders take."""

    async def run(self) -> None:
        """Look after Secret and caBundle until cancelled."""
        failures, waits = 0, Backoff(ceiling=timedelta(seconds=_LOOK))
        while True:
            try:
                await self.renew()
                failures = 0
                await self._clock.sleep(_LOOK)
            except AgentIdError as error:
                failures += 1
                wait = waits.seconds(failures, 0.5)
                _log.warning(
                    "admission_credentials_failed", error=str(error), again_in=round(wait, 1)
                )
                await self._clock.sleep(wait)

    async def renew(self) -> bool:
        """Make what is missing or due, and have the API server trust it.

        Returns:
            Whether anything was written.

        Raises:
            AgentIdError: It could not be; what is there goes on.
        """
        hooks = await self._trust.read()
        self.wanted = hooks is not None
        if hooks is None:
            return False
        stored = await self._store.read()
        if stored is not None and stored.labels.get(LABEL_MANAGED) != "true":
            # It could never be replaced, so there must be no caBundle for what would replace it.
            message = (
                f"Secret {self._namespace}/{ADMISSION_SECRET} does not carry the label "
                f"{LABEL_MANAGED}=true, so it is somebody else's and is left alone; delete or "
                "rename it, and agentid makes its own"
            )
            raise UnavailableError(message)
        held = self._held({} if stored is None else stored.files)
        if held.serves:
            return await self._trust.set(_pem(held.authorities), hooks)
        made = await asyncio.to_thread(
            make_serving_certificate,
            self._name,
            Validity.of(self._clock.now(), _LIFETIME, BACKDATE),
            self._serial(),
            self._serial(),
        )
        trusted = _pem((made.authority, *held.authorities)[:_TRUSTED])
        await self._trust.set(trusted, hooks)
        if held.authorities:
            await self._clock.sleep(_SETTLE)
        files = {
            _CERTIFICATE: made.leaf_pem,
            _KEY: made.private_key_pem,
            _AUTHORITIES: trusted,
        }
        if stored is None:
            written = await self._store.create(files)
        else:
            written = await self._store.replace(files, stored.version)
        if not written:
            message = "the Secret of the webhook was changed by somebody else meanwhile"
            raise UnavailableError(message)
        _log.info(
            "admission_credentials_written",
            serial=f"{made.leaf.serial_number:x}",
            not_after=made.leaf.not_valid_after_utc.isoformat(),
        )
        return True

    def _held(self, files: Mapping[str, bytes]) -> _Held:
        now = self._clock.now()
        try:
            authorities = tuple(
                each
                for each in _read(files.get(_AUTHORITIES, b""), _AUTHORITIES)
                if now < each.not_valid_after_utc
            )
        except InputError:
            return _Held((), serves=False)
        serves = 0 < len(authorities) <= _TRUSTED and self._serves(files, authorities[0], now)
        return _Held(authorities, serves)

    def _serves(
        self, files: Mapping[str, bytes], authority: x509.Certificate, now: datetime
    ) -> bool:
        """Whether the certificate is of this authority, of this key, of our name, and young."""
        try:
            leaf = _read(files.get(_CERTIFICATE, b""), _CERTIFICATE)[0]
            key = load_private_key(files.get(_KEY, b""), what=_KEY)
            leaf.verify_directly_issued_by(authority)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            dns_names = names.get_values_for_type(x509.DNSName)
            key_matches = key.public_key() == leaf.public_key()
        except (InputError, x509.ExtensionNotFound, *LIBRARY_ERRORS):
            return False
        made = leaf.not_valid_before_utc
        young = made <= now < min(made + _RENEWED_AFTER, leaf.not_valid_after_utc)
        return key_matches and dns_names == [self._name] and young

    def _serial(self) -> SerialNumber:
        return SerialNumber.from_random(self._random(_SERIAL_OCTETS))


def _read(pem: bytes, what: str) -> list[x509.Certificate]:
    return read_certificates(pem, what=what, limit=MAX_CHAIN_PEM_BYTES, most=_MAX_AUTHORITIES)


def _pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
