"""The states of photos: cached in Redis, or folded from their events in archive and stream."""

import logging
from collections.abc import Iterable

import msgspec

from domain.photo.events import Data
from domain.photo.state import Photo, is_at_rest
from store.errors import Corrupt, Unexpected
from store.keys import Keys, partition_of
from store.log import codec, identity
from store.log.eviction import Eviction
from store.log.outcome import Loaded, with_event
from store.log.position import Position
from store.log.recorded import Recorded
from store.log.states import States
from store.redis.connection import Client, Wait

logger = logging.getLogger("photolog.log")


class Photos(States):
    """The states of the photos of the log ``log_id``."""

    def __init__(
        self, redis: Client, keys: Keys, wait: Wait | None, *, log_id: str, partitions: int
    ) -> None:
        super().__init__(redis, keys, wait)
        self.log_id = log_id
        self.partitions = partitions
        self.eviction = Eviction(self, log_id)

    async def confirm(self, partition: int | None = None) -> None:
        """Return if Redis has this log, or this partition of it; raises Replaced, Unavailable."""
        if partition is None:
            await identity.confirm(self.redis, self.keys, self.log_id)
        else:
            await identity.confirm_partition(self.redis, self.keys, self.log_id, partition)

    def partition_of(self, client_id: str) -> int:
        return partition_of(client_id, self.partitions)

    async def load(self, photo_id: str, client_id: str, *, safe: bool = False) -> Loaded:
        """Return the photo's state, folding its events if the cached state is missing or damaged.

        A command may be decided on a state that is not ``safe``, because its append is checked.
        Callers that answer or remove something because of the state must ask for a safe one.
        """
        partition = self.partition_of(client_id)
        cached = await self._cached(partition, photo_id, safe=safe)
        return cached or await self._fold(partition, photo_id)

    async def find_photo(self, photo_id: str) -> Photo | None:
        """Return the photo with this id, whoever's it is; None if no partition has it."""
        for partition in range(self.partitions):
            cached = await self._cached(partition, photo_id, safe=True)
            if cached is not None:
                return cached.photo
        for partition in range(self.partitions):
            loaded = await self._fold(partition, photo_id)
            if loaded.photo is not None:
                return loaded.photo
        return None

    async def _cached(self, partition: int, photo_id: str, *, safe: bool) -> Loaded | None:
        """Return the cached state; None if it is missing or damaged."""
        version, digest, entry_id, state = await self.state_of(
            partition, self.keys.photo(partition, photo_id), photo_id, safe=safe
        )
        if version is None or digest is None or entry_id is None or state is None:
            return None
        try:
            return Loaded(
                photo=codec.decode_photo(state),
                version=int(version),
                digest=digest.decode(),
                position=Position.of_entry(partition, entry_id),
            )
        except (Corrupt, Unexpected, ValueError) as error:  # some are of msgspec
            logger.warning("the cached state of photo %s is damaged: %s", photo_id, error)
            return None

    async def _fold(
        self, partition: int, photo_id: str, *, put_evicted_back: bool = False
    ) -> Loaded:
        """Fold the photo's events again and put its state back, unless it was evicted.

        Sealed events are found by the indexes of the archive; only later ones are scanned for.
        """
        sealed, position = await self.sealed_of(partition, photo_id)
        loaded = _with_events(Loaded(), sealed)
        while True:
            last = await self.last_entry(partition)
            found, position = await self.later_of(photo_id, position)
            loaded = _with_events(loaded, found)
            if loaded.photo is None or loaded.position is None:
                await self.confirm()  # another log would not have the photo either
                await self.confirm(partition)
                return loaded
            if not put_evicted_back and await self._is_evicted(loaded.photo, loaded.position):
                return msgspec.structs.replace(loaded, evicted=True)
            if await self.restore(
                self.keys.photo(partition, photo_id),
                upto=max(last, position),
                version=loaded.version,
                digest=loaded.digest,
                last=loaded.position,
                state=codec.encode_photo(loaded.photo),
            ):
                return loaded

    async def put_back(self, loaded: Loaded) -> bool:
        """Put the state of an evicted photo back; return False if it has changed meanwhile."""
        photo = loaded.photo
        if photo is None:
            return False
        partition = self.partition_of(photo.client_id)
        stored = await self._fold(partition, photo.photo_id, put_evicted_back=True)
        return stored.digest == loaded.digest

    async def _is_evicted(self, photo: Photo, last: Position) -> bool:
        """Return whether the archiver has removed the photo's state, or would have."""
        return is_at_rest(photo) and last <= await self.eviction.evicted(last.partition)


def _with_events(loaded: Loaded, found: Iterable[Recorded]) -> Loaded:
    """Return what the photo's events lead to; a spoiled key may name the chain of no photo."""
    for recorded in found:
        if isinstance(recorded.event.data, Data):
            loaded = with_event(loaded, recorded)
    return loaded
