"""Spans, and how they form traces.

All spans of an upload, a reprocessing or a deletion are in one trace:

| span | parent | made by |
|---|---|---|
| ``POST /api/photos/upload``, until its answer begins | the client's span, if it sent one | gateway |
| ``append photo.uploaded`` | the request | gateway |
| ``stage thumbnails`` | the append that created the work | worker |
| ``append photo.processing.stage.completed`` | the run of the stage | worker |
| ``project``, a commit, for each trace that has an event in it | the append that created the work | projector |

Events and tasks carry no span ids. The span id of an append that creates work is derived from the
id of the job, or of the photo to be erased, so the process that does the work can derive it too.
"""  # noqa: E501 # a table

import hashlib
from collections.abc import Callable
from typing import Literal

import msgspec


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A finished span. Ids are in hex; a span without ``parent_id`` begins its trace.

    ``began_ns`` is nanoseconds since 1970.
    """

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
    """Return the span id of the append that created a job, or a photo's erasure."""
    return hashlib.sha256(work_id.encode()).hexdigest()[:16]
