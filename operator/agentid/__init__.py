"""agentid: verifiable, short-lived, revocable X.509/SPIFFE identities for AI agents.

Which folder answers which question, and which way the arrows point: `docs/development/layout.md`.
"""

from agentid._version import __version__

__all__ = ["__version__"]
