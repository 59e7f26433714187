"""How far the processing of a photo is, as its events say."""

from typing import Literal

from domain.photo import events as e

Status = Literal["queued", "processing", "completed", "failed"]

STATUS_AFTER: dict[type[e.AnyEvent], Status] = {
    e.PhotoUploaded: "queued",
    e.ProcessingRequested: "queued",
    e.ProcessingStarted: "processing",
    e.ProcessingCompleted: "completed",
    e.ProcessingFailed: "failed",
}
"""The events that change it, and to what."""
