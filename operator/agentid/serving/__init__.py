"""How do we serve others? Ports, connections with bounded patience, certificates of servers.

What is answered is left to `responder` and `admission`.
"""
