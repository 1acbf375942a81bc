"""What is there? A page for people, off by default: agents, revocations, authorities.

It shows what the watches and the ledger told, to whom the API server lets list AgentIdentities. It
has a port of its own and writes nothing: the two objects that it creates, TokenReview and
SubjectAccessReview, are questions to the API server that it keeps nothing of.

```
 browser ─► handler ─► who is it, what may they list?   access ─► API server: two reviews
              │  ▲
              ▼  │
            views ◄── catalogue (watches), ledger           pages (HTML), JSON
```

Whatever fails here leaves CRLs, OCSP and feeds alone.
"""

from __future__ import annotations

from agentid.responder.inventory.following import follow
from agentid.responder.inventory.service import Inventory

__all__ = ["Inventory", "follow"]
