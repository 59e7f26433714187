"""Each client's content hashes and usage: which photo has which bytes, and what all count.

| key | type | what |
|---|---|---|
| ``photolog:{07}:sha256:<clientId>`` | hash | the root: content hash to photo id |
| ``photolog:{07}:hashes:<clientId>:a3f`` | hash | a bucket: content hash, in bytes, to photo id |
| ``photolog:{07}:usage:<clientId>`` | hash | ``photos``, ``bytes``, ``jobs`` |
| ``photolog:{07}:clients`` | hash | the name of the first of these keys, for each client |
| ``photolog:{07}:refolded:<token>:<clientId>`` | hash | the next root, while it is written |

In root, usage and clients the field ``""`` marks that they are complete. A client whose root lacks
it is new if ``clients`` is complete and does not list it, or if the log is empty; otherwise the
root was lost. So a client's first upload does not read the log, and a deleted key costs one fold of
its partition.

The root of a client with many photos is split, see ``hash_splitting``: then it has the field
``split``, a name that each split has for itself, instead of ``""``, and a content hash is in the
root or in the bucket of its first three digits. ``buckets`` has "1" for each bucket that was
created, and the field ``""`` of such a bucket is the name of the split. So a bucket that lacks it
was lost, or is left from an earlier split. A root with ``""`` is all there is: it was folded from
the log, because several buckets were lost, or by a version without buckets.

The usage is a running total: each append adds what its events change. An append without a quota
does not restore a lost total.
"""

import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice

import anyio
import msgspec

from domain.clients.usage import Usage
from domain.rejections import OverQuota, QuotaBytes, QuotaIdempotencyKeys, QuotaJobs, QuotaPhotos
from store.keys import Keys
from store.log.client_fold import ClientFold
from store.log.position import Position
from store.log.stream import Stream
from store.redis.connection import Client, translated

IDEMPOTENCY_TTL_S = 24 * 3600

BUCKETS = 4_096
"""So many that a bucket of a million photos is small and stored compactly; see ``Place``."""

REFOLDED_MS = 300_000
"""How long a root that nobody goes on writing is kept."""

TOGETHER = 500
"""How many content hashes one command writes."""

MOST_KNOWN = 10_000
"""How many clients with buckets are remembered."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Place(msgspec.Struct, frozen=True):
    """The bucket of a content hash, and its field there, of half the size."""

    bucket: int
    field: bytes


def place_of(sha256: str) -> Place:
    if _SHA256.fullmatch(sha256):
        return Place(int(sha256[:3], 16), bytes.fromhex(sha256))
    return Place(0, sha256.encode())


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """``idempotency_keys`` counts unexpired keys; the first of them expires in ``expires_ms``."""

    usage: Usage
    idempotency_keys: int
    expires_ms: int


class ContentHashes:
    """Finds content hashes, reads the usage of clients, and restores both if they were lost.

    ``restoring`` is held while one client's are restored: after waiting for it, look again, because
    another task may have restored them meanwhile.
    """

    def __init__(self, stream: Stream) -> None:
        self.restoring = anyio.Lock()
        self._redis: Client = stream.redis
        self._keys: Keys = stream.keys
        self._stream = stream
        self._split: set[str] = set()
        self._script = stream.redis.lua("log/content_hashes")
        self._refolded = stream.redis.lua("log/refolded")
        self._bucket = stream.redis.lua("log/bucket")
        self._refolded_usage = stream.redis.lua("log/refolded_usage")
        self._usage = stream.redis.lua("log/usage")

    def note_split(self, client_id: str) -> None:
        """Remember that the client has buckets."""
        if len(self._split) >= MOST_KNOWN:
            self._split.clear()
        self._split.add(client_id)

    def words(
        self, partition: int, client_id: str, sha256: str
    ) -> tuple[list[str], list[str | bytes | int]]:
        """Return the keys and the arguments with which ``append.lua`` finds a content hash.

        A bucket is named only if the client is known to have some: while a slot moves, a call that
        names a key that does not exist fails.
        """
        root = self._keys.sha256(partition, client_id)
        if client_id not in self._split:
            return [root], [sha256, "", ""]
        place = place_of(sha256)
        bucket = self._keys.hashes(partition, client_id, place.bucket)
        return [root, bucket], [sha256, place.bucket, place.field]

    async def holders(
        self, partition: int, client_id: str, sha256s: Sequence[str]
    ) -> dict[str, str]:
        """Return the id of the client's photo with these bytes, for each that there is."""
        root = self._keys.sha256(partition, client_id)
        with translated():
            reply = await self._redis.hmget(root, [*sha256s, "", "split"])
            *found, whole, split = msgspec.convert(reply, list[bytes | None])
            held = dict(zip(sha256s, found, strict=True))
            if whole is None and split is not None:
                held |= await self._in_buckets(
                    partition, client_id, [each for each in held if not held[each]], split
                )
        return {each: holder.decode(errors="replace") for each, holder in held.items() if holder}

    async def _in_buckets(
        self, partition: int, client_id: str, sha256s: Sequence[str], split: bytes
    ) -> dict[str, bytes | None]:
        """Look after the root: what is moved meanwhile is found in its bucket."""
        by_bucket: dict[int, list[str]] = {}
        for each in sha256s:
            by_bucket.setdefault(place_of(each).bucket, []).append(each)
        if not by_bucket:
            return {}
        asked = [
            (
                *(self._keys.hashes(partition, client_id, bucket), ""),
                *(place_of(each).field for each in some),
            )
            for bucket, some in by_bucket.items()
        ]
        replies = await self._redis.exchange([("HMGET", *each) for each in asked], None)
        held: dict[str, bytes | None] = {}
        for some, words, reply in zip(by_bucket.values(), asked, replies, strict=True):
            answer: object = reply
            if isinstance(reply, Exception):  # as of a slot that is moving: it is sent by itself
                answer = await self._redis.execute_command("HMGET", *words)
            mark, *found = msgspec.convert(answer, list[bytes | None])
            if mark == split:
                held |= zip(some, found, strict=True)
        return held

    async def usage(self, partition: int, client_id: str) -> Used:
        """Return what the client uses; raises Unavailable."""
        found = await self._look(partition, client_id)
        if found is None:
            async with self.restoring:
                found = await self._look(partition, client_id)
                while found is None:
                    await self.restore_usage(partition, client_id)
                    found = await self._look(partition, client_id)
        return found

    async def _look(self, partition: int, client_id: str) -> Used | None:
        keys = self._keys
        with translated():
            reply = await self._usage(
                keys=[
                    keys.log(partition),
                    keys.usage(partition, client_id),
                    keys.clients(partition),
                    keys.sha256(partition, client_id),
                    keys.commands(partition, client_id),
                ],
                args=[IDEMPOTENCY_TTL_S * 1000],
            )
            if not reply:
                return None
            photos, stored, jobs, idempotency_keys, expires_ms = (int(each) for each in reply)
        usage = Usage(photos=photos, bytes=stored, jobs=jobs)
        return Used(usage=usage, idempotency_keys=idempotency_keys, expires_ms=expires_ms)

    async def restore(self, partition: int, client_id: str) -> None:
        """Fold the client's content hashes and usage again, while ``restoring`` is held.

        Raises Unavailable.
        """
        next_root = _NextRoot(self._keys, partition, client_id)
        async for fold, end in self._folds(partition, client_id):
            with translated():
                for args in next_root.changes(fold):
                    await self._refolded(keys=[next_root.key], args=args)
                reply = await self._replace(partition, client_id, fold, next_root.key, end)
            if reply == 1:
                return
            if reply == -1:
                fold.changed |= fold.claimed.keys()

    async def restore_bucket(self, partition: int, client_id: str, sha256: str) -> None:
        """Fold the bucket of the content hash again; all as ``restore`` does if others are lost."""
        if await self._have_lost_several(partition, client_id):
            await self.restore(partition, client_id)
            return
        async for fold, end in self._folds(partition, client_id):
            with translated():
                reply = await self._replace_bucket(partition, client_id, fold, sha256, end)
            if reply == 1:
                return
            if reply == -1:
                break
        await self.restore(partition, client_id)

    async def restore_usage(self, partition: int, client_id: str) -> None:
        """Fold the client's usage alone again, as ``restore`` does."""
        keys = [self._keys.log(partition), self._keys.usage(partition, client_id)]
        async for fold, end in self._folds(partition, client_id):
            usage = fold.usage
            with translated():
                args = end, usage.photos, usage.bytes, usage.jobs
                if await self._refolded_usage(keys=keys, args=args):
                    return

    async def _folds(self, partition: int, client_id: str) -> AsyncIterator[tuple[ClientFold, str]]:
        """Fold the log up to its end, which each step yields, and go on from there."""
        fold, position = ClientFold(client_id), Position.start(partition)
        while True:
            last = await self._stream.last_entry(partition)
            async for recorded in self._stream.scan(partition, after=position):
                position = recorded.position
                fold.apply(recorded)
            yield fold, max(last, position).entry_id

    async def _replace(
        self, partition: int, client_id: str, fold: ClientFold, next_root: str, end: str
    ) -> int:
        keys, usage = self._keys, fold.usage
        return await self._script(
            keys=[
                keys.log(partition),
                keys.clients(partition),
                keys.sha256(partition, client_id),
                keys.usage(partition, client_id),
                next_root,
            ],
            args=[
                *(end, usage.photos, usage.bytes, usage.jobs),
                *(keys.sha256(partition, each) for each in sorted(fold.clients)),
            ],
        )

    async def _have_lost_several(self, partition: int, client_id: str) -> bool:
        """Return whether the client has lost several buckets: one fold then restores all."""
        with translated():
            root = self._keys.sha256(partition, client_id)
            reply = await self._redis.hmget(root, ["split", "buckets"])
            split, buckets = msgspec.convert(reply, tuple[bytes | None, bytes | None])
            made = [number for number, is_made in enumerate(buckets or b"") if is_made == ord("1")]
            lost = 0
            for first in range(0, len(made), TOGETHER):
                names = [
                    self._keys.hashes(partition, client_id, number)
                    for number in made[first : first + TOGETHER]
                ]
                marks = await self._redis.exchange([("HGET", each, "") for each in names], None)
                lost += sum(mark != split for mark in marks if not isinstance(mark, Exception))
        return lost > 1

    async def _replace_bucket(
        self, partition: int, client_id: str, fold: ClientFold, sha256: str, end: str
    ) -> int:
        keys, bucket = self._keys, place_of(sha256).bucket
        args: list[str | bytes] = [end, sha256]
        for each, photo_id in fold.claimed.items():
            place = place_of(each)
            if place.bucket == bucket:
                args += (each, place.field, photo_id)
        return await self._bucket(
            keys=[
                keys.log(partition),
                keys.sha256(partition, client_id),
                keys.hashes(partition, client_id, bucket),
            ],
            args=args,
        )


class _NextRoot:
    """A root that is written in many steps, under a name of its own until it is complete."""

    def __init__(self, keys: Keys, partition: int, client_id: str) -> None:
        self.key = keys.refolded(partition, client_id, secrets.token_hex(8))

    def changes(self, fold: ClientFold) -> Iterator[list[str | int]]:
        """Return the arguments of each step that writes what the fold has changed."""
        changed, fold.changed = iter(fold.changed), set()
        some = list(islice(changed, TOGETHER))
        while True:
            removed = [each for each in some if each not in fold.claimed]
            args: list[str | int] = [REFOLDED_MS, len(removed), *removed]
            for each in some:
                if each in fold.claimed:
                    args += (each, fold.claimed[each])
            yield args
            if not (some := list(islice(changed, TOGETHER))):
                return


def over_quota(what: str, found: int, most: int, reserved_bytes: int = 0) -> OverQuota:
    """Return the rejection for the script's ``over`` reply.

    ``found`` is the current count; for idempotency keys, the milliseconds until one expires.
    ``reserved_bytes`` are those of jobs in progress, including the rejected one.
    """
    match what:
        case "photos":
            return QuotaPhotos(f"{found:,} of at most {most:,} photos are stored.")
        case "bytes" if reserved_bytes:
            return QuotaBytes(
                f"{found:,} of {most:,} bytes are used; jobs, with this one, reserve"
                f" {reserved_bytes:,} more.",
                advice="Wait for jobs to end, delete photos, or ask the operator for more.",
            )
        case "bytes":
            return QuotaBytes(f"{found:,} of at most {most:,} bytes are in use.")
        case "jobs":
            return QuotaJobs(f"{found:,} of at most {most:,} jobs have not ended.")
        case _:
            detail = f"{most:,} idempotency keys were used in 24 hours."
            return QuotaIdempotencyKeys(detail, retry_after_s=found / 1000)
