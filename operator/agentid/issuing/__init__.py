"""How does a node get certificates and tokens for its pods? HTTPS, for node plugins alone.

It attests who asks and delivers the answer; whether an identity may have a certificate, and how one
is made, is what every door shares (`policy.judge`, `services.issuance`).
"""

from __future__ import annotations

from agentid.issuing.run import IssuingSettings, make_issuing

__all__ = ["IssuingSettings", "make_issuing"]
