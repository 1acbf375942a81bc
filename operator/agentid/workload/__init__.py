"""How does an agent prove who it is, and learn who is calling? TLS out of `/var/run/agentid`.

`Workload` reads the files that a pod is given, and makes `ssl.SSLContext`s of them, which every
library takes that speaks TLS through the module ssl. They follow the files as these are renewed,
and let a handshake succeed only with a peer whose SPIFFE ID is wanted:

    workload = Workload()
    context = workload.client_context(exactly("spiffe://example.org/ns/finance/agent/ledger"))

Needs nothing but cryptography. `agentid.workload.httpx`, `.aiohttp` and `.uvicorn` fit it into
these libraries, for whoever has them. What the peer may do, and whether it was revoked before it
expired, is left to `agentid.verify`.
"""

from __future__ import annotations

from agentid.identity import SpiffeId, TrustDomain
from agentid.workload.connection import peer_of
from agentid.workload.context import WorkloadContext
from agentid.workload.credentials import Identity
from agentid.workload.errors import OwnIdentityError, PeerRefusedError
from agentid.workload.peers import NOBODY, Peers, any_of, exactly, matching
from agentid.workload.workload import DEFAULT_DIRECTORY, Reload, Workload

__all__ = [
    "DEFAULT_DIRECTORY",
    "NOBODY",
    "Identity",
    "OwnIdentityError",
    "PeerRefusedError",
    "Peers",
    "Reload",
    "SpiffeId",
    "TrustDomain",
    "Workload",
    "WorkloadContext",
    "any_of",
    "exactly",
    "matching",
    "peer_of",
]
