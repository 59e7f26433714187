"""Create consumer groups, and take over entries from consumers that are gone.

A takeover from a process that is known to be dead does not count as a delivery; a takeover after a
stall does.
"""

import logging
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from redis import exceptions

from store.errors import WrongType
from store.redis.connection import Client, translated
from store.redis.spoiled import kind_of

logger = logging.getLogger("photolog.lanes")

Entries = list[tuple[bytes, dict[bytes, bytes]]]


async def create_group(redis: Client, key: str, group: str) -> bool:
    """Create the group at the stream's first entry; return False if it exists already."""
    try:
        with translated():
            try:
                await redis.xgroup_create(key, group, id="0", mkstream=True)
            except exceptions.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
                return False
    except WrongType as error:
        kind = kind_of(key)
        if kind is None or kind.remedy == "stays":
            raise
        logger.warning("%s", error)
        with translated():
            await redis.pexpire(key, 0)
        return await create_group(redis, key, group)
    return True


async def has_group(redis: Client, key: str, group: str) -> bool:
    """Return whether the stream exists and has the group."""
    try:
        with translated():
            try:
                groups = await redis.xinfo_groups(key)
            except exceptions.ResponseError as error:
                if "no such key" not in str(error):
                    raise
                return False
            return any(each["name"] == group.encode() for each in groups)
    except WrongType:
        return False


async def read_new(
    redis: Client, key: str, group: str, consumer: str, *, count: int, block_ms: int
) -> Entries:
    """Return entries that no consumer has read, and hold them; wait ``block_ms`` for the first.

    It is called so often that the library's way to send and to parse would be a tenth of all work.
    """
    command = (
        *("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "BLOCK", block_ms),
        *("STREAMS", key, ">"),
    )
    with translated():
        [reply] = await redis.exchange([command], None)
        if isinstance(reply, Exception):
            raise reply
        found = msgspec.convert(reply or {}, dict[bytes, list[tuple[bytes, list[bytes]]]])
        return [
            (entry_id, dict(zip(parts[::2], parts[1::2], strict=True)))
            for entries in found.values()
            for entry_id, parts in entries
        ]


async def take_over(
    redis: Client, key: str, group: str, consumer: str, idle_ms: int, dead: str | None
) -> list[tuple[bytes, dict[bytes, bytes], int]]:
    """Claim entries of consumers that are gone: ``(entry id, fields, deliveries)`` each.

    Entries of consumers whose name starts with ``dead`` at once, of others after ``idle_ms``.
    """
    taken: list[tuple[bytes, dict[bytes, bytes], int]] = []
    with translated():
        if dead is not None:
            for name in await _consumers(redis, key, group):
                if name.startswith(dead) and name != consumer:
                    taken += await _claim_all_of(redis, key, group, name, consumer)
                    await redis.xgroup_delconsumer(key, group, name)
        cursor = b"0-0"
        while True:
            reply = await redis.xautoclaim(
                key, group, consumer, min_idle_time=idle_ms, start_id=cursor, count=100
            )
            cursor, entries, *_ = msgspec.convert(reply, tuple[bytes, Entries, list[bytes]])
            for entry_id, fields in entries:
                deliveries = await _deliveries(redis, key, group, entry_id)
                taken.append((entry_id, fields, deliveries))
            if cursor == b"0-0":
                return taken


async def _consumers(redis: Client, key: str, group: str) -> Iterable[str]:
    found = await redis.xinfo_consumers(key, group)
    return [cast("bytes", consumer["name"]).decode() for consumer in found]


async def _claim_all_of(
    redis: Client, key: str, group: str, name: str, consumer: str
) -> list[tuple[bytes, dict[bytes, bytes], int]]:
    taken: list[tuple[bytes, dict[bytes, bytes], int]] = []
    while found := await pending(redis, key, group, name):
        ids: list[Any] = [entry_id for entry_id, _, _ in found]
        await redis.xclaim(key, group, consumer, 0, ids, justid=True)
        taken += found
    return taken


async def pending(
    redis: Client, key: str, group: str, consumer: str
) -> list[tuple[bytes, dict[bytes, bytes], int]]:
    """Return up to 100 entries that ``consumer`` holds: ``(entry id, fields, deliveries)`` each."""
    held: list[tuple[bytes, dict[bytes, bytes], int]] = []
    while not held:
        pending = await redis.xpending_range(key, group, "-", "+", 100, consumer)
        if not pending:
            break
        for entry in pending:
            entry_id = msgspec.convert(entry["message_id"], bytes)
            found = msgspec.convert(await redis.xrange(key, entry_id, entry_id), Entries)
            if found:
                deliveries = msgspec.convert(entry["times_delivered"], int)
                held.append((entry_id, found[0][1], deliveries))
            else:  # deleted while it was held
                await redis.xack(key, group, entry_id)
    return held


async def _deliveries(redis: Client, key: str, group: str, entry_id: bytes) -> int:
    pending = await redis.xpending_range(key, group, entry_id, entry_id, 1)
    return msgspec.convert(pending[0]["times_delivered"], int) if pending else 1


async def remove_idle(redis: Client, key: str, group: str, *, idle_ms: int) -> None:
    """Remove the consumers that hold nothing and have been idle for ``idle_ms``."""
    with translated():
        found = await redis.xinfo_consumers(key, group)
        for consumer in found:
            if consumer["pending"] == 0 and cast("int", consumer["idle"]) > idle_ms:
                await remove(redis, key, group, cast("bytes", consumer["name"]).decode())


async def remove(redis: Client, key: str, group: str, name: str) -> None:
    """Remove a consumer unless it holds entries, which its removal would lose."""
    with translated():
        await redis.lua("queue/remove_consumer")(keys=[key], args=[group, name])
