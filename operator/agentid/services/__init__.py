"""What does agentid do? One use case a module: issue, deliver, revoke, look after an issuer.

Services put the ledger, the issuers and the API server together; what has to be done is decided
below, in `policy`, and when, above, in `controller`.
"""
