"""Execute the commands of attempts, on the photos as this worker's last appends left them.

The append of a result also dispatches what the result leads to, and may keep those tasks for this
worker: ``store.queue.follow_ups``.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from domain.photo.commands import PhotoCommand, RecordStageCompleted
from domain.photo.events import Context
from domain.pipeline.stages import Task
from handlers.worker.photo_cache import PhotoCache
from store.log.log import Claim, Loaded, Log
from store.log.outcome import Appended, Unchanged
from store.queue.follow_ups import FollowUp, FollowUps
from store.queue.lanes import Claimed


def _keep_none(_: Task) -> bool:
    return False


class Recorder:
    """Records for ``consumer``; ``may_keep`` says whether it may keep a task that follows."""

    def __init__(
        self, log: Log, consumer: str, *, may_keep: Callable[[Task], bool], patience_s: float
    ) -> None:
        self._log = log
        self._follow_ups = FollowUps(log, consumer)
        self._may_keep = may_keep
        self._patience_s = patience_s
        self._cache = PhotoCache()

    def cached(self, task: Task, needs: str) -> Loaded | None:
        """Return the photo from the cache, if its entry is enough for a stage with these needs."""
        known = self._cache.of(task)
        if known is None or known.photo is None:
            return None
        return known if needs in known.photo.keys else None

    async def execute(
        self,
        command: PhotoCommand,
        task: Task,
        claim: Claim | None = None,
        loaded: Loaded | None = None,
    ) -> Loaded:
        """Execute the command and return the photo as it is then."""
        follow_up = self._follow_ups.of(task.client_id, _keep_none)
        return (await self._execute(command, task, claim, loaded, follow_up)).after

    async def complete(
        self, command: RecordStageCompleted, claimed: Claimed, loaded: Loaded
    ) -> tuple[Loaded, tuple[Claimed, ...]]:
        """Record a result; return the photo as it is then, and the tasks kept for this worker."""
        follow_up = self._follow_ups.of(claimed.task.client_id, self._may_keep)
        outcome = await self._execute(command, claimed.task, claimed.claim, loaded, follow_up)
        if isinstance(outcome, Unchanged):
            return outcome.after, ()
        return outcome.after, follow_up.kept(outcome, claimed.clients)

    async def _execute(
        self,
        command: PhotoCommand,
        task: Task,
        claim: Claim | None,
        loaded: Loaded | None,
        follow_up: FollowUp,
    ) -> Appended | Unchanged:
        try:
            outcome = await self._log.execute(
                command,
                client_id=task.client_id,
                context=context_of(task),
                claim=claim,
                planner=follow_up,
                loaded=self._cache.newer(task.photo_id, loaded),
                expect=partial(self._cache.expect, task.photo_id),
                patience_s=self._patience_s,
            )
        except BaseException:
            self._cache.forget(task.photo_id)
            raise
        if not isinstance(outcome, Appended | Unchanged):
            raise TypeError(f"only an upload can lead to {type(outcome).__name__}")
        self._cache.keep(task.photo_id, outcome.after)
        return outcome


def context_of(task: Task) -> Context:
    return Context(
        now=datetime.now(UTC),
        source="worker",
        actor=f"stage:{task.stage}",
        trace_id=task.trace_id,
        cause=task.cause,
    )
