"""Draft originals in the blob store, and say when it takes none."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from gateway.http.problems import Refused, retry_after
from store.blobs.interface import Blobs, Draft
from store.errors import Unavailable


async def check_storage(blobs: Blobs) -> None:
    """Return if the storage appears to accept blobs; raises Refused, ``storage-unavailable``, and
    Full."""
    try:
        await blobs.check()
    except Unavailable as error:
        raise _not_stored(blobs) from error


@asynccontextmanager
async def draft_original(blobs: Blobs, key: str) -> AsyncGenerator[Draft]:
    """Draft a blob; raises Refused and Full. Code in the block handles failures of the log."""
    try:
        async with blobs.draft(key) as draft:
            yield draft
    except Unavailable as error:
        raise _not_stored(blobs) from error


def _not_stored(blobs: Blobs) -> Refused:
    headers = retry_after(blobs.breaker)
    return Refused(
        "storage-unavailable",
        "Nothing was stored. Photos uploaded earlier are safe.",
        headers=headers,
    )
