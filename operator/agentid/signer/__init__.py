"""Answers PodCertificateRequests, by which kubelets ask for the certificates of their pods.

It attests who asks and delivers the answer; whether an identity may have a certificate, and how one
is made, is what every door shares (`policy.judge`, `services.issuance`).
"""

from __future__ import annotations

from agentid.signer.run import make_signer

__all__ = ["make_signer"]
