"""Whose turn it is: the clients of a class of lanes are served by what they have been served.

| key | type | what |
|---|---|---|
| ``photolog:{07}:waiting:<stage>:<lane>`` | sorted set | tasks that wait, by client and entry id |
| ``photolog:{07}:turns:<stage>:<lane>`` | sorted set | the clients of those, scored by their turn |
| ``photolog:{07}:accounts:<lane>`` | sorted set | what each client has been served; ``""``: now |

A class is the lanes of one name: high, normal or low. Its clients share the decoders by start-time
fair queueing (Goyal, Vin and Cheng, 1996): each has an account of what it has been served, and the
one with the least is next. A task is paid for by its expected cost when it is claimed, and settled
by what it really took. The stages that follow a begun photo are paid for as soon as they are known,
and come ``GRACE_MS`` earlier than new photos: photos under way are finished first, but not those of
a client that has had much more than others.

Of two clients that both wait for photos to be begun, neither is served more than its last task
ahead of the other, whatever else happens; ``GRACE_MS`` more where one waits for later stages. A
client that comes from elsewhere begins a grace before now: nobody saves up by waiting.

All this says only in which order. The lanes say what waits and what is held, and the turns are made
from them: an entry is let in by the first claim after it came, whoever put it there, and ``mend``
has all let in again where turns were lost.
"""

from collections.abc import Mapping, Sequence

import msgspec

from domain.pipeline.stages import ERASURE, LANES, ROOT
from store.errors import Corrupt
from store.log import codec
from store.log.log import Log
from store.queue.consumers import Entries
from store.redis.connection import translated

GRACE_MS = 2_000
"""More than all stages of an ordinary photo take."""

LOOKED_AT = 10_000
"""Tasks, or clients, that a look at a lane tells apart; of more, the rest counts for none."""

LOOKED_AT_ONCE = 1_000

HELD_SHOWN = 1_000
"""Tasks in progress of one lane that a look tells apart."""

UNKNOWN = b"?"
"""Stands for all clients of tasks that do not say whose they are."""

_Claims = tuple[int, list[tuple[int, bytes, bytes, int]]]

_NOTHING: Mapping[tuple[str, str], int] = {}


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer would take.

    ``without`` are clients that are passed over, but not in the stages ``of_all``.
    ``settle`` is what clients still have to pay, or get back, in ms by class and client. With
    ``pays`` false the tasks cost nothing: they are not run.
    """

    stages: Sequence[str]
    of_all: Sequence[str] = ()
    without: Sequence[str] = ()
    settle: Mapping[tuple[str, str], int] = {}
    pays: bool = True


class ClaimedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A task claimed; so many ``clients`` waited in its lane, its own among them."""

    lane_key: str
    stage: str
    entry_id: bytes
    body: bytes
    clients: int


class Turns:
    """The turns in all lanes of ``stages``."""

    def __init__(self, log: Log, consumer: str, stages: tuple[str, ...]) -> None:
        self._keys = log.keys
        self._consumer = consumer
        self._stages = stages
        self._claim = log.redis.lua("queue/claim")
        self._mend = log.redis.lua("queue/turns")
        self._named: dict[int, list[str]] = {}

    async def claim(
        self, partition: int, count: int, order: Sequence[str], request: ClaimRequest
    ) -> list[ClaimedEntry]:
        """Up to ``count`` tasks, classes in the given order."""
        keys = self._keys_of(partition)
        settle: Mapping[tuple[str, str], int] = request.settle
        while True:
            with translated():
                reply = await self._claim(keys=keys, args=self._args(count, order, request, settle))
                more, found = msgspec.convert(reply, _Claims)
                turns = [self._turn(keys, *each) for each in found]
            if found or not more:
                break
            settle = _NOTHING
        return turns

    def _turn(
        self, keys: Sequence[str], index: int, entry_id: bytes, body: bytes, clients: int
    ) -> ClaimedEntry:
        """Raises IndexError if there is no such lane."""
        return ClaimedEntry(
            lane_key=keys[index - 1],
            stage=self._stages[(index - 1) % len(self._stages)],
            entry_id=entry_id,
            body=body,
            clients=clients,
        )

    async def mend(self, partition: int) -> int:
        """Look for turns that were lost, and have them made again; of how many lanes that was."""
        keys = self._keys_of(partition)
        lanes = len(LANES) * len(self._stages)
        each = [keys[i + kind * lanes] for i in range(lanes) for kind in range(3)]
        with translated():
            reply = await self._mend(
                keys=[*each, *keys[3 * lanes :]], args=self._stages * len(LANES)
            )
            return msgspec.convert(reply, int)

    def _keys_of(self, partition: int) -> list[str]:
        """As the script wants them: lanes, turns, tasks, then accounts."""
        if (known := self._named.get(partition)) is not None:
            return known
        named = [
            name(partition, stage, lane)
            for name in (self._keys.lane, self._keys.turns, self._keys.waiting)
            for lane in LANES
            for stage in self._stages
        ]
        named += [self._keys.accounts(partition, lane) for lane in LANES]
        self._named[partition] = named
        return named

    def _args(
        self,
        count: int,
        order: Sequence[str],
        request: ClaimRequest,
        settle: Mapping[tuple[str, str], int],
    ) -> list[str | int]:
        return [
            self._consumer,
            count,
            len(self._stages),
            "".join(str(1 + LANES.index(lane)) for lane in order),
            "1" if request.pays else "0",
            "".join(_wanted(stage, request) for stage in self._stages),
            "".join("0" if stage in (ROOT, ERASURE) else "1" for stage in self._stages),
            GRACE_MS,
            *self._stages,
            len(request.without),
            *request.without,
            *(
                part
                for (lane, client), ms in settle.items()
                for part in (1 + LANES.index(lane), client, ms)
            ),
        ]


async def without_turn(log: Log, lane_key: str, stage: str, after: bytes) -> set[bytes]:
    """Return the clients of tasks that wait in a lane beyond ``after``; changes nothing.

    No claim has let these tasks in yet, so the turns do not know their clients.
    """
    clients: set[bytes] = set()
    held: set[bytes] | None = None
    for _ in range(LOOKED_AT // LOOKED_AT_ONCE):
        with translated():
            found = await log.redis.xrange(lane_key, b"(" + after, "+", count=LOOKED_AT_ONCE)
            page = msgspec.convert(found, Entries)
            if page and held is None:
                pending = await log.redis.xpending_range(lane_key, stage, "-", "+", HELD_SHOWN)
                held = {msgspec.convert(each["message_id"], bytes) for each in pending}
        for entry_id, fields in page:
            if entry_id not in (held or ()):
                clients.add(_client(fields.get(b"b", b"")))
        if len(page) < LOOKED_AT_ONCE:
            break
        after = page[-1][0]
    return clients


def _client(body: bytes) -> bytes:
    """As ``claim.lua`` names it."""
    try:
        return codec.decode_task(body).client_id.encode() or UNKNOWN
    except Corrupt:
        return UNKNOWN


def _wanted(stage: str, request: ClaimRequest) -> str:
    if stage not in request.stages:
        return "0"
    return "2" if stage in request.of_all else "1"
