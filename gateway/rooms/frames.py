"""Encode deliveries as WebSocket frames: each event once for all readers, several in one write."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from gateway.http.socket_protocol import text_frame
from gateway.rooms.subscription import Delivery

WRITE_BYTES = 64 * 1024
"""Events are written, or put into one message, up to this size; at least one at a time."""

KEPT = 256
"""Encoded events that are kept for the readers that have still to receive them."""


def frames(batch: Sequence[Delivery], *, batches: bool) -> Iterator[bytes]:
    """Yield the bytes to write, one or more whole frames at a time.

    With ``batches``, several events share one message ``events``; otherwise each is a message
    ``event``.
    """
    encode = _member if batches else _frame
    parts: list[bytes] = []
    size = 0
    for rooms, entry in batch:
        part = encode(rooms, entry.body)
        if parts and size + len(part) > WRITE_BYTES:
            yield _written(parts, batches=batches)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield _written(parts, batches=batches)


def _written(parts: list[bytes], *, batches: bool) -> bytes:
    if not batches:
        return b"".join(parts)
    return text_frame(b'{"type":"events","events":[%b]}' % b",".join(parts))


@lru_cache(KEPT)
def _frame(rooms: tuple[str, ...], body: bytes) -> bytes:
    return text_frame(
        b'{"type":"event","rooms":%b,"event":%b}' % (msgspec.json.encode(rooms), body)
    )


@lru_cache(KEPT)
def _member(rooms: tuple[str, ...], body: bytes) -> bytes:
    return b'{"rooms":%b,"event":%b}' % (msgspec.json.encode(rooms), body)
