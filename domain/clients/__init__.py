"""Clients: their quotas and usage, and the revocation of access."""
