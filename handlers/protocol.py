"""What a worker and its decoder children say to each other.

Over the child's standard input and output: frames of a 4-byte big-endian length and that many
bytes of MessagePack. The child speaks first, with ``Ready``; then each ``Request`` has one answer,
``Done`` or ``Failed``. The end of its input ends the child.
"""

import struct

import msgspec

from domain.failures import Category
from handlers.stage import Context, Made

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 256 << 20


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The child's only argument, as JSON.

    ``registry`` is ``module:TABLE``. ``parent`` is the process whose death ends the child.
    ``memory_bytes`` bounds the address space, ``cache_bytes`` the decoded pictures kept.
    """

    registry: str
    parent: int
    memory_bytes: int
    cache_bytes: int
    context: Context


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Run ``stage`` on the file at ``path``; ``photo`` is the key of its decoded picture.

    ``sha256`` is that of the bytes that the file has to have, in hex.
    """

    stage: str
    path: str
    photo: str
    sha256: str | None = None


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child has imported what it needs."""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """``result`` is the stage's own Struct; ``held`` names the photos whose pictures it keeps."""

    result: msgspec.Raw
    renditions: tuple[Made, ...]
    held: tuple[str, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """``bad_image`` tells a ``BadImage`` from other failures."""

    category: Category
    code: str
    message: str
    bad_image: bool
    held: tuple[str, ...]


Answer = Ready | Done | Failed


def frame(message: msgspec.Struct) -> bytes:
    """The message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(len(body)) + body
