"""Stored files that were found to have other bytes than the log records.

A read, or a worker, comes upon them; health tells of them until they are whole again, or gone.
"""

from gateway.intact import intact
from projections import dead_letters
from store.blobs import Blobs
from store.errors import Corrupt, Missing, StoreError
from store.log import Log
from store.reader import Reader

NOTED_MAX = 100
"""Files that a gateway remembers; the oldest are forgotten first."""

LOOKED_AT = 3
"""Files that one look reads again: each may be as large as an upload."""

ORIGINAL = "original"
CODE = "blob-damaged"


class Damaged:
    """The altered files that one gateway knows of, by key, each with its SHA-256 and size."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[str, int]] = {}

    @property
    def count(self) -> int:
        return len(self._noted)

    def note(self, key: str, sha256: str, size: int) -> None:
        self._noted[key] = (sha256, size)
        if len(self._noted) > NOTED_MAX:
            del self._noted[next(iter(self._noted))]

    def forget(self, key: str) -> None:
        self._noted.pop(key, None)

    async def look_again(self, log: Log, blobs: Blobs, reader: Reader) -> None:
        """Note the originals that workers found damaged; forget what is whole again or gone.

        A few are read each time, in turn.

        Raises:
            StoreError: one of these does not answer.
        """
        for letter in await reader.query(dead_letters.of_code, CODE, LOOKED_AT):
            photo = (await log.load(letter.photo_id, letter.client_id)).photo
            if photo is not None and not photo.deleted:
                self._noted.setdefault(photo.keys[ORIGINAL], (photo.sha256, photo.file_size))
        for key, (sha256, size) in list(self._noted.items())[:LOOKED_AT]:
            self.forget(key)
            try:
                if not await is_intact(blobs, key, sha256, size):
                    self.note(key, sha256, size)  # behind the others
            except Missing:
                continue
            except StoreError:
                self.note(key, sha256, size)
                raise


async def is_intact(blobs: Blobs, key: str, sha256: str, size: int) -> bool:
    """Return whether the file has these bytes; its content is read if its size is right.

    Raises:
        Missing: there is no such file.
        Unavailable: the store does not answer.
    """
    if await blobs.size(key) != size:
        return False
    try:
        async for _ in intact(blobs.read(key), key, sha256):
            pass
    except Corrupt:  # or the disk cannot read it
        return False
    return True
