"""How does a verifier ask? CRLs and OCSP over HTTP, bundles and the deny feed over HTTPS.

And how do people look: `inventory`, a page, off by default.

A process of its own that reads what the operator publishes and what stands on the ledger, and
writes nothing. It never sees the private key of an authority. Deciding what is revoked, and signing
CRLs and bundles, is left to the operator.
"""

from __future__ import annotations

from agentid.responder.run import run_responder
from agentid.responder.settings import InventorySettings, Limits, Periods, Settings, TlsFiles

__all__ = ["InventorySettings", "Limits", "Periods", "Settings", "TlsFiles", "run_responder"]
