"""The health check of the archive: what keeps the archivers from their work, as they report it."""

from gateway.health.results import Check
from store.archive.reports import reports
from store.errors import Unavailable
from store.log.log import Log

NAMED = 3
"""Partitions whose problems one response names."""


async def check(log: Log) -> Check:
    """Return whether all partitions are archived; a reason names the segment and its position."""
    try:
        problems = list((await reports(log)).values())
    except Unavailable:  # the check of Redis reports it
        return Check(status="ok")
    if not problems:
        return Check(status="ok")
    others = len(problems) - NAMED
    more = f"; and {others} more partitions" if others > 0 else ""
    return Check(status="degraded", reason="; ".join(problems[:NAMED]) + more)
