"""Check one photo's history, event by event, against the documented rules.

Nothing here is imported from the code under test: stages, pipelines and names are repeated.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

NOTHING_BEFORE = "0" * 64

PARENT = {
    "metadata": "validation",
    "thumbnails": "validation",
    "optimization": "validation",
    "placeholder": "thumbnails",
}
"""The stage that each stage waits for; a stage that is not listed waits for none."""

PIPELINES = {
    "full_processing": {"validation", *PARENT},
    "quick_processing": {"validation", "thumbnails"},
}

ONCE = {
    "photo.uploaded": (),
    "photo.processing.requested": ("jobId",),
    "photo.processing.started": ("jobId",),
    "photo.thumbnail.generated": ("jobId", "size"),
    "photo.processing.stage.completed": ("jobId", "stage"),
    "photo.processing.stage.failed": ("jobId", "stage", "attempt"),
    "photo.processing.completed": ("jobId",),
    "photo.processing.failed": ("jobId",),
    "photo.processing.discarded": ("jobId",),
    "photo.deleted": (),
    "photo.erased": (),
}
"""Events that may occur once, and the fields that distinguish them."""

OF_A_RUNNING_JOB = (
    "photo.processing.started",
    "photo.thumbnail.generated",
    "photo.processing.stage.completed",
    "photo.processing.stage.failed",
    "photo.processing.completed",
    "photo.processing.failed",
)


@dataclass
class Job:
    """A job; ``failure`` is that of the stage that ends the job, or has ended it."""

    job_id: str
    pipeline: str
    done: set[str]
    started: bool = False
    ended: bool = False
    failure: dict[str, Any] | None = None


@dataclass
class File:
    """A file; it is ``superseded`` once a later job has replaced it."""

    size: int
    sha256: str
    superseded: bool = False


@dataclass
class Photo:
    """A photo as its events describe it, and what is wrong with them."""

    photo_id: str
    version: int = 0
    client_id: str = ""
    sha256: str = ""
    job: Job | None = None
    ever_done: set[str] = field(default_factory=set[str])
    files: dict[str, File] = field(default_factory=dict[str, File])
    newest: dict[str, File] = field(default_factory=dict[str, File])
    deleted: bool = False
    erased: bool = False
    problems: list[str] = field(default_factory=list[str])

    @property
    def at_rest(self) -> bool:
        """Whether the photo is at rest: no work is pending."""
        return self.erased if self.deleted else self.job is not None and self.job.ended

    def wrong(self, what: str) -> None:
        self.problems.append(f"{self.photo_id}: {what}")


def chain_breaks(bodies: list[bytes]) -> list[int]:
    """Return the versions whose event does not follow the previous one."""
    breaks: list[int] = []
    prev = NOTHING_BEFORE
    for version, body in enumerate(bodies, start=1):
        metadata = msgspec.msgpack.decode(body)["metadata"]
        if metadata["prev"] != prev or metadata["photoVersion"] != version:
            breaks.append(version)
        prev = hashlib.sha256(body).hexdigest()
    return breaks


def told_by(photo_id: str, bodies: list[bytes]) -> Photo:
    """Return the photo that the stored events describe, oldest first."""
    photo = Photo(photo_id)
    for version in chain_breaks(bodies):
        photo.wrong(f"the chain breaks at version {version}")
    events = [msgspec.msgpack.decode(body) for body in bodies]
    photo.version = len(events)
    for event in events:
        _check_place(photo, event)
        _apply(photo, event["type"], event["data"])
    for what, count in Counter(filter(None, map(_identity, events))).items():
        if count > 1:
            photo.wrong(f"{' '.join(map(str, what))} came {count} times")
    return photo


def _identity(event: dict[str, Any]) -> tuple[Any, ...] | None:
    kind, data = event["type"], event["data"]
    return (kind, *(data.get(name) for name in ONCE[kind])) if kind in ONCE else None


def _check_place(photo: Photo, event: dict[str, Any]) -> None:
    """Check that the event is allowed at its place."""
    kind, data, job = event["type"], event["data"], photo.job
    photo.client_id = photo.client_id or event["metadata"]["clientId"]
    if event["metadata"]["clientId"] != photo.client_id:
        photo.wrong(f"{kind} is of another client")
    if (job is None) != (kind == "photo.uploaded"):
        photo.wrong(f"{kind} where the photo {'is not' if job is None else 'is'} known")
    if photo.erased or (photo.deleted and kind != "photo.erased"):
        photo.wrong(f"{kind} after the photo was deleted")
    if kind in OF_A_RUNNING_JOB and job is not None:
        if data["jobId"] != job.job_id:
            photo.wrong(f"{kind} of a job that is not the photo's")
        elif job.ended:
            photo.wrong(f"{kind} after the job's end")
        elif job.failure is not None and kind != "photo.processing.failed":
            photo.wrong(f"{kind} after a failure that is not tried again")


def _apply(photo: Photo, kind: str, data: dict[str, Any]) -> None:
    if kind in _STEPS:
        _STEPS[kind](photo, data)


def _upload(photo: Photo, data: dict[str, Any]) -> None:
    photo.sha256 = data["sha256"]
    photo.job = Job(data["jobId"], data["pipeline"], set[str]())
    photo.files[data["key"]] = File(data["fileSize"], data["sha256"])


def _request(photo: Photo, data: dict[str, Any]) -> None:
    if photo.job is not None and not photo.job.ended:
        photo.wrong("a job was asked for while another ran")
    done = set[str](data.get("done") or ())
    if made_up := done - photo.ever_done:
        photo.wrong(f"goes on after stages that were never done: {sorted(made_up)}")
    photo.job = Job(data["jobId"], data["pipeline"], done)


def _start(photo: Photo, _data: dict[str, Any]) -> None:
    if photo.job is not None:
        photo.job.started = True


def _complete_stage(photo: Photo, data: dict[str, Any]) -> None:
    stage = data["stage"]
    for rendition in data.get("renditions") or ():
        _name(photo, rendition)
    photo.ever_done.add(stage)
    if photo.job is None:
        return
    if stage in photo.job.done:
        photo.wrong(f"{stage} was done again")
    if stage in PARENT and PARENT[stage] not in photo.job.done:
        photo.wrong(f"{stage} was done before {PARENT[stage]}")
    photo.job.done.add(stage)


def _complete(photo: Photo, _data: dict[str, Any]) -> None:
    if photo.job is None:
        return
    if missing := PIPELINES.get(photo.job.pipeline, set[str]()) - photo.job.done:
        photo.wrong(f"completed without {sorted(missing)}")
    photo.job.ended = True


def _fail(photo: Photo, data: dict[str, Any]) -> None:
    if not (data["error"] and data["category"] and data["stage"]):
        photo.wrong("a dead letter without a reason")
    if photo.job is not None:
        photo.job.ended = True
        photo.job.failure = data


def _fail_stage(photo: Photo, data: dict[str, Any]) -> None:
    if photo.job is not None and data.get("retryAt") is None:
        photo.job.failure = data


def _discard(photo: Photo, _data: dict[str, Any]) -> None:
    if photo.job is None or not photo.job.ended or photo.job.failure is None:
        photo.wrong("discarded though it had not failed")


def _remove(photo: Photo, data: dict[str, Any]) -> None:
    for file in data["files"]:
        removed = photo.files.pop(file["key"], None)
        if removed is None or not removed.superseded or removed.size != file["fileSize"]:
            photo.wrong(f"{file['key']} was removed though it was not superseded")


def _delete(photo: Photo, _data: dict[str, Any]) -> None:
    photo.deleted = True


def _erase(photo: Photo, _data: dict[str, Any]) -> None:
    if not photo.deleted:
        photo.wrong("erased though it was not deleted")
    photo.erased = True


def _name(photo: Photo, rendition: dict[str, Any]) -> None:
    name = rendition["name"]
    if name in photo.newest:
        photo.newest[name].superseded = True
    file = File(rendition["fileSize"], rendition["sha256"])
    photo.newest[name] = photo.files[rendition["key"]] = file


_STEPS: dict[str, Callable[[Photo, dict[str, Any]], None]] = {
    "photo.uploaded": _upload,
    "photo.processing.requested": _request,
    "photo.processing.started": _start,
    "photo.thumbnail.generated": lambda photo, data: _name(photo, data["thumbnail"]),
    "photo.processing.stage.completed": _complete_stage,
    "photo.processing.stage.failed": _fail_stage,
    "photo.processing.completed": _complete,
    "photo.processing.failed": _fail,
    "photo.processing.discarded": _discard,
    "photo.renditions.removed": _remove,
    "photo.deleted": _delete,
    "photo.erased": _erase,
}
