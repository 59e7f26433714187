"""The identity of a log: its id and its number of partitions, fixed when it is created.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``id``, ``partitions``, ``epoch``; ``begun:07`` for each partition |
| ``photolog:{07}:id`` | string | the id again, where a script of the partition can see it |

A log that was recovered after Redis had lost it keeps its id and begins a new epoch; the first one
is 1, and is not written. While it is recovered, ``meta`` has no ``id`` but ``recovering``, which is
the mark of ``store.log.recovering``; so no process can join it or append to it.

A server that comes back empty, or with another log, no longer has the log that a running process
has joined: an append there would continue nothing. The same goes for one server of a cluster: a
partition that was initialized and lacks its id and its events has lost them.
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
    """Return id and partitions of the log, creating it with ``partitions`` if there is none.

    Raises:
        UnsuitableServer: the log's name is taken by something else, which stays as it is.
        Unavailable: no answer.
    """
    with translated():
        new_id = uuid.uuid4().hex
        found = await redis.lua("log/create")(keys=[keys.meta], args=[new_id, partitions])
        if found and found[0] == new_id.encode():
            known = await redis.get(keys.identity(0))
            # Another process may have joined the new log already, and written its id.
            if known and known != new_id.encode():
                await redis.pexpire(keys.meta, 0)
                raise _without_meta(keys, known)
    return _checked(keys, found)


async def find(redis: Client, keys: Keys) -> tuple[str, int] | None:
    """Return id and partitions of the log, if there is one; raises as ``create``."""
    try:
        with translated():
            if not await redis.exists(keys.meta):
                return None
            found = await redis.hmget(keys.meta, ["id", "partitions", "recovering"])
    except WrongType:
        found = None
    return _checked(keys, found)


async def epoch(redis: Client, keys: Keys) -> int:
    """Return the epoch of the log, which counts its recoveries from 1; raises Unavailable."""
    with translated():
        found = msgspec.convert(await redis.hget(keys.meta, "epoch"), bytes | None)
    return int(found) if found and _COUNT.fullmatch(found) else 1


async def begin(redis: Client, keys: Keys, log_id: str, partitions: int) -> None:
    """Initialize partitions that have not started, if they answer; raises as ``confirm``."""
    with translated():
        reply = await redis.hmget(keys.meta, [begun_field(each) for each in range(partitions)])
        begun = msgspec.convert(reply, list[bytes | None])
    for partition, mark in enumerate(begun):
        if mark is None:
            with suppress(Unavailable):
                await claim(redis, keys, log_id, partition)


async def confirm(redis: Client, keys: Keys, log_id: str) -> None:
    """Return if the server has this log.

    Raises:
        Replaced: it has another log, or none.
        Unavailable: no answer.
    """
    with translated():
        found: bytes | None = msgspec.convert(await redis.hget(keys.meta, "id"), bytes | None)
    _same(log_id, found, "Redis", keys.meta)


async def confirm_partition(redis: Client, keys: Keys, log_id: str, partition: int) -> None:
    """Return if the partition has the events of this log; raises as ``confirm``."""
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
        begun = await redis.hget(keys.meta, begun_field(partition))
        # A partition with events has lost only the key of its id.
        if begun and not await redis.xlen(keys.log(partition)):
            raise Replaced(
                f"partition {partition} has come back without its events: restore its server's "
                "append-only file"
            )


async def claim(redis: Client, keys: Keys, log_id: str, partition: int) -> None:
    """Write the log's id into the partition if it has none; raises as ``confirm``."""
    await confirm(redis, keys, log_id)
    await confirm_partition(redis, keys, log_id, partition)
    with translated():
        identity = keys.identity(partition)
        if not await redis.set(identity, log_id, nx=True):
            found = msgspec.convert(await redis.get(identity), bytes)
            if not _ID.fullmatch(found):  # not a log's id: it says nothing about the events there
                await redis.set(identity, log_id)
        await redis.hset(keys.meta, begun_field(partition), "1")


def begun_field(partition: int) -> str:
    """Return the field of ``meta`` that says that the partition was initialized."""
    return f"begun:{partition:02d}"


def _same(log_id: str, found: bytes | None, where: str, key: str) -> None:
    if found is None or found.decode(errors="replace") != log_id:
        there = "no log" if found is None else f"the log {found.decode(errors='replace')[:100]}"
        raise Replaced(
            f"{where} has {there} now, but this process has joined the log {log_id}: if it is the "
            f"right server, {key} was changed and must hold that id again"
        )


def _without_meta(keys: Keys, known: object) -> UnsuitableServer:
    """Return the error of a log with the identity ``known`` whose ``meta`` key was lost."""
    log_id = known.decode(errors="replace") if isinstance(known, bytes) else known
    return UnsuitableServer(
        f"{keys.meta} is gone, but {keys.identity(0)} shows that there is a log: to keep using "
        f"it, run HSET {keys.meta} id {log_id} partitions COUNT"
    )


def _checked(keys: Keys, found: object) -> tuple[str, int]:
    match found:
        case [bytes(log_id), bytes(count), None | bytes()] if _COUNT.fullmatch(count):
            return log_id.decode(errors="replace"), int(count)
        case [None, None | bytes(), bytes()]:
            raise UnsuitableServer(
                "the log is being recovered: wait until `photolog log recover` has ended, or run "
                "it again if it was interrupted"
            )
        case _:
            raise UnsuitableServer(
                f"{keys.meta} belongs to another program and was left unchanged: use another "
                "server or another database"
            )
