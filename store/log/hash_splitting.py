"""Moves the content hashes of large clients from one key into buckets; see ``content_hashes``.

Only archivers do it: a version without buckets knows no archiver, or is upgraded before one starts.
A gateway of such a version that finds a split root folds it again from the log, as if it were lost,
and the archiver splits it once more.

Each step moves a few content hashes at once, each from the root to its bucket, so a crash leaves
some in the root, which is as good a place. There is nothing to finish: a root stays as it is once
it has at most ``MOST``.
"""

import re
import secrets
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from store.log.content_hashes import place_of
from store.log.stream import Stream
from store.redis.connection import translated

MOST = 5_000
"""How many content hashes a root may have. Fewer take more memory in 4,096 buckets: bytes for each,
as measured, are 182 in buckets and 139 in the root of 1,000, 157 and 138 of 4,000, 122 and 139 of
8,000."""

EVERY_S = 300.0
"""How often all clients of a partition are looked at."""

LOOKED_AT = 100
"""How many clients are looked at together. The server returns all of a small hash at once."""

TOGETHER = 100
"""About how many content hashes one step moves, in one or two milliseconds."""

IS_SHA256 = re.compile(rb"[0-9a-f]{64}")

STEPS = 200
"""The most steps and looks of one call, so that it ends within seconds."""


class HashSplitter:
    """Splits roots with more than ``most`` content hashes."""

    def __init__(self, stream: Stream, most: int = MOST) -> None:
        self._redis = stream.redis
        self._keys = stream.keys
        self._most = most
        self._script = stream.redis.lua("log/split", if_full=True)  # it frees memory
        self._cursors: dict[int, int] = {}
        self._within: dict[int, tuple[str, int]] = {}
        self._due_at: dict[int, float] = {}

    async def split(self, partition: int) -> int:
        """Look for large roots, if that is due, and split them; return how many hashes were moved.

        If there is more to move than one call does, the next one goes on. Raises Unavailable.
        """
        if anyio.current_time() < self._due_at.get(partition, 0.0):
            return 0
        cursor, moved, steps = self._cursors.get(partition, 0), 0, STEPS
        while True:
            after, roots = await self._scan(self._keys.clients(partition), cursor, LOOKED_AT)
            for client_id in await self._large(partition, roots):
                left, within = self._within.pop(partition, ("", 0))
                within = within if left == client_id else 0
                while within is not None:
                    more, within = await self._move(partition, client_id, within)
                    moved, steps = moved + more, steps - 1
                    if steps == 0:  # the next call looks at the same clients again
                        self._within[partition] = client_id, within or 0
                        return moved
            cursor, steps = after, steps - 1
            self._cursors[partition] = cursor
            if cursor == 0:
                self._due_at[partition] = anyio.current_time() + EVERY_S
            if cursor == 0 or steps <= 0:
                return moved

    async def _large(self, partition: int, roots: Sequence[bytes]) -> list[str]:
        """Return the clients whose root is too large."""
        prefix = self._keys.sha256(partition, "").encode()
        names = [each.decode(errors="replace") for each in roots if each.startswith(prefix)]
        with translated():
            lengths = [
                length
                for at in range(0, len(names), LOOKED_AT)
                for length in await self._lengths(names[at : at + LOOKED_AT])
            ]
        # One field at least is a mark.
        found = [name for name, count in zip(names, lengths, strict=True) if count - 1 > self._most]
        return [each.removeprefix(prefix.decode()) for each in found]

    async def _lengths(self, roots: Sequence[str]) -> list[int]:
        commands = [("HLEN", root) for root in roots]
        replies: list[Any] = [*await self._redis.exchange(commands, None)]
        for at, reply in enumerate(replies):
            if isinstance(reply, Exception):  # as of a slot that is moving: it is sent by itself
                replies[at] = await self._redis.hlen(roots[at])
        return msgspec.convert(replies, list[int])

    async def _move(self, partition: int, client_id: str, cursor: int) -> tuple[int, int | None]:
        """Move some of what the root has; return how many, and where to go on, None at the end."""
        root = self._keys.sha256(partition, client_id)
        after, fields = await self._scan(root, cursor, TOGETHER)
        keys, args, at = [root], list[str | bytes | int](), dict[int, int]()
        for each in fields:
            if not IS_SHA256.fullmatch(each):
                continue  # a mark, or nothing that we have written
            place = place_of(each.decode())
            if place.bucket not in at:
                keys.append(self._keys.hashes(partition, client_id, place.bucket))
                at[place.bucket] = len(keys)
            args += (each, place.bucket, place.field, at[place.bucket])
        with translated():
            split = secrets.token_hex(4)
            reply = await self._script(keys=keys, args=[split, len(args) // 4, *args])
            return max(msgspec.convert(reply, int), 0), after or None

    async def _scan(self, key: str, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Return where to go on, 0 at the end, and about ``count`` fields of a hash."""
        with translated():
            reply: object = await self._redis.execute_command("HSCAN", key, cursor, "COUNT", count)
            after, found = msgspec.convert(reply, tuple[int, dict[bytes, bytes]])
            return after, [*found]
