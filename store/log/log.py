"""The log: one Redis Stream per partition, and each photo's folded state beside it.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``id``, ``partitions``: fixed when the log is created |
| ``photolog:{07}:id`` | string | the id again; appends fail without it |
| ``photolog:{07}:trimmed`` | string | see ``archived`` |
| ``photolog:{07}:evicted`` | string | see ``eviction`` |
| ``photolog:{07}:log`` | stream | the events: ``t`` type, ``p`` photo, ``v`` version, ``b`` body |
| ``photolog:{07}:photo:<id>`` | hash | ``v`` version, ``d`` digest, ``p`` position, ``s`` state |
| ``photolog:{07}:command:<clientId>:<key>`` | string | result of an earlier command, for 24 h |
| ``photolog:{07}:sha256:<clientId>`` | hash | content hash to photo id, see ``content_hashes`` |
| ``photolog:{07}:hashes:<clientId>:a3f`` | hash | the same of many photos |
| ``photolog:{07}:clients`` | hash | the clients, see ``content_hashes`` |
| ``photolog:{07}:usage:<clientId>`` | hash | its usage, see ``content_hashes`` |
| ``photolog:{07}:commands:<clientId>`` | sorted set | its idempotency keys, by expiry in ms |
| ``photolog:{07}:upload-session:<clientId>:<id>`` | hash | as a photo's, see ``sessions`` |

An append is one atomic script that makes all checks before its first write. The state hash is a
cache of the fold: if it is missing, the photo's events are folded again. Those of photos at rest
may be removed, see ``eviction``: a load then reads the photo's events in the archive, and only an
append puts the state back.
"""

import logging
import time
from typing import assert_never

from domain.clients.quotas import NO_QUOTA, Quota
from domain.photo.commands import PhotoCommand, UploadPhoto
from domain.photo.events import Context
from domain.photo.state import Photo, evolve
from domain.pipeline.stages import Task
from domain.rejections import SessionIsClosed
from domain.sessions.session import is_closed
from store.errors import Lost
from store.keys import DEFAULT_PREFIX, Keys
from store.log import identity
from store.log.answered import Answered
from store.log.answered_settings import AnsweredSettings
from store.log.append import (
    Append,
    AppendRequest,
    Claim,
    CommandRequest,
    Planner,
    request_for,
)
from store.log.chain import Chained, chained_for
from store.log.command_loop import PATIENCE_S, run
from store.log.content_hashes import ContentHashes, Used, over_quota
from store.log.outcome import (
    Appended,
    Duplicate,
    Expectation,
    KeyReused,
    Loaded,
    Outcome,
    Repeated,
    Requirement,
    Unchanged,
)
from store.log.photos import Photos
from store.log.position import Position
from store.observing import AppendObserver, ObservedAppend, ignore
from store.redis.connection import Client, Wait, translated
from store.redis.guarantee import Guarantee

logger = logging.getLogger("photolog.log")


class Log(Photos):
    """Appends by command; calls ``observe`` after every append."""

    def __init__(
        self,
        redis: Client,
        *,
        log_id: str,
        partitions: int,
        keys: Keys,
        wait: Wait | None = None,
    ) -> None:
        super().__init__(redis, keys, wait, log_id=log_id, partitions=partitions)
        self.observe: AppendObserver = ignore
        self.guarantee = Guarantee(wait=wait)
        self.answered = Answered(self, partitions, AnsweredSettings().answers_remembered)
        self._content_hashes = ContentHashes(self)
        self.append = Append(self, log_id, self._content_hashes)

    @classmethod
    async def open(
        cls,
        redis: Client,
        *,
        partitions: int = 1,
        prefix: str = DEFAULT_PREFIX,
        wait: Wait | None = None,
    ) -> "Log":
        """Return the log of this server, creating it if there is none.

        ``partitions`` counts only at creation: an existing log keeps its own number. With ``wait``
        no answer rests on an event before the event is safe.

        Raises:
            UnsuitableServer: the log's name is taken by something else, which stays as it is.
        """
        keys = Keys(prefix)
        log_id, count = await identity.create(redis, keys, partitions)
        await identity.begin(redis, keys, log_id, count)
        return cls(redis, log_id=log_id, partitions=count, keys=keys, wait=wait)

    @classmethod
    async def find(
        cls, redis: Client, *, prefix: str = DEFAULT_PREFIX, wait: Wait | None = None
    ) -> "Log | None":
        """Return the log of this server, if there is one; ``wait`` and errors as for ``open``."""
        keys = Keys(prefix)
        found = await identity.find(redis, keys)
        if found is None:
            return None
        return cls(redis, log_id=found[0], partitions=found[1], keys=keys, wait=wait)

    async def check(self, client_id: str | None = None) -> None:
        """Raise Unavailable if the server with the client's photos is known to be away."""
        of = None if client_id is None else self.keys.log(self.partition_of(client_id))
        await self.redis.check(of)

    def owner(self, partition: int) -> str:
        """Return the server that has the partition; a new owner may lack events of the old one."""
        return self.redis.owner(self.keys.log(partition))

    async def execute(
        self,
        command: PhotoCommand,
        *,
        client_id: str,
        context: Context,
        idempotency_key: str | None = None,
        claim: Claim | None = None,
        planner: Planner | None = None,
        loaded: Loaded | None = None,
        quota: Quota = NO_QUOTA,
        require: Requirement | None = None,
        expect: Expectation = ignore,
        patience_s: float = PATIENCE_S,
    ) -> Outcome:
        """Load the photo, decide, append; start over if another command came between.

        ``loaded`` is what the caller knows of the photo: it saves a load, and may be out of date.
        ``expect`` is called before each try to append, with the photo as it is to be afterwards:
        another command can be decided on it before this one returns.
        ``require`` is called with the photo as the command finds it; no other command can come
        between. It is not called for a command that leads to no event after a try whose reply was
        lost: that try may have done it.

        Safe to call again after Unavailable: the rules find that a command which was done already
        changes nothing. With ``claim`` the task is acknowledged by the step that appends its
        result. ``planner`` is called before each try to append, with the events, and has them
        dispatched by the same step if no dispatcher is needed. Nothing is appended that would take
        the client over ``quota``.

        Raises:
            Rejected: the rules reject the command, or the quota does: OverQuota. Or its session is
                closed: SessionIsClosed.
            Lost: the claimed task is no longer held.
            Unavailable: Redis did not answer within ``patience_s``; the outcome is unknown.
            Replaced: Redis had another log all that time, or none.
        """
        began_ns, began = time.time_ns(), time.perf_counter()
        partition = self.partition_of(client_id)
        given = CommandRequest(
            command=command,
            client_id=client_id,
            partition=partition,
            idempotency_key=idempotency_key,
            claim=claim,
            quota=quota,
            planner=planner,
        )
        outcome = await run(
            lambda safe: self.load(command.photo_id, client_id, safe=safe),
            lambda photo, may_be_done: chained_for(
                command, client_id, photo, context, require, may_be_done=may_be_done
            ),
            lambda photo, chained: self._append_to(photo, chained, given, expect),
            # A new photo needs no load before the first try: the script checks that there is none.
            known=Loaded() if isinstance(command, UploadPhoto) else loaded,
            every_load_is_safe=self.durability.wait is None,
            doubt=lambda: self.answered.doubt(partition),
            subject="this photo",
            patience_s=patience_s,
        )
        if isinstance(outcome, Appended):
            seconds = time.perf_counter() - began
            self.observe(ObservedAppend(events=outcome.events, began_ns=began_ns, seconds=seconds))
        return outcome

    async def _append_to(
        self, loaded: Loaded, chained: Chained, given: CommandRequest, expect: Expectation
    ) -> Outcome | None:
        """Append what was decided and remember the answer; None on a conflict."""
        if not chained.events and given.claim is None:
            return Unchanged(after=loaded)
        asked = self.owner(given.partition)
        if loaded.evicted and chained.events and not await self.put_back(loaded):
            return None
        photo = loaded.photo
        for event in chained.events:
            photo = evolve(photo, event)
        if chained.events:
            version = loaded.version + len(chained.events)
            expect(Loaded(photo=photo, version=version, digest=chained.digest))
        reply = await self.append.send(request_for(given, self.keys, loaded, chained, photo))
        outcome = await self._outcome(reply, loaded, chained, photo, given)
        match outcome:
            case Appended(after=after) | Unchanged(after=after):
                photo_id, digest = given.command.photo_id, after.digest
            case Repeated(photo_id=photo_id):
                digest = ""
            case Duplicate(photo=holder):
                photo_id, digest = holder.photo_id, ""
            case KeyReused() | None:
                return outcome
            case _:
                assert_never(outcome)
        if outcome.position is not None:
            self.answered.note(outcome.position, photo_id, digest, asked=asked)
        return outcome

    async def _outcome(
        self,
        reply: list[bytes],
        loaded: Loaded,
        chained: Chained,
        photo: Photo | None,
        given: CommandRequest,
    ) -> Outcome | None:
        """Return what the ``reply`` to an append means; None on a conflict.

        ``photo`` is ``loaded`` with the appended events.
        """
        match reply:
            case [b"appended"]:
                return Unchanged(after=loaded)
            case [b"appended", *ids]:
                count = len(chained.events)
                after = Loaded(
                    photo=photo,
                    version=loaded.version + count,
                    digest=chained.digest,
                    position=Position.of_entry(given.partition, ids[count - 1]),
                )
                return Appended(
                    events=chained.events,
                    after=after,
                    entry_ids=tuple(ids[:count]),
                    task_ids=tuple(ids[count:]),
                )
            case [b"repeated", first, end]:
                return await self._repeated(first, end, given)
            case [b"duplicate", photo_id]:
                return await self._duplicate(photo_id, given)
            case [b"reused"]:
                await self.settle(given.partition)
                return KeyReused()
            case [b"closed"]:
                await self.settle(given.partition)
                raise _closed(given.command)
            case [b"over", what, found, most, *reserved]:
                with translated():
                    numbers = int(found), int(most), int(reserved[0]) if reserved else 0
                raise over_quota(what.decode(errors="replace"), *numbers)
            case [b"lost"]:
                raise Lost(f"task {given.claim.entry_id if given.claim else ''} is no longer held")
            case _:
                return None

    async def _repeated(self, first: bytes, end: bytes, given: CommandRequest) -> Repeated | None:
        """Return the earlier command; None if the log lacks the event that its key names."""
        photo_id = first.decode(errors="replace")
        position = Position.of_entry(given.partition, end)
        found = await self.at(position, safe=False)
        if found is not None and found.event.data.photo_id == photo_id:
            return Repeated(photo_id=photo_id, position=position)
        await self._forget_key(given)
        return None

    async def _duplicate(
        self, holder: bytes, given: CommandRequest
    ) -> Unchanged | Duplicate | None:
        """Return the client's photo with these bytes; None if the log lacks it after all."""
        photo_id = holder.decode(errors="replace")
        loaded = await self.load(photo_id, given.client_id, safe=True)
        photo, position, command = loaded.photo, loaded.position, given.command
        sha256 = command.sha256 if isinstance(command, UploadPhoto) else ""
        is_damaged = photo is None or position is None or photo.sha256 != sha256
        if photo is not None and photo.deleted:  # since then; or by a version without buckets
            is_damaged |= await self.holder_of(sha256, given.client_id) == photo_id
        if is_damaged or photo is None or position is None:
            logger.warning("the content hashes of a client are damaged; folding them again")
            await self._forget_key(given)
            async with self._content_hashes.restoring:
                hashes = self._content_hashes
                await hashes.restore_bucket(given.partition, given.client_id, sha256)
            return None
        match command, photo:
            case UploadPhoto(key=key), Photo(keys={"original": stored}) if key == stored:
                return Unchanged(after=loaded)  # this very upload, whose reply was lost
            case _:
                return Duplicate(photo=photo, position=position)

    async def _forget_key(self, given: CommandRequest) -> None:
        if given.idempotency_key is not None:
            keys = self.keys
            key = keys.command(given.partition, given.client_id, given.idempotency_key)
            with translated():
                await self.redis.unlink(key)

    async def acknowledge(self, task: Task, claim: Claim) -> None:
        """Drop a task whose result is not needed; raises Lost and Unavailable."""
        partition = self.partition_of(task.client_id)
        reply = await self.append.send(
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
        """Return the client's usage, folded from the log if it was lost."""
        return await self._content_hashes.usage(self.partition_of(client_id), client_id)

    async def has_command(self, client_id: str, idempotency_key: str) -> bool:
        """Return whether a command with this key was done within the last 24 hours."""
        key = self.keys.command(self.partition_of(client_id), client_id, idempotency_key)
        with translated():
            return bool(await self.redis.exists(key))

    async def holder_of(self, sha256: str, client_id: str) -> str | None:
        """Return the id of the client's photo with these bytes, if there is one."""
        return (await self.holders_of([sha256], client_id)).get(sha256)

    async def holders_of(self, sha256s: list[str], client_id: str) -> dict[str, str]:
        """Return the id of the client's photo with these bytes, for each that there is."""
        partition = self.partition_of(client_id)
        return await self._content_hashes.holders(partition, client_id, sha256s)


def _closed(command: PhotoCommand) -> SessionIsClosed:
    session_id = command.session_id if isinstance(command, UploadPhoto) else None
    return is_closed(session_id or "")
