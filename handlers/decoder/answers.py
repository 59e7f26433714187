"""Check a decoder's answer before the worker uses it.

A decoder that runs an attacker's code must not reach further than its own photo: not into the log
with a result of megabytes, not into the blob store under another name, not into a browser with a
page that claims to be a picture.
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
    """Return what is wrong with the answer; None if a stage could have given it."""
    if isinstance(answer, Costly):
        return None if answer.cost.is_sane else "a cost that is out of range"
    if len(bytes(answer.result)) > MAX_RESULT_BYTES:
        return f"a result of more than {MAX_RESULT_BYTES} bytes"
    if len(answer.renditions) > MAX_RENDITIONS:
        return f"more than {MAX_RENDITIONS} pictures"
    names = [made.name for made in answer.renditions]
    if len(set(names)) < len(names):
        return "two pictures with the same name"
    return next(filter(None, map(_flaw_of_picture, answer.renditions)), None)


def _flaw_of_picture(made: Made) -> str | None:
    if not _NAME.fullmatch(made.name):
        return "a picture with an invalid name"
    if not (0 < made.width <= MAX_EDGE and 0 < made.height <= MAX_EDGE):
        return "a picture with an impossible size"
    kind = sniff(made.data[:HEAD_BYTES])
    if kind is None or kind[1] != made.mime_type:
        return "a picture whose content does not match its type"
    return None


def message(text: str) -> str:
    """Make the text of a failure safe for an event: one printable line of bounded length."""
    return "".join(c if c.isprintable() else "�" for c in text[:MAX_MESSAGE_CHARS])


def quoted(text: str) -> str:
    """Quote a traceback for the log, so that no line can pass for a log line of the worker."""
    lines = text[:MAX_TRACE_CHARS].split("\n")
    return "".join("\n  | " + "".join(filter(str.isprintable, line)) for line in lines if line)


def code(text: str) -> str:
    """Return the code of a failure, or ``unknown-failure`` if it does not look like one."""
    return text if _CODE.fullmatch(text) else UNKNOWN_CODE
