"""Limits on requests: rate limits, quotas, upload slots, free memory in the log.

| file | what |
|---|---|
| ``quotas`` | how much a client may keep |
| ``throttling`` | how often it may ask |
| ``upload_slots`` | how many uploads are received at once |

The memory of the log is in ``gateway.state``; the bounds themselves are in ``gateway.http.limits``.
"""
