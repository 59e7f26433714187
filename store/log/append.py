"""One append: ``append.lua`` checks and writes all of it, or nothing."""

import msgspec

from domain.clients.quotas import NO_QUOTA, Quota
from domain.clients.usage import NOTHING, Usage
from domain.photo.commands import DeletePhoto, PhotoCommand, UploadPhoto
from domain.photo.events import FIRST_PREV
from domain.photo.state import Photo
from store.keys import Keys
from store.log import codec
from store.log.chain import Chained
from store.log.content_hashes import IDEMPOTENCY_TTL_S, ContentHashes
from store.log.identity import claim
from store.log.outcome import Loaded
from store.log.stream import Stream
from store.redis.connection import translated

STRANGE, UNSURE = [b"strange"], [b"unsure"]
"""Replies of a server with another log or none, and without a client's content hashes or usage."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task that ``consumer`` holds; its result counts only while it is held."""

    lane_key: str
    group: str
    entry_id: str
    consumer: str


class AppendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The checks and writes of one append.

    ``version`` and ``digest`` are those of the last event before it; ``state`` is the resulting
    state of the photo or the controls; ``hash_step`` claims or releases a content hash. ``usage``
    is added to the client's, if ``quota`` allows it.
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
    hash_step: tuple[str, str] = ("", "")
    usage: Usage = NOTHING
    quota: Quota = NO_QUOTA
    claim: Claim | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A command on a photo, and what came with it."""

    command: PhotoCommand
    client_id: str
    partition: int
    idempotency_key: str | None
    claim: Claim | None
    quota: Quota


class Append:
    """Sends appends to Redis. An append returns once it is as safe as ``stream`` requires."""

    def __init__(self, stream: Stream, log_id: str, content_hashes: ContentHashes) -> None:
        self._redis = stream.redis
        self._keys = stream.keys
        self._log_id = log_id
        self._content_hashes = content_hashes
        self._script = stream.redis.lua("log/append", stream.durability.wait)

    async def send(self, request: AppendRequest) -> list[bytes]:
        """Run the script and return its reply, see ``append.lua``.

        A client's lost content hashes and usage are restored first.

        Raises:
            Unavailable: no answer: the append may or may not have happened. Or it happened, and is
                not known to be safe.
            Replaced: Redis has another log now, or none; nothing was written.
        """
        reply = await self._call(request)
        if reply == STRANGE:
            await claim(self._redis, self._keys, self._log_id, request.partition)
            reply = await self._call(request)
        if reply == UNSURE:
            async with self._content_hashes.restoring:
                reply = await self._call(request)
                if reply == UNSURE:
                    await self._content_hashes.restore(request.partition, request.client_id)
                    reply = await self._call(request)
        return reply

    async def _call(self, request: AppendRequest) -> list[bytes]:
        keys, partition, held = self._keys, request.partition, request.claim
        log, state, command = keys.log(partition), request.state_key, request.state_key
        commands = usage = log
        if request.idempotency_key:
            command = keys.command(partition, request.client_id, request.idempotency_key)
            commands = keys.commands(partition, request.client_id)
        if request.usage is not NOTHING:
            usage = keys.usage(partition, request.client_id)
        types_and_bodies = [
            part
            for event, body in zip(request.chained.events, request.chained.bodies, strict=True)
            for part in (event.type, body)
        ]
        with translated():
            reply = await self._script(
                # A call that does not need a key names another one twice.
                keys=[
                    log,
                    state,
                    command,
                    keys.sha256(partition, request.client_id),
                    held.lane_key if held else log,
                    keys.identity(partition),
                    keys.clients(partition),
                    usage,
                    commands,
                ],
                args=[
                    request.version,
                    request.digest,
                    request.chained.digest,
                    request.state,
                    IDEMPOTENCY_TTL_S if request.idempotency_key else 0,
                    *request.hash_step,
                    request.photo_id,
                    held.group if held else "",
                    held.consumer if held else "",
                    held.entry_id if held else "",
                    self._log_id,
                    *(request.usage.photos, request.usage.bytes, request.usage.jobs),
                    *(request.quota.photos, request.quota.bytes, request.quota.jobs),
                    request.quota.idempotency_keys,
                    request.idempotency_key or "",
                    request.quota.job_bytes,
                    len(request.chained.events),
                    *types_and_bodies,
                ],
            )
            return msgspec.convert(reply, list[bytes])


def request_for(
    given: Given, keys: Keys, loaded: Loaded, chained: Chained, photo: Photo | None
) -> AppendRequest:
    """Return the append of the events that turn ``loaded`` into ``photo``."""
    command = given.command
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
