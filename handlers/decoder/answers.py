"""What a worker checks in a decoder's answer before it believes it.

A decoder that was taken over must not reach further than the photo it has: not into the log with a
result of megabytes, not into the blobs under another name, not into a browser with a page that says
that it is a picture.
"""

import re

from domain.photo.formats import HEAD_BYTES, sniff
from handlers.decoder.protocol import (
    MAX_MESSAGE_CHARS,
    MAX_RESULT_BYTES,
    MAX_TRACE_CHARS,
    Costly,
    Done,
)
from handlers.stage import Made

MAX_RENDITIONS = 16
MAX_EDGE = 65_535

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}")

UNKNOWN_CODE = "unknown-failure"


def flaw(answer: Done | Costly) -> str | None:
    """What is wrong with the answer; None if it can be taken for one of a stage."""
    if isinstance(answer, Costly):
        return None if answer.cost.is_sane else "a cost out of all bounds"
    if len(bytes(answer.result)) > MAX_RESULT_BYTES:
        return f"a result of more than {MAX_RESULT_BYTES} bytes"
    if len(answer.renditions) > MAX_RENDITIONS:
        return f"more than {MAX_RENDITIONS} pictures"
    names = [made.name for made in answer.renditions]
    if len(set(names)) < len(names):
        return "two pictures of one name"
    return next(filter(None, map(_flaw_of_picture, answer.renditions)), None)


def _flaw_of_picture(made: Made) -> str | None:
    if not _NAME.fullmatch(made.name):
        return "a picture with a name that is none"
    if not (0 < made.width <= MAX_EDGE and 0 < made.height <= MAX_EDGE):
        return "a picture of a size that is none"
    kind = sniff(made.data[:HEAD_BYTES])
    if kind is None or kind[1] != made.mime_type:
        return "a picture that is not what it says it is"
    return None


def message(said: str) -> str:
    """What it said, for an event: one printable line, and not too long."""
    return "".join(c if c.isprintable() else "�" for c in said[:MAX_MESSAGE_CHARS])


def quoted(said: str) -> str:
    """What it said, for the log: no line of it can be taken for one of ours."""
    lines = said[:MAX_TRACE_CHARS].split("\n")
    return "".join("\n  | " + "".join(filter(str.isprintable, line)) for line in lines if line)


def code(said: str) -> str:
    """The code of a failure, if it looks like one."""
    return said if _CODE.fullmatch(said) else UNKNOWN_CODE
