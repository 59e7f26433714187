"""Blobs: originals and renditions, each under a key that we drew ourselves.

| key | what |
|---|---|
| ``originals/ab/<id>`` | an upload, byte for byte; no two uploads have the same id |
| ``renditions/ab/<photoId>/<jobId>/<name>-<sha256>`` | a picture made from it |
| ``probes/<id>`` | written, read and deleted to see whether that works |
| ``log/id`` | the id of the log that names all these |
| ``drafts/<owner>~<id>`` | worthless once its writer is gone |
| ``drafts/<owner>~<id>~<key>`` | the trace of a draft: its blob is perhaps named by no event |

Two stores keep them: a folder of this machine (``store.blobs.folder``) and a bucket of MinIO or
another server of S3 (``store.blobs.s3``).
"""

import re
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from store.errors import Unavailable
from store.observing import OperationObserver
from store.redis.breaker import Breaker

BUCKET = "photolog"
PROBES = "probes"
DRAFTS = "drafts"
CHUNK_BYTES = 1 << 20
PROBE_BYTES = 1 << 20
"""As much as a small photo, because what is full has room for an empty file."""

FAILURES = (Unavailable,)
"""What a circuit breaker counts. A store that is full has answered, and answers so every time."""

_KEY = re.compile(r"[a-z0-9]([a-z0-9./-]*[a-z0-9])?", re.ASCII)


def original_key(upload_id: str) -> str:
    """The key of an upload's bytes, which only the photo's event tells.

    It is not that of the photo: an upload that is sent again is the same photo, and what becomes of
    its bytes must not be what becomes of the first ones.
    """
    return f"originals/{upload_id[:2]}/{upload_id}"


def rendition_folder(photo_id: str) -> str:
    return f"renditions/{photo_id[:2]}/{photo_id}"


def rendition_key(photo_id: str, job_id: str, name: str, sha256: str) -> str:
    """The same for every attempt of a job that makes the same bytes, so that trying again leaves
    nothing behind; another for other bytes, so that a result that is dropped replaces none."""
    return f"{rendition_folder(photo_id)}/{job_id}/{name}-{sha256[:16]}"


def is_key(key: str) -> bool:
    """Whether a blob may have this key: no other file is one of ours."""
    return bool(_KEY.fullmatch(key)) and ".." not in key and "//" not in key


def checked(key: str) -> str:
    """The key; raises ValueError for one that could lead elsewhere."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a key")
    return key


def new_draft(owner: str) -> str:
    """A name for what is worthless once its writer is gone."""
    return f"{owner}~{uuid.uuid4().hex}"


def trace_of(draft: str, key: str) -> str:
    """The name of a draft that tells the key of its blob."""
    return f"{draft}~{key.replace('/', '~')}"


def traced(trace: str) -> tuple[str, str | None]:
    """The draft of a trace, and the key that it tells, if any."""
    owner, _, rest = trace.partition("~")
    number, _, key = rest.partition("~")
    return f"{owner}~{number}", key.replace("~", "/") or None


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """``modified`` is in seconds since 1970."""

    key: str
    size: int
    modified: float


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer that is gone left in ``drafts``.

    ``key`` is that of a blob that it stored, of which it is not known whether an event names it.
    """

    draft: str
    key: str | None


class Draft(Protocol):
    """A blob being written. Leaving its context without ``commit`` leaves nothing behind.

    ``size`` in bytes and ``sha256`` in hex are those of what was written so far. Entering it raises
    Full, Unavailable, CircuitOpen.
    """

    @property
    def key(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def write(self, chunk: bytes | bytearray | memoryview) -> Awaitable[None]:
        """Raises Full, Unavailable."""
        ...

    def flush(self) -> Awaitable[None]:
        """Bring ``sha256`` up to all that was written."""
        ...

    def commit(self) -> Awaitable[None]:
        """Make the blob durable under its key; raises Exists if there is one already.

        The trace of the draft stays until its context is left, so a writer that appends the event
        there leaves a trace of what it did not finish.
        """
        ...


class Readable(Protocol):
    """Blobs that can be read."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from ``start`` on, in chunks of at most ``CHUNK_BYTES``; raises Missing."""
        ...


class Blobs(Readable, Protocol):
    """Where blobs are kept: each is under its key whole and durable, or not at all.

    A circuit breaker stands before what writes alone: a read that fails costs nothing but the read.
    """

    @property
    def bucket(self) -> str:
        """Where the events say that the blobs are."""
        ...

    @property
    def breaker(self) -> Breaker: ...

    @property
    def observe(self) -> OperationObserver:
        """Told of every operation, and by readers who find other bytes than the log records."""
        ...

    def check(self) -> Awaitable[None]:
        """Nothing while blobs are thought to be taken; else try it, as soon as it is time.

        Raises:
            CircuitOpen: it is not time yet, or someone else is trying.
            Unavailable: it still fails.
            Full: it answers again, and has no room.
        """
        ...

    def draft(self, key: str) -> AbstractAsyncContextManager[Draft, None]:
        """A new blob to write under a key of its own."""
        ...

    def put(self, key: str, data: bytes) -> Awaitable[None]:
        """Store ``data`` under ``key``, durably, in place of any blob there."""
        ...

    def size(self, key: str) -> Awaitable[int]:
        """In bytes; raises Missing."""
        ...

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file of this machine that holds the blob, for as long as the context lasts.

        Raises Missing.
        """
        ...

    def link(self, key: str, *, mime_type: str, disposition: str) -> str | None:
        """A URL that gives the blob to anyone for a while; None where it is to be read here."""
        ...

    @property
    def link_origin(self) -> str | None:
        """The origin (RFC 6454) of all links; None if there are none."""
        ...

    def delete(self, key: str) -> Awaitable[None]:
        """Remove the blob; nothing happens if there is none."""
        ...

    def keys(self, prefix: str) -> Awaitable[list[Blob]]:
        """All blobs whose key starts with the folder ``prefix``, in order of key."""
        ...

    def leftovers(self) -> Awaitable[list[Leftover]]:
        """What an earlier process of this owner's name left; call before the first draft."""
        ...

    def clear(self, leftover: Leftover) -> Awaitable[None]:
        """Forget a leftover; the blob under its key, if any, stays."""
        ...

    def free_bytes(self) -> Awaitable[int | None]:
        """Room that is left, or None where nobody says; raises Unavailable."""
        ...
