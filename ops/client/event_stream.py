"""Parse server-sent events as they arrive (HTML standard, section 9.2.6)."""

from collections.abc import AsyncIterable, AsyncIterator

import msgspec

LONGEST_LINE_BYTES = 16 << 20


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One message. To resume after it, send ``id``."""

    id: str | None
    event: str
    data: str


async def frames(chunks: AsyncIterable[bytes]) -> AsyncIterator[Frame]:
    """Yield the messages of the stream without comments and empty messages.

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
            case _:  # a comment, or an unknown field
                pass


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield the lines, which end with LF or CR LF; our servers never use CR alone.

    ``str.splitlines`` would also split at characters that are valid within JSON.
    """
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            raise ValueError(f"the server sent a line of more than {LONGEST_LINE_BYTES:,} bytes")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
