"""What is mounted into a pod that asks for an identity, and why is another one refused?

The label selects, and nothing here grants: a certificate is given by the signer, the node plugin or
the controller, each of which judges for itself. So nothing is created here, nothing is written, and
a review that is lost costs no more than a pod without its mount, which the policy
`agentid-pod-volumes` refuses.
"""

from __future__ import annotations

from agentid.admission.run import run_admission
from agentid.admission.settings import Limits, Settings

__all__ = ["Limits", "Settings", "run_admission"]
