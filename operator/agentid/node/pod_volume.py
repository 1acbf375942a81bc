"""One pod's identity on its node: what it holds, and how that changes.

```
            obtain                    obtain: a new key each time
 Starting ─────────► Serving ──────────────────────────► Serving
     ▲                  │ take_away: revoked, refused        │ expired while the issuer is away:
     └── readmitted ── Ended                                 └► Starting, files stay
```
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from agentid.errors import InputError, UnavailableError
from agentid.node import files
from agentid.node.issuer import RefusedError
from agentid.node.keys import make_key
from agentid.node.latest import Latest
from agentid.node.material import Ended, Material, Serving, Starting, State
from agentid.node.sockets import PodSocket
from agentid.node.state import Held, VolumeState
from agentid.node.tokens import TokenCache
from agentid.node.trust import visible
from agentid.pki import KeyAlgorithm

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from agentid.clock import Clock
    from agentid.node.issuer import IssuerPort, JwtGrant, PodProof
    from agentid.node.metrics import NodeMetrics
    from agentid.node.present import IssuersPresent
    from agentid.node.state import StateFolder
    from agentid.node.trust import Trust
    from agentid.node.workload import JwtValidator

__all__ = ["PodVolume", "VolumeParts"]

_log = structlog.stdlib.get_logger(__name__)

SOCKET: Final = "workload.sock"

_SLOW_KEYS: Final = frozenset({KeyAlgorithm.RSA3072, KeyAlgorithm.RSA4096})
"""Searching for primes takes up to seconds; everything else is made in under a millisecond."""

_FIRST_KEY: Final = KeyAlgorithm.ECDSAP256
"""Of the very first request of a pod. If the class wants another, the refusal says which."""

_REVOKED: Final = "Revoked"

_MINTING: Final = 4
"""Tokens that are minted for one pod at the same time. A pod that asks for thousands waits for
itself, and not everybody else for it."""

_LATEST: Final = 0.9
"""Part of a certificate's life after which it is renewed at the latest, whatever the issuer says:
a renewal time beyond the end would let a certificate run out under a running pod."""


Answered: TypeAlias = Callable[[], Awaitable[None]]
"""What is waited for once the issuer service has answered."""


async def _at_once() -> None:
    """Wait for nothing."""


@dataclass(frozen=True, slots=True)
class VolumeParts:
    """What all volumes share.

    Attributes:
        issuer: The issuer service.
        clock: For periods alone; its wall clock is not looked at.
        states: Where a volume's state is kept.
        validate: Validates JWT-SVIDs.
        trust: What is trusted, as last heard; changed in place by its owner.
        present: What time the issuer has.
        metrics: Counts.
    """

    issuer: IssuerPort
    clock: Clock
    states: StateFolder
    validate: JwtValidator
    trust: dict[str, Trust]
    present: IssuersPresent
    metrics: NodeMetrics


class PodVolume:
    """A volume with its files and its socket; a `Source`. To be used within one event loop.

    Attributes:
        state: What the socket serves.
        saved: What a restart would begin from.
        failures: Attempts in a row to obtain a certificate that failed.
    """

    def __init__(self, saved: VolumeState, folder: Path, parts: VolumeParts) -> None:
        """Take what is known of it; nothing is read or written yet."""
        self.state: Latest[State] = Latest(Starting())
        self.saved = saved
        self.failures = 0
        self._folder = folder
        self._parts = parts
        self._tokens = TokenCache()
        self._socket: PodSocket | None = None
        self._obtaining = asyncio.Lock()
        self._minting = asyncio.Semaphore(_MINTING)
        self._takings = 0
        self._revoked: dict[str, tuple[str, str]] = {}
        self._closed = False

    @property
    def pod(self) -> PodProof:
        """For whom."""
        return self.saved.pod

    @property
    def folder(self) -> Path:
        """Where its file system is."""
        return self._folder

    @property
    def held(self) -> Held | None:
        """What goes with its files; None where it has none."""
        return self.saved.held

    @property
    def remaining(self) -> float:
        """Seconds that its certificate still holds; zero or less if it does not."""
        return 0.0 if self.held is None else self.held.ends_at - self._parts.clock.monotonic()

    async def open(self) -> None:
        """Serve its socket."""
        self._socket = await PodSocket.open(
            self._folder / SOCKET, self, self._parts.validate, counts=self._parts.metrics
        )

    async def close(self) -> None:
        """End its socket and every stream on it; a certificate under way is let go."""
        self._closed = True
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    def reload(self) -> None:
        """Take up what an earlier process left: files that belong together, or nothing.

        Where there is nothing, whatever the record says, it is due to be asked for at once.
        """
        if self.saved.ended is not None:
            self.state.put(Ended(*self.saved.ended))
            return
        material = self._left_behind()
        if material is None:
            self.saved = dataclasses.replace(self.saved, held=None)
        elif self.remaining > 0:
            self.state.put(Serving(material))

    def _left_behind(self) -> Material | None:
        found, held = files.read(self._folder), self.held
        if held is None or not found:
            return None
        try:
            return Material.read(
                spiffe_id=held.spiffe_id,
                chain_pem=found.get("tls.crt", b""),
                key_pem=found.get("tls.key", b""),
                bundle_pem=found.get("ca.crt", b""),
                federated={name: pem.encode() for name, pem in held.federated.items()},
                crl_pem=found.get("crl.pem"),
                jwt_bundles={name: jwks.encode() for name, jwks in held.jwks.items()},
                agent=found.get("agent.json", b""),
            )
        except InputError as error:
            _log.warning("volume_unreadable", pod_uid=self.pod.uid, error=str(error))
            return None

    def refresh(self, pod: PodProof) -> None:
        """Take a newer token of the same pod."""
        if pod != self.pod:
            self.saved = dataclasses.replace(self.saved, pod=pod)
            self._parts.states.save(self.saved)

    async def obtain(self, answered: Answered = _at_once) -> None:
        """Get a certificate for a new key, and serve it.

        Args:
            answered: Awaited between the answer and what is done with it.

        Raises:
            RefusedError: The pod may not have one. What it holds is left alone.
            UnavailableError: Nobody answers, or the files do not fit. Likewise.
            InputError: The answer is none. Likewise.
        """
        async with self._obtaining:
            algorithm = _FIRST_KEY if self.held is None else KeyAlgorithm(self.held.key_algorithm)
            self._revoked.clear()
            try:
                await self._ask(algorithm, answered)
            except RefusedError as error:
                if error.key_algorithm in {None, algorithm}:
                    raise
                await self._ask(error.key_algorithm or algorithm, answered)

    async def _ask(self, algorithm: KeyAlgorithm, answered: Answered) -> None:
        takings = self._takings
        if algorithm in _SLOW_KEYS:
            key, request = await asyncio.to_thread(make_key, algorithm)
        else:
            key, request = make_key(algorithm)
        began = self._parts.clock.monotonic()
        grant = await self._parts.issuer.x509(self.pod, request)
        self._parts.present.tell(grant.issued_at)
        await answered()
        if self._closed:
            message = "the volume has gone while a certificate was made"
            raise UnavailableError(message)
        if takings != self._takings:
            raise RefusedError(_REVOKED, "the identity was revoked while a certificate was made")
        own = grant.spiffe_id.removeprefix("spiffe://").partition("/")[0]
        jwks = visible(self._parts.trust, own, grant.federated)
        material = Material.of(grant, key, jwks)
        if (told := self._revoked.get(material.serial)) is not None:
            raise RefusedError(*told)
        lifetime = _seconds(grant.not_after - grant.issued_at)
        renew_after = min(_seconds(grant.renew_at - grant.issued_at), lifetime * _LATEST)
        before = self.saved
        self.saved = dataclasses.replace(
            self.saved,
            ended=None,
            held=Held(
                spiffe_id=grant.spiffe_id,
                key_algorithm=grant.key_algorithm.value,
                renew_at=began + renew_after,
                ends_at=began + lifetime,
                federated={name: pem.decode() for name, pem in grant.federated.items()},
                jwks={name: keys.decode() for name, keys in jwks.items()},
            ),
        )
        self._show(material, before)
        self.failures = 0

    def trust_changed(self) -> None:
        """Serve the certificate beside what is trusted now."""
        serving = self.state.value
        held = self.held
        if not isinstance(serving, Serving) or held is None:
            return
        material, trust = serving.material, self._parts.trust
        own = trust.get(material.spiffe_id.trust_domain.name)
        federated = {
            name: trust[name].roots_pem if name in trust else pem
            for name, pem in material.federated.items()
        }
        crl = material.crl_pem
        if own is not None and crl is not None:
            crl = own.crl_pem or crl
        fresh = material.with_trust(
            material.bundle_pem if own is None else own.roots_pem,
            federated,
            crl,
            visible(trust, material.spiffe_id.trust_domain.name, federated),
        )
        if fresh == material:
            return
        before = self.saved
        self.saved = dataclasses.replace(
            self.saved,
            held=dataclasses.replace(
                held,
                federated={name: pem.decode() for name, pem in federated.items()},
                jwks={name: keys.decode() for name, keys in fresh.jwt_bundles.items()},
            ),
        )
        self._show(fresh, before)

    def take_away(self, reason: str, message: str) -> None:
        """Take files, streams and tokens away, before anything else runs."""
        self._takings += 1
        self._tokens.clear()
        self.state.put(Ended(reason, message))
        files.clear(self._folder)
        self.saved = dataclasses.replace(self.saved, held=None, ended=(reason, message))
        try:
            self._parts.states.save(self.saved)
        except UnavailableError as error:
            # The files are gone: the next process has nothing to serve, and asks.
            _log.warning("state_not_kept", pod_uid=self.pod.uid, error=str(error))

    def expire(self) -> bool:
        """Serve a certificate no more that has run out; its files are left where they are.

        Whether it was served until now.
        """
        served = isinstance(self.state.value, Serving)
        if served:
            self.state.put(Starting())
        return served

    async def jwt(self, audience: tuple[str, ...]) -> JwtGrant:
        """A JWT-SVID, perhaps one that was handed out before."""
        fresh = self._tokens.fresh(audience, self._parts.clock.monotonic())
        if fresh is not None:
            return fresh
        takings = self._takings

        async def mint() -> JwtGrant:
            minted = await self._parts.issuer.jwt(self.pod, audience)
            self._parts.present.tell(minted.issued_at)
            return minted

        async with self._minting:
            grant = await self._tokens.get(audience, self._parts.clock.monotonic, mint)
        if takings != self._takings:
            self._tokens.clear()
            raise RefusedError(_REVOKED, "the identity was revoked while a token was made")
        return grant

    def revoke(self, serial: str | None, reason: str, message: str) -> bool:
        """Take away what a revocation is about, if this pod holds it; whether it was so.

        A serial that the pod does not hold may be that of the certificate which is on its way to
        it: the feed of revocations is quicker at times than the answer.
        """
        reason, message = reason or _REVOKED, message or "it was revoked"
        if serial is None:
            self._takings += 1  # what is on its way is meant, too, where nothing is left to take
        elif self._obtaining.locked():
            self._revoked[serial] = (reason, message)
        serving = self.state.value
        if isinstance(serving, Ended):
            return False
        if serial is not None and not (
            isinstance(serving, Serving) and serving.material.serial == serial
        ):
            return False
        self.take_away(reason, message)
        return True

    def _show(self, material: Material, before: VolumeState) -> None:
        """Have it in files, on the socket and on record, or leave all as it is before."""
        try:
            files.write(self._folder, material.files(), self.saved.group)
        except UnavailableError:
            self.saved = before
            raise
        self.state.put(Serving(material))
        try:
            self._parts.states.save(self.saved)
        except UnavailableError as error:
            if before.begun:
                raise  # without a record of it a restart would take it for never published
            _log.warning("state_not_kept", pod_uid=self.pod.uid, error=str(error))


def _seconds(period: timedelta) -> float:
    return max(period.total_seconds(), 0.0)
