"""Check the bytes of a whole file against the log's SHA-256 while sending them.

The ETag promises exactly those bytes. The last chunk is held back until everything is hashed: if
the hash differs, the answer ends before its ``Content-Length``, and the reader notices. Hashing a
megabyte takes about a millisecond, in a separate thread.
"""

import hashlib
from collections.abc import AsyncIterator

from anyio import to_thread

from store.errors import Corrupt

IN_THIS_THREAD_BYTES = 64 << 10
"""Hashing up to this many bytes is faster than handing them to another thread."""


async def intact(chunks: AsyncIterator[bytes], key: str, sha256: str) -> AsyncIterator[bytes]:
    """Yield the chunks, the last one only if all of them have this SHA-256, in hex.

    Raises:
        Corrupt: the SHA-256 differs.
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
        raise Corrupt(f"the bytes of {key} differ from those that the log records")
    if held:
        yield held


async def at_once(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read all chunks now and return an iterator over them, for a file of a single chunk."""
    data = b"".join([chunk async for chunk in chunks])

    async def replay() -> AsyncIterator[bytes]:
        yield data

    return replay()
