"""How one node plugin runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.node.driver import DriverSettings
    from agentid.node.serving import Places

__all__ = ["NodeSettings"]


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What `agentid node` is told.

    Attributes:
        driver: Folders, and how volumes are kept.
        places: Where the kubelet looks for it.
        issuer_url: Of the issuer service, without a slash at the end.
        issuer_ca: Whom to trust as the issuer service, in PEM; read again when it changes.
        token: File with the node plugin's own token for the issuer service, which the kubelet
            renews; read for each request.
        probe_host: Address of probes and metrics.
        probe_port: Port of probes and metrics.
    """

    driver: DriverSettings
    places: Places
    issuer_url: str
    issuer_ca: Path
    token: Path
    probe_host: str
    probe_port: int
