"""Create consumer groups, and take over entries from consumers that are gone.

The server counts the deliveries of a pending entry. Here that is how often a consumer has begun to
work on it and has not been known to be dead since. A takeover itself does not count.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from redis import exceptions

from store.errors import WrongType
from store.redis.combining import Command
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
        [reply] = await _replies(redis, command)
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
            page = (cursor, "COUNT", 100, "JUSTID")
            # Sent as it is: the library would hide the cursor.
            [reply] = await _replies(redis, ("XAUTOCLAIM", key, group, consumer, idle_ms, *page))
            cursor, ids, *_ = msgspec.convert(reply, tuple[bytes, list[bytes], list[bytes]])
            for entry_id in ids:
                found = await _entry(redis, key, group, entry_id)
                taken += [] if found is None else [found]
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
        less = [(entry_id, fields, max(0, n - 1)) for entry_id, fields, n in found]
        claim = ("XCLAIM", key, group, consumer, 0)
        commands = [(*claim, each, "RETRYCOUNT", n, "JUSTID") for each, _, n in less]
        await _replies(redis, *commands)
        taken += less
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


async def _entry(
    redis: Client, key: str, group: str, entry_id: bytes
) -> tuple[bytes, dict[bytes, bytes], int] | None:
    """Return a pending entry with its deliveries; None if it was acknowledged meanwhile."""
    one = (entry_id, entry_id)
    entries, states = await _replies(
        redis, ("XRANGE", key, *one), ("XPENDING", key, group, *one, 1)
    )
    if not entries or not states:
        return None
    [[_, parts]] = msgspec.convert(entries, list[tuple[bytes, list[bytes]]])
    [[_, _, _, deliveries]] = msgspec.convert(states, list[tuple[bytes, bytes, int, int]])
    return entry_id, dict(zip(parts[::2], parts[1::2], strict=True)), deliveries


async def _replies(redis: Client, *commands: Command) -> Sequence[Any]:
    """Send commands on one key together; raise the first error."""
    replies = await redis.exchange(commands, None)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


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
