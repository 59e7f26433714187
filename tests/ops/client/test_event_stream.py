from collections.abc import AsyncIterator

import pytest

from ops.client.event_stream import LONGEST_LINE_BYTES, Frame, frames

STREAM = (
    ": hello\r\n\r\n"
    "event: ready\nretry: 1000\nid: 0:1-0\ndata: {}\n\n"
    'id: 0:2-0\ndata: {"name":"a\N{LINE SEPARATOR}b é"}\n\n'
    ": ping\n\n"
    "data: one\ndata:two\n\n"
    "data: cut off"
)


async def _in_pieces(text: str, size: int) -> AsyncIterator[bytes]:
    data = text.encode()
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_frames_are_the_same_however_the_stream_is_cut(size: int) -> None:
    found = [frame async for frame in frames(_in_pieces(STREAM, size))]

    assert found == [
        Frame(id="0:1-0", event="ready", data="{}"),
        Frame(id="0:2-0", event="message", data='{"name":"a\N{LINE SEPARATOR}b é"}'),
        Frame(id="0:2-0", event="message", data="one\ntwo"),
    ]


async def test_an_endless_line_is_rejected() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * (LONGEST_LINE_BYTES // 4)

    with pytest.raises(ValueError, match="a line of more than"):
        await anext(frames(endless()))
