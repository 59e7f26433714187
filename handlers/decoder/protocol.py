"""The messages between a worker and its decoder children.

They travel over a pair of Unix sockets; the child's end is its standard input. A frame is a 4-byte
big-endian length and that many bytes of MessagePack. The child begins with ``Ready``; then each
``Request`` has one answer: ``Done``, ``Failed`` or ``Costly``. The file of a request comes as a
descriptor (SCM_RIGHTS, unix(7)) with the first byte. The child exits at the end of its input.

A worker does not trust a child, which may run an attacker's code: see ``handlers.decoder.process``.
"""

import struct

import msgspec

from domain.pipeline.failures import Category
from handlers.decoder.sandbox import Confinement
from handlers.decoder.settings import Sandbox
from handlers.imaging.cost import Cost
from handlers.stage import Made, Origin, StageContext

HEADER = struct.Struct(">I")

MAX_REQUEST_BYTES = 64 << 10
MAX_RESULT_BYTES = 64 << 10
MAX_MESSAGE_CHARS = 500
MAX_TRACE_CHARS = 8_000


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The child's only argument, as JSON.

    ``registry`` is ``module:TABLE``. ``parent`` is the process whose death ends the child.
    ``memory_bytes`` bounds the address space, ``cache_bytes`` the cache of decoded pictures,
    ``answer_bytes`` an answer. ``become`` is the user and group of the child, if not the worker's.
    With ``limits_itself`` the child applies ``Request.limit_bytes``, because the worker may not.
    """

    registry: str
    parent: int
    memory_bytes: int
    cache_bytes: int
    answer_bytes: int
    context: StageContext
    sandbox: Sandbox
    become: tuple[int, int] | None
    limits_itself: bool


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Run ``stage`` on the file that comes with this; ``photo`` is the key of its decoded picture.

    No file comes if the child has the picture. ``sha256``, in hex, is the digest that the file must
    have. A picture that costs more than ``allowed`` is not decoded: the answer is ``Costly``.
    ``limit_bytes`` bounds the child's address space during the request. ``origin`` is what is known
    of the file besides its bytes.
    """

    stage: str
    photo: str
    allowed: Cost
    limit_bytes: int | None = None
    sha256: str | None = None
    origin: Origin = Origin()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child has loaded what it needs and is confined.

    ``size_bytes`` is the size of its address space; None if unknown.
    """

    confinement: Confinement
    size_bytes: int | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """``result`` is the stage's own Struct; ``held`` names the photos whose pictures are cached."""

    result: msgspec.Raw
    renditions: tuple[Made, ...]
    held: tuple[str, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """``bad_image`` marks a ``BadImage``; ``trace`` is for the worker's log."""

    category: Category
    code: str
    message: str
    bad_image: bool
    held: tuple[str, ...]
    trace: str = ""


class Costly(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The picture costs more than ``allowed``; ``cost`` is estimated from its header."""

    cost: Cost
    held: tuple[str, ...]


Answer = Ready | Done | Failed | Costly


def frame(message: msgspec.Struct) -> bytes:
    """Return the message, preceded by its length."""
    body = msgspec.msgpack.encode(message)
    return HEADER.pack(len(body)) + body
