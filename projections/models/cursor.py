"""Where a page of a list ended, as a text that callers pass on as it came."""

import re
from typing import Self

import msgspec

FORM = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z_[0-9A-Za-z-]{1,64}"
"""Every text of this form is a cursor: a place in the list, whether an item is there or not."""

_FORM = re.compile(FORM, re.ASCII)


class Cursor(msgspec.Struct, frozen=True):
    """The last item of a page, by time and photo; the next page begins behind it."""

    at: str
    photo_id: str

    def encode(self) -> str:
        return f"{self.at}_{self.photo_id}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises ValueError if ``text`` is none that a page gave out."""
        if not _FORM.fullmatch(text):
            raise ValueError(f"{text[:40]!r} is not a cursor of this list")
        return cls(*text.split("_"))
