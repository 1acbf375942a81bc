"""What people look at agentid with: alert rules, dashboard, and the schema of audit events.

They are generated from code, so that a query cannot name a metric that does not exist; `make
monitoring` writes the files, and `make lint` compares them.
"""
