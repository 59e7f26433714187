"""A table of stages that fail in different ways, for tests of the decoder pool."""

import logging
import os
import signal
import time
import warnings

from domain.photo.results import Result
from domain.pipeline.failures import Category
from handlers.imaging.picture import Picture
from handlers.registry import STAGES, Stage
from handlers.stage import BadImage, Made, Output, StageContext, StageFailure


class Seen(Result, frozen=True, kw_only=True):
    process: int
    width: int


def look(picture: Picture, _context: StageContext) -> Output:
    return Output(result=Seen(process=os.getpid(), width=picture.width))


def crash(_picture: Picture, _context: StageContext) -> Output:
    signal.raise_signal(signal.SIGSEGV)
    raise AssertionError


def leave(_picture: Picture, _context: StageContext) -> Output:
    os._exit(3)


def hang(_picture: Picture, _context: StageContext) -> Output:
    time.sleep(3600)
    raise AssertionError


def hog(_picture: Picture, _context: StageContext) -> Output:
    return Output(result=Seen(process=os.getpid(), width=len(bytearray(8 << 30))))


def stumble(_picture: Picture, _context: StageContext) -> Output:
    raise ZeroDivisionError("in /home/someone/secret.py")


def refuse(_picture: Picture, _context: StageContext) -> Output:
    raise BadImage("too-ugly", "No.", Category.SECURITY)


def give_up(_picture: Picture, _context: StageContext) -> Output:
    raise StageFailure(Category.CONFIGURATION, "no-model", "Nothing to do it with.")


def talk(_picture: Picture, _context: StageContext) -> Output:
    os.write(1, b"a library that prints")
    return Output(result=Seen(process=os.getpid(), width=0))


def chatter(_picture: Picture, _context: StageContext) -> Output:
    os.write(2, b"a decoder that warns\n" * 100_000)
    warnings.warn("a library that warns", stacklevel=1)
    logging.getLogger("PIL").warning("a library that logs")
    raise ZeroDivisionError("x" * 1_000_000)


def swell(_picture: Picture, _context: StageContext) -> Output:
    data = b"RIFF\0\0\0\0WEBPVP8 " + bytes(3_000_000 - 16)
    made = Made(name="big", mime_type="image/webp", width=1, height=1, data=data)
    return Output(result=Seen(process=os.getpid(), width=0), renditions=(made,))


def tell_environment(_picture: Picture, _context: StageContext) -> Output:
    raise StageFailure(Category.LOGIC, "environment", " ".join(os.environ))


RUN = (
    *(look, crash, leave, hang, hog, stumble, refuse, give_up, talk, chatter, swell),
    tell_environment,
)

TABLE = {
    **STAGES,
    **{run.__name__: Stage(result=Seen, run=run) for run in RUN},
    "look-at-thumbnail": Stage(needs="thumbnail-150", result=Seen, run=look),
}

TABLE_THAT_HANGS = {**STAGES, "validation": Stage(result=STAGES["validation"].result, run=hang)}
