"""Stored files that are missing or altered: health tells of them until they are whole.

| how a file gets among them | when |
|---|---|
| a gateway serves it, or compares an upload with it | at once |
| a worker processes it | at once; otherwise from the dead letter, at the next look |
| ``photolog reconcile`` reports it | at once |

A file leaves them once it is whole, or is no longer a current file of its photo: that was deleted,
or a later job has replaced the file. An upload that restores it does so at once.
"""

import logging
from collections import Counter
from collections.abc import Sequence

from domain.photo.state import Photo
from gateway.http.intact import intact
from projections.models import dead_letters
from store.blobs import damaged
from store.blobs.damaged import NOTED_MAX, Damage, DamagedFile, name_of
from store.blobs.interface import Blobs
from store.errors import Corrupt, Missing, StoreError
from store.log.log import Log
from store.sqlite.reader import Reader

logger = logging.getLogger("photolog.gateway")

MISSING, ALTERED = "blob-missing", "blob-damaged"
"""How jobs fail whose file was missing, or whose original was altered."""

LETTERS = 3
"""Dead letters of each kind that one look takes up: an original may be as large as an upload."""

READ_BYTES = 300_000_000
"""One look reads altered files again, in turn, until it has read so many bytes."""

ADVICE = {
    True: "upload the same bytes again, or restore the file from a backup",
    False: "process the photo again (`POST /api/photos/PHOTO/reprocess`, or the page)",
}
"""What mends an original, and what a rendition."""


async def note(
    log: Log, key: str, damage: Damage, *, photo_id: str, client_id: str, sha256: str
) -> None:
    """Note that the file was found so; without Redis, the next reader notes it."""
    try:
        await damaged.note(log, key, damage, photo_id=photo_id, client_id=client_id, sha256=sha256)
    except StoreError as error:
        logger.warning("health will not tell that %s is %s: %s", key, damage, error)


async def damage_of(blobs: Blobs, key: str, sha256: str | None, size: int) -> Damage | None:
    """Return what is wrong with the file; its content is read if its size is right.

    Without ``sha256`` its size is enough.

    Raises:
        Unavailable: the store does not answer.
    """
    try:
        if await blobs.size(key) != size:
            return "altered"
        if sha256 is not None:
            async for _ in intact(blobs.read(key), key, sha256):
                pass
    except Missing:
        return "missing"
    except Corrupt:  # or the disk cannot read it
        return "altered"
    return None


async def look(log: Log, blobs: Blobs) -> None:
    """Forget the files that are no longer current, and those that were missing and are whole now.

    Raises:
        StoreError: Redis or the store does not answer.
    """
    for file in await damaged.noted(log):
        photo = (await log.load(file.photo_id, file.client_id)).photo
        name = name_of(photo, file.key)
        if photo is None or name is None:
            await damaged.forget(log, [file.key])
        elif file.damage == "missing" and await _is_there(blobs, file.key):
            await _examine(log, blobs, file, photo, name)


async def look_again(log: Log, blobs: Blobs, reader: Reader) -> None:
    """Note what dead letters tell of, and read altered files again, the oldest first.

    Raises:
        StoreError: Redis, the store or the read model does not answer.
    """
    await _note_dead_letters(log, blobs, reader)
    read = 0
    for file in await damaged.noted(log):
        photo = (await log.load(file.photo_id, file.client_id)).photo
        name = name_of(photo, file.key)
        if file.damage == "altered" and photo is not None and name is not None:
            await _examine(log, blobs, file, photo, name)
            read += photo.holding.sizes[name]
        if read >= READ_BYTES:
            return


async def _note_dead_letters(log: Log, blobs: Blobs, reader: Reader) -> None:
    known = {file.key for file in await damaged.noted(log)}
    for code in (MISSING, ALTERED):
        for letter in await reader.query(dead_letters.of_code, code, LETTERS):
            photo = (await log.load(letter.photo_id, letter.client_id)).photo
            if photo is None or photo.deleted:
                continue
            for name, key in photo.keys.items():
                reads = code == ALTERED and name == damaged.ORIGINAL
                if key in known or not (reads or code == MISSING):
                    continue
                sha256 = photo.sha256 if reads else None
                found = await damage_of(blobs, key, sha256, photo.holding.sizes[name])
                if found is not None:
                    await damaged.note(
                        *(log, key, found),
                        photo_id=letter.photo_id,
                        client_id=letter.client_id,
                        sha256=sha256,
                    )


async def _is_there(blobs: Blobs, key: str) -> bool:
    try:
        await blobs.size(key)
    except Missing:
        return False
    return True


async def _examine(log: Log, blobs: Blobs, file: DamagedFile, photo: Photo, name: str) -> None:
    sha256 = photo.sha256 if name == damaged.ORIGINAL else file.sha256
    found = await damage_of(blobs, file.key, sha256, photo.holding.sizes[name])
    if found is None:
        await damaged.forget(log, [file.key])
    else:  # behind the others
        await damaged.note(
            *(log, file.key, found),
            photo_id=file.photo_id,
            client_id=file.client_id,
            sha256=sha256,
        )


def in_words(files: Sequence[DamagedFile]) -> str:
    """Say how many files of each kind are damaged, and what mends them."""
    counts = Counter((file.is_original, file.damage) for file in files)
    said: list[str] = []
    for is_original, kind in ((True, "original"), (False, "rendition")):
        named = [
            f"{count} {kind}{'' if count == 1 else 's'} {damage}"
            for damage in ("missing", "altered")
            if (count := counts[is_original, damage])
        ]
        if named:
            said.append(f"{', '.join(named)}: {ADVICE[is_original]}")
    most = f"at least {NOTED_MAX} files; " if len(files) >= NOTED_MAX else ""
    return f"{most}{'; '.join(said)}; `photolog reconcile --hash` names them"
