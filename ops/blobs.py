"""The blobs as the settings say: in a folder, or in a bucket of a server of S3."""

import logging
import re
import shutil
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from ops.errors import UserError
from ops.exclusive import machine
from ops.logs import starting
from ops.settings import Settings, variable_of
from store.blobs import Blobs
from store.breaker import Breaker
from store.errors import Denied, Unavailable
from store.observing import OperationObserver, ignore

if TYPE_CHECKING:
    from store.folder_blobs import FolderBlobs
    from store.minio_blobs import MinioBlobs
    from store.minio_bucket import Server

logger = logging.getLogger("photolog")

RETRY_S = 0.5
REMIND_S = 30.0

RESERVE_MAX = 0.1
"""The largest part of a disk that is its reserve."""

_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


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
    """The blobs, for the one process of this system that is called ``owner``.

    ``reserved`` is the part of the disk's reserve that this process leaves free. A ``patient``
    caller waits until the server is there, and says so.

    Raises:
        UserError: the folder or the bucket cannot be used; the message names the setting.
        Unavailable: the server does not answer, and the caller is not patient.
    """
    if settings.s3_endpoint is None:
        yield _folder(settings, owner, reserved, breaker, observe)
        return
    blobs = _bucket(settings, owner, breaker, observe)
    try:
        await _prepare(blobs, patient=patient)
        if patient:
            starting.info("photos are in the bucket %s of %s", blobs.bucket, settings.s3_endpoint)
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
    from store.folder_blobs import FolderBlobs  # noqa: PLC0415 # see ops.wiring

    if settings.s3_access_key or settings.s3_secret_key:
        raise UserError("PHOTOLOG_S3_ENDPOINT is unset, but there is a key of a server of S3")
    folder = settings.blobs_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        most = shutil.disk_usage(folder).total * RESERVE_MAX
        reserve_bytes = int(min(settings.reserve_bytes, most) * reserved)
        return FolderBlobs(
            folder, owner, reserve_bytes=reserve_bytes, breaker=breaker, observe=observe
        )
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_DATA: the folder {folder} cannot be used: {error.strerror}"
        ) from error


def _bucket(
    settings: Settings, owner: str, breaker: Breaker | None, observe: OperationObserver
) -> "MinioBlobs":
    from store.local_copies import LocalCopies  # noqa: PLC0415 # see ops.wiring
    from store.minio_blobs import MinioBlobs  # noqa: PLC0415

    # Systems of several machines may share the bucket, and each has a gateway.
    owner = f"{machine(settings.folder)}.{owner}"
    copies = LocalCopies(settings.folder / "copies", settings.s3_copies_bytes)
    return MinioBlobs(server_of(settings), owner, copies, breaker=breaker, observe=observe)


def server_of(settings: Settings) -> "Server":
    """That of the settings; raises UserError for one that cannot be meant."""
    from store.minio_bucket import Server  # noqa: PLC0415

    for name in ("s3_endpoint", "s3_public_endpoint"):
        url = getattr(settings, name)
        if url is not None and not _ENDPOINT.fullmatch(url):
            raise UserError(f"{variable_of(name)} is {url}, but takes no more than host and port")
    for name in ("s3_access_key", "s3_secret_key"):
        if getattr(settings, name) is None:
            raise UserError(f"{variable_of(name)} is unset, but PHOTOLOG_S3_ENDPOINT needs it")
    if not _BUCKET.fullmatch(settings.s3_bucket):
        raise UserError(
            f"PHOTOLOG_S3_BUCKET is {settings.s3_bucket!r}, but takes 3 to 63 characters of "
            "a to z, 0 to 9, dot and hyphen, no dot or hyphen at an end"
        )
    try:
        ssl.create_default_context(cafile=settings.s3_ca_file)
    except OSError as error:
        raise UserError(
            f"PHOTOLOG_S3_CA_FILE: {settings.s3_ca_file} cannot be used: {error.strerror}"
        ) from error
    return Server(**{name: getattr(settings, f"s3_{name}") for name in Server.__struct_fields__})


async def _prepare(blobs: "MinioBlobs", *, patient: bool) -> None:
    remind_at = 0.0
    while True:
        try:
            return await blobs.prepare()
        except Denied as error:
            raise UserError(f"{variable_of(f's3_{error.setting}')}: {error}") from error
        except Unavailable as error:
            if not patient:
                raise
            if time.monotonic() > remind_at:
                logger.warning("waiting for the photos' bucket: %s", error)
                remind_at = time.monotonic() + REMIND_S
        await anyio.sleep(RETRY_S)
