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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import InputError
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


@dataclass(frozen=True, slots=True)
class VolumeParts:
    """What all volumes share.

    Attributes:
        issuer: The issuer service.
        clock: For periods alone; its wall clock is not looked at.
        states: Where a volume's state is kept.
        validate: Validates JWT-SVIDs.
        trust: What is trusted, as last heard; changed in place by its owner.
    """

    issuer: IssuerPort
    clock: Clock
    states: StateFolder
    validate: JwtValidator
    trust: dict[str, Trust]


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
        self._takings = 0

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
        self._socket = await PodSocket.open(self._folder / SOCKET, self, self._parts.validate)

    async def close(self) -> None:
        """End its socket and every stream on it."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    def reload(self) -> None:
        """Take up what an earlier process left: files that belong together, or nothing."""
        if self.saved.ended is not None:
            self.state.put(Ended(*self.saved.ended))
            return
        found = files.read(self._folder)
        held = self.held
        if held is None or not found:
            return
        try:
            material = Material.read(
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
            return
        if self.remaining > 0:
            self.state.put(Serving(material))

    def refresh(self, pod: PodProof) -> None:
        """Take a newer token of the same pod."""
        if pod != self.pod:
            self.saved = dataclasses.replace(self.saved, pod=pod)
            self._parts.states.save(self.saved)

    async def obtain(self) -> None:
        """Get a certificate for a new key, and serve it.

        Raises:
            RefusedError: The pod may not have one. What it holds is left alone.
            UnavailableError: Nobody answers, or the files do not fit. Likewise.
            InputError: The answer is none. Likewise.
        """
        async with self._obtaining:
            algorithm = _FIRST_KEY if self.held is None else KeyAlgorithm(self.held.key_algorithm)
            try:
                await self._ask(algorithm)
            except RefusedError as error:
                if error.key_algorithm in {None, algorithm}:
                    raise
                await self._ask(error.key_algorithm or algorithm)

    async def _ask(self, algorithm: KeyAlgorithm) -> None:
        takings = self._takings
        if algorithm in _SLOW_KEYS:
            key, request = await asyncio.to_thread(make_key, algorithm)
        else:
            key, request = make_key(algorithm)
        began = self._parts.clock.monotonic()
        grant = await self._parts.issuer.x509(self.pod, request)
        if takings != self._takings:
            raise RefusedError(_REVOKED, "the identity was revoked while a certificate was made")
        own = grant.spiffe_id.removeprefix("spiffe://").partition("/")[0]
        jwks = visible(self._parts.trust, own, grant.federated)
        material = Material.of(grant, key, jwks)
        self.saved = dataclasses.replace(
            self.saved,
            ended=None,
            held=Held(
                spiffe_id=grant.spiffe_id,
                key_algorithm=grant.key_algorithm.value,
                renew_at=began + _seconds(grant.renew_at - grant.issued_at),
                ends_at=began + _seconds(grant.not_after - grant.issued_at),
                federated={name: pem.decode() for name, pem in grant.federated.items()},
                jwks={name: keys.decode() for name, keys in jwks.items()},
            ),
        )
        self._show(material)
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
        self.saved = dataclasses.replace(
            self.saved,
            held=dataclasses.replace(
                held,
                federated={name: pem.decode() for name, pem in federated.items()},
                jwks={name: keys.decode() for name, keys in fresh.jwt_bundles.items()},
            ),
        )
        self._show(fresh)

    def take_away(self, reason: str, message: str) -> None:
        """Take files, streams and tokens away, before anything else runs."""
        self._takings += 1
        self._tokens.clear()
        self.state.put(Ended(reason, message))
        files.clear(self._folder)
        self.saved = dataclasses.replace(self.saved, held=None, ended=(reason, message))
        self._parts.states.save(self.saved)

    def expire(self) -> None:
        """Serve a certificate no more that has run out; its files are left where they are."""
        if isinstance(self.state.value, Serving):
            self.state.put(Starting())

    async def jwt(self, audience: tuple[str, ...]) -> JwtGrant:
        """A JWT-SVID, perhaps one that was handed out before."""
        takings = self._takings

        async def mint() -> JwtGrant:
            return await self._parts.issuer.jwt(self.pod, audience)

        grant = await self._tokens.get(audience, self._parts.clock.monotonic, mint)
        if takings != self._takings:
            self._tokens.clear()
            raise RefusedError(_REVOKED, "the identity was revoked while a token was made")
        return grant

    def holds(self, serial: str | None) -> bool:
        """Whether a revocation of this serial, or of all, is about what it holds."""
        serving = self.state.value
        if isinstance(serving, Ended):
            return False
        if serial is None or not isinstance(serving, Serving):
            return True
        return serving.material.serial == serial

    def _show(self, material: Material) -> None:
        files.write(self._folder, material.files(), self.saved.group)
        self._parts.states.save(self.saved)
        self.state.put(Serving(material))


def _seconds(period: timedelta) -> float:
    return max(period.total_seconds(), 0.0)
