"""Whether the stages that operators have paused have come to rest.

A pause is an event, which each worker notices when it next looks. Until then it may begin another
task, so a stage without running tasks is idle only if every live worker has reported that it
follows the pause (``liveness.report_following``). A worker reports after it has put the pause into
force, and puts back a task that a claim under way then still brings it. The reports are therefore
read before the lanes.
"""

from collections.abc import Collection

import msgspec

from domain.pipeline.control import Controls
from domain.pipeline.stages import all_stages
from store.log.control import ControlState
from store.log.log import Log
from store.queue import liveness
from store.queue.inspection import Queues, WorkerView, look


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """The queues, and the ``unaware`` workers, which may not follow the controls yet."""

    controls: Controls
    queues: Queues
    unaware: list[str]

    @property
    def silent(self) -> list[int]:
        """Return the partitions that do not answer: whether tasks run there is unknown."""
        return [each.partition for each in self.queues.partitions if not each.answers]

    def running(self, stages: Collection[str]) -> int:
        """Return how many tasks of these stages workers hold."""
        return sum(each.in_progress for each in self.queues.stages if each.stage in stages)

    def workers(self, stages: Collection[str]) -> list[WorkerView]:
        """Return the workers that hold tasks of these stages, with those tasks."""
        found = [
            msgspec.structs.replace(
                each, doing=[doing for doing in each.doing if doing.stage in stages]
            )
            for each in self.queues.workers
        ]
        return [each for each in found if each.doing]

    def is_idle(self, stages: Collection[str]) -> bool:
        """Return whether no worker runs a task of these paused stages, or begins one."""
        is_paused = all(map(self.controls.is_paused, stages))
        return is_paused and not (self.unaware or self.silent or self.running(stages))


async def inspect_rest(log: Log, steered: ControlState, within_ms: int) -> Rest:
    """Return what still runs. Workers that are silent for longer than ``within_ms`` are left out.

    Raises:
        Unavailable: no partition answers, or the partition with the controls does not.
    """
    unaware = await liveness.unaware(log, steered.version, within_ms)
    queues = await look(log, all_stages())
    return Rest(controls=steered.controls, queues=queues, unaware=unaware)
