"""The base of events that concern the system rather than one photo.

They form a stream of their own in partition 0 of the log, chained like the events of a photo, and
clients see them in the room ``global``.
"""

from typing import ClassVar

import msgspec

OF_NO_PHOTO = ""
"""The photo id and the client id of an event that concerns no photo."""


class SystemData(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """The data of an event that concerns the system rather than a photo."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    @property
    def photo_id(self) -> str:
        return OF_NO_PHOTO
