"""Replace values in Redis replies (RESP3) by others that are valid, too."""

import random
from collections.abc import Callable

OTHERS = (
    *(b":1\r\n", b":-5\r\n", b":99999999999\r\n", b",1.5\r\n", b"#t\r\n", b"_\r\n", b"+OK\r\n"),
    *(b"$0\r\n\r\n", b"$7\r\ngarbage\r\n", b"$2\r\n\xff\xfe\r\n", b"$3\r\n1-x\r\n"),
    *(b"*0\r\n", b"*1\r\n:1\r\n", b"*2\r\n:1\r\n+x\r\n", b"*1\r\n*1\r\n$1\r\na\r\n"),
    *(b"%0\r\n", b"%1\r\n+a\r\n:1\r\n", b"-ERR other\r\n"),
)

_WHOLE = b"+-:_,#("
_BULK = b"$=!"
_PARTS = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}


class _Incomplete(Exception):
    pass


def exchanging(seed: int, share: float = 0.3) -> Callable[[bytes], bytes]:
    """Replace one value, at any depth, in a share of the pieces that hold complete replies."""
    chance = random.Random(seed)

    def exchange(data: bytes) -> bytes:
        spans: list[tuple[int, int]] = []
        try:
            at = 0
            while at < len(data):
                at = _span(data, at, spans)
        except _Incomplete:
            return data
        if chance.random() > share:
            return data
        begin, end = chance.choice(spans)
        return data[:begin] + chance.choice(OTHERS) + data[end:]

    return exchange


def _span(data: bytes, begin: int, spans: list[tuple[int, int]]) -> int:
    """Return where the value ends, and add its place and those of its parts to the list."""
    line = data.find(b"\r\n", begin)
    if line < 0:
        raise _Incomplete
    end, kind, number = line + 2, data[begin], data[begin + 1 : line]
    if kind in _BULK:
        end += max(0, int(number) + 2)
    elif kind in _PARTS:
        for _ in range(_PARTS[kind] * int(number)):
            end = _span(data, end, spans)
    elif kind not in _WHOLE:
        raise _Incomplete
    if end > len(data):
        raise _Incomplete
    spans.append((begin, end))
    return end
