"""The contract of blob stores: originals and renditions, under keys that Photolog chooses.

| key | what |
|---|---|
| ``originals/ab/<id>`` | an upload, byte for byte; no two uploads have the same id |
| ``renditions/ab/<photoId>/<jobId>/<name>-<sha256>`` | a picture made from it |
| ``probes/<id>`` | written, read and deleted to test the store |
| ``log/segments/07/<ms>-<seq>`` | a sealed segment of the log; see ``store.archive`` |
| ``log/photos/07/<ms>-<seq>`` | a catalog of segments; see ``store.archive.catalog`` |
| ``log/id`` | the id of the log that these blobs belong to |
| ``log/partitions`` | the number of its partitions |
| ``log/set-aside/<epoch>/07/<ms>-<seq>`` | a segment that a recovery has replaced |
| ``drafts/<owner>~<id>`` | worthless once its writer is gone |
| ``drafts/<owner>~<id>~<key>`` | the trace of a draft: maybe no event names its blob |

There are two stores: a folder on this machine (``store.blobs.folder``), and a bucket of an S3
server (``store.blobs.s3``).
"""

import re
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from store.breaker import Breaker
from store.errors import Unavailable
from store.observing import OperationObserver

PROBES = "probes"
DRAFTS = "drafts"
CHUNK_BYTES = 1 << 20
PROBE_BYTES = 1 << 20
"""As large as a small photo, because a full disk still has room for an empty file."""

FAILURES = (Unavailable,)
"""Errors that a circuit breaker counts. A full store is not a failure: it answers every time."""

_KEY = re.compile(r"[a-z0-9]([a-z0-9./-]*[a-z0-9])?", re.ASCII)


def original_key(upload_id: str) -> str:
    """Return the key of an upload's bytes; only the photo's event records it.

    It does not derive from the photo's id: a repeated upload is the same photo, but its bytes must
    not share the fate of the first ones.
    """
    return f"originals/{upload_id[:2]}/{upload_id}"


def rendition_folder(photo_id: str) -> str:
    return f"renditions/{photo_id[:2]}/{photo_id}"


def rendition_key(photo_id: str, job_id: str, name: str, sha256: str) -> str:
    """Return the key of a rendition.

    Attempts of a job that make the same bytes share a key, so that a retry leaves nothing behind.
    Other bytes get another key, so that a dropped result replaces nothing.
    """
    return f"{rendition_folder(photo_id)}/{job_id}/{name}-{sha256[:16]}"


def is_key(key: str) -> bool:
    """Return whether this can be the key of a blob; other files do not belong to Photolog."""
    return bool(_KEY.fullmatch(key)) and ".." not in key and "//" not in key


def checked(key: str) -> str:
    """Return the key; raises ValueError if it is invalid, as one that leads to another folder."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a valid blob key")
    return key


def new_draft(owner: str) -> str:
    """Return a new name for an object that is worthless once its writer is gone."""
    return f"{owner}~{uuid.uuid4().hex}"


def trace_of(draft: str, key: str) -> str:
    """Return the draft's name with the key of its blob."""
    return f"{draft}~{key.replace('/', '~')}"


def traced(trace: str) -> tuple[str, str | None]:
    """Split a trace into its draft, and the key of its blob, if it has one."""
    owner, _, rest = trace.partition("~")
    number, _, key = rest.partition("~")
    return f"{owner}~{number}", key.replace("~", "/") or None


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """``modified`` is in seconds since 1970."""

    key: str
    size: int
    modified: float


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """An object in ``drafts`` whose writer is gone.

    ``key`` is the blob that it stored, if any; maybe no event names it.
    """

    draft: str
    key: str | None


class Draft(Protocol):
    """A blob being written. Leaving its context without ``commit`` leaves nothing behind.

    ``size`` in bytes and ``sha256`` in hex cover the bytes written so far. Entering it raises Full,
    Unavailable, CircuitOpen.
    """

    @property
    def key(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def write(self, chunk: bytes | bytearray | memoryview) -> Awaitable[None]:
        """Append the chunk; raises Full, Unavailable."""
        ...

    def flush(self) -> Awaitable[None]:
        """Include everything written so far in ``sha256``."""
        ...

    def commit(self) -> Awaitable[None]:
        """Make the blob durable under its key; raises Exists if the key is taken.

        The draft's trace stays until its context ends. So a writer that appends the event within
        the context leaves a trace if it does not get that far.
        """
        ...


class Readable(Protocol):
    """Blobs that can be read."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start``, in chunks of at most ``CHUNK_BYTES``; raises Missing."""
        ...


class Blobs(Readable, Protocol):
    """A blob store: each blob is complete and durable under its key, or not there at all.

    The circuit breaker guards writes only: a failed read costs nothing but the read.
    """

    @property
    def bucket(self) -> str:
        """The bucket that events record."""
        ...

    @property
    def breaker(self) -> Breaker: ...

    @property
    def observe(self) -> OperationObserver:
        """Called for every operation, and by readers that find other bytes than the log records."""
        ...

    def check(self) -> Awaitable[None]:
        """Return if the store appears to accept blobs; otherwise probe it, once the back-off ends.

        Raises:
            CircuitOpen: the back-off has not ended, or another caller is probing.
            Unavailable: the store still fails.
            Full: the store answers again, but has no room.
        """
        ...

    def draft(self, key: str, *, replace: bool = False) -> AbstractAsyncContextManager[Draft, None]:
        """Return a draft of a new blob, whose key must be unused unless ``replace``.

        Replacing is atomic: readers find the old blob or the new one.
        """
        ...

    def put(self, key: str, data: bytes) -> Awaitable[None]:
        """Store ``data`` under ``key``, durably, replacing any blob there."""
        ...

    def size(self, key: str) -> Awaitable[int]:
        """Return the size in bytes; raises Missing."""
        ...

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """Provide the blob as a file on this machine, for as long as the context lasts.

        Raises Missing.
        """
        ...

    def link(self, key: str, *, mime_type: str, disposition: str) -> str | None:
        """Return a temporary URL of the blob that works for anyone; None if links are not used."""
        ...

    @property
    def link_origin(self) -> str | None:
        """The origin (RFC 6454) of all links; None if links are not used."""
        ...

    def delete(self, key: str) -> Awaitable[None]:
        """Remove the blob, if it exists."""
        ...

    def keys(self, prefix: str) -> Awaitable[list[Blob]]:
        """Return all blobs under the folder ``prefix``, in order of key."""
        ...

    def leftovers(self) -> Awaitable[list[Leftover]]:
        """Return what an earlier process with this owner's name left; call it before any draft."""
        ...

    def clear(self, leftover: Leftover) -> Awaitable[None]:
        """Remove a leftover; the blob under its key, if any, stays."""
        ...

    def free_bytes(self) -> Awaitable[int | None]:
        """Return the free space, None if it is unknown; raises Unavailable."""
        ...
