"""Server-sent events, as they arrive (HTML standard, section 9.2.6)."""

from collections.abc import AsyncIterable, AsyncIterator

import msgspec

LONGEST_LINE_BYTES = 16 << 20


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``id`` is where to resume from after it."""

    id: str | None
    event: str
    data: str


async def frames(chunks: AsyncIterable[bytes]) -> AsyncIterator[Frame]:
    """The messages of the stream; comments and empty messages are left out.

    Raises:
        ValueError: a line is longer than ``LONGEST_LINE_BYTES``.
    """
    last_id: str | None = None
    event, data = "", list[str]()
    async for line in _lines(chunks):
        if not line:
            if data:
                yield Frame(id=last_id, event=event or "message", data="\n".join(data))
            event, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "id":
                last_id = value
            case "event":
                event = value
            case "data":
                data.append(value)
            case _:  # a comment, or nothing that we know
                pass


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Lines end with LF or CR LF; our servers never end one with CR alone.

    ``str.splitlines`` would also split at characters that may stand in JSON.
    """
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            raise ValueError("the server sends a line without an end")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
