"""Marks a log as being recovered, so that nothing else uses it until all of it is there.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``recovering``: ``Mark`` as JSON; ``recovered``: the same, afterwards |
| ``photolog:{07}:id`` | string | ``recovering`` instead of the id, in a lost partition |

An append needs the log's id in the partition, and a process that joins needs it in ``meta``. Both
are written last. Partitions that were not lost keep their id.
"""

import msgspec

from store.errors import Corrupt
from store.keys import Keys
from store.log.identity import begun_field
from store.redis.connection import Client, translated

RECOVERING, RECOVERED = "recovering", "recovered"

PARTITION_MARK = "recovering"

CACHED = "photo", "sha256", "hashes", "usage", "commands", "command", "upload-session"
"""Kinds of keys that follow from a partition's events, and may be of events that are lost."""

SCAN_COUNT = 1_000
"""Keys that one SCAN looks at."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery that has begun. ``digest`` is that of what it writes.

    ``lost`` are the partitions that are written, and all others are kept; without any, all are
    written. Their positions of the new ``epoch`` are ``begins_ms``, in milliseconds since 1970, or
    later.
    ``written`` says that all entries are in their streams; then ``ends`` has the ids of the last
    ones, and ``aside`` the positions, by partition, after which segments are to be moved aside.
    """

    log: str
    partitions: int
    epoch: int
    begins_ms: int
    digest: str
    written: bool = False
    aside: dict[int, str] = {}
    ends: dict[int, str] = {}
    lost: tuple[int, ...] = ()

    @property
    def writes(self) -> tuple[int, ...]:
        """The partitions that are written."""
        return self.lost or tuple(range(self.partitions))


class Recovering:
    """The mark of a recovery on a server."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._script = redis.lua("log/recovering")

    async def marks(self) -> tuple[Mark | None, Mark | None]:
        """Return the marks of a recovery that has begun, and of one that has ended.

        Raises:
            Corrupt: a mark cannot be read.
            Unavailable: Redis does not answer.
        """
        with translated():
            found = await self._redis.hmget(self._keys.meta, [RECOVERING, RECOVERED])
            begun, done = msgspec.convert(found, tuple[bytes | None, bytes | None])
        return _mark(begun), _mark(done)

    async def begin(self, mark: Mark, former: int) -> bool:
        """Take the id from the log, which said that it has ``former`` partitions.

        Return False if another recovery has begun meanwhile.
        """
        keys = self._keys
        begun = [begun_field(each) for each in range(former)]
        with translated():
            reply = await self._script(
                keys=[keys.meta],
                args=[
                    *(RECOVERING, len(begun) + 2, "id", "epoch", *begun),
                    *(RECOVERING, msgspec.json.encode(mark), "partitions", mark.partitions),
                ],
            )
            return msgspec.convert(reply, int) == 1

    async def clear(self, partition: int) -> None:
        """Mark the partition too, and remove what may be left there of lost events."""
        keys = self._keys
        with translated():
            await self._redis.set(keys.identity(partition), PARTITION_MARK)
            for key in (keys.trimmed, keys.evicted, keys.pipeline, keys.clients):
                await self._redis.pexpire(key(partition), 0)
            for node in await self._redis.nodes():
                await self._remove_cached(node, partition)

    async def _remove_cached(self, node: Client, partition: int) -> None:
        start = self._keys.identity(partition).removesuffix("id")
        kinds = tuple(f"{start}{kind}:".encode() for kind in CACHED)
        cursor = None
        while cursor != 0:
            asked = cursor or 0, "MATCH", f"{start}*", "COUNT", SCAN_COUNT
            reply: object = await node.execute_command("SCAN", *asked)
            cursor, found = msgspec.convert(reply, tuple[int, list[bytes]])
            if names := [name for name in found if name.startswith(kinds)]:
                await self._redis.unlink(*names)

    async def keep(self, partition: int, log_id: str) -> None:
        """Give a partition that was not lost its id, if it has lost only that."""
        with translated():
            await self._redis.set(self._keys.identity(partition), log_id, nx=True)

    async def note(self, mark: Mark) -> None:
        """Replace the mark of the recovery that has begun."""
        with translated():
            await self._redis.hset(self._keys.meta, RECOVERING, msgspec.json.encode(mark))

    async def end(self, mark: Mark) -> None:
        """Give the log its id: from now on, any process can use it."""
        keys = self._keys
        fields: list[str | int | bytes] = ["id", mark.log, "partitions", mark.partitions]
        fields += ["epoch", mark.epoch, RECOVERED, msgspec.json.encode(mark)]
        for partition in range(mark.partitions):
            fields += [begun_field(partition), "1"]
        with translated():
            for partition in mark.writes:
                await self._redis.set(keys.identity(partition), mark.log)
            await self._script(keys=[keys.meta], args=["", 1, RECOVERING, *fields])


def _mark(found: bytes | None) -> Mark | None:
    if found is None:
        return None
    try:
        return msgspec.json.decode(found, type=Mark)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"the mark of a recovery cannot be read: {error}") from error
