"""What a log is: its id and how many partitions it has, fixed when it is created.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``id``, ``partitions`` |
| ``photolog:{07}:id`` | string | the id again, where a script of the partition can see it |

A server that comes back with nothing, or with the log of somebody else, is not the log that a
running process has joined: what it appended there would follow on nothing.
"""

import uuid
from typing import cast

from store.client import Client, translated
from store.errors import Replaced, Retyped, Unfit
from store.keys import Keys


async def create(redis: Client, keys: Keys, partitions: int) -> tuple[str, int]:
    """Id and partitions of the log, which is made with so many ``partitions`` if there is none.

    Raises:
        Unfit: something else is there under the log's name; it is left as it is.
        Unavailable: no answer.
    """
    with translated():
        found = await redis.lua("create")(keys=[keys.meta], args=[uuid.uuid4().hex, partitions])
    return _checked(keys, found)


async def find(redis: Client, keys: Keys) -> tuple[str, int] | None:
    """Id and partitions of the log, if there is one; raises as ``create``."""
    try:
        with translated():
            if not await redis.exists(keys.meta):
                return None
            found = await redis.hmget(keys.meta, ["id", "partitions"])
    except Retyped:
        found = None
    return _checked(keys, found)


async def confirm(redis: Client, keys: Keys, log_id: str) -> None:
    """Nothing while the log that is there is this one.

    Raises:
        Replaced: it is another one, or there is none.
        Unavailable: no answer.
    """
    with translated():
        found = cast("bytes | None", await redis.hget(keys.meta, "id"))
    if found is None or found.decode(errors="replace") != log_id:
        there = "no log" if found is None else f"the log {found.decode(errors='replace')}"
        raise Replaced(f"Redis has {there} now, and this process has joined the log {log_id}")


async def claim(redis: Client, keys: Keys, log_id: str, partition: int) -> None:
    """Say in the partition which log it is of, if nothing is said there; raises as ``confirm``."""
    await confirm(redis, keys, log_id)
    with translated():
        await redis.set(keys.identity(partition), log_id, nx=True)


def _checked(keys: Keys, found: object) -> tuple[str, int]:
    match found:
        case [bytes(log_id), bytes(count)] if count.isdigit() and int(count) > 0:
            return log_id.decode(), int(count)
        case _:
            raise Unfit(
                f"{keys.meta} is there and is not of a log of ours: another program's data, which "
                "we leave alone; use another server, or a database of one's own"
            )
