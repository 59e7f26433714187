"""Where a page of a list ended, as a text that callers pass on as it came."""

import base64
import binascii
from typing import Annotated

import msgspec


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last item of a page, by time and photo; the next page begins behind it."""

    at: Annotated[str, msgspec.Meta(max_length=40)]
    photo_id: Annotated[str, msgspec.Meta(max_length=64)]

    def encode(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Raises ValueError if ``text`` is none that a page gave out."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            return msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
        except (binascii.Error, UnicodeError, msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"{text[:40]!r} is not a cursor of this list") from error
