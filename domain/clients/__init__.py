"""Clients: their quotas, what counts towards them, and revoked access."""
