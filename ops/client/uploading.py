"""Upload many files concurrently, each streamed from the disk, and retry where that helps.

A retried upload cannot become a second photo: each file has its own idempotency key, and the server
recognizes bytes that it already has.
"""

import io
import math
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream

from domain.photo.commands import FIRST_MODIFIED_MS, LAST_MODIFIED_MS
from ops.client.client import Problem
from ops.client.finding import Failed, Found, readable, unreadable
from ops.client.retry import BUSY, Retry, Waiting, busy
from ops.errors import one_by_one

AT_ONCE = 4
FIRST_LOOK_S = 0.2
NOT_YET = "not-processed-yet"
"""The code of a photo that is in the log but was not processed in time."""

Advance = Callable[[int], None]
"""Receives how many more bytes were sent; a negative number if they have to be sent again."""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The server has the photo. ``duplicate`` means that it had these bytes before.

    ``damaged`` is null until the photo is processed.
    """

    path: str
    photo_id: str
    job_id: str
    status: str
    duplicate: bool
    position: str
    damaged: bool | None = None


Outcome = Uploaded | Failed


class Wish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The form fields that go with every file."""

    session_id: str | None = None
    pipeline: str | None = None
    priority: int | None = None

    def fields(self) -> dict[str, str]:
        return {name: str(value) for name, value in msgspec.to_builtins(self).items()}


async def upload(
    client: httpx.AsyncClient,
    found: Found,
    wish: Wish,
    *,
    advance: Advance,
    ended: Callable[[Outcome], None],
    waiting: Waiting,
    wait: bool,
    timeout_s: float,
) -> None:
    """Upload all files, ``AT_ONCE`` at a time; ``ended`` receives the outcome of each.

    With ``wait``, a photo ends when it is processed, and fails if no photo at all was processed for
    ``timeout_s``. For one photo, a busy or unreachable server is retried no longer than that, nor
    than ``ops.client.retry.PATIENCE_S``; ``waiting`` receives the reason.

    Raises:
        httpx.TransportError: the server has not answered for that long.
    """
    bounds = _Bounds(timeout_s=timeout_s, waiting=waiting)
    for failed in found.failed:
        ended(failed)
    send, receive = anyio.create_memory_object_stream[Uploaded](math.inf)
    todo = iter(found.files)

    async def work() -> None:
        for path, _ in todo:
            outcome = await _Upload(client, path, wish, advance, bounds).run()
            if wait and isinstance(outcome, Uploaded):
                send.send_nowait(outcome)
            else:
                ended(outcome)

    with one_by_one():
        async with anyio.create_task_group() as both:
            both.start_soon(_follow, client, receive, bounds, ended)
            async with send, anyio.create_task_group() as workers:
                for _ in range(AT_ONCE):
                    workers.start_soon(work)


class _Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for one photo, and what receives the reason."""

    timeout_s: float
    waiting: Waiting

    def retry(self) -> Retry:
        return Retry(at_most_s=self.timeout_s, waiting=self.waiting)


class _Upload:
    """The upload of one file."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        path: Path,
        wish: Wish,
        advance: Advance,
        bounds: _Bounds,
    ) -> None:
        self._client = client
        self._path = path
        self._fields = wish.fields()
        self._advance = advance
        self._bounds = bounds
        self._key = str(uuid.uuid4())

    async def run(self) -> Outcome:
        retry = self._bounds.retry()
        while True:
            try:
                response, sent = await self._send()
            except OSError as error:
                return unreadable(self._path, error)
            except httpx.LocalProtocolError:
                # The head of the request has announced another length.
                reason = "changed while it was being sent"
                return Failed(path=readable(self._path), code="file-changed", reason=reason)
            except httpx.TransportError as error:
                await retry.after_loss(error)
                continue
            if response.status_code not in BUSY or not await retry.after_busy(response):
                return self._outcome(response)
            self._advance(-sent)

    async def _send(self) -> tuple[httpx.Response, int]:
        """Send the file; return the answer and how many bytes were counted as sent."""
        with _Counted(self._path, self._advance) as file:
            try:
                response = await self._client.post(
                    "/api/photos/upload",
                    data=self._fields | file.modified,
                    files={"file": (readable(Path(self._path.name)), file)},
                    headers={"Idempotency-Key": self._key},
                )
            except httpx.TransportError:
                self._advance(-file.counted)
                raise
            return response, file.counted

    def _outcome(self, response: httpx.Response) -> Outcome:
        path = readable(self._path)
        if not response.is_success:
            problem = Problem.of(response)
            return Failed(path=path, code=problem.code or "refused", reason=str(problem))
        try:
            answer = msgspec.json.decode(response.content, type=dict[str, Any])
            return msgspec.convert({**answer, "path": path}, Uploaded)
        except (msgspec.MsgspecError, TypeError):
            reason = "the answer is not from a Photolog: check the URL"
            return Failed(path=path, code="unexpected-answer", reason=reason)


class _Counted(io.FileIO):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, advance: Advance) -> None:
        super().__init__(path, "rb")
        self._advance = advance
        self.counted = 0

    @property
    def modified(self) -> dict[str, str]:
        """The form field with the time of the last change, unless that is no possible time."""
        ms = os.fstat(self.fileno()).st_mtime_ns // 1_000_000
        possible = FIRST_MODIFIED_MS <= ms <= LAST_MODIFIED_MS
        return {"lastModified": f"{ms}"} if possible else {}

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(-1 if size is None else size)
        self.counted += len(chunk)
        self._advance(len(chunk))
        return chunk


async def _follow(
    client: httpx.AsyncClient,
    uploaded: MemoryObjectReceiveStream[Uploaded],
    bounds: _Bounds,
    ended: Callable[[Outcome], None],
) -> None:
    """Poll one job after the other: they end roughly in the order of their uploads."""
    async with uploaded:
        async for photo in uploaded:
            ended(await _processed(client, photo, bounds))


async def _processed(client: httpx.AsyncClient, photo: Uploaded, bounds: _Bounds) -> Outcome:
    until = time.monotonic() + bounds.timeout_s
    retry, pause_s = bounds.retry(), FIRST_LOOK_S
    while True:
        try:
            outcome = await _ended(client, photo, bounds.waiting)
        except httpx.TransportError as error:
            await retry.after_loss(error)
            continue
        if outcome is not None:
            return outcome
        if time.monotonic() > until:
            return Failed(
                path=photo.path,
                code=NOT_YET,
                reason=f"it is uploaded, but no photo was processed for {bounds.timeout_s:g} s",
                photo_id=photo.photo_id,
                status=photo.status,
            )
        await anyio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)


async def _ended(client: httpx.AsyncClient, photo: Uploaded, waiting: Waiting) -> Outcome | None:
    """Return the outcome of the photo's job; None while it runs."""
    response = await client.get(f"/api/jobs/{photo.job_id}")
    if response.status_code in BUSY:
        waiting(busy(response))
        return None
    if response.status_code == 404:  # not in the read model yet
        return None
    if not response.is_success:
        problem = Problem.of(response)
        return _failed(photo, _JobError(code=problem.code, message=str(problem)))
    job = msgspec.json.decode(response.content, type=_Job)
    if job.status == "failed":
        return _failed(photo, job.error or _JobError())
    if job.status != "completed":
        return None
    response = await client.get(f"/api/photos/{photo.photo_id}")
    if not response.is_success:  # deleted meanwhile
        return msgspec.structs.replace(photo, status=job.status)
    seen = msgspec.json.decode(response.content, type=_Photo)
    return msgspec.structs.replace(photo, status=job.status, damaged=seen.damaged)


class _JobError(msgspec.Struct):
    code: str = "failed"
    message: str = "it failed"


class _Job(msgspec.Struct):
    status: str
    error: _JobError | None = None


class _Photo(msgspec.Struct):
    damaged: bool


def _failed(photo: Uploaded, error: _JobError) -> Failed:
    return Failed(path=photo.path, code=error.code, reason=error.message, photo_id=photo.photo_id)
