"""Measurements: what identities cost the API server, and what a request costs us."""
