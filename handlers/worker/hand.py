"""The hand: the tasks that a worker has claimed, bounded per client and for slow tasks.

Claimed tasks wait in the hand for a decoder, so a hand full of slow tasks would keep everything
else out. A client has at most ``of_one_client`` tasks in it. Once that many are slow, whoever they
belong to, a client with a slow task gets no other: the remaining room is for quick tasks, and for
clients that have nothing in hand yet. A task is slow if it is expected to take longer than
``SLOW_MS``, has been in hand for longer than that, or if its client's last photo was slow.

The hand also keeps what clients owe: the difference between the expected cost of a task, paid when
it was claimed, and the decoder time that it took. The next claim settles it.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection

import anyio
import msgspec

from domain.pipeline.costs import LEAST_MS
from domain.pipeline.stages import ERASURE, ROOT, Task, lane
from store.queue.turns import ClaimRequest

SLOW_MS = 2_000
"""More than a decoder takes for all stages of an ordinary photo."""

SLOW_CLIENTS = 64
"""How many clients with a slow photo are remembered, the latest ones."""

Name = tuple[str, str]


class _InHand(msgspec.Struct, frozen=True, kw_only=True):
    partition: int
    task: Task
    since: float


class Hand:
    """With ``of_one_client`` None, one client may fill the hand."""

    def __init__(self, of_one_client: int | None) -> None:
        self._of_one_client = of_one_client
        self._tasks: dict[Name, _InHand] = {}
        self._slow: OrderedDict[str, None] = OrderedDict()
        self._owed: dict[int, dict[tuple[str, str], int]] = {}

    def take(self, name: Name, partition: int, task: Task) -> None:
        self._tasks[name] = _InHand(partition=partition, task=task, since=anyio.current_time())

    def drop(self, name: Name) -> None:
        """Remove the task, whatever its outcome."""
        self._tasks.pop(name, None)

    def settle(self, name: Name, spent_s: float) -> int:
        """Note the decoder time of a task; its client pays the difference with the next claim.

        Returns the difference to what the client has paid, in ms; negative if it paid too much."""
        taken = self._tasks[name]
        task, ms = taken.task, max(LEAST_MS, round(1000 * spent_s))
        if task.stage == ERASURE:  # it uses no decoder
            return 0
        if ms > SLOW_MS:
            self._slow[task.client_id] = None
            self._slow.move_to_end(task.client_id)
            while len(self._slow) > SLOW_CLIENTS:
                self._slow.popitem(last=False)
        elif task.stage == ROOT:
            self._slow.pop(task.client_id, None)
        owed = self._owed.setdefault(taken.partition, {})
        account = lane(task.priority), task.client_id
        owed[account] = owed.get(account, 0) + ms - task.charge_ms
        return ms - task.charge_ms

    def stages(self) -> list[tuple[int, str]]:
        """Return the partition and stage of each task."""
        return [(each.partition, each.task.stage) for each in self._tasks.values()]

    def request(self, partition: int, stages: Collection[str]) -> ClaimRequest:
        """Return the request for one claim of these stages, which settles what clients owe."""
        return ClaimRequest(
            stages=tuple(stages),
            of_all=(ERASURE,),
            without=self._passed_over(),
            settle=self._owed.pop(partition, {}),
        )

    def _passed_over(self) -> list[str]:
        most = self._of_one_client
        if most is None:
            return []
        taken = [each for each in self._tasks.values() if each.task.stage != ERASURE]
        of_client = Counter(each.task.client_id for each in taken)
        slow = [each.task.client_id for each in taken if self._is_slow(each)]
        enough = {client for client, count in of_client.items() if count >= most}
        return sorted(enough.union(slow if len(slow) >= most else ()))

    def _is_slow(self, taken: _InHand) -> bool:
        return (
            taken.task.cost_ms > SLOW_MS
            or taken.task.client_id in self._slow
            or anyio.current_time() - taken.since > SLOW_MS / 1000
        )
