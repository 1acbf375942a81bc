"""What responders sign and serve with: an OCSP signer for each authority, an SVID for each issuer.

They are kept in one Secret, the only one that `agentid responder` may read, and none of them is an
authority's: who takes them can answer in its name for some days, and issue nothing.

They are not on the ledger, which is about agents: an OCSP signer cannot be revoked by its own
authority's OCSP anyway (id-pkix-ocsp-nocheck), and the SVID says noRevAvail. Both are short-lived.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import AgentIdError, InputError, UnavailableError
from agentid.identity import SerialNumber, SpiffeId, Validity
from agentid.issuers import BACKDATE, IssueRequest
from agentid.kube.backoff import Backoff
from agentid.pki import KeyAlgorithm, generate, to_pkcs8_pem
from agentid.pki.load import read_certificates
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.pki.pem import MAX_CHAIN_CERTIFICATES, MAX_CHAIN_PEM_BYTES
from agentid.services.waking import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cryptography import x509

    from agentid.clock import Clock
    from agentid.issuers import Issuer
    from agentid.kube.stores import SecretFiles
    from agentid.pki import Authority
    from agentid.services.world import World

__all__ = ["RESPONDER_PATH", "RESPONDER_SECRET", "ResponderCredentials"]

_log = structlog.stdlib.get_logger(__name__)

RESPONDER_SECRET: Final = "agentid-responder"  # noqa: S105 - a name
"""The Secret, in the operator's namespace."""

RESPONDER_PATH: Final = "/agentid/responder"
"""The path of the SPIFFE ID that a responder proves on HTTPS. No agent has such a path."""

_LIFETIME: Final = timedelta(days=7)
"""Of a credential that is made: OCSP goes on for so long while no leader renews it."""

_RENEWED_AFTER: Final = timedelta(days=1)
"""A credential that is older is made anew."""

_LOOK: Final = 300.0
"""Seconds between two looks for what is due."""

_SERIAL_OCTETS: Final = 16


@dataclass(frozen=True, slots=True)
class _Name:
    """The two files of one credential."""

    certificate: str
    key: str


def _ocsp(authority: str) -> _Name:
    return _Name(f"{authority}.ocsp.crt", f"{authority}.ocsp.key")


def _tls(issuer: str) -> _Name:
    return _Name(f"{issuer}.tls.crt", f"{issuer}.tls.key")


class ResponderCredentials:
    """Runs on the leader alone; `run` does the work."""

    def __init__(
        self,
        *,
        world: World,
        store: SecretFiles,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        """Take the parts.

        Args:
            world: Whose authorities sign; told which of them have an OCSP signer.
            store: The Secret.
            clock: For validity.
            random: Gives unpredictable octets.
        """
        self._world = world
        self._store = store
        self._clock = clock
        self._random = random
        self._bell = Bell(clock)

    def poke(self) -> None:
        """Authorities may have come or gone: look now."""
        wanted = {
            each.id
            for state in self._world.issuer_states.values()
            if state.authorities is not None
            for each in state.authorities.records.issuing
        }
        if wanted != self._world.served_ocsp:
            self._bell.ring()

    async def run(self) -> None:
        """Look after the credentials until cancelled."""
        failures, waits = 0, Backoff(ceiling=timedelta(seconds=30))
        while True:
            self._bell.clear()
            try:
                await self.renew()
                failures = 0
                await self._bell.wait(_LOOK)
            except AgentIdError as error:
                failures += 1
                wait = waits.seconds(failures, 0.5)
                _log.warning(
                    "responder_credentials_failed", error=str(error), again_in=round(wait, 1)
                )
                await self._clock.sleep(wait)

    async def renew(self) -> bool:
        """Make what is missing or due, and forget what is of no use any more.

        Returns:
            Whether anything was written.

        Raises:
            AgentIdError: It could not be; the credentials that are there go on.
        """
        stored = await self._store.read()
        files = {} if stored is None else dict(stored.files)
        wanted = dict(await self._wanted(files))
        states = self._world.issuer_states
        if self._world.issuers.keys() - states.keys() or any(
            state.authorities is None for state in states.values()
        ):
            wanted = {**files, **wanted}  # whose is whose cannot be told just now
        if wanted != files:
            if stored is None:
                written = await self._store.create(wanted)
            else:
                written = await self._store.replace(wanted, stored.version)
            if not written:
                message = "the Secret of the responders was changed by somebody else meanwhile"
                raise UnavailableError(message)
            _log.info("responder_credentials_written", files=len(wanted) // 2)
        self._world.served_ocsp = frozenset(
            name.removesuffix(".ocsp.crt") for name in wanted if name.endswith(".ocsp.crt")
        )
        return wanted != files

    async def _wanted(self, files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
        now = self._clock.now()
        found: list[tuple[str, bytes]] = []
        # A copy: issuers are looked at while credentials are made.
        for issuer, state in tuple(self._world.issuer_states.items()):
            if state.authorities is None:
                continue
            for name, authority in state.authorities.issuing.items():
                if authority.validity.contains(now):
                    chosen = _ocsp(name)
                    kept = self._kept(files, chosen, authority, now)
                    if kept is None:
                        kept = await asyncio.to_thread(self._ocsp_signer, chosen, authority)
                    found += kept
            if state.issuer is not None:
                chosen = _tls(issuer)
                signing = state.authorities.signing
                kept = None if signing is None else self._kept(files, chosen, signing, now)
                found += await self._svid(chosen, state.issuer) if kept is None else kept
        return found

    def _kept(
        self, files: Mapping[str, bytes], name: _Name, authority: Authority, now: datetime
    ) -> list[tuple[str, bytes]] | None:
        """The credential that is there, if it is of this authority and young enough."""
        certificate, key = files.get(name.certificate), files.get(name.key)
        if not certificate or not key:
            return None
        try:
            (leaf, *_) = _read(certificate, name.certificate)
        except InputError:
            return None
        made = leaf.not_valid_before_utc
        young = made <= now < min(made + _RENEWED_AFTER, leaf.not_valid_after_utc)
        # A chain that ends soon leaves its last credential no day.
        last = leaf.not_valid_after_utc >= authority.not_after and made <= now < authority.not_after
        if leaf.issuer != authority.certificate.subject or not (young or last):
            return None
        return [(name.certificate, certificate), (name.key, key)]

    def _ocsp_signer(self, name: _Name, authority: Authority) -> list[tuple[str, bytes]]:
        now = self._clock.now()
        wanted = Validity.of(now, _LIFETIME, BACKDATE, authority.not_after)
        validity = Validity(max(wanted.not_before, authority.validity.not_before), wanted.not_after)
        made = make_ocsp_responder(
            authority,
            generate(responder_key_algorithm(authority.algorithm)),
            validity,
            SerialNumber.from_random(self._random(_SERIAL_OCTETS)),
        )
        return [(name.certificate, made.certificate_pem), (name.key, made.private_key_pem)]

    async def _svid(self, name: _Name, issuer: Issuer) -> list[tuple[str, bytes]]:
        key = generate(KeyAlgorithm.ECDSAP256)
        signed = await issuer.issue(
            IssueRequest(
                spiffe_id=SpiffeId(issuer.trust_domain, RESPONDER_PATH),
                class_name="agentid-responder",
                lifetime=_LIFETIME,
                key_algorithm=KeyAlgorithm.ECDSAP256,
                public_key=key.public_key(),
                no_rev_avail=True,
            )
        )
        return [(name.certificate, signed.leaf.chain_pem), (name.key, to_pkcs8_pem(key))]


def _read(pem: bytes, what: str) -> list[x509.Certificate]:
    return read_certificates(pem, what=what, limit=MAX_CHAIN_PEM_BYTES, most=MAX_CHAIN_CERTIFICATES)
