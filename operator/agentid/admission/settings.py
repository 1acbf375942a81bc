"""What differs from one webhook to another: addresses and limits."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Limits", "Settings"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them together, can make this process do.

    Attributes:
        connections: Connections at a time.
        client_connections: Of these from one address. API servers are the only clients, few, and
            each opens as many as it has reviews in flight.
        idle_seconds: How long a connection may take for the head of a request, and may rest
            between two. Longer than the 90 s after which an API server closes it by itself, so
            that it is never told to send something on a connection that ends at that moment.
        body_seconds: How long the body of a review may take.
        write_seconds: How long a client may take no octet of what waits for it.
        waiting_bytes: Octets of bodies that are read at a time; more are told to come again.
    """

    connections: int = 2_048
    client_connections: int = 1_024
    idle_seconds: float = 120
    body_seconds: float = 3
    write_seconds: float = 10
    waiting_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation's settings.

    Attributes:
        namespace: Where agentid runs; None for the one that the credentials name.
        host: Address to listen on.
        port: Of HTTPS; 0 takes a free one.
        probe_host: Address of probes and metrics.
        probe_port: Port of probes and metrics; 0 takes a free one.
        limits: What clients can make it do.
        linger: Seconds from the wish to stop until the port is closed: reviews come for as long as
            other machines have not heard that this replica is going.
        drain: Seconds for reviews in work at the end.
    """

    namespace: str | None = None
    host: str = "0.0.0.0"  # noqa: S104 - API servers come from outside the pod
    port: int = 8443
    probe_host: str = "0.0.0.0"  # noqa: S104 - so do the kubelet and Prometheus
    probe_port: int = 8080
    limits: Limits = field(default_factory=Limits)
    linger: float = 3
    drain: float = 4
