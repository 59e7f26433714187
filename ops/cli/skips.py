"""Say why photos were skipped by an operation on many."""

from collections import Counter
from collections.abc import Iterable

from ops.event_format import printable

_WORDS = {
    "photo-not-found": "there is no such photo",
    "photo-deleted": "the photo is deleted",
    "job-running": "the photo is being processed",
    "job-failed": "its last job failed: retry or discard it first",
    "nothing-failed": "its last job has not failed, or its failure was discarded",
    "unknown-stage": "the stage that failed no longer exists",
    "quota-jobs": "the client has as many jobs as its quota allows",
}


def why(code: str) -> str:
    """Return in words why a photo is skipped; a code that is unknown here stays as it is."""
    words = _WORDS.get(code)
    return f"{words} ({code})" if words else printable(code)


def counted(codes: Iterable[str]) -> list[str]:
    """Return for each code how many photos were skipped, and why."""
    return [f"{count:,} skipped: {why(code)}" for code, count in sorted(Counter(codes).items())]
