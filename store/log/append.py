"""One append: ``append.lua`` checks and writes all of it, or nothing."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from domain.clients.quotas import NO_QUOTA, Quota
from domain.clients.usage import NOTHING, Usage
from domain.photo.commands import DeletePhoto, PhotoCommand, UploadPhoto
from domain.photo.events import FIRST_PREV, Event
from domain.photo.state import Photo
from store.keys import Keys
from store.log import codec
from store.log.chain import Chained
from store.log.content_hashes import IDEMPOTENCY_TTL_S, ContentHashes
from store.log.identity import claim
from store.log.outcome import Loaded
from store.log.session_closings import SessionClosings
from store.log.stream import Stream
from store.redis.connection import translated

STRANGE, SPLIT = [b"strange"], [b"split"]
"""Replies of a server with another log or none, and for a client that has buckets."""

CLOSED, MAYBE_CLOSED = [b"closed"], [b"unsure", b"session"]
"""Replies for an upload into a closed session, and into one that the archive may know as closed."""

UNSURE = b"unsure"
"""Begins the reply of a server without a client's content hashes or usage."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task that ``consumer`` holds; its result counts only while it is held."""

    lane_key: str
    group: str
    entry_id: str
    consumer: str


class DispatchOption(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The tasks that the events lead to, as keys and arguments of ``append.lua``."""

    keys: tuple[str, ...]
    args: tuple[str | bytes | int, ...]


Planner = Callable[[Sequence[Event]], DispatchOption | None]
"""Returns what dispatches events as they are appended; None leaves them to a dispatcher."""


class AppendRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The checks and writes of one append.

    ``version`` and ``digest`` are those of the last event before it; ``state`` is the resulting
    state of the photo, the session or the controls; ``hash_step`` claims or releases a content
    hash; ``session_id`` is that of an upload, whose session must not be closed. ``usage`` is added
    to the client's, if ``quota`` allows it. ``command_key`` is the Redis key that remembers the
    append, by default that of the ``idempotency_key``. ``if_full``: append even if the server has
    no memory left; only for commands of which nobody can make many.
    """

    partition: int
    state_key: str
    photo_id: str
    client_id: str = ""
    version: int = 0
    digest: str = FIRST_PREV
    chained: Chained = Chained(events=(), bodies=(), digest="")
    state: bytes = b""
    idempotency_key: str | None = None
    command_key: str | None = None
    hash_step: tuple[str, str] = ("", "")
    usage: Usage = NOTHING
    quota: Quota = NO_QUOTA
    claim: Claim | None = None
    dispatch: DispatchOption | None = None
    session_id: str | None = None
    if_full: bool = False


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A command on a photo, and what came with it."""

    command: PhotoCommand
    client_id: str
    partition: int
    idempotency_key: str | None
    claim: Claim | None
    quota: Quota
    planner: Planner | None = None


Reply = Annotated[list[bytes], Meta(min_length=1)]
"""The outcome, and what belongs to it."""


def _checked(reply: Any) -> list[bytes]:
    """Convert the reply: one of the right shape in a fourth of the time that msgspec takes."""
    if type(reply) is list and {*map(type, cast("list[object]", reply))} == {bytes}:
        return cast("list[bytes]", reply)
    return msgspec.convert(reply, Reply)


class Append:
    """Sends appends to Redis. An append returns once it is as safe as ``stream`` requires."""

    def __init__(self, stream: Stream, log_id: str, content_hashes: ContentHashes) -> None:
        self._redis = stream.redis
        self._keys = stream.keys
        self._log_id = log_id
        self._content_hashes = content_hashes
        self._closings = SessionClosings(stream)
        wait = stream.durability.wait
        self._script = stream.redis.lua("log/append", wait)
        self._if_full = stream.redis.lua("log/append", wait, if_full=True)

    async def send(self, request: AppendRequest) -> list[bytes]:
        """Run the script and return its reply, see ``append.lua``.

        A client's lost content hashes or usage are restored first; if both were lost, the second
        are by the next call.

        Raises:
            Unavailable: no answer: the append may or may not have happened. Or it happened, and is
                not known to be safe.
            Replaced: Redis has another log now, or none; nothing was written.
        """
        reply = await self._call(request)
        if reply == STRANGE:
            await claim(self._redis, self._keys, self._log_id, request.partition)
            reply = await self._call(request)
        if reply[0] == UNSURE:
            async with self._content_hashes.restoring:
                reply = await self._call(request)
                if reply[0] == UNSURE:
                    await self._restore(request, reply[-1])
                    reply = await self._call(request)
        return reply

    async def _restore(self, request: AppendRequest, lost: bytes) -> None:
        hashes, client = self._content_hashes, (request.partition, request.client_id)
        match lost:
            case b"bucket":
                await hashes.restore_bucket(*client, request.hash_step[1])
            case b"usage":
                await hashes.restore_usage(*client)
            case _:
                await hashes.restore(*client)

    async def _call(self, request: AppendRequest) -> list[bytes]:
        script = self._if_full if request.if_full else self._script
        while True:
            names, args = self._words(request)
            with translated():
                reply = _checked(await script(keys=names, args=args))
            if reply == SPLIT:
                self._content_hashes.note_split(request.client_id)
            elif reply == MAYBE_CLOSED:
                session = request.partition, request.client_id, request.session_id or ""
                if await self._closings.find(*session):
                    return CLOSED
            else:
                return reply

    def _words(self, request: AppendRequest) -> tuple[list[str], list[str | bytes | int]]:
        """Return the keys and the arguments of the script, without options that do nothing."""
        keys, partition, client_id = self._keys, request.partition, request.client_id
        chained, usage, quota = request.chained, request.usage, request.quota
        names = [keys.log(partition), keys.identity(partition), request.state_key]
        args: list[str | bytes | int] = [
            self._log_id,
            request.photo_id,
            request.version,
            request.digest,
            chained.digest,
            request.state,
            len(chained.events),
        ]
        for event, body in zip(chained.events, chained.bodies, strict=True):
            args += (event.type, body)
        if (held := request.claim) is not None:
            names.append(held.lane_key)
            args += ("task", held.group, held.consumer, held.entry_id)
        if (along := request.dispatch) is not None:
            names += along.keys
            args += along.args
        step, sha256 = request.hash_step
        if key := request.idempotency_key:
            command_key = request.command_key or keys.command(partition, client_id, key)
            names += (command_key, keys.commands(partition, client_id))
            args += ("command", key, IDEMPOTENCY_TTL_S, quota.idempotency_keys, sha256)
        if request.session_id is not None:
            session_id = request.session_id
            names += (
                keys.upload_session(partition, client_id, session_id),
                keys.trimmed(partition),
            )
            args += ("session", self._closings.looked_at(client_id, session_id))
        if step == "claim":
            hash_names, hash_args = self._content_hashes.words(partition, client_id, sha256)
            names += hash_names
            names.append(keys.clients(partition))
            args.append("claim")
            args += hash_args
        if chained.events and usage != NOTHING:
            names.append(keys.usage(partition, client_id))
            args += ("usage", usage.photos, usage.bytes, usage.jobs)
            if quota.photos or quota.bytes or quota.jobs:
                args += ("quota", quota.photos, quota.bytes, quota.jobs, quota.job_bytes)
        if step == "release":
            hash_names, hash_args = self._content_hashes.words(partition, client_id, sha256)
            names += hash_names
            args += ("release", *hash_args)
        return names, args


def request_for(
    given: CommandRequest, keys: Keys, loaded: Loaded, chained: Chained, photo: Photo | None
) -> AppendRequest:
    """Return the append of the events that turn ``loaded`` into ``photo``."""
    command, events, planner = given.command, chained.events, given.planner
    return AppendRequest(
        partition=given.partition,
        state_key=keys.photo(given.partition, command.photo_id),
        photo_id=command.photo_id,
        client_id=given.client_id,
        version=loaded.version,
        digest=loaded.digest,
        chained=chained,
        state=codec.encode_photo(photo) if photo else b"",
        idempotency_key=given.idempotency_key,
        hash_step=_hash_step(command, loaded.photo),
        usage=_usage_of(loaded.photo, photo),
        quota=given.quota,
        claim=given.claim,
        dispatch=planner(events) if planner is not None and events else None,
        session_id=command.session_id if isinstance(command, UploadPhoto) else None,
        if_full=isinstance(command, DeletePhoto),
    )


def _hash_step(command: PhotoCommand, photo: Photo | None) -> tuple[str, str]:
    """Return what the command does with a content hash, and the hash."""
    if isinstance(command, UploadPhoto):
        return "claim", command.sha256
    if isinstance(command, DeletePhoto) and photo is not None:
        return "release", photo.sha256
    return "", ""


def _usage_of(before: Photo | None, after: Photo | None) -> Usage:
    """Return what the change from ``before`` to ``after`` adds to the client's usage."""
    if after is None or (before is not None and before.holding is after.holding):
        return NOTHING
    return after.holding.usage if before is None else after.holding.usage - before.holding.usage
