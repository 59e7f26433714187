"""Read the name of an ICC profile (ICC.1:2022, 9.2.41; in version 2: ICC.1:2001-04, 6.5.17)."""

import struct

from handlers.imaging.metadata.values import MAX_NAME, decode, tidy

_TAGS_AT = 128
_MAX_TAGS = 200


def name(profile: bytes) -> str | None:
    """Return the profile's description, in English if there are several; None if it has none."""
    span = _description(profile)
    if span is None:
        return None
    tag = profile[span[0] : span[0] + span[1]]
    if tag[:4] == b"desc" and len(tag) >= 12:
        (length,) = struct.unpack_from(">I", tag, 8)
        return tidy(decode(tag[12 : 12 + min(length, MAX_NAME)].split(b"\0")[0]), MAX_NAME)
    if tag[:4] == b"mluc":
        return _localized(tag)
    return None


def _description(profile: bytes) -> tuple[int, int] | None:
    if len(profile) < _TAGS_AT + 4 or profile[36:40] != b"acsp":
        return None
    (count,) = struct.unpack_from(">I", profile, _TAGS_AT)
    there = min(count, _MAX_TAGS, (len(profile) - _TAGS_AT - 4) // 12)
    for at in range(_TAGS_AT + 4, _TAGS_AT + 4 + 12 * there, 12):
        signature, begin, length = struct.unpack_from(">4sII", profile, at)
        if signature == b"desc":
            return begin, length
    return None


def _localized(tag: bytes) -> str | None:
    """Return a text of a multiLocalizedUnicodeType (10.15)."""
    if len(tag) < 28:
        return None
    count, size = struct.unpack_from(">II", tag, 8)
    if size < 12:
        return None
    texts: dict[bytes, str | None] = {}
    for at in range(16, min(16 + size * min(count, _MAX_TAGS), len(tag) - 11), size):
        language, length, begin = struct.unpack_from(">2s2xII", tag, at)
        raw = tag[begin : begin + min(length, 4 * MAX_NAME)]
        texts.setdefault(language, tidy(raw.decode("utf-16-be", "replace"), MAX_NAME))
    return texts.get(b"en") or next(filter(None, texts.values()), None)
