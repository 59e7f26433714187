"""Each client's content hashes and usage: which photo has which bytes, and what all count.

| key | type | what |
|---|---|---|
| ``photolog:{07}:sha256:<clientId>`` | hash | content hash to photo id |
| ``photolog:{07}:usage:<clientId>`` | hash | ``photos``, ``bytes``, ``jobs`` |
| ``photolog:{07}:clients`` | hash | the name of the first of these keys, for each client |

In each hash the field ``""`` marks that it is complete. A client whose ``sha256`` hash lacks it is
new if ``clients`` is complete and does not list it, or if the log is empty; otherwise the hash was
lost. So a client's first upload does not read the log, and a deleted key costs one fold of its
partition.

The usage is a running total: each append adds what its events change. An append without a quota
does not restore a lost total.
"""

import anyio
import msgspec

from domain.clients.usage import NOTHING, Usage
from domain.photo import events as e
from domain.photo import holdings
from domain.photo.holdings import Holding
from domain.rejections import OverQuota, QuotaBytes, QuotaIdempotencyKeys, QuotaJobs, QuotaPhotos
from store.keys import Keys
from store.log.position import Position
from store.log.stream import Recorded, Stream
from store.redis.connection import Client, translated

IDEMPOTENCY_TTL_S = 24 * 3600


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """``idempotency_keys`` counts unexpired keys; the first of them expires in ``expires_ms``."""

    usage: Usage
    idempotency_keys: int
    expires_ms: int


class ContentHashes:
    """Reads the usage of clients, and restores lost content hashes and usage.

    ``restoring`` is held while one client's are restored: after waiting for it, look again, because
    another task may have restored them meanwhile.
    """

    def __init__(self, stream: Stream) -> None:
        self.restoring = anyio.Lock()
        self._redis: Client = stream.redis
        self._keys: Keys = stream.keys
        self._stream = stream
        self._script = stream.redis.lua("log/content_hashes")
        self._usage = stream.redis.lua("log/usage")

    async def usage(self, partition: int, client_id: str) -> Used:
        """Return what the client uses; raises Unavailable."""
        found = await self._look(partition, client_id)
        if found is None:
            async with self.restoring:
                found = await self._look(partition, client_id)
                while found is None:
                    await self.restore(partition, client_id)
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
        fold = _Fold(client_id)
        position, restored = Position.start(partition), False
        while not restored:
            last = await self._stream.last_entry(partition)
            async for recorded in self._stream.scan(partition, after=position):
                position = recorded.position
                fold.apply(recorded)
            keys, usage = self._keys, fold.usage
            with translated():
                restored = await self._script(
                    keys=[
                        keys.log(partition),
                        keys.clients(partition),
                        keys.sha256(partition, client_id),
                        keys.usage(partition, client_id),
                    ],
                    args=[
                        max(last, position).entry_id,
                        *(usage.photos, usage.bytes, usage.jobs),
                        len(fold.clients),
                        *(keys.sha256(partition, each) for each in sorted(fold.clients)),
                        *(part for claim in fold.claimed.items() for part in claim),
                    ],
                )


class _Fold:
    """Folds the clients of a partition, and the content hashes and usage of one of them.

    Keeps the holding of each of the client's photos in memory: one or two kilobytes per photo.
    """

    def __init__(self, client_id: str) -> None:
        self.clients = {client_id}
        self.claimed: dict[str, str] = {}
        self.usage = NOTHING
        self._client_id = client_id
        self._sha256: dict[str, str] = {}
        self._holdings: dict[str, Holding] = {}

    def apply(self, recorded: Recorded) -> None:
        data, owner = recorded.event.data, recorded.event.metadata.client_id
        if isinstance(data, e.PhotoUploaded):
            self.clients.add(owner)
        if owner != self._client_id or not isinstance(data, e.Data):
            return
        if isinstance(data, e.PhotoUploaded):
            self._sha256[data.photo_id] = data.sha256
            self.claimed.setdefault(data.sha256, data.photo_id)
        elif isinstance(data, e.PhotoDeleted):
            sha256 = self._sha256.pop(data.photo_id, "")
            if self.claimed.get(sha256) == data.photo_id:
                del self.claimed[sha256]
        self._count(data)

    def _count(self, data: e.Data) -> None:
        before = self._holdings.pop(data.photo_id, None)
        after = holdings.fold(before, data)
        if after is None:
            return
        self.usage += after.usage - (before.usage if before else NOTHING)
        if not after.erased:
            self._holdings[data.photo_id] = after


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
