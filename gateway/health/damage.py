"""Track stored files that are missing or altered: health reports them until they are intact.

| who finds a damaged file | when it is noted |
|---|---|
| a gateway that serves it, or compares an upload with it | immediately |
| a worker that processes it | immediately, or at the next look at the dead letters |
| ``photolog reconcile`` | immediately |

A file is forgotten once it is intact, or once it is no longer a current file of its photo, because
the photo was deleted or a later job replaced the file. An upload that restores a file removes it
immediately.
"""

import logging
from collections import Counter
from collections.abc import Sequence

from domain.photo.results import ORIGINAL
from domain.photo.state import Photo
from domain.pipeline.failures import BLOB_DAMAGED, BLOB_MISSING
from gateway.http.intact import intact
from projections.models import dead_letters
from projections.models.dead_letters import DeadLetter
from store.blobs import damaged
from store.blobs.damaged import NOTED_MAX, Damage, DamagedFile, name_of
from store.blobs.interface import Blobs
from store.errors import Corrupt, Missing, StoreError
from store.log.log import Log
from store.sqlite.reader import Reader

logger = logging.getLogger("photolog.gateway")

LETTERS = 3
"""Dead letters of each code that one look examines: an original may be as large as an upload."""

READ_BYTES = 300_000_000
"""One look rereads altered files, in turn, until it has read this many bytes."""

ADVICE = {
    True: "upload the same bytes again, or restore the file from a backup",
    False: "process the photo again (`POST /api/photos/PHOTO/reprocess`, or the page)",
}
"""How to repair an original (True) and a rendition (False)."""


async def note(
    log: Log, key: str, damage: Damage, *, photo_id: str, client_id: str, sha256: str
) -> None:
    """Note that the file is damaged; if Redis is down, the next reader of the file notes it."""
    try:
        await damaged.note(log, key, damage, photo_id=photo_id, client_id=client_id, sha256=sha256)
    except StoreError as error:
        logger.warning(
            "cannot note that %s is %s, health will not report it: %s", key, damage, error
        )


async def damage_of(blobs: Blobs, key: str, sha256: str | None, size: int) -> Damage | None:
    """Return what is wrong with the file; compare its content if its size is right.

    Without ``sha256``, only the size is compared.

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
    except Corrupt:  # the content differs, or the disk cannot read it
        return "altered"
    return None


async def look(log: Log, blobs: Blobs) -> None:
    """Forget the files that are no longer current, and missing ones that are intact again.

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


async def look_again(log: Log, blobs: Blobs, reader: Reader, intact_of: set[str]) -> None:
    """Note damaged files that dead letters reveal, and reread altered files, oldest first.

    ``intact_of`` keeps the jobs of those dead letters whose files were found intact: they are read
    once.

    Raises:
        StoreError: Redis, the store or the read model does not answer.
    """
    await _note_dead_letters(log, blobs, reader, intact_of)
    read = 0
    for file in await damaged.noted(log):
        photo = (await log.load(file.photo_id, file.client_id)).photo
        name = name_of(photo, file.key)
        if file.damage == "altered" and photo is not None and name is not None:
            await _examine(log, blobs, file, photo, name)
            read += photo.holding.sizes[name]
        if read >= READ_BYTES:
            return


async def _note_dead_letters(log: Log, blobs: Blobs, reader: Reader, intact_of: set[str]) -> None:
    known = {file.key for file in await damaged.noted(log)}
    letters = [
        letter
        for code in (BLOB_MISSING, BLOB_DAMAGED)
        for letter in await reader.query(dead_letters.of_code, code, LETTERS)
    ]
    intact_of.intersection_update(letter.job_id for letter in letters)
    for letter in letters:
        if letter.job_id not in intact_of and not await _note_files(log, blobs, letter, known):
            intact_of.add(letter.job_id)


async def _note_files(log: Log, blobs: Blobs, letter: DeadLetter, known: set[str]) -> bool:
    """Note the damaged files of the letter's photo; return whether any is damaged."""
    photo = (await log.load(letter.photo_id, letter.client_id)).photo
    if photo is None or photo.deleted:
        return False
    is_damaged = False
    for name, key in photo.keys.items():
        reads = letter.code == BLOB_DAMAGED and name == ORIGINAL
        if key in known:
            is_damaged = True
        elif reads or letter.code == BLOB_MISSING:
            sha256 = photo.sha256 if reads else None
            found = await damage_of(blobs, key, sha256, photo.holding.sizes[name])
            if found is not None:
                is_damaged = True
                await damaged.note(
                    *(log, key, found),
                    photo_id=letter.photo_id,
                    client_id=letter.client_id,
                    sha256=sha256,
                )
    return is_damaged


async def _is_there(blobs: Blobs, key: str) -> bool:
    try:
        await blobs.size(key)
    except Missing:
        return False
    return True


async def _examine(log: Log, blobs: Blobs, file: DamagedFile, photo: Photo, name: str) -> None:
    sha256 = photo.sha256 if name == ORIGINAL else file.sha256
    found = await damage_of(blobs, file.key, sha256, photo.holding.sizes[name])
    if found is None:
        await damaged.forget(log, [file.key])
    else:  # moves it behind the others
        await damaged.note(
            *(log, file.key, found),
            photo_id=file.photo_id,
            client_id=file.client_id,
            sha256=sha256,
        )


def in_words(files: Sequence[DamagedFile]) -> str:
    """Return how many files of each kind are damaged, and how to repair them."""
    counts = Counter((file.is_original, file.damage) for file in files)
    parts: list[str] = []
    for is_original, kind in ((True, "original"), (False, "rendition")):
        named = [
            f"{count} {kind}{'' if count == 1 else 's'} {damage}"
            for damage in ("missing", "altered")
            if (count := counts[is_original, damage])
        ]
        if named:
            parts.append(f"{', '.join(named)}: {ADVICE[is_original]}")
    most = f"at least {NOTED_MAX} files; " if len(files) >= NOTED_MAX else ""
    command = "reconcile --hash" if any(file.damage == "altered" for file in files) else "reconcile"
    return f"{most}{'; '.join(parts)}; `photolog {command}` lists them"
