"""Spans: what was done for whom, when and for how long.

All spans of an upload, a reprocessing or a deletion are in one trace:

| span | below | by |
|---|---|---|
| ``POST /api/photos/upload``, until its answer begins | the sender's span, if it named one | gateway |
| ``append photo.uploaded`` | the request | gateway |
| ``stage thumbnails`` | the append that gave the work | worker |
| ``append photo.processing.stage.completed`` | the run of the stage | worker |
| ``project``, a commit, for each trace that has an event in it | the append that gave the work | projector |

No event and no task carries the id of a span: that of an append that gives work follows from the id
of the job, or of the photo that is to be erased, so that whoever does the work knows it.
"""  # noqa: E501 # a table

import hashlib
from collections.abc import Callable
from typing import Literal

import msgspec


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Ids in hex; without ``parent_id`` the span begins its trace. ``began_ns`` since 1970."""

    name: str
    kind: Literal["server", "internal", "consumer"] = "internal"
    trace_id: str
    span_id: str
    parent_id: str = ""
    began_ns: int
    seconds: float
    attributes: dict[str, str | int]
    failed: bool = False


Spans = Callable[[Span], None]


def work_span_id(work_id: str) -> str:
    """The id of the span of the append that gave the work: of a job, or of a photo's erasure."""
    return hashlib.sha256(work_id.encode()).hexdigest()[:16]
