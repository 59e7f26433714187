"""The log: one Redis Stream a partition, and beside it each photo's folded state.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``id``, ``partitions``: fixed when the log is created |
| ``photolog:{07}:id`` | string | the id again; without it nothing is appended |
| ``photolog:{07}:log`` | stream | the events: ``t`` type, ``p`` photo, ``v`` version, ``b`` body |
| ``photolog:{07}:photo:<id>`` | hash | ``v`` version, ``d`` digest, ``p`` position, ``s`` state |
| ``photolog:{07}:command:<clientId>:<key>`` | string | a command already done, for 24 h |
| ``photolog:{07}:sha256:<clientId>`` | hash | content hash to photo id |
| ``photolog:{07}:clients`` | hash | who has uploaded, see ``claims`` |
| ``photolog:{07}:usage:<clientId>`` | hash | what counts towards its quotas, see ``claims`` |
| ``photolog:{07}:commands:<clientId>`` | sorted set | its idempotency keys, by expiry in ms |

An append is one script: it happens whole or not at all, and its checks come before its first write.
The state hash is a cache of the fold: where it is missing the photo's events are read again.
"""

import logging
import time

import anyio
import msgspec

from domain.clients.quotas import NO_QUOTA, Quota
from domain.photo.commands import PhotoCommand, UploadPhoto
from domain.photo.events import Context
from domain.photo.state import Photo, evolve
from domain.pipeline.stages import Task
from store.errors import Corrupt, Lost, Unavailable, Unexpected
from store.keys import DEFAULT_PREFIX, Keys, partition_of
from store.log import codec, identity
from store.log.answered import Answered, Remembering
from store.log.append import Append, AppendRequest, Claim, hash_step, usage_of
from store.log.chain import Chained, chained_for
from store.log.content_hashes import Claims, Used, over_quota
from store.log.outcome import Loaded, Outcome, Requirement
from store.log.position import Position
from store.log.states import States
from store.observing import AppendObserver, appending, ignore
from store.redis.connection import Client, Wait, translated
from store.redis.guarantee import Guarantee

logger = logging.getLogger("photolog.log")

PATIENCE_S = 10.0
"""How long a command is tried again while Redis does not answer."""

CONFLICTS_AT_ONCE = 10
"""Lost races after which a command pauses before each further try."""


class Log(States):
    """Appends by command; ``observe`` is told of every append."""

    def __init__(
        self,
        redis: Client,
        *,
        log_id: str,
        partitions: int,
        keys: Keys,
        wait: Wait | None = None,
    ) -> None:
        super().__init__(redis, keys, wait)
        self.log_id = log_id
        self.partitions = partitions
        self.observe: AppendObserver = ignore
        self.guarantee = Guarantee(wait=wait)
        self.answered = Answered(self, partitions, Remembering().answers_remembered)
        self._append = Append(redis, keys, log_id, wait)
        self._claims = Claims(self, self._append)

    @classmethod
    async def open(
        cls,
        redis: Client,
        *,
        partitions: int = 1,
        prefix: str = DEFAULT_PREFIX,
        wait: Wait | None = None,
    ) -> "Log":
        """The log of this server, created if there is none.

        ``partitions`` counts only at creation: an existing log keeps its own number. With ``wait``
        nothing is said to be recorded before it is safe.

        Raises:
            Unfit: something else is there under the log's name; it is left as it is.
        """
        keys = Keys(prefix)
        log_id, count = await identity.create(redis, keys, partitions)
        await identity.begin(redis, keys, log_id, count)
        return cls(redis, log_id=log_id, partitions=count, keys=keys, wait=wait)

    @classmethod
    async def find(
        cls, redis: Client, *, prefix: str = DEFAULT_PREFIX, wait: Wait | None = None
    ) -> "Log | None":
        """The log of this server, if there is one; ``wait`` and raises as ``open``."""
        keys = Keys(prefix)
        found = await identity.find(redis, keys)
        if found is None:
            return None
        return cls(redis, log_id=found[0], partitions=found[1], keys=keys, wait=wait)

    async def confirm(self, partition: int | None = None) -> None:
        """Nothing while Redis has this log, or this partition of it; else Replaced, Unavailable."""
        if partition is None:
            await identity.confirm(self.redis, self.keys, self.log_id)
        else:
            await identity.confirm_partition(self.redis, self.keys, self.log_id, partition)

    def partition_of(self, client_id: str) -> int:
        return partition_of(client_id, self.partitions)

    async def check(self, client_id: str | None = None) -> None:
        """Raises Unavailable if what has the client's photos is known to be away."""
        of = None if client_id is None else self.keys.log(self.partition_of(client_id))
        await self.redis.check(of)

    def owner(self, partition: int) -> str:
        """Who has the partition: a new owner may not have all events that the old one had."""
        return self.redis.owner(self.keys.log(partition))

    async def load(self, photo_id: str, client_id: str, *, safe: bool = False) -> Loaded:
        """The photo's state; folds its events again where the state is not at hand.

        A command may be decided on a state that is not ``safe``: its append is checked against it.
        Whoever answers or removes something because of the state has to ask for a safe one.
        """
        partition = self.partition_of(client_id)
        version, digest, entry_id, state = await self.state_of(
            partition, self.keys.photo(partition, photo_id), photo_id, safe=safe
        )
        if version is None or digest is None or entry_id is None or state is None:
            return await self._fold(partition, photo_id)
        try:
            return Loaded(
                photo=codec.decode_photo(state),
                version=int(version),
                digest=digest.decode(),
                position=Position.of_entry(partition, entry_id),
            )
        except (Corrupt, Unexpected, ValueError) as error:  # some are of msgspec
            logger.warning("the state of photo %s is damaged: %s", photo_id, error)
            return await self._fold(partition, photo_id)

    async def _fold(self, partition: int, photo_id: str) -> Loaded:
        """Read the photo's events again and put its state back."""
        loaded, position = Loaded(), Position.start(partition)
        while True:
            last = await self.last_entry(partition)
            async for recorded in self.scan(partition, after=position):
                position = recorded.position
                if recorded.event.data.photo_id == photo_id:
                    loaded = Loaded(
                        photo=evolve(loaded.photo, recorded.event),
                        version=recorded.event.metadata.photo_version,
                        digest=codec.digest(recorded.body),
                        position=position,
                    )
            if loaded.photo is None or loaded.position is None:
                await self.confirm()  # in another log no photo of ours is to be looked for
                await self.confirm(partition)
                return loaded
            if await self.restore(
                self.keys.photo(partition, photo_id),
                upto=max(last, position),
                version=loaded.version,
                digest=loaded.digest,
                last=loaded.position,
                state=codec.encode_photo(loaded.photo),
            ):
                return loaded

    @appending
    async def execute(
        self,
        command: PhotoCommand,
        *,
        client_id: str,
        context: Context,
        idempotency_key: str | None = None,
        claim: Claim | None = None,
        loaded: Loaded | None = None,
        quota: Quota = NO_QUOTA,
        require: Requirement | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Outcome:
        """Load, decide, append; again if another command came between.

        ``loaded`` is what the caller knows of the photo: it saves a look, and may be out of date.
        ``require`` is called with the photo as the command finds it; no other command can come
        between. It is not called for a command that is "already so" after a try whose reply was
        lost: that may be the command's own doing.

        Safe to call again after Unavailable: a command that was done already is "already so" to the
        rules. With ``claim`` the task is acknowledged by the step that appends its result. Nothing
        is appended that would take the client over ``quota``.

        Raises:
            Rejected: the rules refuse the command, or the quota does: OverQuota.
            Lost: the claimed task is no longer held.
            Unavailable: Redis did not answer within ``patience_s``; the outcome is unknown.
            Replaced: it has had another log all that time, or none.
        """
        partition = self.partition_of(client_id)
        give_up = time.monotonic() + patience_s
        pause_s = 0.02
        conflicts = 0
        sent = unsure = False
        # A new photo needs no look before the first try: the script checks that there is none.
        if isinstance(command, UploadPhoto):
            loaded = Loaded()
        wants_safe = is_safe = False
        while True:
            try:
                if loaded is None:
                    loaded = await self.load(command.photo_id, client_id, safe=wants_safe)
                    is_safe = wants_safe or self.durability.wait is None
                chained = chained_for(
                    command,
                    client_id,
                    loaded,
                    context,
                    require,
                    is_safe=is_safe,
                    may_be_done=unsure,
                )
                if chained is None:
                    loaded, wants_safe = None, True
                    continue
                if not chained.events and claim is None:
                    return Outcome(photo=loaded.photo, position=loaded.position, after=loaded)
                sent, asked = True, self.owner(partition)
                outcome = await self._try(
                    command, client_id, loaded, chained, idempotency_key, claim, quota
                )
                sent = False
                if outcome is not None:
                    self._remember(command, outcome, asked)
                    return outcome
                conflicts += 1
            except Unavailable:
                self.answered.doubt(partition)
                unsure = unsure or sent
                if time.monotonic() + pause_s > give_up:
                    raise
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, 1.0)
            if conflicts > CONFLICTS_AT_ONCE:
                if time.monotonic() > give_up:
                    raise Unavailable("the photo changes faster than it can be looked at")
                await anyio.sleep(pause_s)
            loaded = None

    def _remember(self, command: PhotoCommand, outcome: Outcome, asked: str) -> None:
        """Whoever is answered now relies on the event at the outcome's position."""
        if outcome.position is not None:
            photo_id = outcome.repeat_of or outcome.duplicate_of or command.photo_id
            digest = outcome.after.digest if outcome.after else ""
            self.answered.note(outcome.position, photo_id, digest, asked=asked)

    async def send(self, step: AppendRequest) -> list[bytes]:
        """One append as it stands, see ``append.lua`` for the replies; raises Unavailable."""
        return await self._claims.send(step)

    async def _try(
        self,
        command: PhotoCommand,
        client_id: str,
        loaded: Loaded,
        chained: Chained,
        idempotency_key: str | None,
        claim: Claim | None,
        quota: Quota,
    ) -> Outcome | None:
        partition = self.partition_of(client_id)
        photo = loaded.photo
        for event in chained.events:
            photo = evolve(photo, event)
        reply = await self.send(
            AppendRequest(
                partition=partition,
                state_key=self.keys.photo(partition, command.photo_id),
                photo_id=command.photo_id,
                client_id=client_id,
                version=loaded.version,
                digest=loaded.digest,
                chained=chained,
                state=codec.encode_photo(photo) if photo else b"",
                idempotency_key=idempotency_key,
                hash_step=hash_step(command, loaded.photo),
                usage=usage_of(loaded.photo, photo),
                quota=quota,
                claim=claim,
            )
        )
        match reply:
            case [b"appended", *ids]:
                if not ids:
                    return Outcome(photo=photo, position=loaded.position, after=loaded)
                last = Position.of_entry(partition, ids[-1])
                after = Loaded(
                    photo=photo,
                    version=loaded.version + len(ids),
                    digest=chained.digest,
                    position=last,
                )
                return Outcome(events=chained.events, photo=photo, position=last, after=after)
            case [b"repeated", first, end]:
                return await self._repeat(client_id, idempotency_key, first, end)
            case [b"duplicate", photo_id]:
                return await self._duplicate(command, photo_id, client_id, idempotency_key)
            case [b"reused"]:
                await self.settle(partition)
                return Outcome(reused=True)
            case [b"over", what, found, most, *reserved]:
                with translated():
                    numbers = int(found), int(most), int(reserved[0]) if reserved else 0
                raise over_quota(what.decode(errors="replace"), *numbers)
            case [b"lost"]:
                raise Lost(f"task {claim.entry_id if claim else ''} is no longer held")
            case _:
                return None

    async def _repeat(
        self, client_id: str, idempotency_key: str | None, first: bytes, end: bytes
    ) -> Outcome | None:
        """The command that was done before; None if the log does not have what its key tells."""
        photo_id, partition = first.decode(errors="replace"), self.partition_of(client_id)
        position = Position.of_entry(partition, end)
        found = await self.read(position.before, count=1, safe=False)
        if found and found[0].position == position and found[0].event.data.photo_id == photo_id:
            return Outcome(repeat_of=photo_id, position=position)
        await self._forget(client_id, idempotency_key)
        return None

    async def _duplicate(
        self, command: PhotoCommand, holder: bytes, client_id: str, idempotency_key: str | None
    ) -> Outcome | None:
        """The client's photo with these bytes; None if the log does not have it after all."""
        photo_id = holder.decode(errors="replace")
        loaded = await self.load(photo_id, client_id, safe=True)
        expected = command.sha256 if isinstance(command, UploadPhoto) else None
        if loaded.photo is None or loaded.photo.sha256 != expected:
            logger.warning("what is known of the photos of a client is damaged and folded again")
            await self._forget(client_id, idempotency_key)
            await self._claims.restore(self.partition_of(client_id), client_id)
            return None
        match command, loaded.photo:
            case UploadPhoto(key=key), Photo(keys={"original": stored}) if key == stored:
                return Outcome(photo=loaded.photo, position=loaded.position)  # its reply was lost
            case _:
                pass
        return Outcome(duplicate_of=photo_id, photo=loaded.photo, position=loaded.position)

    async def _forget(self, client_id: str, idempotency_key: str | None) -> None:
        if idempotency_key is not None:
            partition = self.partition_of(client_id)
            with translated():
                await self.redis.unlink(self.keys.command(partition, client_id, idempotency_key))

    async def acknowledge(self, task: Task, claim: Claim) -> None:
        """Drop a task whose result nobody waits for; raises Lost and Unavailable."""
        partition = self.partition_of(task.client_id)
        reply = await self.send(
            AppendRequest(
                partition=partition,
                state_key=self.keys.photo(partition, task.photo_id),
                photo_id=task.photo_id,
                client_id=task.client_id,
                claim=claim,
            )
        )
        if reply == [b"lost"]:
            raise Lost(f"task {claim.entry_id} is no longer held")

    async def usage(self, client_id: str) -> Used:
        """What the client has of what quotas limit; folded from the log where it was lost."""
        return await self._claims.usage(self.partition_of(client_id), client_id)

    async def has_command(self, client_id: str, idempotency_key: str) -> bool:
        """Whether a command was done under this key within the last 24 hours."""
        key = self.keys.command(self.partition_of(client_id), client_id, idempotency_key)
        with translated():
            return bool(await self.redis.exists(key))

    async def holder_of(self, sha256: str, client_id: str) -> str | None:
        """The id of the client's photo with these bytes, if there is one."""
        partition = self.partition_of(client_id)
        with translated():
            found = await self.redis.hget(self.keys.sha256(partition, client_id), sha256)
            holder: bytes | None = msgspec.convert(found, bytes | None)
            return holder.decode(errors="replace") if holder else None
