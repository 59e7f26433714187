"""``GET /api/photos/archive``: the originals of several photos as one ZIP archive.

The archive is written while it is sent: nothing is buffered beyond one chunk, and a reader that
reads nothing is disconnected. Originals are stored, not compressed, because photos already are.
Its last file, ``photolog.txt``, names each photo and the state of its original, because no answer
that has begun can turn into an error:

| state | meaning |
|---|---|
| ``ok`` | the bytes that were uploaded |
| ``missing`` | there is no original; the archive has no such file |
| ``altered`` | other bytes than those that were uploaded |
| ``not readable`` | the storage failed; the archive has no such file |
| ``incomplete`` | the storage failed after the first bytes |
| ``not found`` | there is no such photo of this client |
"""

import hashlib
import io
import logging
import re
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from anyio import to_thread
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from gateway.dependencies import Asked, Dependencies
from gateway.health.damage import note
from gateway.http.envelope import is_head
from gateway.http.problems import Refused, problems
from gateway.http.query_guards import only
from gateway.queries.reading import not_found
from gateway.routes.files import NEVER, Streamed
from gateway.uploads.filenames import disposition
from gateway.uploads.safe_names import compared, safe_name
from projections.models import photos
from projections.models.photos import Files
from store.blobs.damaged import Damage
from store.errors import Missing, StoreError
from store.sqlite.connection import Connection
from store.sqlite.reader import Reader

logger = logging.getLogger("photolog.gateway")

LIST = "photolog.txt"

OVERHEAD_BYTES = 1_024
"""At most so much is added for each file: its headers, with its name, and its line in the list."""

NAMED = 10
"""The most ids that an error names."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FIRST_YEAR = 1980
"""ZIP has no earlier dates."""

PhotoIds = Annotated[
    str, QueryParameter(name="photoIds", description="The ids of the photos, joined by commas.")
]


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    photo_id: str
    name: str
    files: Files


class _Sink(io.RawIOBase):
    """Collects what the archive writes until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(memoryview(data))  # pyright: ignore[reportArgumentType] # of the base class
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


@get(
    "/api/photos/archive",
    guards=[only("photoIds", "after")],
    responses={
        200: ResponseSpec(
            bytes,
            description="The archive",
            media_type="application/zip",
            generate_examples=False,
        ),
        **problems("photo-not-found", "archive-too-large", "missing-token", "read-model-behind"),
    },
    tags=["photos"],
    summary="Download several originals",
)
async def archive(
    request: Asked,
    deps: NamedDependency[Dependencies],
    reader: NamedDependency[Reader],
    photo_ids: PhotoIds,
) -> ASGIResponse:
    """Return the originals of your own photos as a ZIP archive.

    `photolog.txt` in it names each file, and photos that were deleted or whose original is missing,
    altered or cannot be read."""
    most = deps.limits.archive_photos
    wanted = [each for each in dict.fromkeys(photo_ids.split(",")) if each]
    if not wanted:
        raise Refused("invalid-request", "photoIds: must name a photo.")
    if len(wanted) > most:
        detail = f"The request names {len(wanted):,} photos; an archive has at most {most:,}."
        raise Refused("archive-too-large", detail)
    found = await reader.query(_own, request.user.client_id, wanted)
    if not found:
        raise _none_found(wanted)
    size = sum(files.file_size + OVERHEAD_BYTES for files in found.values())
    if size > deps.limits.archive_bytes:
        detail = (
            f"The archive of these {len(found):,} photos would have {size:,} bytes; at most "
            f"{deps.limits.archive_bytes:,} are allowed."
        )
        raise Refused("archive-too-large", detail)
    names = unique_names([files.original_filename for files in found.values()])
    entries = [
        _Entry(photo_id=photo_id, name=name, files=files)
        for (photo_id, files), name in zip(found.items(), names, strict=True)
    ]
    gone = [photo_id for photo_id in wanted if photo_id not in found]
    return Streamed(
        _written(deps, request.user.client_id, entries, gone),
        deps.limits.slow_reader_s,
        headers={
            "Content-Type": "application/zip",
            "Content-Disposition": disposition("attachment", "photos.zip"),
            "Cache-Control": NEVER,
        },
        is_head_response=is_head(request.scope),
    )


def _none_found(photo_ids: Sequence[str]) -> Refused:
    """Name the photos, worded the same for missing ones and for those of other clients."""
    if len(photo_ids) == 1:
        return not_found(photo_ids[0])
    named = ", ".join(each[:64] for each in photo_ids[:NAMED])
    more = f", and {len(photo_ids) - NAMED:,} more" if len(photo_ids) > NAMED else ""
    return Refused("photo-not-found", f"You have none of these photos: {named}{more}.")


def _own(db: Connection, client_id: str, photo_ids: Sequence[str]) -> dict[str, Files]:
    found: dict[str, Files] = {}
    for photo_id in photo_ids:
        owner = photos.owner(db, photo_id)
        if owner is None or owner.client_id != client_id:
            continue
        files = photos.files(db, photo_id)
        if files is not None:
            found[photo_id] = files
    return found


def unique_names(names: Sequence[str]) -> Iterator[str]:
    """Yield the names of files, in order, made safe and unique on every system.

    Names that only case or the form of a letter distinguishes count as equal; ``LIST`` is taken.
    """
    taken = {LIST}
    for name in names:
        unique, count = safe_name(name), 1
        while compared(unique) in taken:
            count += 1
            unique = safe_name(name, f" ({count})")
        taken.add(compared(unique))
        yield unique


async def _written(
    deps: Dependencies, client_id: str, entries: Sequence[_Entry], gone: Sequence[str]
) -> AsyncIterator[bytes]:
    """Yield the archive in chunks, with the state of each original in its list.

    Missing and altered originals are noted for the health check.
    """
    sink = _Sink()
    lines: list[str] = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as file:
        for entry in entries:
            damage: Damage | None = None
            state = "ok"
            try:
                async for part in _copied(deps, file, sink, entry):
                    yield part
            except Missing:
                state = damage = "missing"
            except _Altered:
                state = damage = "altered"
            except StoreError as error:
                state = "incomplete" if entry.name in file.namelist() else "not readable"
                logger.warning("an archive lacks the original of %s: %s", entry.photo_id, error)
            yield sink.take()
            lines.append(f"{entry.name}\t{entry.photo_id}\t{state}\r\n")
            if damage is not None:
                files = entry.files
                await note(
                    *(deps.log, files.original_key, damage),
                    photo_id=entry.photo_id,
                    client_id=client_id,
                    sha256=files.sha256,
                )
        lines += [f"-\t{_CONTROL.sub('_', photo_id)[:64]}\tnot found\r\n" for photo_id in gone]
        file.writestr(LIST, "".join(["file\tphoto\tstate\r\n", *lines]))
    yield sink.take()


class _Altered(Exception):  # not an error of the archive
    """The bytes that were sent differ from what the log records."""


async def _copied(
    deps: Dependencies, file: zipfile.ZipFile, sink: _Sink, entry: _Entry
) -> AsyncIterator[bytes]:
    """Yield one entry of the archive.

    Raises:
        Missing: before the first byte.
        StoreError: the storage failed, before the first byte or later.
        _Altered: after the last byte.
    """
    files = entry.files
    chunks = deps.blobs.read(files.original_key)
    first = await anext(chunks, b"")
    info = zipfile.ZipInfo(entry.name, _date(files.uploaded_at))
    info.external_attr = 0o644 << 16
    digest = hashlib.sha256()
    with file.open(info, "w", force_zip64=files.file_size >= zipfile.ZIP64_LIMIT) as target:
        chunk: bytes | None = first
        while chunk:
            await to_thread.run_sync(digest.update, chunk)
            target.write(chunk)
            yield sink.take()
            chunk = await anext(chunks, None)
    if digest.hexdigest() != files.sha256:
        raise _Altered


def _date(uploaded_at: str) -> tuple[int, int, int, int, int, int]:
    at = datetime.fromisoformat(uploaded_at)
    return (max(at.year, _FIRST_YEAR), at.month, at.day, at.hour, at.minute, at.second)


ROUTES = (archive,)
