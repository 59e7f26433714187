"""Serve the bytes of a photo: its original and its renditions, streamed from the blob store.

An original never changes, so a browser may cache it; it requests the file again when the token
changes. A rendition changes when the photo is processed again, so a browser revalidates it each
time; this transfers no bytes while the ETag, the SHA-256 of the file, is the same.

A whole file is hashed while it is sent. If its bytes differ from what the log records, the request
is rejected, or the response is aborted if the file is longer than a chunk. A part of a file cannot
be checked.

Files come from users. A browser shows them as the image type detected from their first bytes, or
not at all: no sniffing, no scripts, no frames.

If readers can reach the blob server, the gateway can redirect them to it with a URL that expires.
Only readers who may see the photo get one.
"""

import logging
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated

import anyio
import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

from domain.pipeline.stages import DEFAULT_PIPELINE, PIPELINES
from gateway.dependencies import Asked, Dependencies
from gateway.health.damage import note
from gateway.http.envelope import is_head
from gateway.http.intact import at_once, intact
from gateway.http.preconditions import Conditions, Current, of_file
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import SHOWN, only
from gateway.http.ranges import Range, Unsatisfiable, parse_range, still_holds
from gateway.queries.reading import not_found, visible
from gateway.uploads.digests import repr_digest
from gateway.uploads.filenames import disposition, with_suffix
from projections.models import jobs, photos
from projections.models.jobs import JobView
from projections.models.photos import Files, Owner
from store.blobs.damaged import Damage
from store.blobs.interface import CHUNK_BYTES
from store.errors import Corrupt, Missing
from store.log.position import Position
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

logger = logging.getLogger("photolog.gateway")

FOREVER = "private, max-age=31536000, immutable"
ASK = "private, no-cache"
NEVER = "private, no-store"

THUMBNAIL = "thumbnail-"
"""Prefix of the names of thumbnails; the size follows."""

ThumbnailSize = Annotated[
    int, PathParameter(description="Longest edge in pixels: 150, 300 or 600.")
]

Download = Annotated[
    bool, QueryParameter(name="download", description="Download the file instead of displaying it.")
]

_RESPONSES: Mapping[int, ResponseSpec] = {
    200: ResponseSpec(bytes, description="The file", media_type="image/*", generate_examples=False),
    206: ResponseSpec(
        bytes,
        description="The requested range of the file",
        media_type="image/*",
        generate_examples=False,
    ),
    304: ResponseSpec(None, description="The client's copy is current", generate_examples=False),
    307: ResponseSpec(None, description="A temporary URL of the file", generate_examples=False),
    **problems(
        *("photo-not-found", "rendition-not-found", "range-not-satisfiable", "missing-token"),
        *("blob-missing", "corrupt", "read-model-behind"),
    ),
}


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a photo, as it is served."""

    photo_id: str
    client_id: str
    key: str
    name: str
    mime_type: str
    size: int
    sha256: str
    current: Current
    cache: str


@get(
    "/api/photos/{photo_id:str}/original",
    guards=[only("after", "download")],
    responses=_RESPONSES,
    tags=["photos"],
    summary="Get the original file",
)
async def original(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_id: FromPath[str],
    download: Download = False,
) -> ASGIResponse:
    """Return the photo as it was uploaded, byte for byte. Supports `Range` and `If-None-Match`."""
    owner, files = await _files(request, reader, photo_id)
    file = File(
        photo_id=photo_id,
        client_id=owner.client_id,
        key=files.original_key,
        name=files.original_filename,
        mime_type=files.mime_type,
        size=files.file_size,
        sha256=files.sha256,
        current=of_file(files.sha256, datetime.fromisoformat(files.uploaded_at).timestamp()),
        cache=FOREVER,
    )
    return await _answer(request, deps, file, download=download)


@get(
    "/api/photos/{photo_id:str}/thumbnails/{size:str}",
    guards=[only("after", "download")],
    responses=_RESPONSES,
    tags=["photos"],
    summary="Get a thumbnail",
)
async def thumbnail(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_id: FromPath[str],
    size: ThumbnailSize,
    download: Download = False,
) -> ASGIResponse:
    """Return a thumbnail: upright, without metadata, and never larger than the original."""
    owner, files = await _files(request, reader, photo_id)
    file = _rendition(files, f"{THUMBNAIL}{size}", photo_id, owner)
    if file is None:
        raise _no_thumbnail(size, files, await reader.query(_last_job, photo_id))
    return await _answer(request, deps, file, download=download)


@get(
    "/api/photos/{photo_id:str}/optimized",
    guards=[only("after", "download")],
    responses=_RESPONSES,
    tags=["photos"],
    summary="Get the optimized picture",
)
async def optimized(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_id: FromPath[str],
    download: Download = False,
) -> ASGIResponse:
    """Return the picture for screens: smaller than the original, upright, without its metadata."""
    owner, files = await _files(request, reader, photo_id)
    file = _rendition(files, "optimized", photo_id, owner)
    if file is None:
        job = await reader.query(_last_job, photo_id)
        raise _not_made("optimized picture", "optimization", job)
    return await _answer(request, deps, file, download=download)


async def _files(request: Asked, reader: Reader, photo_id: str) -> tuple[Owner, Files]:
    found, files = await reader.query(_owned, photo_id)
    owner = visible(found, photo_id, request.user)
    if files is None:
        raise not_found(photo_id)
    return owner, files


def _owned(db: Connection, photo_id: str) -> tuple[Owner | None, Files | None]:
    return photos.owner(db, photo_id), photos.files(db, photo_id)


def _last_job(db: Connection, photo_id: str) -> JobView | None:
    photo = photos.get(db, photo_id)
    return jobs.get(db, photo.job_id) if photo else None


def _no_thumbnail(size: int, files: Files, job: JobView | None) -> Refused:
    made = [name.removeprefix(THUMBNAIL) for name in files.renditions if name.startswith(THUMBNAIL)]
    if not made:
        return _not_made("thumbnails", "thumbnails", job)
    sizes = ", ".join(sorted(made, key=int))
    detail = f"There is no thumbnail of {str(size)[:SHOWN]} px."
    return Refused("rendition-not-found", detail, advice=f"Available sizes: {sizes} px.")


def _not_made(what: str, stage: str, job: JobView | None) -> Refused:
    """Return why the photo lacks what the stage produces, and what to do about it."""
    detail, advice = f"The photo has no {what}.", ""
    if job is not None and stage not in PIPELINES.get(job.pipeline, frozenset()):
        detail = f"The pipeline {job.pipeline} produces no {what}."
        advice = f"Process the photo again with {DEFAULT_PIPELINE}."
    elif job is not None and job.status == "failed":
        detail = f"The photo has no {what}, because it could not be processed."
        advice = "See the photo's `processingError`."
    elif job is not None and job.status != "completed":
        detail, advice = f"The photo has no {what} yet.", "Wait until the photo is processed."
    return Refused("rendition-not-found", detail, advice=advice)


def _rendition(files: Files, name: str, photo_id: str, owner: Owner) -> File | None:
    made = files.renditions.get(name)
    if made is None:
        return None
    suffix = made.mime_type.rpartition("/")[2]
    return File(
        photo_id=photo_id,
        client_id=owner.client_id,
        key=made.key,
        name=with_suffix(files.original_filename, f"-{name}.{suffix}"),
        mime_type=made.mime_type,
        size=made.file_size,
        sha256=made.sha256,
        current=of_file(made.sha256, Position.parse(files.position).ms / 1000),
        cache=ASK,
    )


async def _answer(
    request: Asked, deps: Dependencies, file: File, *, download: bool
) -> ASGIResponse:
    """Answer 304, 307, 206 or 200. Preconditions are evaluated before the blob is read.

    Raises:
        Refused: ``precondition-failed``; ``range-not-satisfiable``; ``corrupt``: the blob differs
            from what the log records.
        Missing: the blob does not exist.
    """
    conditions = Conditions.of(request.scope)
    if conditions is not None:
        conditions.require(file.current)
        if conditions.evaluate(file.current) == "not-modified":
            return ASGIResponse(status_code=304, headers=_headers(file))
    try:
        stored = await deps.blobs.size(file.key)
    except Missing:
        await _note(deps, file, "missing")
        raise
    if stored != file.size:
        await _note(deps, file, "altered")
        raise Refused(
            "corrupt",
            f"The stored file has {stored} bytes instead of the {file.size} that were written.",
            advice="Ask the operator to run `photolog reconcile`.",
        )
    shown = disposition("attachment" if download else "inline", file.name)
    link = deps.blobs.link(file.key, mime_type=file.mime_type, disposition=shown)
    if link is not None and not is_head(request.scope):  # the link is signed for GET
        return ASGIResponse(status_code=307, headers={"Location": link, "Cache-Control": NEVER})
    part = _part(request, file)
    start, length = (part.start, part.length) if part else (0, file.size)
    chunks = deps.blobs.read(file.key, start, length)
    if length == file.size and request.method == "GET":
        chunks = await _checked(deps, file, chunks)
    headers = _headers(file) | {
        "Content-Length": str(length),
        "Content-Type": file.mime_type,
        "Content-Disposition": shown,
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if part:
        headers["Content-Range"] = part.content_range(file.size)
    return Streamed(
        chunks,
        deps.limits.slow_reader_s,
        headers=headers,
        status_code=206 if part else 200,
        is_head_response=is_head(request.scope),
    )


async def _note(deps: Dependencies, file: File, damage: Damage) -> None:
    await note(
        *(deps.log, file.key, damage),
        photo_id=file.photo_id,
        client_id=file.client_id,
        sha256=file.sha256,
    )


async def _checked(
    deps: Dependencies, file: File, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the chunks of the whole file; end early if they differ from what the log records."""

    async def counted() -> AsyncIterator[bytes]:
        began = time.perf_counter()
        try:
            async for chunk in intact(chunks, file.key, file.sha256):
                yield chunk
        except Corrupt:
            await _note(deps, file, "altered")
            deps.blobs.observe("get", "corrupt", time.perf_counter() - began)
            raise

    # A single chunk can be checked before the response starts.
    return await at_once(counted()) if file.size <= CHUNK_BYTES else counted()


def _headers(file: File) -> dict[str, str]:
    return file.current.headers() | {
        "Repr-Digest": repr_digest(file.sha256),
        "Cache-Control": file.cache,
        "Vary": "Authorization, Cookie",
        "Accept-Ranges": "bytes",
    }


def _part(request: Asked, file: File) -> Range | None:
    if_range = request.headers.get("if-range")
    # RFC 9110, section 14.2: Range is defined only for GET.
    if is_head(request.scope) or not still_holds(if_range, file.current.etag):
        return None
    try:
        return parse_range(request.headers.get("range"), file.size)
    except Unsatisfiable as error:
        raise Refused(
            "range-not-satisfiable",
            f"The file has {file.size} bytes.",
            headers={"Content-Range": f"bytes */{file.size}"},
        ) from error


class Streamed(ASGIResponse):
    """Send chunk by chunk; give up on a client that reads nothing for ``patience_s``.

    If the chunks end with Corrupt, the response is aborted.
    """

    _should_set_content_length = False

    def __init__(self, chunks: AsyncIterator[bytes], patience_s: float, **options: object) -> None:
        super().__init__(**options)  # pyright: ignore[reportArgumentType] # passed through
        self._chunks = chunks
        self._patience_s = patience_s

    async def send_body(self, send: Send, receive: Receive) -> None:  # noqa: ARG002 # the base's
        try:
            async for chunk in self._chunks:
                with anyio.move_on_after(self._patience_s) as scope:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if scope.cancelled_caught:
                    logger.warning(
                        "closed a download: the client read nothing for %s s", self._patience_s
                    )
                    return
        except Corrupt as error:
            logger.error("aborted a download: %s", error)  # noqa: TRY400 # not a bug
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


ROUTES = (original, thumbnail, optimized)
