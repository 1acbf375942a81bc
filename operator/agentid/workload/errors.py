"""What goes wrong in a handshake: errors of agentid that are errors of the module ssl as well.

Event loops and HTTP libraries end a connection in order only for errors of the module ssl; another
exception would pass through them as a defect of their own.
"""

from __future__ import annotations

import ssl

from agentid.errors import AgentIdError

__all__ = ["OwnIdentityError", "PeerRefusedError"]

_SSL_ERROR_SSL = int(ssl.SSLErrorNumber.SSL_ERROR_SSL)


class OwnIdentityError(AgentIdError, ssl.SSLError):
    """The files of this workload are missing, cannot be used, or were not renewed in time."""

    def __init__(self, message: str) -> None:
        super().__init__(_SSL_ERROR_SSL, message)
        self.reason = "OWN_IDENTITY"
        self.library = "agentid"


class PeerRefusedError(AgentIdError, ssl.SSLCertVerificationError):
    """The other side's certificate is valid, and yet it is nobody this side wants to talk to."""

    def __init__(self, message: str) -> None:
        super().__init__(_SSL_ERROR_SSL, message)
        self.reason = "PEER_REFUSED"
        self.library = "agentid"
        # As OpenSSL numbers it: X509_V_ERR_APPLICATION_VERIFICATION.
        self.verify_code = 50
        self.verify_message = message
