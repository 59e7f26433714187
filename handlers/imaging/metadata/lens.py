"""Name the lens: from EXIF, the maker's note or XMP, in this order."""

from handlers.imaging.metadata import values
from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.metadata.maker_notes import LensSpecification
from handlers.imaging.metadata.xmp import Properties

_XMP_NAMES = ("exifEX:LensModel", "aux:Lens")
_XMP_SPECIFICATIONS = ("exifEX:LensSpecification", "aux:LensInfo")


def find(tags: Tags, xmp: Properties) -> str | None:
    """Return the name of the lens, else its focal lengths and apertures; None if unknown."""
    note = tags.maker_note
    names = (
        values.text(tags.of(Tag.LENS_MODEL)),
        described(values.numbers(tags.of(Tag.LENS_SPECIFICATION))),
        values.text(note.lens),
        described(note.lens_specification),
        *(xmp.name(name) for name in _XMP_NAMES),
        *(described(xmp.numbers(name)) for name in _XMP_SPECIFICATIONS),
    )
    return next(filter(None, map(values.known, names)), None)


def described(specification: LensSpecification) -> str | None:
    """Return a specification as ``24–70 mm f/2.8``; None if it has no focal length."""
    measures = (*map(_measure, specification[:4]), None, None, None, None)
    short, long, wide, wide_at_long = measures[:4]
    if short is None and long is None:
        return None
    aperture = _range(wide, wide_at_long)
    return f"{_range(short, long)} mm" + (f" f/{aperture}" if aperture else "")


def _measure(value: object) -> str | None:
    number = values.positive((value,)) if isinstance(value, values.Number) else None
    return None if number is None else f"{round(number, 1):g}"


def _range(low: str | None, high: str | None) -> str:
    return "–".join(dict.fromkeys(filter(None, (low, high))))
