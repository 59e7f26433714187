"""One append: checked and written whole, or not at all, by ``append.lua``."""

import msgspec

from domain.clients.quotas import NO_QUOTA, Quota
from domain.clients.usage import NOTHING, Usage
from domain.photo.commands import DeletePhoto, PhotoCommand, UploadPhoto
from domain.photo.events import FIRST_PREV
from domain.photo.state import Photo
from store.keys import Keys
from store.log.chain import Chained
from store.log.identity import claim
from store.redis.connection import Client, Wait, translated

IDEMPOTENCY_TTL_S = 24 * 3600


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task held by ``consumer``: its result counts only while it is held."""

    lane_key: str
    group: str
    entry_id: str
    consumer: str


class AppendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What one append checks and writes.

    ``version`` and ``digest`` are those of the last event it follows on; ``state`` is what the
    photo, or the pipeline, is afterwards; ``hash_step`` claims or releases a content hash.
    ``usage`` is added to that of the client, if ``quota`` allows it.
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


class Append:
    """The script on one server. With ``wait`` an append is answered when it is safe."""

    def __init__(self, redis: Client, keys: Keys, log_id: str, wait: Wait | None = None) -> None:
        self._redis = redis
        self._keys = keys
        self._log_id = log_id
        self._script = redis.lua("log/append", wait)

    async def send(self, step: AppendRequest) -> list[bytes]:
        """One call of the script, see ``append.lua`` for its replies.

        Raises:
            Unavailable: no answer; it may or may not have happened. Or it has, and is not known to
                be safe.
            Replaced: Redis has another log now, or none; nothing was written.
        """
        reply = await self._call(step)
        if reply == [b"strange"]:
            await claim(self._redis, self._keys, self._log_id, step.partition)
            reply = await self._call(step)
        return reply

    async def _call(self, step: AppendRequest) -> list[bytes]:
        keys, partition, held = self._keys, step.partition, step.claim
        log, state, command = keys.log(partition), step.state_key, step.state_key
        commands = usage = log
        if step.idempotency_key:
            command = keys.command(partition, step.client_id, step.idempotency_key)
            commands = keys.commands(partition, step.client_id)
        if step.usage is not NOTHING:
            usage = keys.usage(partition, step.client_id)
        types_and_bodies = [
            part
            for event, body in zip(step.chained.events, step.chained.bodies, strict=True)
            for part in (event.type, body)
        ]
        with translated():
            reply = await self._script(
                # A key that a call has no use for is named twice.
                keys=[
                    log,
                    state,
                    command,
                    keys.sha256(partition, step.client_id),
                    held.lane_key if held else log,
                    keys.identity(partition),
                    keys.clients(partition),
                    usage,
                    commands,
                ],
                args=[
                    step.version,
                    step.digest,
                    step.chained.digest,
                    step.state,
                    IDEMPOTENCY_TTL_S if step.idempotency_key else 0,
                    *step.hash_step,
                    step.photo_id,
                    held.group if held else "",
                    held.consumer if held else "",
                    held.entry_id if held else "",
                    self._log_id,
                    *(step.usage.photos, step.usage.bytes, step.usage.jobs),
                    *(step.quota.photos, step.quota.bytes, step.quota.jobs),
                    step.quota.idempotency_keys,
                    step.idempotency_key or "",
                    step.quota.job_bytes,
                    len(step.chained.events),
                    *types_and_bodies,
                ],
            )
            return msgspec.convert(reply, list[bytes])


def hash_step(command: PhotoCommand, photo: Photo | None) -> tuple[str, str]:
    """What the command does with the content hash of the photo as it was before."""
    if isinstance(command, UploadPhoto):
        return "claim", command.sha256
    if isinstance(command, DeletePhoto) and photo is not None:
        return "release", photo.sha256
    return "", ""


def usage_of(before: Photo | None, after: Photo | None) -> Usage:
    """What the step from one to the other adds to the client's usage."""
    if after is None or (before is not None and before.holding is after.holding):
        return NOTHING
    return after.holding.usage if before is None else after.holding.usage - before.holding.usage
