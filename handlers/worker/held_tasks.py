"""The tasks that a worker holds: which wait for a slot, which run, and what their clients owe.

| state | begins with | ends with |
|---|---|---|
| ready | a claim, a takeover, a result that it follows, or a recall after a lost reply | a slot |
| running | a slot | the end of its attempt |

A task in either state can be delivered again to its holder, after a failover that lost the claim.
That renews the claim: the task goes on, must not begin a second time, and is put back at its end.

Running tasks wait for a decoder, so a worker full of slow tasks would keep everything else out. A
client has at most ``of_one_client`` tasks that run. Once that many are slow, whoever they belong
to, a client with a slow task gets no other: the remaining room is for quick tasks, and for clients
without any. A task is slow if it is expected to take longer than ``SLOW_MS``, has been running for
longer than that, or if its client's last photo was slow.

What a client owes is the difference between the expected cost of a task, paid when it was claimed,
and the decoder time that it took. The next claim settles it.
"""

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping

import anyio
import msgspec

from domain.pipeline.costs import LEAST_MS
from domain.pipeline.stages import ERASURE, ROOT, Task, lane
from store.log.log import Claim
from store.queue.lanes import Claimed
from store.queue.liveness import task_name
from store.queue.turns import GRACE_MS, ClaimRequest

SLOW_MS = 2_000
"""More than a decoder takes for all stages of an ordinary photo."""

KEPT_MS = GRACE_MS
"""About the most decoder time of kept tasks that wait for a slot. Clients that have been served
less wait for them, about as long as for begun photos whose tasks wait in the lanes."""

PACE_TASKS = 20
"""Over about how many tasks the actual decoder time is compared with the expected one."""

SLOW_CLIENTS = 64
"""How many clients with a slow photo are remembered, the latest ones."""


class HeldTask(msgspec.Struct, kw_only=True, eq=False):
    """A task that this worker holds; ``since`` is when it began to run, None while it is ready.
    ``kept`` if it follows a task of this worker, so that no claim has looked at its client's bound.
    ``begun`` unless it was held before there was a slot for it: ``Lanes.begin`` then counts it.
    """

    partition: int
    claimed: Claimed
    since: float | None = None
    redelivered: bool = False
    kept: bool = False
    begun: bool = True

    @property
    def task(self) -> Task:
        return self.claimed.task


class HeldTasks:
    """The tasks of one worker; with ``of_one_client`` None, one client may have all of them."""

    def __init__(self, of_one_client: int | None) -> None:
        self._of_one_client = of_one_client
        self._tasks: dict[tuple[str, str], HeldTask] = {}
        self._ready: dict[tuple[str, str], HeldTask] = {}
        self._pace = 1.0
        self._slow: OrderedDict[str, None] = OrderedDict()
        self._owed: dict[int, dict[tuple[str, str], int]] = {}
        self._noting: list[set[tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def hold(self, partition: int, claimed: Claimed) -> HeldTask | None:
        """Hold the task, ready to run; return None if it is held already, so delivered again."""
        known = self._tasks.get(_name(claimed))
        if known is not None:
            known.redelivered = True
            return None
        held = HeldTask(partition=partition, claimed=claimed)
        self._tasks[_name(claimed)] = self._ready[_name(claimed)] = held
        return held

    def may_keep(self, task: Task) -> bool:
        """Return whether the worker may keep a task that follows one of its own.

        A slow task, or one of a slow client, waits where other workers can take it.
        """
        if self._of_one_client is not None and (
            task.cost_ms > SLOW_MS or task.client_id in self._slow
        ):
            return False
        return self._pace * sum(each.task.charge_ms for each in self._ready.values()) < KEPT_MS

    def keep(self, partition: int, claimed: Claimed) -> bool:
        """Hold a task that follows one of this worker; return False if it is held already.

        Its client has not been charged for it: it pays with the next claim.
        """
        held = self.hold(partition, claimed)
        if held is None:
            return False
        held.kept, held.begun = True, False
        self.owe(held, claimed.task.charge_ms)
        return True

    def owe(self, held: HeldTask, ms: int) -> None:
        """Have the client of the task pay with its next claim; it gets back a negative sum."""
        owed = self._owed.setdefault(held.partition, {})
        account = lane(held.task.priority), held.task.client_id
        owed[account] = owed.get(account, 0) + ms

    def next_ready(
        self, stages: Container[str], is_silent: Callable[[int], bool] = lambda _: False
    ) -> HeldTask | None:
        """Return the longest held task of these stages that waits for a slot and may have it.

        A kept task may not while its client has its share. Tasks of silent partitions wait: they
        would take no slot, so a worker that has just taken over many would begin all of them.
        """
        left = self._left_of_clients() if self._ready else {}
        for each in self._ready.values():
            if each.task.stage not in stages or is_silent(each.partition):
                continue
            if not (each.kept and left.get(each.task.client_id) == 0):
                return each
        return None

    def held_up(self) -> list[HeldTask]:
        """Return the kept tasks that wait for slow ones of their clients: others may take them."""
        if self._of_one_client is None or not self._ready:
            return []
        left = self._left_of_clients()
        slow = {each.task.client_id for each in self.running() if self._is_slow(each)}
        return [
            each
            for each in self._ready.values()
            if each.kept and each.task.client_id in slow and left.get(each.task.client_id) == 0
        ]

    def start(self, held: HeldTask) -> None:
        self._ready.pop(_name(held.claimed), None)
        held.since = anyio.current_time()

    def release(self, held: HeldTask) -> None:
        """Hold the task no longer, whatever its outcome."""
        self._tasks.pop(_name(held.claimed), None)
        self._ready.pop(_name(held.claimed), None)
        for released in self._noting:
            released.add(_name(held.claimed))

    async def still_held(self, recall: Awaitable[list[Claimed]]) -> list[Claimed]:
        """Return what ``recall`` found, without the tasks that were released meanwhile."""
        released = set[tuple[str, str]]()
        self._noting.append(released)
        try:
            return [each for each in await recall if _name(each) not in released]
        finally:
            self._noting = [each for each in self._noting if each is not released]

    def settle(self, held: HeldTask, spent_s: float) -> int:
        """Note the decoder time of a task; its client pays the difference with the next claim.

        Returns the difference to what the client has paid, in ms; negative if it paid too much."""
        task, ms = held.task, max(LEAST_MS, round(1000 * spent_s))
        if task.stage == ERASURE:  # it uses no decoder
            return 0
        if ms > SLOW_MS:
            self._slow[task.client_id] = None
            self._slow.move_to_end(task.client_id)
            while len(self._slow) > SLOW_CLIENTS:
                self._slow.popitem(last=False)
        elif task.stage == ROOT:
            self._slow.pop(task.client_id, None)
        self.owe(held, ms - task.charge_ms)
        self._pace += (ms / task.charge_ms - self._pace) / PACE_TASKS
        return ms - task.charge_ms

    def ready(self) -> list[HeldTask]:
        """Return the tasks that wait for a slot, the longest held first."""
        return [*self._ready.values()]

    def running(self) -> list[HeldTask]:
        return [each for each in self._tasks.values() if each.since is not None]

    def running_s(self) -> dict[str, float]:
        """Return for how many seconds each running task has been running, by ``task_name``."""
        now = anyio.current_time()
        return {
            task_name(each.claimed.claim.lane_key, each.claimed.claim.entry_id): now - each.since
            for each in self._tasks.values()
            if each.since is not None
        }

    def claims(self, tasks: Iterable[HeldTask] | None = None) -> dict[int, list[Claim]]:
        """Return the claims of these tasks, or of all, by partition."""
        found: dict[int, list[Claim]] = {}
        for each in self._tasks.values() if tasks is None else tasks:
            found.setdefault(each.partition, []).append(each.claimed.claim)
        return found

    def ready_class(self) -> str | None:
        """Return the most urgent class of the ready tasks; None if no task is ready."""
        priority = min((each.task.priority for each in self._ready.values()), default=None)
        return None if priority is None else lane(priority)

    def request(
        self, partition: int, most_of: Mapping[str, int], above: str | None = None
    ) -> ClaimRequest:
        """Return the request for a claim, which settles what clients owe.

        ``most_of`` is the most tasks of each stage that may run; ``above`` as in ClaimRequest.
        """
        return ClaimRequest(
            stages=tuple(most_of),
            of_all=(ERASURE,),
            most_of=most_of,
            most_of_client=self._left_of_clients(),
            most_of_each=self._of_one_client,
            dear_ms=None if self._of_one_client is None else SLOW_MS,
            above=above,
            settle=self._owed.pop(partition, {}),
        )

    def at_once(self, free: int) -> int:
        """Return how many tasks one claim may take for the ``free`` slots.

        While clients are slow, each task may change who gets another one. A claim ends with a task
        that is expected to be slow.
        """
        knows_slow = self._slow or any(map(self._is_slow, self.running()))
        return 1 if self._of_one_client is not None and knows_slow else free

    def _left_of_clients(self) -> dict[str, int]:
        """Return how many more tasks the clients with running tasks may have."""
        most = self._of_one_client
        if most is None:
            return {}
        running = [each for each in self.running() if each.task.stage != ERASURE]
        of_client = Counter(each.task.client_id for each in running)
        slow = [each.task.client_id for each in running if self._is_slow(each)]
        left = {client: max(0, most - count) for client, count in sorted(of_client.items())}
        return left | dict.fromkeys(slow if len(slow) >= most else (), 0)

    def _is_slow(self, held: HeldTask) -> bool:
        return (
            held.task.cost_ms > SLOW_MS
            or held.task.client_id in self._slow
            or (held.since is not None and anyio.current_time() - held.since > SLOW_MS / 1000)
        )


def _name(claimed: Claimed) -> tuple[str, str]:
    """Return a unique name: entries of different lanes may have the same id."""
    return claimed.claim.lane_key, claimed.claim.entry_id
