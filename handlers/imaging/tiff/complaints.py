"""Hear what libtiff complains about while it decodes.

libtiff tells of broken fax codes only in text on standard error, and goes on. A decoder process
listens from its start (``listen``), because later it may open nothing; elsewhere standard error
is replaced for the moment.
"""

import contextlib
import os
import re
from collections.abc import Callable, Generator

_STDERR = 2
_PIPE_BYTES = 1 << 16

# The functions that decode pixels. Complaints about other fields come from others.
_ABOUT_PIXELS = re.compile(rb"(?m)^(?:\w*Decode\w*|Fax3\w*|JPEGLib|OJPEG\w*):")
_NOT_CONFIGURED = re.compile(rb"compression support is not configured")

_heard: list[int] = []


def listen() -> int:
    """Put a pipe in place of this process's standard error, for good; return its reading end.

    What does not fit in the pipe is lost; no writer ever waits.
    """
    reading, writing = _pipe()
    os.dup2(writing, _STDERR)
    os.close(writing)
    _heard.append(reading)
    return reading


@contextlib.contextmanager
def heard() -> Generator[Callable[[], bytes]]:
    """Yield a function that returns what was written to standard error since the beginning."""
    if _heard:
        _drain(_heard[0])
        yield lambda: _drain(_heard[0])
        return
    reading, writing = _pipe()
    before = os.dup(_STDERR)
    os.dup2(writing, _STDERR)
    os.close(writing)
    try:
        yield lambda: _drain(reading)
    finally:
        os.dup2(before, _STDERR)
        os.close(before)
        os.close(reading)


def are_about_pixels(text: bytes) -> bool:
    """Return whether libtiff found broken picture data."""
    return _ABOUT_PIXELS.search(text) is not None


def lack_a_codec(text: bytes) -> bool:
    """Return whether this libtiff was built without the file's compression."""
    return _NOT_CONFIGURED.search(text) is not None


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return reading, writing


def _drain(reading: int) -> bytes:
    try:
        return os.read(reading, _PIPE_BYTES)
    except BlockingIOError:
        return b""
