"""Open the blobs that the settings name: a folder, or a bucket on an S3 server."""

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ops.config.settings import Settings, variable_of
from ops.config.validation import check_blobs
from ops.errors import UserError
from ops.process.lock import machine
from ops.runtime.waiting import outage_of
from ops.telemetry.logs import starting
from store.blobs.disk import make_folder
from store.blobs.interface import Blob, Blobs, Readable
from store.blobs.s3_server import Server
from store.breaker import Breaker
from store.errors import Denied, Unavailable
from store.observing import OperationObserver, ignore

if TYPE_CHECKING:
    from store.blobs.folder import FolderBlobs, FolderReader
    from store.blobs.partials import Partials
    from store.blobs.s3 import S3Blobs

RESERVE_MAX = 0.1
"""The largest fraction of a disk that is kept in reserve."""


@asynccontextmanager
async def open_store(
    settings: Settings,
    owner: str,
    *,
    patient: bool = False,
    reserved: float = 1.0,
    breaker: Breaker | None = None,
    observe: OperationObserver = ignore,
) -> AsyncGenerator[Blobs]:
    """Open the blobs for the process called ``owner``, a name that no other process uses.

    ``reserved`` is the fraction of the disk's reserve that this process leaves free. A ``patient``
    caller waits until the server answers, and logs that it waits.

    Raises:
        UserError: the folder or the bucket is unusable; the message names the setting.
        Unavailable: the server does not answer, and the caller is not patient.
    """
    check_blobs(settings)
    if settings.s3_endpoint is None:
        yield _folder(settings, owner, reserved, breaker, observe)
        return
    blobs = _bucket(settings, owner, breaker, observe)
    try:
        await _prepare(blobs, patient=patient)
        if patient:
            starting.info("opened the bucket %s at %s", blobs.bucket, settings.s3_endpoint)
        yield blobs
    finally:
        blobs.close()


@asynccontextmanager
async def open_reading(settings: Settings) -> AsyncGenerator[Readable]:
    """Open the blobs read-only: nothing is written, so the folder may be a backup or evidence.

    Raises:
        UserError: the folder is not that of a system.
    """
    check_blobs(settings)
    if settings.s3_endpoint is None:
        from store.blobs.folder import FolderReader  # noqa: PLC0415 # see ops.runtime.wiring

        if not settings.blobs_folder.is_dir():  # originals are a folder only with the first one
            raise UserError(
                f"{settings.blobs_folder} does not exist: name the data folder of a system with "
                "--data or PHOTOLOG_DATA"
            )
        yield FolderReader(settings.blobs_folder)
        return
    blobs = _bucket(settings, "reader", None, ignore)
    try:
        yield blobs
    finally:
        blobs.close()


class Segments:
    """Reads the blobs of the settings for the archive; opens them when they are first needed.

    Most processes never need them. Nothing is written, so a folder may be a backup.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder: FolderReader | None = None
        self._bucket: S3Blobs | None = None

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        return self._opened().read(key, start, length)

    def keys(self, prefix: str) -> Awaitable[list[Blob]]:
        return self._opened().keys(prefix)

    def close(self) -> None:
        if self._bucket is not None:
            self._bucket.close()

    def _opened(self) -> "FolderReader | S3Blobs":
        found = self._folder or self._bucket
        if found is not None:
            return found
        settings = self._settings
        check_blobs(settings)
        if settings.s3_endpoint is None:
            from store.blobs.folder import FolderReader  # noqa: PLC0415 # see ops.runtime.wiring

            self._folder = FolderReader(settings.blobs_folder)
            return self._folder
        self._bucket = _bucket(settings, "segments", None, ignore)
        return self._bucket


def _folder(
    settings: Settings,
    owner: str,
    reserved: float,
    breaker: Breaker | None,
    observe: OperationObserver,
) -> "FolderBlobs":
    from store.blobs.folder import FolderBlobs  # noqa: PLC0415 # see ops.runtime.wiring

    folder = settings.blobs_folder
    try:
        make_folder(folder)
        reserve_bytes = int(_reserve_of(settings, folder) * reserved)
        return FolderBlobs(
            folder, owner, reserve_bytes=reserve_bytes, breaker=breaker, observe=observe
        )
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_DATA: cannot use the folder {folder}: {error.strerror}"
        ) from error


def _reserve_of(settings: Settings, folder: Path) -> float:
    """Return how many bytes of the folder's disk are kept in reserve."""
    return min(settings.reserve_bytes, shutil.disk_usage(folder).total * RESERVE_MAX)


def partials(settings: Settings) -> "Partials":
    """Return the unfinished uploads of this machine, which are beside the blobs.

    Raises:
        UserError: the folder is unusable.
    """
    from store.blobs.partials import Partials  # noqa: PLC0415 # see ops.runtime.wiring

    folder = settings.uploads_folder
    try:
        make_folder(folder)
        return Partials(folder, reserve_bytes=int(_reserve_of(settings, folder)))
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_DATA: cannot use the folder {folder}: {error.strerror}"
        ) from error


def _bucket(
    settings: Settings, owner: str, breaker: Breaker | None, observe: OperationObserver
) -> "S3Blobs":
    from store.blobs.local_copies import LocalCopies  # noqa: PLC0415 # see ops.runtime.wiring
    from store.blobs.s3 import S3Blobs  # noqa: PLC0415

    # Several machines may share the bucket, and each has a gateway.
    owner = f"{machine(settings.folder)}.{owner}"
    copies = LocalCopies(settings.folder / "copies", settings.s3_copies_bytes)
    return S3Blobs(server_of(settings), owner, copies, breaker=breaker, observe=observe)


def server_of(settings: Settings) -> Server:
    """Return the S3 server of the settings, which ``ops.config.validation`` has checked."""
    return Server(**{name: getattr(settings, f"s3_{name}") for name in Server.__struct_fields__})


async def _prepare(blobs: "S3Blobs", *, patient: bool) -> None:
    outage = outage_of("the bucket")
    while True:
        try:
            return await blobs.prepare()
        except Denied as error:
            raise UserError(f"{variable_of(f's3_{error.setting}')}: {error}") from error
        except Unavailable as error:
            if not patient:
                raise
            await outage.wait(error, least_s=error.retry_after_s)
