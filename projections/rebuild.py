"""Rebuild the read model: fold the log into a new generation, and replace the live one with it.

Readers use the live generation until the new one has caught up with it, so they never see less than
before. A projector in another process continues meanwhile; it is locked out for the last step and
then continues with the new generation.

The old generation may be the only evidence of what the log said before someone changed it, or
before it lost events. It is therefore kept, unless the new one has all of its events, byte for
byte.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import msgspec
from anyio import to_thread

from projections import fold, verify
from projections.fold import Progress
from projections.models import checkpoints, history
from projections.verify import VerifyReport
from store.errors import Corrupt, Missing, StoreError, Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, open_reader, open_writer
from store.sqlite.generations import Generations, remove

logger = logging.getLogger("photolog.projector")


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """``generation`` is the name of the new file; ``comparison`` compares it with the old one.

    ``kept`` is the path of the old generation, None if it was not kept. ``evidence`` says what the
    old one has that the new one lacks, None if it was kept on request.
    """

    generation: str
    events: int
    duration_s: float
    comparison: VerifyReport | None
    kept: str | None
    evidence: str | None = None

    def __str__(self) -> str:
        """Return where the old generation is kept, and why; empty if it is not kept."""
        if self.kept is None:
            return ""
        why = f": {self.evidence}" if self.evidence else ""
        return f"the old generation is kept in {self.kept}{why}"


async def rebuild(
    log: Log,
    generations: Generations,
    progress: Progress | None = None,
    *,
    compare: bool = False,
    keep: bool = False,
) -> RebuildReport:
    """Build a new live generation from the whole log, independent of the old one.

    With ``compare``, the report lists the differences, if the old one can be read. With ``keep``,
    the old one is kept in any case.

    Raises:
        Unavailable: Redis does not answer or has another log now, or another rebuild was faster.
            The live generation stays.
        Full: the disk has no space for a second generation beside the live one.
        Corrupt: the log has an entry that is not an event.
    """
    began = time.monotonic()
    await log.confirm()
    for partition in range(log.partitions):
        await log.confirm(partition)
    await sweep(generations)
    with generations.building() as path:
        try:
            db = await to_thread.run_sync(fold.create, path, log.log_id)
            try:
                comparison = await _comparison(log, generations, db, progress) if compare else None
                await fold.catch_up(log, db, progress=progress)
                await to_thread.run_sync(fold.finish, db)
                await fold.catch_up(log, db)
                async with live_held(log, generations) as positions:
                    await fold.catch_up(log, db, upto=positions)
                    replaced = generations.current()
                    kept = _switch(generations, path)
                if replaced is not None and kept is None:
                    _log_removal(generations, replaced)
                evidence = None
                if kept is not None and not keep:
                    evidence = await to_thread.run_sync(_evidence_in, kept, path)
                    if evidence is None:
                        await to_thread.run_sync(remove, kept)
                        kept = None
                events = await to_thread.run_sync(history.count, db)
            finally:
                db.close()
        except BaseException:
            if generations.current() != path:
                remove(path)
            raise
    duration_s = time.monotonic() - began
    logger.info("generation %s: %d events in %.1f s", path.name, events, duration_s)
    return RebuildReport(
        generation=path.name,
        events=events,
        duration_s=duration_s,
        comparison=comparison,
        kept=None if kept is None else str(kept),
        evidence=evidence,
    )


async def sweep(generations: Generations) -> None:
    """Remove incomplete generations of killed rebuilds; never one that is being built."""
    try:
        swept = await to_thread.run_sync(generations.sweep)
    except StoreError as error:
        logger.warning("incomplete generations cannot be removed: %s", error)
        return
    for path in swept:
        logger.warning(
            "removed the incomplete generation %s of a rebuild that was killed", path.name
        )


async def _comparison(
    log: Log, generations: Generations, db: Connection, progress: Progress | None
) -> VerifyReport | None:
    try:
        return await verify.compare(log, verify.live_generation(generations), db, progress)
    except (Missing, Corrupt) as error:
        logger.warning("the old generation cannot be compared: %s", error)
        return None


@asynccontextmanager
async def live_held(log: Log, generations: Generations) -> AsyncGenerator[dict[int, Position]]:
    """Prevent commits to the live generation inside the block; yield its checkpoints.

    Readers are not affected. A projector takes the same lock for each commit, and then checks
    whether its generation is still live.
    """
    with ExitStack() as stack:
        positions = None
        path = generations.current()
        if path is not None:
            with suppress(Corrupt):  # a damaged file is not locked, only replaced
                positions = await to_thread.run_sync(_hold, stack, path, log)
        yield positions or {n: Position.start(n) for n in range(log.partitions)}


def _hold(stack: ExitStack, path: Path, log: Log) -> dict[int, Position] | None:
    live = open_writer(path)
    stack.callback(live.close)
    stack.enter_context(live.transaction())
    return None if fold.mismatch(live, log.log_id) else checkpoints.get_all(live, log.partitions)


def _switch(generations: Generations, path: Path) -> Path | None:
    if not path.exists():
        raise Unavailable("another rebuild has replaced the live generation meanwhile")
    return generations.switch(path)


def _evidence_in(kept: Path, live: Path) -> str | None:
    """Describe an event that the kept generation has and the live one lacks; None without one."""
    try:
        with closing(open_reader(live)) as db:
            event = history.first_missing(db, kept)
    except (Corrupt, Unavailable) as error:
        return f"it cannot be compared: {error}"
    if event is None:
        return None
    return f"its event {event} is missing from the log, or differs there"


def _log_removal(generations: Generations, replaced: Path) -> None:
    kept = generations.kept()
    logger.error(
        "the old generation %s was removed, because %d are kept already: %s",
        *(replaced.name, len(kept), ", ".join(str(path) for path in kept)),
    )
