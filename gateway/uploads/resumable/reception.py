"""Append the body of a request to an upload.

Bytes become part of the upload as they become durable: every ``KEEP_BYTES`` or ``KEEP_S``, and when
the body ends or is cut off. If the body has a digest, all of it counts or nothing. The first bytes
of the file determine its format, before the others are received.
"""

import time
from contextlib import suppress

import anyio
import msgspec

from domain.photo.formats import HEAD_BYTES, refusal, sniff
from domain.rejections import QuotaBytes
from gateway.dependencies import Asked
from gateway.http.limits import Limits
from gateway.http.problems import Refused
from gateway.uploads.bodies import body_of, shown_size
from gateway.uploads.digests import Digests
from gateway.uploads.resumable.protocol import announce, contradiction, too_long
from gateway.uploads.resumable.turns import Turn
from store.blobs.partials import PartialFile
from store.errors import StoreError

KEEP_BYTES = 4 << 20
KEEP_S = 2.0
"""How many bytes, and of how many seconds, a crash can cost an upload that is arriving."""


async def receive(
    request: Asked,
    file: PartialFile,
    turn: Turn,
    digests: Digests,
    limits: Limits,
    room: int | None,
) -> None:
    """Append the body to ``file``; ``room`` is how long the upload may become, None if unlimited.

    Raises:
        Refused: the body is cut off, stalls, is too long, or has another digest; the file is no
            photo; or a later request takes over. What counts of the body is kept.
        Rejected: the upload exceeds ``room``.
        Full: the disk has no room.
    """
    kept, kept_s = file.end, time.monotonic()
    is_whole = False
    try:
        with turn.receiving():
            async for chunk in body_of(request, limits):
                await _check_size(file, len(chunk), limits, room)
                digests.update(chunk)
                await file.write(chunk)
                if file.end >= HEAD_BYTES:
                    await recognise(file)
                is_due = file.end - kept >= KEEP_BYTES or time.monotonic() - kept_s >= KEEP_S
                if is_due and not digests:
                    await file.keep()
                    kept, kept_s = file.end, time.monotonic()
                    announce(request, {"Upload-Offset": str(kept)})
        digests.check()
        is_whole = True
    finally:
        if file.state.ending is None and not is_whole:
            # The error that ended the reception says more than one of the disk.
            with anyio.CancelScope(shield=True), suppress(StoreError):
                await (file.undo() if digests else file.keep())


async def recognise(file: PartialFile) -> None:
    """Detect the format, unless it is known or the upload is a part of another.

    Raises:
        Refused: ``unsupported-type``, ``empty-file``; the upload has ended.
    """
    if file.state.mime_type or file.state.kind == "part":
        return
    try:
        mime_type = format_of(await file.head(HEAD_BYTES))
    except Refused:
        await file.end_as("rejected")
        raise
    file.state = msgspec.structs.replace(file.state, mime_type=mime_type)


def format_of(head: bytes) -> str:
    """Return the MIME type of a file by its first bytes; raises Refused as ``recognise``."""
    if not head:
        raise Refused("empty-file", "The upload has 0 bytes.")
    known = sniff(head[:HEAD_BYTES])
    if known is None:
        raise Refused("unsupported-type", refusal(head))
    return known[1]


async def _check_size(file: PartialFile, more: int, limits: Limits, room: int | None) -> None:
    """Return if the upload may grow by ``more`` bytes; raises Refused, QuotaBytes."""
    size, length = file.end + more, file.state.length
    if length is not None and size > length:
        # The draft demands that such an upload ends: its bytes cannot be what was announced.
        await file.end_as("rejected")
        raise contradiction(f"The body is longer than the {length} bytes that were announced.")
    if size > limits.max_upload_bytes:
        await file.end_as("rejected")
        raise too_long(limits)
    if room is not None and size > room:
        raise QuotaBytes(f"The client's quota has room for only {shown_size(max(room, 0))} more.")
