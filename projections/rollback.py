"""Make the previous generation of the read model live again.

It is brought up to the live one first, so readers never see less than before. The one that was live
becomes the previous one, so a second rollback returns to it.
"""

import logging
import os
from contextlib import closing
from pathlib import Path

import msgspec
from anyio import to_thread

from projections import fold
from projections.models import checkpoints
from projections.rebuild import live_held
from store.errors import Corrupt, Missing
from store.log.log import Log
from store.log.position import Position
from store.sqlite.connection import Connection, open_reader, open_writer
from store.sqlite.generations import Generations

logger = logging.getLogger("photolog.projector")


class RollbackReport(msgspec.Struct, frozen=True, kw_only=True):
    """``generation`` is live now; ``previous`` was until then, None if there was none."""

    generation: str
    previous: str | None


async def roll_back(log: Log, generations: Generations) -> RollbackReport:
    """Swap the live generation and the previous one.

    Raises:
        Missing: there is no previous generation.
        Corrupt: it is damaged, belongs to another version, or has events that the log has lost.
        Unavailable: Redis does not answer. The live generation stays.
    """
    await log.confirm()
    async with live_held(log, generations):  # so no other swap is being made
        finished = await to_thread.run_sync(generations.finish_swap)
    if finished:
        return _report(generations)
    previous = generations.previous()
    if previous is None:
        raise Missing(
            "there is no previous generation: a rebuild keeps the one that it replaces, until "
            "`photolog projections drop` or the next rebuild removes it"
        )
    await to_thread.run_sync(_part_from_kept, generations, previous)
    db = await to_thread.run_sync(_open, previous, log.log_id)
    try:
        for position in (await to_thread.run_sync(checkpoints.get_all, db)).values():
            await _check(log, position)
        await fold.catch_up(log, db)
        async with live_held(log, generations) as positions:
            await fold.catch_up(log, db, upto=positions)
            generations.swap(previous)
    finally:
        db.close()
    return _report(generations)


def _report(generations: Generations) -> RollbackReport:
    live, previous = generations.current(), generations.previous()
    if live is None:
        raise Missing("the live generation has been removed meanwhile")
    logger.warning("rolled the read model back to generation %s", live.name)
    return RollbackReport(
        generation=live.name, previous=None if previous is None else previous.name
    )


def _part_from_kept(generations: Generations, path: Path) -> None:
    """Replace a kept link to the file by a copy: it is evidence, which must not change."""
    for kept in generations.kept():
        if kept.samefile(path):
            with generations.scratch() as copy:
                with closing(open_reader(path)) as db:
                    db.execute("VACUUM INTO ?", (str(copy),))
                with copy.open("rb+") as file:
                    os.fsync(file.fileno())
                generations.replace_kept(kept, copy)


def _open(path: Path, log_id: str) -> Connection:
    db = open_writer(path)
    try:
        reason = fold.mismatch(db, log_id) or fold.damage(db)
    except BaseException:
        db.close()
        raise
    if reason is not None:
        db.close()
        raise Corrupt(f"the previous generation cannot be used: {reason}")
    return db


async def _check(log: Log, position: Position) -> None:
    if not await fold.in_log(log, position):
        raise Corrupt(
            f"the previous generation cannot be used: the log no longer has its event {position}"
        )
