"""Texts in claims. JSON can have half a surrogate pair in a text, which UTF-8 does not have."""

import re
from typing import TypeGuard

TEXT_MAX = 255
"""The most characters of a subject (OpenID Connect Core 1.0, section 2), and of other ids here."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def is_text(value: object, most: int = TEXT_MAX) -> TypeGuard[str]:
    """Return whether it is a text of 1 to ``most`` characters, all of which UTF-8 can encode."""
    return isinstance(value, str) and 0 < len(value) <= most and not _SURROGATE.search(value)
