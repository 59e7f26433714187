"""Change the stored events of a log, as anyone with access to its server can."""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from domain.photo.commands import DeletePhoto, StartProcessing
from store.log.log import Log
from tests.conftest import CONTEXT
from tests.store.commands import completed, upload

Fields = dict[bytes, bytes]
Entries = list[tuple[str, Fields]]


async def photo(log: Log) -> str:
    """Record a photo with five events, and return its id."""
    command = upload()
    photo_id = command.photo_id
    for each in (
        command,
        StartProcessing(photo_id=photo_id, job_id=command.job_id),
        completed(command, "validation"),
        completed(command, "metadata"),
        DeletePhoto(photo_id=photo_id),
    ):
        await log.execute(each, client_id="alice", context=CONTEXT)
    return photo_id


async def stored(log: Log) -> Entries:
    entries = cast("list[tuple[bytes, Fields]]", await log.redis.xrange(log.keys.log(0)))
    return [(entry_id.decode(), fields) for entry_id, fields in entries]


async def tamper(log: Log, change: Callable[[Entries], Entries]) -> None:
    """Rewrite the stream with other entries, as anyone with access to the server can."""
    entries = change(await stored(log))
    await log.redis.delete(log.keys.log(0))
    for entry_id, fields in entries:
        await add(log, fields, entry_id)


async def add(log: Log, fields: Fields, entry_id: str = "*", partition: int = 0) -> None:
    await log.redis.xadd(log.keys.log(partition), dict(fields), id=entry_id)  # pyright: ignore[reportArgumentType] # bytes are taken


def at(index: int, change: Callable[[Fields], Fields]) -> Callable[[Entries], Entries]:
    """Return a change to one entry that keeps the others."""

    def change_one(entries: Entries) -> Entries:
        entry_id, fields = entries[index]
        changed = list(entries)
        changed[index] = (entry_id, change(fields))
        return changed

    return change_one


def rewritten(fields: Fields, **metadata: Any) -> Fields:
    event = msgspec.msgpack.decode(fields[b"b"])
    event["metadata"] |= {"actor": "client:mallory"} | metadata
    return fields | {b"b": msgspec.msgpack.encode(event)}
