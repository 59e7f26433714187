"""A log of the version before content hashes were in buckets, with the scripts that it had."""

from pathlib import Path
from typing import Any

from store.keys import Keys
from store.log.client_fold import ClientFold
from store.log.content_hashes import ContentHashes
from store.log.log import Log
from store.log.position import Position
from store.log.stream import Stream
from store.redis.connection import Client, Script, translated

FOLDER = Path(__file__).parent


def _script(redis: Client, name: str) -> Script:
    return Script(redis, (FOLDER / f"{name}.lua").read_text("utf-8"), None)


class EarlierHashes(ContentHashes):
    """Claims and releases in one key, and writes all of it at once."""

    folds = 0

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._all_at_once = _script(stream.redis, "content_hashes")

    def words(
        self, partition: int, client_id: str, sha256: str
    ) -> tuple[list[str], list[str | bytes | int]]:
        return [self._keys.sha256(partition, client_id)], [sha256]

    async def restore(self, partition: int, client_id: str) -> None:
        self.folds += 1
        fold, keys = ClientFold(client_id), self._keys
        position, restored = Position.start(partition), False
        while not restored:
            last = await self._stream.last_entry(partition)
            async for recorded in self._stream.scan(partition, after=position):
                position = recorded.position
                fold.apply(recorded)
            with translated():
                restored = await self._all_at_once(
                    keys=[
                        keys.log(partition),
                        keys.clients(partition),
                        keys.sha256(partition, client_id),
                        keys.usage(partition, client_id),
                    ],
                    args=[
                        max(last, position).entry_id,
                        *(fold.usage.photos, fold.usage.bytes, fold.usage.jobs),
                        len(fold.clients),
                        *(keys.sha256(partition, each) for each in sorted(fold.clients)),
                        *(part for claim in fold.claimed.items() for part in claim),
                    ],
                )


def earlier(log: Log) -> tuple[Log, EarlierHashes]:
    """Return the same log, as a gateway of the earlier version uses it, and its content hashes."""
    found = Log(log.redis, log_id=log.log_id, partitions=log.partitions, keys=Keys(log.keys.prefix))
    hashes, untyped = EarlierHashes(found), _untyped(found)
    untyped._content_hashes = hashes
    append = untyped.append
    append._content_hashes = hashes
    append._script = append._if_full = _script(log.redis, "append")
    return found, hashes


def _untyped(log: Any) -> Any:
    return log
