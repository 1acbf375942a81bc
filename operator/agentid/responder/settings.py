"""What differs from one responder to another: addresses, limits and periods."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_PATH", "InventorySettings", "Limits", "Periods", "Settings", "TlsFiles"]

MAX_PATH: Final = 2048
"""Characters of a path with its query. The longest that a client needs is that of an OCSP request
by GET, which RFC 9919 §5 keeps at 255; with SHA-512 in its CertID and a long serial number it takes
about 300."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them together, can make this process do.

    Attributes:
        rate: Requests a second from all clients, 0 for any number.
        burst: Requests that may come at once from all clients, after a silence.
        client_rate: Requests a second from one address (IPv6: one /64), 0 for any number.
        client_burst: Requests that may come at once from one address.
        connections: Connections at a time, on each of the two ports.
        client_connections: Of these from one address.
        feeds: Clients that follow a deny feed at a time.
        idle_seconds: How long a connection may take for the head of a request, and may rest
            between two requests.
        body_seconds: How long the body of a request may take.
        write_seconds: How long a client may take no octet of what waits for it.
    """

    rate: float = 10_000
    burst: int = 20_000
    client_rate: float = 2_000
    client_burst: int = 4_000
    connections: int = 2_048
    client_connections: int = 512
    feeds: int = 256
    idle_seconds: float = 20
    body_seconds: float = 5
    write_seconds: float = 20


@dataclass(frozen=True, slots=True)
class Periods:
    """How long what is.

    Attributes:
        ocsp_window: `thisUpdate` of OCSP answers moves in steps of this length, the same ones in
            all replicas, so that they agree and that an answer is signed once a step.
        ocsp_validity: From `thisUpdate` to `nextUpdate`.
        max_age: How long a cache of HTTP may keep CRLs and OCSP answers: so much later at most
            does who asks through one learn of a revocation.
        stale_after: For how long nothing may be heard of the ledger until OCSP says `tryLater`.
        heartbeat: Between two signs of life of a feed.
        drain: For requests in work at the end.
    """

    ocsp_window: timedelta = timedelta(seconds=60)
    ocsp_validity: timedelta = timedelta(minutes=10)
    max_age: timedelta = timedelta(seconds=30)
    stale_after: timedelta = timedelta(seconds=180)
    heartbeat: timedelta = timedelta(seconds=15)
    drain: timedelta = timedelta(seconds=4)

    def __post_init__(self) -> None:
        """Refuse periods that do not go together.

        Raises:
            InputError: A period is not positive, or answers would run out before they are renewed.
        """
        for name in ("ocsp_window", "ocsp_validity", "stale_after", "heartbeat"):
            if (value := getattr(self, name)) < _LEAST:
                msg = f"{name} is {value.total_seconds():g} s; it has to be a second or more"
                raise InputError(msg)
        if self.ocsp_window.microseconds or self.ocsp_validity.microseconds:
            msg = "OCSP times have whole seconds (RFC 6960 §4.2.2.1); give whole seconds"
            raise InputError(msg)
        if self.ocsp_validity < 2 * self.ocsp_window:
            msg = (
                f"OCSP answers that hold for {self.ocsp_validity} and are renewed every "
                f"{self.ocsp_window} leave no room; make the validity twice the window or more"
            )
            raise InputError(msg)


_LEAST: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate of the web's for the HTTPS port, for bundle endpoints by `https_web`.

    Attributes:
        certificate: Path of the chain in PEM, leaf first.
        key: Path of its key in PEM.
    """

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class InventorySettings:
    """Of the page for people, which is off unless these are given.

    Attributes:
        port: To listen on, with HTTPS; 0 takes a free one.
        review_period: How long the API server's word counts on who somebody is and what they may
            see: so much later at most does who lost a token or a right see nothing.
    """

    port: int = 8444
    review_period: timedelta = timedelta(seconds=30)

    def __post_init__(self) -> None:
        """Refuse a period of no use.

        Raises:
            InputError: It is shorter than a second or longer than five minutes.
        """
        if not _LEAST <= self.review_period <= _MOST_REVIEWED:
            msg = (
                f"the inventory's review period is {self.review_period.total_seconds():g} s; it "
                "has to be from 1 to 300 s"
            )
            raise InputError(msg)


_MOST_REVIEWED: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation's settings.

    Attributes:
        namespace: Where the operator publishes; None for the one that the credentials name.
        host: Address to listen on, for HTTP and HTTPS.
        http_port: Of CRLs, OCSP, authorities and policies; 0 takes a free one.
        https_port: Of bundles and the feed; 0 takes a free one.
        probe_host: Address of probes and metrics.
        probe_port: Port of probes and metrics; 0 takes a free one.
        tls: In place of the SVIDs that the operator makes.
        limits: What clients can make it do.
        periods: How long what is.
        inventory: Of the page for people; None for no page.
    """

    namespace: str | None = None
    host: str = "0.0.0.0"  # noqa: S104 - verifiers come from outside the pod
    http_port: int = 8081
    https_port: int = 8443
    probe_host: str = "0.0.0.0"  # noqa: S104 - so do the kubelet and Prometheus
    probe_port: int = 8080
    tls: TlsFiles | None = None
    limits: Limits = field(default_factory=Limits)
    periods: Periods = field(default_factory=Periods)
    inventory: InventorySettings | None = None
