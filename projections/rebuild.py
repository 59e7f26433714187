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
import uuid
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import msgspec
from anyio import to_thread

from projections import fold, verify
from projections.fold import Progress, Tally
from projections.generation import FORM
from projections.models import checkpoints, history
from projections.models.checkpoints import Coverage
from projections.unpacker import Unpacker, processors
from projections.verify import VerifyReport
from store.errors import Corrupt, Missing, StoreError, Unavailable
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, open_reader, open_writer
from store.sqlite.generations import Generations
from store.sqlite.kept import remove

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

logger = logging.getLogger("photolog.projector")


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """``generation`` is the name of the new file; ``comparison`` compares it with the old one.

    ``kept`` is the path of the old generation, None if it was not kept. ``evidence`` says what the
    old one has that the new one lacks, None if it was kept on request. ``resumed_at`` is how many
    events an interrupted rebuild had folded. ``previous`` is the name of the old one if it can be
    made live again.
    """

    generation: str
    events: int
    duration_s: float
    comparison: VerifyReport | None
    kept: str | None
    evidence: str | None = None
    resumed_at: int = 0
    previous: str | None = None

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
    covers: Coverage | None = None,
    compare: bool = False,
    keep: bool = False,
    tally: Tally | None = None,
    alone: bool = False,
) -> RebuildReport:
    """Build a new live generation from the log, independent of the old one.

    It covers the partitions of ``covers``; by default those that the old one covers, or all of the
    log's if there is no old one that can be read.

    One that is interrupted or killed leaves its half-built generation, with which the next one of
    the same version continues. The old generation stays as the previous one, for ``roll_back``, if
    it could be continued.

    With ``compare``, the report lists the differences, if the old one can be read and is not behind
    a half-built one. With ``keep``, the old one is kept in any case. ``tally`` counts along if
    there is ``progress``. Unless ``alone``, a second process helps with what is in the archive.

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
    if covers is None:
        covers = await to_thread.run_sync(_covered, log, generations)
    await sweep(log, generations)
    await _examine_left(log, generations)
    with generations.building(_form(log)) as path, Unpacker() as helper:
        unpacker = None if alone or processors() == 1 else helper
        try:
            db, resumed_at = await _begin(log, path, covers)
            try:
                comparison = None
                if compare:
                    comparison = await _comparison(log, generations, db, progress, tally, unpacker)
                await fold.catch_up(log, db, progress=progress, tally=tally, unpacker=unpacker)
                await to_thread.run_sync(fold.finish, db)
                await fold.catch_up(log, db)
                async with live_held(log, generations) as positions:
                    await fold.catch_up(log, db, upto=positions)
                    replaced = generations.current()
                    retain = await to_thread.run_sync(_can_return, log, generations, covers)
                    kept = _switch(generations, path, retain=retain, needed=keep)
                if replaced is not None and kept is None:
                    _log_removal(generations, replaced, retained=retain)
                evidence = None
                if kept is not None and not keep:
                    evidence = await to_thread.run_sync(_examine, generations, kept, path)
                    kept = None if evidence is None else kept
                events = await to_thread.run_sync(history.count, db)
            finally:
                db.close()
        except Exception:
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
        resumed_at=resumed_at,
        previous=replaced.name if replaced is not None and retain else None,
    )


def _form(log: Log) -> str:
    """Return what a half-built generation must have in common with a rebuild that continues it.

    Its pages are not synchronized with the disk, so it does not outlive a crash of the machine.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else uuid.uuid4().hex
    return f"{FORM} {log.log_id} {boot}"


def _covered(log: Log, generations: Generations) -> Coverage:
    """Return what the live generation covers; the whole log if it cannot be continued."""
    path = generations.current()
    if path is not None:
        with suppress(Corrupt, Unavailable), closing(open_reader(path)) as db:
            if fold.mismatch(db, log.log_id) is None:
                return checkpoints.coverage(db)
    return Coverage.whole(log.partitions)


async def _begin(log: Log, path: Path, covers: Coverage) -> tuple[Connection, int]:
    """Open a half-built generation, or create one; return how many events it has already."""
    if await to_thread.run_sync(path.exists):
        db = await to_thread.run_sync(fold.continue_bare, path, log.log_id, covers)
        if db is not None:
            if await _is_of_log(log, db):
                events = await to_thread.run_sync(history.count, db)
                logger.info("continuing generation %s, which has %d events", path.name, events)
                return db, events
            db.close()
        remove(path)
    return await to_thread.run_sync(fold.create_bare, path, log.log_id, covers), 0


async def _is_of_log(log: Log, db: Connection) -> bool:
    """Return whether the log has the last event of each partition that is folded."""
    positions = await to_thread.run_sync(checkpoints.get_all, db)
    return all([await fold.in_log(log, position) for position in positions.values()])


def _can_return(log: Log, generations: Generations, covers: Coverage) -> bool:
    """Return whether this code could continue the live generation, so it is worth retaining."""
    path = generations.current()
    if path is None or generations.is_doubted(path):
        return False
    try:
        with closing(open_reader(path)) as db:
            return fold.mismatch(db, log.log_id, covers) is None
    except (Corrupt, Unavailable):
        return False


async def sweep(log: Log, generations: Generations) -> None:
    """Remove incomplete generations of killed rebuilds, except one that a rebuild can continue.

    Never remove one that is being built.
    """
    try:
        swept = await to_thread.run_sync(generations.sweep, _form(log))
    except StoreError as error:
        logger.warning("incomplete generations cannot be removed: %s", error)
        return
    for path in swept:
        logger.warning(
            "removed the incomplete generation %s of a rebuild that was killed", path.name
        )


async def _comparison(
    log: Log,
    generations: Generations,
    db: Connection,
    progress: Progress | None,
    tally: Tally | None,
    unpacker: Unpacker | None,
) -> VerifyReport | None:
    try:
        live = verify.live_generation(generations)
        return await verify.compare(log, live, db, progress, tally, unpacker)
    except (Missing, Corrupt) as error:
        logger.warning("the old generation cannot be compared: %s", error)
        return None


@asynccontextmanager
async def live_held(log: Log, generations: Generations) -> AsyncGenerator[dict[int, Position]]:
    """Prevent commits to the live generation inside the block; yield the checkpoints that it has.

    Readers are not affected. A projector takes the same lock for each commit, and then checks
    whether its generation is still live.
    """
    while True:
        with ExitStack() as stack:
            positions = None
            path = generations.current()
            if path is not None:
                with suppress(Corrupt):  # a damaged file is not locked, only replaced
                    positions = await to_thread.run_sync(_hold, stack, path, log)
            if generations.current() != path:  # replaced while this waited for its lock
                continue
            yield positions or {}
            return


def _hold(stack: ExitStack, path: Path, log: Log) -> dict[int, Position] | None:
    live = open_writer(path)
    stack.callback(live.close)
    stack.enter_context(live.transaction())
    return None if fold.mismatch(live, log.log_id) else checkpoints.get_all(live)


def _switch(generations: Generations, path: Path, *, retain: bool, needed: bool) -> Path | None:
    if not path.exists():
        raise Unavailable("another rebuild has replaced the live generation meanwhile")
    return generations.switch(path, retain=retain, needed=needed)


async def _examine_left(log: Log, generations: Generations) -> None:
    """Decide about the generations of rebuilds that were killed before they did."""
    if not await to_thread.run_sync(generations.unexamined):
        return
    async with live_held(log, generations):  # so nothing is being replaced
        if (live := generations.current()) is not None:
            for kept in generations.unexamined():
                await to_thread.run_sync(_examine, generations, kept, live)


def _examine(generations: Generations, kept: Path, live: Path) -> str | None:
    """Remove the kept generation if it is no evidence; otherwise return what it is evidence of."""
    evidence = _evidence_in(kept, live) if kept.exists() else None
    generations.examined(kept, needed=evidence is not None)
    return evidence


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


def _log_removal(generations: Generations, replaced: Path, *, retained: bool) -> None:
    kept = generations.kept()
    logger.error(
        "the old generation %s %s, because %d are kept already: %s",
        replaced.name,
        "stays only until the next rebuild" if retained else "was removed",
        len(kept),
        ", ".join(str(path) for path in kept),
    )
