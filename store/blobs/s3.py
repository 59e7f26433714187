"""Blobs in a bucket of an S3 server: one object each, under its key.

The SDK blocks, so its calls run in a small pool of threads. A blob is read in chunks, one call per
chunk: a slow reader holds neither a thread nor a connection, and a failed call is repeated where it
failed. Each call asks for the ETag of the first, so all chunks belong to the same blob.

An object appears complete or not at all. After a failed write, this process, or the next one with
its name, cleans up when the server is back; see ``store.blobs.s3_draft``.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio

from store.blobs.interface import (
    CHUNK_BYTES,
    DRAFTS,
    FAILURES,
    PROBE_BYTES,
    Blob,
    Leftover,
    checked,
    new_draft,
    traced,
)
from store.blobs.local_copies import LocalCopies
from store.blobs.s3_bucket import Bucket, Chunk
from store.blobs.s3_draft import CLEAN_S, S3Draft, try_clean
from store.blobs.s3_server import Server
from store.breaker import Breaker
from store.errors import Full, Missing
from store.observing import OperationObserver, ignore, operation

P = ParamSpec("P")
T = TypeVar("T")

UNCLEAN_MAX = 10_000
"""How many failed drafts are remembered for clean-up; the traces of others remain."""

_CLEANED_AT_ONCE = 4


class S3Blobs:
    """Blobs in one bucket; see ``Blobs``. Close it when done.

    ``owner`` names the writing process; only one process of a name may use the bucket at a time.
    ``copies`` keeps the files that ``local`` provides. ``observe`` is called for every ``put``,
    ``get``, ``stat``, ``list`` and ``delete``.
    """

    def __init__(
        self,
        server: Server,
        owner: str,
        copies: LocalCopies,
        *,
        breaker: Breaker | None = None,
        observe: OperationObserver = ignore,
    ) -> None:
        self.bucket = server.bucket
        self.breaker = breaker or Breaker("blobs")
        self.observe = observe
        self.server = Bucket(server)
        self.part_bytes = server.part_bytes
        self.unclean: deque[S3Draft] = deque(maxlen=UNCLEAN_MAX)
        self._owner = owner
        self._copies = copies
        self._threads = ThreadPoolExecutor(server.connections, thread_name_prefix="blobs")

    async def prepare(self) -> None:
        """Create the bucket if it does not exist, and test a write.

        Raises:
            Denied: a setting is wrong.
            Unavailable: the server cannot be used now.
        """
        await self._run(self.server.prepare)
        with suppress(Full):  # it can still be read
            await self._run(self._try_out)

    def close(self) -> None:
        """Close the store. Running calls end within their time-outs."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.server.close()
        self._copies.close()

    async def check(self) -> None:
        if self.breaker.state == "closed":
            return
        with self.breaker.call(FAILURES, trial=True):
            await self._run(self._try_out)

    def draft(self, key: str, *, replace: bool = False) -> S3Draft:
        return S3Draft(self, key, replace=replace)

    def new_draft(self) -> str:
        return new_draft(self._owner)

    @operation("put")
    async def put(self, key: str, data: bytes) -> None:
        await self.check()
        try:
            await self.finish(self.server.put, checked(key), data)
        except FAILURES:
            self.breaker.note(well=False)
            raise
        self.breaker.note(well=True)

    @operation("stat")
    async def size(self, key: str) -> int:
        return (await self._run(self.server.head, checked(key))).size

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        chunk = await self._open(key, start, _next(length))
        while chunk is not None and chunk.data:
            start += len(chunk.data)
            yield chunk.data
            if length is not None:
                length -= len(chunk.data)
            if length == 0:
                return
            chunk = await self._run(self.server.get, key, start, _next(length), chunk.etag)

    @asynccontextmanager
    async def local(self, key: str) -> AsyncGenerator[Path]:
        async with self._copies.of(checked(key), partial(self._fetch, key)) as path:
            yield path

    @operation("delete")
    async def delete(self, key: str) -> None:
        self._copies.forget(key)
        await self.finish(self.server.remove, checked(key))

    @operation("list")
    async def keys(self, prefix: str) -> list[Blob]:
        return await self._run(self.server.blobs, f"{prefix}/" if prefix else "")

    async def leftovers(self) -> list[Leftover]:
        return await self._run(self._leftovers)

    async def clear(self, leftover: Leftover) -> None:
        await self.finish(self._clear, leftover.draft)

    async def free_bytes(self) -> None:
        """Nobody says; raises Unavailable while the bucket does not answer."""
        await self._run(self.server.reach)

    def link(self, key: str, *, mime_type: str, disposition: str) -> str | None:
        return self.server.link(checked(key), mime_type, disposition)

    @property
    def link_origin(self) -> str | None:
        return self.server.link_origin

    async def clean_up(self, draft: S3Draft) -> None:
        """Clean up after a draft, now or when the server is back; then after some earlier ones."""
        is_clean = False
        with anyio.move_on_after(CLEAN_S):
            is_clean = await self._run(try_clean, draft)
        if not is_clean:
            self.unclean.append(draft)
            return
        for _ in range(_CLEANED_AT_ONCE):
            if not self.unclean:  # others clean up too
                return
            draft = self.unclean.popleft()
            if not await self._run(try_clean, draft):
                self.unclean.append(draft)
                return

    async def finish(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that changes data in a thread; wait for its end even if cancelled."""
        with _shielded():
            return await self._run(call, *args, **kwargs)

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the call in a thread once one is free; do not wait for it if cancelled."""
        work = partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @operation("get")
    async def _open(self, key: str, start: int, length: int) -> Chunk | None:
        return await self._run(self.server.get, checked(key), start, length, None)

    @operation("get")
    async def _fetch(self, key: str, path: Path) -> None:
        await self._run(self._download, key, path)

    def _download(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            self.server.download(key, file, CHUNK_BYTES)

    def _try_out(self) -> None:
        key = f"{DRAFTS}/{self.new_draft()}"
        self.server.put(key, bytes(PROBE_BYTES))
        self.server.remove(key)

    def _leftovers(self) -> list[Leftover]:
        found: list[Leftover] = []
        for blob in self.server.blobs(f"{DRAFTS}/{self._owner}~"):
            trace = blob.key.removeprefix(f"{DRAFTS}/")
            draft, key = traced(trace)
            if key is not None and not self._was_written_by(draft, key):
                key = None
            found.append(Leftover(draft=trace, key=key))
        return found

    def _was_written_by(self, draft: str, key: str) -> bool:
        try:
            return self.server.head(key).draft == draft
        except Missing:
            return False

    def _clear(self, trace: str) -> None:
        _, key = traced(trace)
        if key is not None:
            self.server.abort(key)
        self.server.remove(f"{DRAFTS}/{trace}")


@contextmanager
def _shielded() -> Generator[None]:
    with anyio.CancelScope(shield=True):
        yield


def _next(left: int | None) -> int:
    return CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)
