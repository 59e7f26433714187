"""What a log is: its id and how many partitions it has, fixed when it is created.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``id``, ``partitions``, and ``begun:07`` for each partition |
| ``photolog:{07}:id`` | string | the id again, where a script of the partition can see it |

A server that comes back with nothing, or with the log of somebody else, is not the log that a
running process has joined: what it appended there would follow on nothing. So it is with one server
of a cluster: a partition that has begun and knows nothing of it has lost its events.
"""

import re
import uuid
from contextlib import suppress

import msgspec

from store.errors import Replaced, Unavailable, UnsuitableServer, WrongType
from store.keys import Keys
from store.redis.connection import Client, translated

_COUNT = re.compile(rb"[1-9][0-9]{0,4}")

_ID = re.compile(rb"[0-9a-f]{32}")


async def create(redis: Client, keys: Keys, partitions: int) -> tuple[str, int]:
    """Id and partitions of the log, which is made with so many ``partitions`` if there is none.

    Raises:
        UnsuitableServer: something else is there under the log's name; it is left as it is.
        Unavailable: no answer.
    """
    with translated():
        new_id = uuid.uuid4().hex
        found = await redis.lua("log/create")(keys=[keys.meta], args=[new_id, partitions])
        if found and found[0] == new_id.encode() and (known := await redis.get(keys.identity(0))):
            await redis.pexpire(keys.meta, 0)
            _check_none(keys, known)
    return _checked(keys, found)


async def find(redis: Client, keys: Keys) -> tuple[str, int] | None:
    """Id and partitions of the log, if there is one; raises as ``create``."""
    try:
        with translated():
            if not await redis.exists(keys.meta):
                return None
            found = await redis.hmget(keys.meta, ["id", "partitions"])
    except WrongType:
        found = None
    return _checked(keys, found)


async def begin(redis: Client, keys: Keys, log_id: str, partitions: int) -> None:
    """Let each partition begin that has not yet, as far as they answer; raises as ``confirm``."""
    with translated():
        reply = await redis.hmget(keys.meta, [_begun(each) for each in range(partitions)])
        begun = msgspec.convert(reply, list[bytes | None])
    for partition, mark in enumerate(begun):
        if mark is None:
            with suppress(Unavailable):
                await claim(redis, keys, log_id, partition)


async def confirm(redis: Client, keys: Keys, log_id: str) -> None:
    """Nothing while the log that is there is this one.

    Raises:
        Replaced: it is another one, or there is none.
        Unavailable: no answer.
    """
    with translated():
        found: bytes | None = msgspec.convert(await redis.hget(keys.meta, "id"), bytes | None)
    _same(log_id, found, "Redis", keys.meta)


async def confirm_partition(redis: Client, keys: Keys, log_id: str, partition: int) -> None:
    """Nothing while the partition has what this log had there; raises as ``confirm``."""
    with translated():
        reply = await redis.get(keys.identity(partition))
        found: bytes | None = msgspec.convert(reply, bytes | None)
    if found == log_id.encode():
        return
    await confirm(redis, keys, log_id)
    if found is not None and _ID.fullmatch(found):
        where = f"the server of partition {partition}"
        _same(log_id, found, where, keys.identity(partition))
    with translated():
        begun = await redis.hget(keys.meta, _begun(partition))
        # One that has events has lost but the key of its id.
        if begun and not await redis.xlen(keys.log(partition)):
            raise Replaced(
                f"partition {partition} has come back without its events: its server needs the "
                "file that it had"
            )


async def claim(redis: Client, keys: Keys, log_id: str, partition: int) -> None:
    """Say in the partition which log it is of, if nothing is said there; raises as ``confirm``."""
    await confirm(redis, keys, log_id)
    await confirm_partition(redis, keys, log_id, partition)
    with translated():
        identity = keys.identity(partition)
        if not await redis.set(identity, log_id, nx=True):
            found = msgspec.convert(await redis.get(identity), bytes)
            if not _ID.fullmatch(found):  # no log's: it says nothing about whose events are there
                await redis.set(identity, log_id)
        await redis.hset(keys.meta, _begun(partition), "1")


def _begun(partition: int) -> str:
    return f"begun:{partition:02d}"


def _same(log_id: str, found: bytes | None, where: str, key: str) -> None:
    if found is None or found.decode(errors="replace") != log_id:
        there = "no log" if found is None else f"the log {found.decode(errors='replace')[:100]}"
        raise Replaced(
            f"{where} has {there} now, and this process has joined the log {log_id}, as {key} "
            "should say: if the server is the right one, somebody has changed that key"
        )


def _check_none(keys: Keys, identity: object) -> None:
    """Raise UnsuitableServer if the partitions are of a log whose description is lost."""
    if identity:
        known = identity.decode(errors="replace") if isinstance(identity, bytes) else identity
        raise UnsuitableServer(
            f"{keys.meta} is gone, and {keys.identity(0)} says that there is a log: if it is to go "
            f"on, write it again with HSET {keys.meta} id {known} partitions COUNT"
        )


def _checked(keys: Keys, found: object) -> tuple[str, int]:
    match found:
        case [bytes(log_id), bytes(count)] if _COUNT.fullmatch(count):
            return log_id.decode(errors="replace"), int(count)
        case _:
            raise UnsuitableServer(
                f"{keys.meta} is there and is not of a log of ours: another program's data, which "
                "we leave alone; use another server, or a database of one's own"
            )
