"""Open the blobs that the settings name: a folder, or a bucket on an S3 server."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ops.config.settings import Settings, variable_of
from ops.config.validation import check_blobs
from ops.errors import UserError
from ops.process.lock import machine
from ops.runtime.waiting import outage_of
from ops.telemetry.logs import starting
from store.blobs.disk import make_folder
from store.blobs.interface import Blobs, Readable
from store.blobs.s3_server import Server
from store.errors import Denied, Unavailable
from store.observing import OperationObserver, ignore
from store.redis.breaker import Breaker

if TYPE_CHECKING:
    from store.blobs.folder import FolderBlobs
    from store.blobs.s3 import MinioBlobs

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
        UserError: the folder holds no originals.
    """
    check_blobs(settings)
    if settings.s3_endpoint is None:
        from store.blobs.folder import FolderReader  # noqa: PLC0415 # see ops.runtime.wiring

        if not (settings.blobs_folder / "originals").is_dir():
            raise UserError(
                f"{settings.blobs_folder} holds no originals: name the data folder of a system "
                "with --data or PHOTOLOG_DATA"
            )
        yield FolderReader(settings.blobs_folder)
        return
    blobs = _bucket(settings, "reader", None, ignore)
    try:
        yield blobs
    finally:
        blobs.close()


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
        most = shutil.disk_usage(folder).total * RESERVE_MAX
        reserve_bytes = int(min(settings.reserve_bytes, most) * reserved)
        return FolderBlobs(
            folder, owner, reserve_bytes=reserve_bytes, breaker=breaker, observe=observe
        )
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_DATA: cannot use the folder {folder}: {error.strerror}"
        ) from error


def _bucket(
    settings: Settings, owner: str, breaker: Breaker | None, observe: OperationObserver
) -> "MinioBlobs":
    from store.blobs.local_copies import LocalCopies  # noqa: PLC0415 # see ops.runtime.wiring
    from store.blobs.s3 import MinioBlobs  # noqa: PLC0415

    # Several machines may share the bucket, and each has a gateway.
    owner = f"{machine(settings.folder)}.{owner}"
    copies = LocalCopies(settings.folder / "copies", settings.s3_copies_bytes)
    return MinioBlobs(server_of(settings), owner, copies, breaker=breaker, observe=observe)


def server_of(settings: Settings) -> Server:
    """Return the S3 server of the settings, which ``ops.config.validation`` has checked."""
    return Server(**{name: getattr(settings, f"s3_{name}") for name in Server.__struct_fields__})


async def _prepare(blobs: "MinioBlobs", *, patient: bool) -> None:
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
