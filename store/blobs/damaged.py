"""Record stored files that gateways, workers and audits find missing or altered.

| key | type | what |
|---|---|---|
| ``photolog:{00}:damaged`` | sorted set | ``DamagedFile`` as JSON, scored by time noted |

Redis shares it, because the health check of every gateway reads it. It may be lost: the next read
of a damaged file notes it again. It has at most ``NOTED_MAX`` files.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from domain.photo.results import ORIGINAL
from domain.photo.state import Photo
from store.log.log import Log
from store.redis.connection import translated

PARTITION = 0

NOTED_MAX = 100
"""How many files are remembered. Others are noted later, once some of these are repaired."""

Damage = Literal["missing", "altered"]


class DamagedFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A damaged file. ``sha256``, in hex, is the digest that the log records, if it is known."""

    key: str
    photo_id: str
    client_id: str
    name: str
    damage: Damage
    sha256: str | None = None

    @property
    def is_original(self) -> bool:
        return self.name == ORIGINAL


def name_of(photo: Photo | None, key: str) -> str | None:
    """Return the name of the photo's current file with this key; None if there is none."""
    if photo is None or photo.deleted:
        return None
    return next((name for name, current in photo.keys.items() if current == key), None)


async def note(
    log: Log,
    key: str,
    damage: Damage,
    *,
    photo_id: str,
    client_id: str,
    sha256: str | None = None,
) -> None:
    """Note the file, if it is a current file of a photo that is not deleted.

    Raises:
        StoreError: Redis does not answer, or rejects writes.
    """
    name = name_of((await log.load(photo_id, client_id)).photo, key)
    if name is None:
        return
    known = await noted(log)
    if len(known) >= NOTED_MAX and key not in {each.key for each in known}:
        return
    file = DamagedFile(
        key=key, photo_id=photo_id, client_id=client_id, name=name, damage=damage, sha256=sha256
    )
    redis: Any = log.redis
    with translated():
        await redis.zadd(log.keys.damaged(PARTITION), {msgspec.json.encode(file): time.time()})
    await _remove(log, [each for each in known if each.key == key and each != file])


async def noted(log: Log) -> list[DamagedFile]:
    """Return the files in the order in which they were last noted; raises StoreError."""
    redis: Any = log.redis
    with translated():
        reply = await redis.zrange(log.keys.damaged(PARTITION), -NOTED_MAX, -1)
        newest = msgspec.convert(reply, list[bytes])
    found: dict[str, DamagedFile] = {}
    for member in newest:
        try:
            file = msgspec.json.decode(member, type=DamagedFile)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # not written by Photolog
            continue
        found.pop(file.key, None)
        found[file.key] = file
    return list(found.values())


async def forget(log: Log, keys: Collection[str]) -> None:
    """Remove files that are repaired or no longer current; raises StoreError."""
    await _remove(log, [each for each in await noted(log) if each.key in keys])


async def _remove(log: Log, files: Sequence[DamagedFile]) -> None:
    if not files:
        return
    redis: Any = log.redis
    with translated():
        await redis.zrem(log.keys.damaged(PARTITION), *map(msgspec.json.encode, files))
