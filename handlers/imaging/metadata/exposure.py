"""Read how a photo was exposed (EXIF 3.0, 4.6.5 and 4.6.6)."""

from fractions import Fraction
from typing import Literal, cast

from domain.photo.results import Exposure, FlashMode
from handlers.imaging.metadata import values
from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.metadata.tiff_directory import Value

_ISO_BEYOND = 65_535
"""The largest number of PhotographicSensitivity, which then refers to the other tags."""

_SENSITIVITIES = {
    1: (Tag.STANDARD_OUTPUT_SENSITIVITY,),
    2: (Tag.RECOMMENDED_EXPOSURE_INDEX,),
    3: (Tag.ISO_SPEED,),
    4: (Tag.STANDARD_OUTPUT_SENSITIVITY, Tag.RECOMMENDED_EXPOSURE_INDEX),
    5: (Tag.STANDARD_OUTPUT_SENSITIVITY, Tag.ISO_SPEED),
    6: (Tag.RECOMMENDED_EXPOSURE_INDEX, Tag.ISO_SPEED),
}
_ALL_SENSITIVITIES = (
    Tag.STANDARD_OUTPUT_SENSITIVITY,
    Tag.RECOMMENDED_EXPOSURE_INDEX,
    Tag.ISO_SPEED,
)

_PROGRAMS = {
    1: "manual",
    2: "normal program",
    3: "aperture priority",
    4: "shutter priority",
    5: "creative program",
    6: "action program",
    7: "portrait mode",
    8: "landscape mode",
}
_METERING_MODES = {
    1: "average",
    2: "centre-weighted average",
    3: "spot",
    4: "multi-spot",
    5: "pattern",
    6: "partial",
}
_FLASH_MODES: dict[int, FlashMode] = {1: "on", 2: "off", 3: "auto"}
_WHITE_BALANCES: dict[int, Literal["auto", "manual"]] = {0: "auto", 1: "manual"}
_LARGEST_EV = 30


def find(tags: Tags) -> Exposure:
    flash = values.integer(tags.of(Tag.FLASH))
    return Exposure(
        time=_time(tags.of(Tag.EXPOSURE_TIME)),
        f_number=values.positive(tags.of(Tag.F_NUMBER)),
        iso=_iso(tags),
        focal_length=values.positive(tags.of(Tag.FOCAL_LENGTH)),
        focal_length_35mm=_focal_length_35mm(tags.of(Tag.FOCAL_LENGTH_35MM)),
        compensation_ev=_compensation(tags.of(Tag.EXPOSURE_BIAS)),
        program=_PROGRAMS.get(_enumerated(tags.of(Tag.EXPOSURE_PROGRAM))),
        metering_mode=_METERING_MODES.get(_enumerated(tags.of(Tag.METERING_MODE))),
        flash_fired=None if flash is None or not 0 <= flash < 256 else flash & 1 == 1,
        flash_mode=None if flash is None else _FLASH_MODES.get(flash >> 3 & 3),
        white_balance=_WHITE_BALANCES.get(_enumerated(tags.of(Tag.WHITE_BALANCE))),
    )


def _enumerated(value: Value | None) -> int:
    found = values.integer(value)
    return -1 if found is None else found


def _time(value: Value | None) -> str | None:
    """Return a time as ``1/250``; some cameras write 16667/1000000 for 1/60."""
    seconds = values.fraction(value)
    if seconds is None or not 0 < seconds < 1_000_000:
        return None
    if seconds < 1:
        unit = Fraction(1, round(1 / seconds))
        if abs(unit - seconds) <= seconds / 200:
            return str(unit)
    short = seconds.limit_denominator(1000)
    return str(short) if short else None


def _iso(tags: Tags) -> int | None:
    """Return PhotographicSensitivity, or what SensitivityType refers to if it has no number."""
    numbers = values.numbers(tags.of(Tag.SENSITIVITY))
    plain = next((each for each in numbers if each), None)
    if plain is not None and plain != _ISO_BEYOND:
        return _sensitivity((plain,))
    kind = _enumerated(tags.of(Tag.SENSITIVITY_TYPE))
    order = (*_SENSITIVITIES.get(kind, ()), *_ALL_SENSITIVITIES)
    found = (_sensitivity(tags.of(tag)) for tag in cast("tuple[int, ...]", order))
    return next(filter(None, found), None)


def _sensitivity(value: Value | None) -> int | None:
    found = values.integer(value)
    return found if found is not None and 0 < found < 10_000_000 else None


def _focal_length_35mm(value: Value | None) -> float | None:
    return values.positive(value, below=65_535)


def _compensation(value: Value | None) -> float | None:
    found = values.number(value)
    if found is None or abs(found) > _LARGEST_EV:
        return None
    return values.rounded(found)
