"""Decide which client's task a claim takes next: the client that has been served least.

| key | type | what |
|---|---|---|
| ``photolog:{07}:waiting:<stage>:<lane>`` | sorted set | waiting tasks, by client and entry id |
| ``photolog:{07}:turns:<stage>:<lane>`` | sorted set | their clients, scored by their turn |
| ``photolog:{07}:accounts:<lane>`` | sorted set | service received by client, in ms; ``""``: now |

A class is the lanes of one priority: high, normal or low. Its clients share the decoders by
start-time fair queueing (Goyal, Vin and Cheng, 1996): each has an account of the service it has
received, and the client with the least is next. A claim charges the expected cost of the task; the
actual cost is settled later. The later stages of a begun photo are charged as soon as they are
known, and come ``GRACE_MS`` earlier than new photos: photos in progress are finished first, except
those of a client that has received much more than others.

If two clients both wait for new photos to begin, neither gets further ahead of the other than its
last task, whatever else happens; ``GRACE_MS`` more if one waits for later stages. A client that
arrives starts a grace before now: nobody saves up service by waiting.

Turns only decide the order. The lanes hold the tasks, and the turns are derived from them: the
first claim after an entry arrives admits it, whoever added it, and ``mend`` readmits all entries
where turns were lost.
"""

from collections.abc import Collection, Mapping, Sequence

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
"""How many tasks, or clients, an inspection of a lane reads; it ignores the rest."""

LOOKED_AT_ONCE = 1_000

HELD_SHOWN = 1_000
"""How many tasks in progress an inspection of a lane reads."""

UNKNOWN = b"?"
"""The client of tasks that name none."""

_Claims = tuple[int, list[tuple[int, bytes, bytes, int]]]

_CLASSES = {lane: str(1 + at) for at, lane in enumerate(LANES)}

_NOTHING: Mapping[tuple[str, str], int] = {}


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a consumer for tasks.

    ``most_of`` bounds the tasks of a stage, ``most_of_client`` those of a client, and
    ``most_of_each`` those of any other client; the stages ``of_all`` know no bound of clients. A
    task that is expected to take longer than ``dear_ms`` is the last one. With ``above``, the tasks
    are only of classes before this one.

    ``settle`` is what clients still owe, or get back if negative, in ms by class and client. If
    ``pays`` is false, the tasks cost nothing, because they do not run.
    """

    stages: Sequence[str]
    of_all: Sequence[str] = ()
    most_of: Mapping[str, int] = {}
    most_of_client: Mapping[str, int] = {}
    most_of_each: int | None = None
    dear_ms: int | None = None
    above: str | None = None
    settle: Mapping[tuple[str, str], int] = {}
    pays: bool = True


class ClaimedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed entry; ``clients`` counts the clients that waited in its lane, with its own."""

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
        self, partition: int, orders: Sequence[Sequence[str]], request: ClaimRequest
    ) -> list[ClaimedEntry]:
        """Claim a task for each of the ``orders``, in which it looks at the classes."""
        keys = self._keys_of(partition)
        settle: Mapping[tuple[str, str], int] = request.settle
        while True:
            with translated():
                reply = await self._claim(keys=keys, args=self._args(orders, request, settle))
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
        """Find lost turns and have them rebuilt by the next claim; return for how many lanes."""
        keys = self._keys_of(partition)
        lanes = len(LANES) * len(self._stages)
        each = [keys[i + kind * lanes] for i in range(lanes) for kind in range(3)]
        with translated():
            reply = await self._mend(
                keys=[*each, *keys[3 * lanes :]], args=self._stages * len(LANES)
            )
            return msgspec.convert(reply, int)

    def _keys_of(self, partition: int) -> list[str]:
        """Return the keys in the order of the script: lanes, turns, tasks, then accounts."""
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
        orders: Sequence[Sequence[str]],
        request: ClaimRequest,
        settle: Mapping[tuple[str, str], int],
    ) -> list[str | int]:
        return [
            self._consumer,
            len(orders),
            len(self._stages),
            "".join(
                "".join(_CLASSES[lane] for lane in order).ljust(len(LANES), "0") for order in orders
            ),
            "1" if request.pays else "0",
            "".join(_wanted(stage, request) for stage in self._stages),
            "".join("0" if stage in (ROOT, ERASURE) else "1" for stage in self._stages),
            GRACE_MS,
            request.most_of_each or 0,
            request.dear_ms or 0,
            *self._stages,
            *(request.most_of.get(stage, len(orders)) for stage in self._stages),
            len(request.most_of_client),
            *(part for bound in request.most_of_client.items() for part in bound),
            *(
                part
                for (lane, client), ms in settle.items()
                for part in (_CLASSES[lane], client, ms)
            ),
        ]


async def without_turn(
    log: Log, lane_key: str, after: bytes, held: Collection[bytes]
) -> set[bytes]:
    """Return the clients of tasks beyond ``after`` in a lane, except ``held`` ones; change nothing.

    No claim has admitted these tasks yet, so the turns do not know their clients.
    """
    clients: set[bytes] = set()
    for _ in range(LOOKED_AT // LOOKED_AT_ONCE):
        with translated():
            found = await log.redis.xrange(lane_key, b"(" + after, "+", count=LOOKED_AT_ONCE)
            page = msgspec.convert(found, Entries)
        for entry_id, fields in page:
            if entry_id not in held:
                clients.add(_client(fields.get(b"b", b"")))
        if len(page) < LOOKED_AT_ONCE:
            break
        after = page[-1][0]
    return clients


def _client(body: bytes) -> bytes:
    """Return the client of a task by the rules of ``claim.lua``."""
    try:
        return codec.decode_task(body).client_id.encode() or UNKNOWN
    except Corrupt:
        return UNKNOWN


def _wanted(stage: str, request: ClaimRequest) -> str:
    if stage not in request.stages:
        return "0"
    return "2" if stage in request.of_all else "1"
