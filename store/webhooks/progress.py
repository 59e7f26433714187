"""How far each webhook has got, and its last deliveries.

| key | type | what |
|---|---|---|
| ``photolog:{00}:webhook:<id>`` | string | ``Progress`` as MessagePack |
| ``photolog:{00}:deliveries:<id>`` | stream | ``d``: each ``Delivery`` as MessagePack |

Neither is in the log: deliveries would be delivered in turn. If the progress is lost, the webhook
begins again where its events say, so it delivers events twice and loses none. Progress is kept for
``KEPT_S`` after it was last noted, so that what a webhook leaves behind disappears by itself.
"""

import logging
from collections.abc import Iterable

import msgspec

from store.log.log import Log
from store.redis.connection import translated
from store.webhooks.lease import PARTITION

logger = logging.getLogger("photolog.webhooks")

KEPT_S = 400 * 86_400
NOTED_AGAIN_S = 86_400
"""How often the progress of an idle webhook is noted again."""

DELIVERIES_KEPT_S = 30 * 86_400

CHUNK = 100
"""How many keys are read at once."""


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """All events of a partition up to this position were delivered, or are not wanted.

    ``replays`` is that of the start from which the webhook came here.
    """

    ms: int
    seq: int
    replays: int = 0


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """An event whose delivery has failed ``attempts`` times, first at ``first_ms``."""

    first_ms: int
    attempts: int
    due_ms: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far one webhook has got.

    ``delivered`` are positions of delivered events beyond ``reached``, ``retries`` those that have
    failed, both as text. ``waiting_since_ms`` is when the oldest event that waits was appended; 0
    if none waits. ``last_status`` is that of the last answer, None without an answer.
    ``failing_reason`` says why the last attempt failed, if it did. ``unsigned`` says that nothing
    is sent, because the secret was made with another key.
    """

    reached: dict[int, Reached] = {}
    delivered: tuple[str, ...] = ()
    retries: dict[str, Retry] = {}
    waiting_since_ms: int = 0
    last_at_ms: int = 0
    last_status: int | None = None
    failing_since_ms: int = 0
    failing_reason: str = ""
    unsigned: bool = False


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver an event, and what came of it.

    ``outcome`` says what happened in a word, ``status`` is that of the answer, ``answer`` the first
    characters of its body or, without one, why there is none.
    """

    position: str
    type: str
    attempt: int
    at_ms: int
    duration_ms: int
    outcome: str
    status: int | None = None
    answer: str = ""
    next_at_ms: int | None = None


_progress = msgspec.msgpack.Decoder(Progress)
_delivery = msgspec.msgpack.Decoder(Delivery)


class Notes:
    """Writes what the holder of the lease, ``owner``, has delivered."""

    def __init__(self, log: Log, owner: str, deliveries_kept: int) -> None:
        self._log = log
        self._owner = owner
        self._kept = deliveries_kept
        self._note = log.redis.lua("webhooks/note")

    async def note(
        self, webhook_id: str, progress: Progress, delivery: Delivery | None = None
    ) -> bool:
        """Write the progress, and add the delivery to the list; False if the lease was lost.

        Raises:
            Unavailable: no answer; it may have been written.
        """
        keys = self._log.keys
        with translated():
            reply = await self._note(
                keys=[
                    keys.webhooks(PARTITION),
                    keys.webhook(PARTITION, webhook_id),
                    keys.deliveries(PARTITION, webhook_id),
                ],
                args=[
                    self._owner,
                    msgspec.msgpack.encode(progress),
                    KEPT_S * 1000,
                    self._kept,
                    DELIVERIES_KEPT_S * 1000,
                    msgspec.msgpack.encode(delivery) if delivery else b"",
                ],
            )
        return reply == 1


async def read_progress(log: Log, webhook_ids: Iterable[str]) -> dict[str, Progress]:
    """Return the progress of those webhooks that have any; raises Unavailable."""
    ids = list(webhook_ids)
    found: dict[str, Progress] = {}
    for start in range(0, len(ids), CHUNK):
        part = ids[start : start + CHUNK]
        with translated():
            replies = await log.redis.in_a_row(
                *(("GET", log.keys.webhook(PARTITION, each)) for each in part)
            )
            values = msgspec.convert(replies, list[bytes | None])
        for webhook_id, value in zip(part, values, strict=True):
            if value is not None and (progress := _read(webhook_id, value)) is not None:
                found[webhook_id] = progress
    return found


async def read_deliveries(log: Log, webhook_id: str, limit: int) -> list[Delivery]:
    """Return the last ``limit`` deliveries, last one first; raises Unavailable."""
    with translated():
        reply = await log.redis.xrevrange(log.keys.deliveries(PARTITION, webhook_id), count=limit)
        entries = msgspec.convert(reply, list[tuple[bytes, dict[bytes, bytes]]])
        return [_delivery.decode(fields[b"d"]) for _, fields in entries if b"d" in fields]


async def forget(log: Log, webhook_id: str) -> None:
    """Remove everything about a webhook that was deleted; raises Unavailable."""
    with translated():
        await log.redis.unlink(
            log.keys.webhook(PARTITION, webhook_id), log.keys.deliveries(PARTITION, webhook_id)
        )


def _read(webhook_id: str, value: bytes) -> Progress | None:
    try:
        return _progress.decode(value)
    except (msgspec.MsgspecError, ValueError) as error:
        logger.warning("the progress of webhook %s is damaged: %s", webhook_id, error)
        return None
