"""HEIC with and without its decoder. What it decodes to is in ``test_picture.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

from domain.pipeline.failures import Category
from handlers.imaging import heic
from handlers.imaging.picture import load
from handlers.stage import ImageLimits, StageContext, StageFailure

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"

WITHOUT_PILLOW_HEIF = """\
import sys
sys.modules["pillow_heif"] = None
from handlers.imaging import heic, picture
from handlers.stage import StageFailure
heic.confine()
try:
    picture.load(sys.stdin.buffer.read())
except StageFailure as failure:
    print(failure.category, failure.code, failure.message)
"""


def test_a_worker_without_pillow_heif_keeps_a_heic_and_says_how_to_enable_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_PILLOW_HEIF], input=HEIC, capture_output=True, check=True
    ).stdout.decode()

    assert said.startswith(f"{Category.CONFIGURATION} heic-not-supported HEIC is not supported")
    assert "`photolog[heic]`" in said


def test_a_refused_format_is_not_decoded(photos: Path) -> None:
    context = StageContext(limits=ImageLimits(refused_formats="TIFF HEIC"))

    with pytest.raises(StageFailure) as failure:
        load((photos / "formats" / "iphone.heic").read_bytes(), context)

    assert (failure.value.category, failure.value.code) == ("configuration", "format-refused")
    assert load((photos / "formats" / "picture.png").read_bytes(), context).format == "PNG"


def test_the_decoder_is_the_one_that_the_extra_brings() -> None:
    assert heic.pillow_heif is not None
