"""Recover a log that Redis has lost, from its archive and the read models that remain.

If some of its partitions are still there, as those of the other servers of a cluster, only the lost
ones are recovered; see ``log_recover_survey`` for which these are.

| step | after a crash before the next one |
|---|---|
| mark the log in ``photolog:meta``: no process can join it | nothing has happened |
| mark the lost partitions: no process can append to them | the same |
| add the entries to the streams, in order | those that are there are left out |
| add ``log.recovered``, the first event of the new epoch if partition 0 was lost, too | the same |
| let dispatchers begin at the end, note that tasks may be missing | the same again |
| mark that all is written | the recovery goes on from here, or writes again what is lost again |
| move the segments that are not part of the log aside | a copy is there before it is deleted |
| give the log its id again | the recovery finds that it is done |

The events keep their bytes and their positions, so histories, chains and anchors stay the same, and
what remains of a read model continues. The log keeps its id: the photos belong to it, and an
upload that is repeated with its idempotency key finds its photo. Positions of the new epoch are
later than all earlier ones, even those of lost events, and readers that resume from an earlier one
are told that they are not recovered. Partitions that are kept go on in their own epoch.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from domain.photo.events import Context
from domain.pipeline.recoveries import MOST_NAMED, LogRecovered, RecordRecovery
from domain.system_events import OF_NO_PHOTO
from ops.errors import UserError
from ops.event_format import plural
from ops.maintenance import log_ownership
from ops.maintenance.log_recover_findings import (
    Findings,
    Part,
    examine,
    recovered,
    sentences,
)
from ops.maintenance.log_recover_sources import (
    ReadModels,
    Remaining,
    archived_partitions,
    owner_of,
)
from ops.maintenance.log_recover_survey import (
    Kept,
    Remains,
    has_others,
    is_lost,
    is_put_back,
    is_written,
    read_kept,
    refusal,
    start_over,
    survey,
)
from store.archive import catalog
from store.archive.adding import AT_ONCE, Adder
from store.archive.archive import FOLDER, SET_ASIDE, Archive
from store.archive.salvage import places
from store.archive.segment import Entry
from store.archive.settings import TrimmingSettings
from store.blobs.interface import Blobs
from store.keys import Keys
from store.log.chain import chain
from store.log.control import PARTITION, ControlLog
from store.log.log import Log
from store.log.position import Position
from store.log.recovering import PARTITION_MARK, Mark, Recovering
from store.queue import losses
from store.queue.consumers import has_group
from store.queue.dispatch import DISPATCH
from store.redis.connection import Client, Wait, translated

SOURCE = "log-recover"

Ask = Callable[[Findings], None]
"""Called with what was found before anything is written; raises to stop."""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A log that was recovered. ``findings`` is None if an earlier run had finished it."""

    log_id: str
    epoch: int
    findings: Findings | None


class Recovery:
    """One recovery of the log under ``keys`` of a server; no other process may use either."""

    def __init__(
        self,
        redis: Client,
        keys: Keys,
        blobs: Blobs,
        read_models: Sequence[Path] = (),
        *,
        trimming: TrimmingSettings | None = None,
        wait: Wait | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._blobs = blobs
        self._read_models = read_models
        self._models = ReadModels()
        self._trimming = trimming or TrimmingSettings()
        self._wait = wait
        self._recovering = Recovering(redis, keys)

    async def run(self, partitions: int | None, ask: Ask) -> Recovered:
        """Recover the log. Safe to call again after a crash.

        ``partitions`` counts only if the blobs do not say how many the log had.

        Raises:
            UserError: the server has another log with events, or has lost nothing, or nothing is
                left to recover, or what is left has changed since the recovery began.
            Corrupt: an event or a read model cannot be read.
            StoreError: Redis or the blob store fails.
        """
        try:
            return await self._run(partitions, ask)
        finally:
            self._models.close()

    async def _run(self, partitions: int | None, ask: Ask) -> Recovered:
        begun, done = await self._recovering.marks()
        log_id, count, elsewhere = await self._lost_log(partitions)
        if begun is not None and begun.log != log_id:
            raise UserError(
                f"the recovery of another log, {begun.log}, has begun on this server: finish that "
                "one, or empty the server"
            )
        log = Log(self._redis, log_id=log_id, partitions=count, keys=self._keys, wait=self._wait)
        log.archive = Archive(self._blobs, log_id)
        findings = None
        if begun is None:
            remains = await survey(log, elsewhere)
            if done is not None and done.log == log_id and not remains.lost:
                return Recovered(log_id=log_id, epoch=done.epoch, findings=None)
            if not remains.lost and not remains.former:
                epoch = await self._epoch(log, remains, await read_kept(log, remains.kept))
                raise UserError(
                    f"Redis has all partitions of log {log_id}, and has lost only the key "
                    f"{self._keys.meta}: to put it back, run HSET {self._keys.meta} id {log_id} "
                    f"partitions {count} epoch {epoch}"
                )
            if not remains.lost:
                raise UserError(
                    f"Redis has log {log_id} on this server and has lost none of its partitions: "
                    "there is nothing to recover"
                )
            findings, begun = await self._begin(log, remains, ask)
        else:
            if begun.written and await self._lost_again(log, begun) is not None:
                begun = await self._undo(begun)
            if not begun.written:
                findings = await self._examine(log, begun)
        if findings is not None:
            begun = await self._write(log, begun, findings)
        await self._set_aside(begun)
        await self._own(log)
        for partition in range(count):
            await log.settle(partition)
        if (again := await self._lost_again(log, begun)) is not None:
            raise UserError(
                f"partition {again} no longer has what this recovery wrote: make sure that its "
                "server keeps its data, and run the recovery again"
            )
        await self._recovering.end(begun)
        return Recovered(log_id=log_id, epoch=begun.epoch, findings=findings)

    async def _lost_log(self, partitions: int | None) -> tuple[str, int, set[int]]:
        """Return the id of the lost log, its number of partitions, and which have left events."""
        log_id = await owner_of(self._blobs, log_ownership.KEY)
        await self._models.open(self._read_models, log_id)
        if log_id is None and len(self._models.log_ids) == 1:
            log_id = next(iter(self._models.log_ids))
        found = await archived_partitions(self._blobs) | self._models.partitions
        if log_id is None or not found:
            why = "; ".join(self._models.unused)
            raise UserError(
                "there is nothing to recover the log from: no segments beside the photos, and no "
                f"read model{f' ({why})' if why else ''}"
            )
        count = await log_ownership.partitions_of(self._blobs) or partitions
        if count is None:
            raise UserError("the photos do not say how many partitions the log had: --partitions N")
        if max(found) >= count:
            raise UserError(
                f"there are events of partition {max(found)}, so the log had more than {count} "
                "partitions: name the right number with --partitions"
            )
        return log_id, count, found

    async def _begin(self, log: Log, remains: Remains, ask: Ask) -> tuple[Findings, Mark]:
        """Find what can be recovered, ask, and mark that the recovery begins."""
        kept = await read_kept(log, remains.kept)
        kept = kept._replace(epoch=await self._epoch(log, remains, kept))
        found = await self._find(log, remains.lost, kept, await self._now_ms(log))
        ask(found)
        begun = Mark(
            log=log.log_id,
            partitions=log.partitions,
            epoch=found.epoch,
            begins_ms=found.begins_ms,
            digest=found.digest,
            lost=remains.lost if remains.kept else (),
        )
        if not await self._recovering.begin(begun, remains.former):
            raise UserError(
                "another recovery of this log has begun meanwhile: run this one again once that "
                "has ended, or if it was interrupted"
            )
        return found, begun

    async def _epoch(self, log: Log, remains: Remains, kept: Kept) -> int:
        """Return the latest epoch that the server knows of; raises if it has damaged controls."""
        if PARTITION not in remains.kept:
            return max(kept.epoch, remains.epoch)
        controls = (await ControlLog(log).load()).controls
        return max(kept.epoch, remains.epoch, controls.epoch)

    async def _examine(self, log: Log, begun: Mark) -> Findings:
        """Find again what can be recovered.

        Raises:
            UserError: it is not the same as when the recovery began.
        """
        others = sorted(set(range(log.partitions)) - set(begun.writes))
        for partition in others:
            if await is_lost(log, partition):
                raise UserError(
                    f"partition {partition} has been lost, too, since the recovery of the others "
                    f"began: {start_over(self._keys, begun)}, and recover the log again"
                )
        for partition in begun.writes:
            if await is_put_back(log, partition):
                raise UserError(refusal(self._keys, begun, partition))
        kept = await read_kept(log, others)
        kept = kept._replace(epoch=begun.epoch - 1)
        found = await self._find(log, begun.writes, kept, begun.begins_ms)
        if found.digest != begun.digest:
            raise UserError(
                "what is left of the log has changed since its recovery began, or the settings of "
                f"the archive have: {start_over(self._keys, begun)}, and recover the log again"
            )
        for partition in begun.writes:
            if await has_others(log, partition, self._recovered(log, partition)):
                raise UserError(refusal(self._keys, begun, partition))
        return found

    async def _find(self, log: Log, lost: Sequence[int], kept: Kept, now_ms: int) -> Findings:
        given = self._blobs, self._models, log.log_id, log.partitions, self._trimming
        return await examine(*given, now_ms, lost, kept)

    async def _write(self, log: Log, begun: Mark, found: Findings) -> Mark:
        """Write what was found into the streams, and mark that it is written."""
        for partition in begun.writes:
            await self._recovering.clear(partition)
        for partition in found.kept:
            await self._recovering.keep(partition, log.log_id)
        await self._add_entries(log, found)
        await self._add_event(log, begun, found)
        for part in found.parts:
            await self._finish(log, part, found.begins_ms)
        aside = {part.partition: part.aside_after for part in found.parts if part.aside_after}
        lasts = [await log.last_entry(partition) for partition in begun.writes]
        ends = {each.partition: each.entry_id for each in lasts if each.ms}
        begun = msgspec.structs.replace(begun, written=True, aside=aside, ends=ends)
        await self._recovering.note(begun)
        return begun

    async def _lost_again(self, log: Log, begun: Mark) -> int | None:
        """Return a partition that no longer has what was written, if there is one."""
        for partition in begun.writes:
            if not await is_written(log, begun, partition):
                return partition
        return None

    async def _undo(self, begun: Mark) -> Mark:
        """Move segments back, so that the same can be written again, and mark that it is not."""
        for partition in begun.aside:
            folder = f"{SET_ASIDE}/{begun.epoch}/{partition:02d}"
            for found in await self._blobs.keys(folder):
                name = found.key.removeprefix(f"{SET_ASIDE}/{begun.epoch}/")
                await self._move(found.key, f"{FOLDER}/{name}")
        begun = msgspec.structs.replace(begun, written=False, aside={}, ends={})
        await self._recovering.note(begun)
        return begun

    async def _move(self, key: str, to: str) -> None:
        data = b"".join([chunk async for chunk in self._blobs.read(key)])
        await self._blobs.put(to, data)
        await self._blobs.delete(key)

    def _recovered(self, log: Log, partition: int) -> AsyncIterator[Remaining]:
        """Return the entries of the partition that are recovered."""
        return recovered(self._blobs, self._models, log.log_id, log.partitions, partition)

    async def _now_ms(self, log: Log) -> int:
        """Return the time by the server's clock and this machine's, whichever is later."""
        times = await log.now(), datetime.now(UTC)
        return int(max(times).timestamp() * 1000)

    async def _add_entries(self, log: Log, found: Findings) -> None:
        """Add the recovered entries, except those that stay in the archive alone."""
        adder = Adder(self._redis, self._keys, PARTITION_MARK)
        for part in found.parts:
            upto = Position.parse(part.archived_upto) if part.archived_upto else None
            waiting: list[Entry] = []
            async for each in self._recovered(log, part.partition):
                if upto is not None and each.position <= upto:
                    continue
                waiting.append(each.entry)
                if len(waiting) == AT_ONCE:
                    await adder.add(part.partition, waiting)
                    waiting.clear()
            await adder.add(part.partition, waiting)

    async def _add_event(self, log: Log, begun: Mark, found: Findings) -> None:
        known = sentences(found)
        lost = [*known["segments"], *known["chains"], *known["kept"]]
        if found.unnamed:
            lost.append(f"{plural(len(found.unnamed), 'original')} that no recovered event names")
        data = LogRecovered(
            epoch=found.epoch,
            events=found.events,
            from_read_model=found.from_read_model,
            ends=tuple(part.last for part in found.parts if part.last),
            lost=tuple(lost[:MOST_NAMED]),
            photo_ids=tuple(found.photo_ids[:MOST_NAMED]),
            partitions=found.recovered if found.kept else (),
            begins_ms=found.begins_ms if found.kept else 0,
        )
        context = Context(
            now=datetime.fromtimestamp(found.begins_ms / 1000, UTC),
            source=SOURCE,
            actor=SOURCE,
            trace_id=uuid.uuid4().hex,
        )
        if PARTITION in found.kept:
            known = await ControlLog(log).execute(RecordRecovery(recovered=data), context)
            if known.controls.epoch != found.epoch:  # readers would not learn of this one
                raise UserError(
                    f"the log is in epoch {known.controls.epoch} already, and this recovery is of "
                    f"epoch {found.epoch}: {start_over(self._keys, begun)}, and recover the log "
                    "again"
                )
            return
        version, digest = found.system
        chained = chain(
            (data,),
            version=version,
            digest=digest,
            client_id=OF_NO_PHOTO,
            session_id=None,
            context=context,
        )
        fields = b"t", data.TYPE.encode(), b"p", OF_NO_PHOTO.encode(), b"v", b"%d" % (version + 1)
        entry = Entry(b"%d-0" % found.begins_ms, [*fields, b"b", chained.bodies[0]])
        await Adder(self._redis, self._keys, PARTITION_MARK).add(PARTITION, [entry])

    async def _finish(self, log: Log, part: Part, begins_ms: int) -> None:
        """Prepare the partition for its readers."""
        partition, key = part.partition, log.keys.log(part.partition)
        if await log.last_entry(partition) == Position.start(partition):
            return
        with translated():
            if part.archived_upto is not None:
                await self._redis.set(log.keys.trimmed(partition), part.archived_upto)
            added = await self._redis.xlen(key) + part.archived
            counters = "ENTRIESADDED", added, "MAXDELETEDID", "0-0"
            # So all positions of the new epoch are later, and the counters say what has left it.
            await self._redis.in_a_row(("XSETID", key, f"{begins_ms}-0", *counters))
        await losses.note(log, partition)
        with translated():
            if await has_group(self._redis, key, DISPATCH):
                await self._redis.xgroup_setid(key, DISPATCH, id="$")
            else:
                await self._redis.xgroup_create(key, DISPATCH, id="$")

    async def _set_aside(self, mark: Mark) -> None:
        """Move segments that do not have what the log has: the archiver seals it again."""
        for partition, after in mark.aside.items():
            for found in await self._blobs.keys(f"{catalog.FOLDER}/{partition:02d}"):
                await self._blobs.delete(found.key)  # it may be of segments that are moved
            for place in await places(self._blobs, partition):
                if place.first <= Position.parse(after):
                    continue
                name = place.key.removeprefix(f"{FOLDER}/")
                await self._move(place.key, f"{SET_ASIDE}/{mark.epoch}/{name}")

    async def _own(self, log: Log) -> None:
        await self._blobs.put(log_ownership.KEY, log.log_id.encode())
        await self._blobs.put(log_ownership.PARTITIONS, b"%d" % log.partitions)
