"""The cursor of a list: an opaque text that tells where a page ended."""

import re
from typing import Self

import msgspec

FORM = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z_[0-9A-Za-z-]{1,64}"
"""The form of a cursor. Every text of this form is valid, even if no item is at its place."""

_FORM = re.compile(FORM, re.ASCII)


class Cursor(msgspec.Struct, frozen=True):
    """The last item of a page, by time and photo; the next page begins after it."""

    at: str
    photo_id: str

    def encode(self) -> str:
        return f"{self.at}_{self.photo_id}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the cursor of ``text``; raises ValueError if it has another form."""
        if not _FORM.fullmatch(text):
            raise ValueError(f"{text[:40]!r} is not a cursor of this list")
        return cls(*text.split("_"))
