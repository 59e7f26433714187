"""Import a checked export (``ops.maintenance.export_check``) into a system that has no log yet.

| step | after a crash before the next one |
|---|---|
| create the log, and note in ``photolog:meta`` which file is imported | the import begins again |
| store the files of the photos | those that are there, with the right bytes, are left out |
| add the entries to the streams, in order | those that are there are left out |
| let dispatchers begin at the end, and note that tasks may be missing | the same again |
| disable the webhooks, and revoke access if asked to | those that are enabled still are disabled |
| note that it has ended | the import finds that it is done |

The events keep their bytes, so histories, chains and anchors stay the same. With the same number of
partitions the positions stay the same too. With another number, each client's events go to the
client's new partition, in order of their ids; where two ids are equal there, the later entry gets
the next free one.

An import of another file replaces what an earlier one has written, finished or not, as long as no
role has used it since: no event was appended, and no worker has read the log. No role starts on a
log whose import has not ended.

The other system may still run, so its webhooks are disabled here: nothing is sent twice until an
operator enables them. That appends an event for each to the end of the log.

Workers find the tasks of photos that were not finished when they refill their lanes.
"""

import hashlib
import heapq
import uuid
from datetime import UTC, datetime

import msgspec

from domain.clients.api_keys import RevokeApiKey
from domain.clients.revocations import RevokeAccess
from domain.photo.events import Context
from domain.pipeline.control import ControlCommand
from domain.webhooks.webhooks import DisableWebhook
from ops.errors import UserError
from ops.maintenance import import_note, log_ownership
from ops.maintenance.export_check import Checked, Recorded, event_of, in_thread, target
from ops.maintenance.export_file import Export, Sourced
from ops.maintenance.log_export import Progress
from store.archive.adding import AT_ONCE, Adder
from store.archive.archive import FOLDER
from store.archive.segment import Entry
from store.blobs.interface import Blobs
from store.errors import Corrupt, Missing
from store.log.control import ControlLog
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import is_foreign
from store.queue import liveness, losses
from store.queue.consumers import has_group
from store.queue.dispatch import DISPATCH
from store.redis.connection import translated

SOURCE = "import"

WHY_DISABLED = "imported: the system that it comes from may still deliver it"
WHY_REVOKED = "imported with --revoke-access"

WORKING_MS = 10_000
"""Workers that have reported within this time count as running."""


class Imported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``foreign`` counts entries that were not events and were left out, ``unnamed`` files that no
    event names, ``webhooks`` those that were disabled, ``keys`` API keys that were in force and do
    not work any more.

    ``anchor`` is that of the imported events, which end at ``positions``, one in each partition;
    there are no positions if the import was done before and no note says where they end.
    """

    events: int
    foreign: int
    blobs: int
    anchor: str
    positions: tuple[str, ...] = ()
    unnamed: int = 0
    webhooks: int = 0
    keys: int = 0


async def import_(
    log: Log,
    blobs: Blobs,
    export: Export,
    checked: Checked,
    *,
    revoke_access: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> Imported:
    """Import what was checked. Safe to call again after a crash; no other process may use the log.

    With ``revoke_access``, no API key and no token of the log works any more.

    Raises:
        UserError: the log or the blobs are not empty, and in use, or another import has begun.
        Corrupt: the file has changed since it was checked.
        StoreError: Redis or the blob store fails.
    """
    if await _is_done(log, blobs, checked.digest):
        keys = await _revoke_access(log) if revoke_access else 0
        ends = (await import_note.read(log)).events
        return Imported(
            events=0,
            foreign=0,
            blobs=0,
            anchor=checked.anchor,
            positions=tuple(ends.split(",")) if ends else (),
            keys=keys,
        )
    await log_ownership.check(log, blobs, setting="The data folder or the bucket")
    stored = 0
    for number, (key, recorded) in enumerate(checked.files.items()):
        progress(number, len(checked.files))
        stored += await _store(blobs, export, key, recorded)
    events, ends = await _add_all(log, export, checked.digest, progress)
    for partition in range(log.partitions):
        await _skip_dispatch(log, partition)
    disabled = await _disable_webhooks(log)
    keys = await _revoke_access(log) if revoke_access else 0
    await import_note.confirm(log, checked.digest)
    positions = tuple(map(str, ends))
    await import_note.end(log, checked.digest, upto=await _ends(log), events=",".join(positions))
    return Imported(
        events=events,
        foreign=checked.foreign,
        blobs=stored,
        anchor=checked.anchor,
        positions=positions,
        unnamed=checked.unnamed,
        webhooks=disabled,
        keys=keys,
    )


async def _is_done(log: Log, blobs: Blobs, digest: str) -> bool:
    """Return whether this import was finished before; otherwise note that it begins.

    What another import has written is removed from the log, if nothing has used it.

    Raises:
        UserError: the log has other events, or workers run on it.
    """
    if await liveness.workers(log, WORKING_MS):
        raise UserError("workers run on this log: stop all roles before the import")
    notes = await import_note.read(log)
    if notes.imported == digest:
        return True
    if notes.importing == digest:
        return False
    starts = [Position.start(partition) for partition in range(log.partitions)]
    if [await log.last_entry(each.partition) for each in starts] != starts:
        if notes.importing is None and notes.imported is None:
            raise UserError(
                "this system has a log with events already: import into an empty one, with another "
                "data folder or another Redis"
            )
        if not await _is_unused(log, blobs, notes):
            raise UserError(
                "this system has been used since an earlier import: import into an empty one, with "
                "another data folder or another Redis"
            )
        await import_note.begin(log, import_note.REMOVING)
        await _clear(log)
    await import_note.begin(log, digest)
    return False


async def _is_unused(log: Log, blobs: Blobs, notes: import_note.Notes) -> bool:
    """Return whether the log has only what an earlier import has written."""
    if notes.importing is None and notes.upto != await _ends(log):
        return False
    if await blobs.keys(FOLDER):
        return False
    with translated():
        for partition in range(log.partitions):
            key = log.keys.log(partition)
            groups = await log.redis.xinfo_groups(key) if await log.redis.exists(key) else []
            if any(group["name"] != DISPATCH.encode() or group["consumers"] for group in groups):
                return False
    return True


async def _clear(log: Log) -> None:
    """Remove the events, and the only state that an import makes of them."""
    with translated():
        for partition in range(log.partitions):
            await log.redis.delete(log.keys.log(partition))
        await log.redis.delete(log.keys.pipeline(0))


async def _ends(log: Log) -> str:
    return ",".join([str(await log.last_entry(each)) for each in range(log.partitions)])


async def _store(blobs: Blobs, export: Export, key: str, recorded: Recorded) -> bool:
    """Store the file; return False if it is there already, with the right bytes.

    Raises:
        Corrupt: it has other bytes than when it was checked.
    """
    if await _is_stored(blobs, key, recorded):
        return False
    async with blobs.draft(key, replace=True) as draft:
        for chunk in export.chunks(key):
            await draft.write(chunk)
        await draft.flush()
        if draft.sha256 != recorded.sha256:
            raise Corrupt(f"the export has changed while it was read: {key} has other bytes")
        await draft.commit()
    return True


async def _is_stored(blobs: Blobs, key: str, recorded: Recorded) -> bool:
    sha256 = hashlib.sha256()
    try:
        async for chunk in blobs.read(key):
            sha256.update(chunk)
    except (Missing, Corrupt):
        return False
    return sha256.hexdigest() == recorded.sha256


async def _add_all(
    log: Log, export: Export, digest: str, progress: Progress
) -> tuple[int, list[Position]]:
    """Add the events of all partitions; return how many there are, and the last positions."""
    adder = Adder(log.redis, log.keys, log.log_id)
    ends = [Position.start(partition) for partition in range(log.partitions)]
    waiting: list[list[Entry]] = [[] for _ in ends]
    events = 0

    async def flush(partition: int) -> None:
        await import_note.confirm(log, digest)
        await adder.add(partition, waiting[partition])
        waiting[partition].clear()

    merged = heapq.merge(*map(export.entries, range(export.manifest.partitions)))
    async for each in in_thread(merged):
        if is_foreign(each.entry.fields):
            continue
        partition = _target(log, export, each)
        position = each.place._replace(partition=partition)
        if position <= ends[partition]:
            position = ends[partition]._replace(seq=ends[partition].seq + 1)
        ends[partition] = position
        waiting[partition].append(Entry(position.entry_id.encode(), each.entry.parts))
        events += 1
        if len(waiting[partition]) == AT_ONCE:
            await flush(partition)
            progress(events, None)
    for partition in range(log.partitions):
        await flush(partition)
    return events, ends


def _target(log: Log, export: Export, each: Sourced) -> int:
    """Return the partition of this log that the event belongs to."""
    if log.partitions == export.manifest.partitions:
        return each.partition
    return target(event_of(each, export.manifest.partitions), log.partitions)


async def _skip_dispatch(log: Log, partition: int) -> None:
    """Let dispatchers begin at the end; workers then look for the tasks that are missing."""
    key = log.keys.log(partition)
    if await log.last_entry(partition) == Position.start(partition):
        return
    await losses.note(log, partition)
    if not await has_group(log.redis, key, DISPATCH):
        with translated():
            await log.redis.xgroup_create(key, DISPATCH, id="$")


async def _disable_webhooks(log: Log) -> int:
    """Disable the webhooks that are enabled; return how many."""
    control = ControlLog(log)
    webhooks = (await control.load()).controls.webhooks
    enabled = [name for name, webhook in webhooks.items() if webhook.disabled is None]
    for name in enabled:
        await _execute(control, DisableWebhook(webhook_id=name, reason=WHY_DISABLED))
    return len(enabled)


async def _revoke_access(log: Log) -> int:
    """Revoke all tokens and API keys; return how many keys were in force."""
    control, now = ControlLog(log), datetime.now(UTC)
    before = (await control.load()).controls.api_keys.active
    await _execute(control, RevokeAccess(now=now, before=now, reason=WHY_REVOKED))
    # Events say when keys were created, and somebody may have written a time to come.
    for key_id in (await control.load()).controls.api_keys.active:
        await _execute(control, RevokeApiKey(key_id=key_id, reason=WHY_REVOKED))
    return len(before)


async def _execute(control: ControlLog, command: ControlCommand) -> None:
    context = Context(now=datetime.now(UTC), source=SOURCE, actor=SOURCE, trace_id=uuid.uuid4().hex)
    await control.execute(command, context)
