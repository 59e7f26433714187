"""The bytes of a whole file, checked against the SHA-256 of the log while they are sent.

The ETag promises those bytes. The last chunk is held back until all are hashed: if they differ, the
answer ends before its ``Content-Length`` and its reader notices. Hashing a megabyte takes about a
millisecond, in another thread than the one that answers.
"""

import hashlib
from collections.abc import AsyncIterator

from anyio import to_thread

from store.errors import Corrupt

IN_THIS_THREAD_BYTES = 64 << 10
"""Hashing less than this is quicker than the way to another thread."""


async def intact(chunks: AsyncIterator[bytes], key: str, sha256: str) -> AsyncIterator[bytes]:
    """Yield the chunks, the last one only if all together have this SHA-256, in hex.

    Raises:
        Corrupt: they have another.
    """
    digest, held = hashlib.sha256(), b""
    async for chunk in chunks:
        if held:
            yield held
        if len(chunk) > IN_THIS_THREAD_BYTES:
            await to_thread.run_sync(digest.update, chunk)
        else:
            digest.update(chunk)
        held = chunk
    if digest.hexdigest() != sha256:
        raise Corrupt(f"the bytes of {key} are not those that the log records")
    if held:
        yield held


async def at_once(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read all chunks, and return what yields them: for a file of a single one."""
    data = b"".join([chunk async for chunk in chunks])

    async def again() -> AsyncIterator[bytes]:
        yield data

    return again()
