"""Limits on requests: rate limits, and free memory in the log for new work."""
