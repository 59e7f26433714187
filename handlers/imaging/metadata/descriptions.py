"""Read what people have written about a photo: EXIF, IPTC and XMP, reconciled.

The order follows the guidance of the Metadata Working Group (2.0, chapters 3 and 5): EXIF, then
XMP, then IPTC; IPTC comes before XMP if a program that knows no XMP has changed it.
"""

import re

from domain.photo.results import Description
from handlers.imaging.metadata import iptc, values
from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.metadata.iptc import Iptc
from handlers.imaging.metadata.tiff_directory import Value
from handlers.imaging.metadata.values import MAX_NAME, MAX_TEXT
from handlers.imaging.metadata.xmp import Properties

MAX_KEYWORDS = 64
MAX_KEYWORD = 64
"""The most characters of a keyword, as in IPTC. With it, the largest result of the stage stays
below the largest answer of a decoder."""

_OF_CAMERA = re.compile(
    r".*\bdigital (?:still )?camera|.*\bDSC(?: picture)?|samsung camera pictures?|dcf 1\.0"
    r"|exif_jpeg_picture|.*\bdigimax\b.*|<.*>|lead technologies.*|creator: gd-jpeg.*"
    r"|created with the gimp|applemark|default|untitled",
    re.IGNORECASE,
)
"""What cameras and libraries write into ImageDescription, which nobody has written."""


def find(tags: Tags, xmp: Properties, iptc_: Iptc) -> Description:
    def ordered(of_xmp: str | None, of_iptc: str | None) -> str | None:
        if iptc_.is_newer_than_xmp:
            return of_iptc or of_xmp
        return of_xmp or of_iptc

    return Description(
        title=ordered(xmp.text("dc:title"), iptc_.text(iptc.OBJECT_NAME))
        or _windows(tags.of(Tag.XP_TITLE)),
        caption=_caption(tags) or ordered(xmp.text("dc:description"), iptc_.text(iptc.CAPTION)),
        keywords=_keywords(tags, xmp, iptc_),
        rating=_rating(tags, xmp),
        creator=_joined(values.text(tags.of(Tag.ARTIST), MAX_TEXT))
        or ordered(
            _joined("; ".join(xmp.names("dc:creator"))),
            _joined("; ".join(iptc_.names(iptc.BY_LINE))),
        )
        or _windows(tags.of(Tag.XP_AUTHOR)),
        copyright=_copyright(tags)
        or ordered(xmp.text("dc:rights"), iptc_.text(iptc.COPYRIGHT_NOTICE)),
    )


def _caption(tags: Tags) -> str | None:
    found = values.known(values.text(tags.main.get(Tag.DESCRIPTION), MAX_TEXT))
    return None if found is None or _OF_CAMERA.fullmatch(found) else found


def _copyright(tags: Tags) -> str | None:
    """Return the notices of photographer and editor, which a NUL separates."""
    value = tags.of(Tag.COPYRIGHT)
    if not isinstance(value, bytes):
        return None
    notices = (values.text(part, MAX_TEXT) for part in value.split(b"\0")[:2])
    return _joined("; ".join(filter(None, notices)))


def _joined(names: str | None) -> str | None:
    """Return the names, unless they say that nobody is known."""
    return None if names is None or values.known(names) is None else names[:MAX_TEXT]


def _keywords(tags: Tags, xmp: Properties, iptc_: Iptc) -> tuple[str, ...]:
    by_xmp, by_iptc = xmp.names("dc:subject"), iptc_.names(iptc.KEYWORDS)
    found = by_iptc or by_xmp if iptc_.is_newer_than_xmp else by_xmp or by_iptc
    if not found:
        split = (_windows(tags.of(Tag.XP_KEYWORDS)) or "").split(";")
        found = tuple(filter(None, (values.tidy(each, MAX_NAME) for each in split)))
    return tuple(dict.fromkeys(each[:MAX_KEYWORD] for each in found))[:MAX_KEYWORDS]


def _rating(tags: Tags, xmp: Properties) -> int | None:
    for value in (xmp.numbers("xmp:Rating"), tags.of(Tag.RATING)):
        found = values.integer(value or None)
        if found is not None and -1 <= found <= 5:
            return found
    return None


def _windows(value: Value | None) -> str | None:
    """Return a text of Windows: UTF-16 of either byte type."""
    if not isinstance(value, bytes):
        return None
    raw = value[: len(value) // 2 * 2]
    return values.tidy(raw.decode("utf-16-le", "replace").split("\0")[0], MAX_TEXT)
