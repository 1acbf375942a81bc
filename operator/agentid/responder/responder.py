"""The parts of one responder, made once, with no network yet: what tests serve from memory.

What is wrong, and what the gauges show, is asked of it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.responder.feed import Feeds
from agentid.responder.limits import Throttle
from agentid.responder.metrics import ResponderMetrics, ResponderSnapshot
from agentid.responder.ocsp import OcspService
from agentid.responder.policies import PolicyIndex
from agentid.responder.publications import SECRET, Publications
from agentid.responder.register import Register
from agentid.responder.routes import Guard, PlainRoutes, SecureRoutes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentid.clock import Clock
    from agentid.responder.register import LedgerSource
    from agentid.responder.settings import Settings

__all__ = ["Responder"]


class Responder:
    """Everything that answers.

    Args:
        settings: Of this installation.
        ledger: Followed by who runs this; `ledger_read` is called once it was read.
        clock: For times.
        epoch: Of this process, random: positions in its feeds begin with it.
    """

    def __init__(
        self, settings: Settings, ledger: LedgerSource, *, clock: Clock, epoch: str
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = ResponderMetrics()
        self.feeds = Feeds(epoch)
        self.publications = Publications(
            settings.periods.max_age,
            on_refused=lambda kind: self.metrics.publications_refused.labels(kind).inc(),
            on_issuer=self.feeds.add_issuer,
            on_authorities=self._serve_authorities,
            svid=settings.tls is None,
        )
        self.register = Register(ledger, settings.periods.stale_after)
        self.policies = PolicyIndex()
        self.ocsp = OcspService(
            self.register, self.publications.signers, settings.periods, clock.now, self.metrics
        )
        throttle = Throttle(settings.limits, clock.monotonic)
        plain = PlainRoutes(self.publications, self.ocsp, self.policies, settings, clock.now)
        self.secure = SecureRoutes(
            self.publications, self.feeds, self.register, settings, self.metrics, clock.now
        )
        self.plain_guard = Guard(plain.table, throttle, self.metrics)
        self.secure_guard = Guard(self.secure.table, throttle, self.metrics)
        self.connections: Callable[[], Mapping[str, int]] = dict
        self.loop_lag = 0.0
        self._ledger = ledger
        self._heard: float | None = None
        self.metrics.observe_state(self.snapshot)

    # Told by who runs it

    def ledger_read(self) -> None:
        """The ledger was read for the first time: feeds and policies begin."""
        self.feeds.follow(self._ledger)
        self.policies.follow(self._ledger)

    def published_current(self) -> None:
        """Everything that is published is known."""
        self._heard = self.clock.monotonic()

    def tidy(self) -> None:
        """Let go of what has expired."""
        now = self.clock.now()
        self.feeds.forget_expired(now)
        self.policies.forget_expired(now)

    def stop_feeds(self) -> None:
        """End all feeds, in order."""
        self.secure.stop.set()
        self.feeds.wake()

    def _serve_authorities(self) -> None:
        self.ocsp.serve(self.publications.bundles.authorities)

    # Probes

    def unhealthy(self) -> Sequence[str]:
        """What only a restart can mend: nothing that is known."""
        return ()

    def unready(self) -> Sequence[str]:
        """What still keeps this replica from doing its work.

        Nothing that befalls all replicas at once stands here, such as an API server that is away:
        they would all be taken out of service, and what still holds would be served by nobody. So
        a certificate that HTTPS cannot be served with is a remark, too: HTTP goes on. So is that
        there is no issuer: nothing is asked of HTTPS before the first one.
        """
        found = []
        if self._heard is None:
            found.append("what the operator publishes has not been read yet")
        if not self.register.is_read:
            found.append("the ledger has not been read yet")
        if self._has_issuers and not self._has_identity:
            found.append(
                f"HTTPS has no certificate yet: the operator writes one to Secret {SECRET}, or "
                "give --tls-cert and --tls-key"
            )
        return found

    @property
    def _has_issuers(self) -> bool:
        return any(True for _ in self.publications.bundles)

    @property
    def _has_identity(self) -> bool:
        return self.publications.tls.ready.is_set() or bool(self.publications.tls_refused)

    def remarks(self) -> Sequence[str]:
        """What a person should look at, while this replica serves on."""
        now, found = self.clock.now(), []
        if self._heard is not None and not (self._has_issuers or self._has_identity):
            found.append("no issuer publishes anything yet, so HTTPS waits for the first one")
        if self.register.is_read and not self.register.is_fresh:
            found.append(
                f"nothing was heard of the ledger for {self.register.age:.0f} s, so OCSP answers "
                "tryLater"
            )
        found += self.publications.tls_refused.values()
        found += [
            f"CRL {crl.key.shard} of {crl.key.authority} ({crl.issuer}) was due at "
            f"{crl.next_update.isoformat()} and is served still"
            for crl in self.publications.crls.current(now)
            if crl.next_update < now
        ]
        found += [
            f"the OCSP signer of {one.authority} ({one.issuer}) has expired"
            for one in self.publications.signers
            if one.validity.not_after < now
        ]
        found += [
            f"the HTTPS certificate of {name} has expired"
            for name, expiry in self.publications.tls.expiries.items()
            if expiry < now
        ]
        return found

    def snapshot(self) -> ResponderSnapshot:
        """The state for the gauges."""
        now, state = self.clock.now(), self._ledger.state
        crls = tuple(self.publications.crls.current(now))
        count: dict[str, int] = {}
        age: dict[str, float] = {}
        left: dict[str, float] = {}
        for crl in crls:
            count[crl.issuer] = count.get(crl.issuer, 0) + 1
            old = (now - crl.this_update).total_seconds()
            age[crl.issuer] = max(age.get(crl.issuer, old), old)
            rest = (crl.next_update - now).total_seconds()
            left[crl.issuer] = min(left.get(crl.issuer, rest), rest)
        heard = self._heard
        return ResponderSnapshot(
            ledger_age=self.register.age,
            publications_age=float("inf") if heard is None else self.clock.monotonic() - heard,
            ledger_entries=state.count,
            ledger_revoked=state.revoked_count,
            feed_clients=self.secure.clients,
            connections=self.connections(),
            crls=count,
            crl_age=age,
            crl_next_update=left,
            bundle_sequence={one.issuer: one.sequence for one in self.publications.bundles},
            ocsp_expiry={
                (one.issuer, one.authority): (one.validity.not_after - now).total_seconds()
                for one in self.publications.signers
            },
            tls_expiry={
                name: (expiry - now).total_seconds()
                for name, expiry in self.publications.tls.expiries.items()
            },
            loop_lag=self.loop_lag,
        )
