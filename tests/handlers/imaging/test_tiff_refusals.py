"""Layouts of TIFF files that are refused by name."""

from typing import Any

import pytest

from handlers.imaging.picture import load
from handlers.stage import BadImage
from tests.handlers.imaging.test_tiff_layouts import (
    CMYK,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    ramps,
    stored,
)
from tests.handlers.imaging.tiffs import (
    INT,
    UINT,
    tiff,
)


def grey(**fields: Any) -> bytes:
    return tiff([stored(ramps(1)[0], 8, UINT)], **fields)


def many(count: int, bits: int, kind: int, photometric: int, **fields: Any) -> bytes:
    planes = [stored(levels, bits, kind) for levels in ramps(count)]
    return tiff(planes, bits=bits, kind=kind, photometric=photometric, **fields)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (many(1, 8, INT, 1), "8-bit signed grey TIFF"),
        (many(1, 16, INT, 1), "16-bit signed grey TIFF"),
        (many(1, 64, INT, 1), "64-bit signed grey TIFF"),
        (many(3, 32, INT, RGB), "32-bit signed RGB TIFF"),
        (many(1, 64, 6, 1), "64-bit complex grey TIFF"),
        (many(1, 16, UINT, PALETTE), "16-bit palette TIFF"),
        (many(1, 8, UINT, 4), "8-bit transparency mask TIFF"),
        (many(1, 16, UINT, 32844), "16-bit LogL TIFF"),
        (many(3, 16, UINT, YCBCR), "16-bit YCbCr TIFF"),
        (many(3, 8, UINT, 10), "8-bit ITU L*a*b* TIFF"),
        (many(3, 8, UINT, 60000), "8-bit photometric 60000 TIFF"),
        (many(5, 8, UINT, CMYK, t338=(2,)), "8-bit CMYK TIFF with transparency"),
        (many(4, 8, UINT, CMYK, t332=(2,)), "TIFF with other inks than CMYK"),
        (many(2, 8, UINT, RGB), "8-bit RGB TIFF with 2 samples a pixel"),
        (
            many(2, 8, UINT, WHITE_IS_ZERO, t338=(1,)),
            "8-bit grey TIFF with white as zero and transparency that is multiplied in",
        ),
        (grey(t258=(10,)), "10-bit grey TIFF"),
        (grey(t259=(34712,)), "8-bit grey TIFF with JPEG 2000 compression"),
        (grey(t259=(34887,)), "8-bit grey TIFF with LERC compression"),
        (grey(t259=(4,)), "8-bit grey TIFF with CCITT Group 4 compression"),
        (
            grey(t259=(32773,), t317=(2,)),
            "8-bit grey TIFF with PackBits compression and a predictor",
        ),
        (grey(t259=(61234,)), "8-bit grey TIFF with an unknown (61234) compression"),
    ],
)
def test_other_layouts_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(BadImage) as refused:
        load(data)

    assert refused.value.code == "layout-not-supported"
    assert refused.value.message.startswith(f"{name} is not supported. Save the picture as ")


def test_bits_that_differ_between_samples_are_refused() -> None:
    planes = [stored(levels, 8, UINT) for levels in ramps(3)]

    with pytest.raises(BadImage, match="with samples of different kinds is not supported"):
        load(tiff(planes, photometric=RGB, t258=(5, 6, 5)))
