"""How does the operator say what it does? Log events, metrics and the probes that serve them.

What happened to one identity is told on the resource itself (`agentid.api.conditions`), not here.
"""
