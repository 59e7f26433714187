"""Upload a blob to a bucket.

| bytes | how |
|---|---|
| fewer than a part | kept here; ``commit`` sends them in one request |
| more | sent part by part, as a multipart upload that ``commit`` completes |

So a draft holds about one part in memory, and the key stays empty until the blob is complete.
Before the first byte, the draft stores its trace, an empty object in ``drafts/``, and removes it
when its context ends. If the process is killed in between, the trace tells its successor what to
clean up.
"""

import hashlib
import logging
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from store.blobs.interface import DRAFTS, FAILURES, checked, trace_of
from store.errors import Exists, Missing, StoreError, Unavailable
from store.observing import operation

if TYPE_CHECKING:
    from store.blobs.s3 import S3Blobs

logger = logging.getLogger("photolog.blobs")

CLEAN_S = 5.0
"""How long the clean-up of a draft may take; what does not succeed in time is done later."""

_TRIES = 3


class S3Draft:
    """See ``Draft``."""

    def __init__(self, blobs: "S3Blobs", key: str, *, replace: bool = False) -> None:
        self.observe = blobs.observe
        self.key = checked(key)
        self.size = 0
        self._blobs = blobs
        self._bucket = blobs.server
        self._name = blobs.new_draft()
        self._replace = replace
        self._trace = f"{DRAFTS}/{trace_of(self._name, key)}"
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._upload: str | None = None
        self._etags: list[str] = []
        self._has_begun = self._may_be_stored = self._is_stored = False

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def __aenter__(self) -> Self:
        await self._blobs.check()
        try:
            with self._counted():
                await self._blobs.finish(self._bucket.put, self._trace, b"")
        except BaseException:
            self._blobs.unclean.append(self)
            raise
        return self

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._buffer += chunk
        self.size += len(chunk)
        if len(self._buffer) >= self._blobs.part_bytes:
            with self._counted():
                await self._blobs.finish(self._send_part)

    async def flush(self) -> None:
        if self._hashed < len(self._buffer):
            await self._blobs.finish(self._digest)

    @operation("put")
    async def commit(self) -> None:
        with self._counted():
            await self._blobs.finish(self._publish)
        self._blobs.breaker.note(well=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Shielded: a cancelled upload must remove its parts.
        with anyio.CancelScope(shield=True):
            await self._blobs.clean_up(self)

    def clean(self) -> None:
        """Remove everything but a committed blob; blocks. Idempotent."""
        if self._has_begun and not self._is_stored:
            self._bucket.abort(self.key)
        is_stray = self._may_be_stored and not self._is_stored and not self._replace
        if is_stray and self._is_ours():
            self._bucket.remove(self.key)
        self._bucket.remove(self._trace)

    @contextmanager
    def _counted(self) -> Generator[None]:
        """Count only failures of this step: a failing server may accept the first part."""
        try:
            yield
        except FAILURES:
            self._blobs.breaker.note(well=False)
            raise

    def _digest(self) -> None:
        with memoryview(self._buffer) as view:
            self._hash.update(view[self._hashed :])
        self._hashed = len(self._buffer)

    def _send_part(self) -> None:
        if self._upload is None:
            self._has_begun = True
            self._upload = self._bucket.begin(self.key, self._name)
        self._digest()
        number = len(self._etags) + 1
        part = bytes(self._buffer)
        self._etags.append(self._bucket.put_part(self.key, self._upload, number, part))
        self._buffer, self._hashed = bytearray(), 0

    def _publish(self) -> None:
        self._digest()
        if self._upload is not None and self._buffer:
            self._send_part()
        self._may_be_stored = True
        for tries_left in reversed(range(_TRIES)):
            try:
                self._store()
                break
            except (Exists, Missing, Unavailable) as error:
                # The request may have succeeded, and only its reply was lost.
                if self._is_ours():
                    break
                if isinstance(error, Missing):
                    raise Unavailable("the blob server has lost the parts of a blob") from error
                if isinstance(error, Exists) or not tries_left:
                    raise
        self._is_stored = True

    def _store(self) -> None:
        if self._upload is None:
            self._bucket.create(self.key, bytes(self._buffer), self._name, replace=self._replace)
        else:
            self._bucket.complete(self.key, self._upload, self._etags, replace=self._replace)

    def _is_ours(self) -> bool:
        """Return whether this draft wrote the blob under the key."""
        try:
            return self._bucket.head(self.key).draft == self._name
        except Missing:
            return False


def try_clean(draft: S3Draft) -> bool:
    """Clean up after the draft; return False if that must be repeated later. Blocks."""
    try:
        draft.clean()
    except StoreError as error:
        logger.warning("the upload of blob %s will be cleaned up later: %s", draft.key, error)
        return False
    return True
