"""The chains of a log that was tampered with, on a real server."""

import hashlib

from domain.clients.api_keys import CreateApiKey, RevokeApiKey
from domain.clients.quotas import ChangeQuota, OwnQuota
from domain.clients.revocations import RevokeAccess
from domain.photo.commands import DeletePhoto
from domain.photo.events import EVENT_TYPES, FIRST_PREV
from domain.pipeline.control import LimitStage, PauseStage, RaiseAlert, RecordCancelled, ResumeStage
from domain.pipeline.control_events import Limit, StageDrained
from domain.pipeline.failures import Category
from domain.pipeline.rebuilds import (
    RebuildCompleted,
    RebuildFailed,
    RebuildProgressed,
    RebuildStep,
    RecordRebuild,
    RequestRebuild,
)
from domain.pipeline.recoveries import LogRecovered
from domain.system_events import SystemData
from domain.webhooks.webhooks import (
    AnyWebhookCommand,
    Author,
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
)
from ops.maintenance.audit import Audit, audit
from store.log.control import ControlLog
from store.log.log import Log
from store.log.position import Position
from tests.conftest import CONTEXT
from tests.ops.tampering import Entries, add, at, photo, rewritten, stored, tamper
from tests.store.commands import upload


def breaks_in(found: Audit) -> list[tuple[str, int, str]]:
    return [(each.chain, each.version, each.problem) for each in found.breaks]


async def test_intact_chains_are_counted_and_have_an_anchor(log: Log) -> None:
    ids = [await photo(log) for _ in range(3)]
    seen: list[tuple[int, int]] = []

    found = await audit(log, progress=lambda done, total: seen.append((done, total)))

    assert (found.photos, found.events, found.breaks) == (3, 15, [])
    assert found.positions == [str(await log.end(0))]
    digests = dict.fromkeys(sorted(ids), FIRST_PREV)
    for _, fields in await stored(log):
        of, event = fields[b"p"].decode(), hashlib.sha256(fields[b"b"]).hexdigest()
        digests[of] = hashlib.sha256((digests[of] + event).encode()).hexdigest()
    lines = "".join(f"{each} {digests[each]}\n" for each in digests)
    assert found.anchor == hashlib.sha256(lines.encode()).hexdigest()


async def test_a_rewritten_event_is_revealed_by_the_next_one(log: Log) -> None:
    photo_id = await photo(log)
    await photo(log)

    await tamper(log, at(2, rewritten))

    found = await audit(log)
    problem = "its prev is not the SHA-256 of version 3 as stored"
    assert breaks_in(found) == [(photo_id, 4, problem)]
    assert found.breaks[0].position == f"0:{(await stored(log))[3][0]}"
    assert found.photos == 2


async def test_a_rewritten_last_event_is_revealed_by_the_anchor_alone(log: Log) -> None:
    await photo(log)
    before = await audit(log)

    await tamper(log, at(-1, rewritten))

    after = await audit(log)
    assert after.breaks == []
    assert after.positions == before.positions
    assert after.anchor != before.anchor


async def test_removed_events_leave_a_gap(log: Log) -> None:
    one, two = await photo(log), await photo(log)

    await tamper(log, lambda entries: [*entries[:1], *entries[2:5], *entries[7:]])

    assert breaks_in(await audit(log)) == [
        (one, 3, "version 2 is missing before it"),
        (two, 3, "versions 1 to 2 are missing before it"),
    ]


async def test_an_inserted_event_repeats_a_version(log: Log) -> None:
    photo_id = await photo(log)

    def put_in(entries: Entries) -> Entries:
        stored = [fields for _, fields in entries]
        forged = [*stored[:3], rewritten(stored[2]), *stored[3:]]
        return [(f"{number}-0", fields) for number, fields in enumerate(forged, start=1)]

    await tamper(log, put_in)

    assert breaks_in(await audit(log)) == [
        (photo_id, 3, "it follows version 3"),
        (photo_id, 4, "its prev is not the SHA-256 of version 3 as stored"),
    ]


async def test_a_first_event_that_names_a_previous_one_is_broken(log: Log) -> None:
    photo_id = await photo(log)

    await tamper(log, lambda entries: at(0, lambda of: rewritten(of, prev="1" * 64))(entries[:1]))

    problem = "it is the first event, but its prev is not 64 zeros"
    assert breaks_in(await audit(log)) == [(photo_id, 1, problem)]


async def test_fields_that_contradict_the_body_are_named(log: Log) -> None:
    photo_id = await photo(log)
    wrong = {b"t": b"photo.erased", b"p": b"another", b"v": b"7"}

    await tamper(log, at(0, lambda fields: fields | wrong))

    assert breaks_in(await audit(log)) == [
        (photo_id, 1, "its field t is 'photo.erased', but its body says 'photo.uploaded'"),
        (photo_id, 1, "its field v is '7', but its body says '1'"),
        (photo_id, 1, f"its field p is 'another', but its body says '{photo_id}'"),
    ]


async def test_a_body_that_is_not_an_event_is_named_and_the_audit_goes_on(log: Log) -> None:
    photo_id, other = await photo(log), await photo(log)

    await tamper(log, at(0, lambda fields: fields | {b"b": b"\xc1"}))

    found = await audit(log)
    assert [problem for _, _, problem in breaks_in(found)] == [
        "its body is not an event",
        "its prev is not the SHA-256 of version 1 as stored",
    ]
    assert {each.chain for each in found.breaks} == {photo_id}
    assert (await audit(log, only=other)).breaks == []


async def test_a_foreign_entry_is_named(log: Log) -> None:
    await log.redis.xadd(log.keys.log(0), {"what": "ever"})

    found = await audit(log)
    assert breaks_in(found) == [("?", 0, "it is not an event")]
    assert (found.photos, found.events) == (0, 0)


async def test_an_unreadable_event_does_not_count_as_a_photo(log: Log) -> None:
    await photo(log)
    await add(log, {b"t": b"x", b"p": b"", b"v": b"1", b"b": b"\xc1"})
    await add(log, {b"t": b"x", b"p": b"another", b"v": b"1", b"b": b"\xc1"})

    assert (await audit(log)).photos == 1


async def test_a_foreign_entry_with_a_photos_name_is_no_link_of_its_chain(log: Log) -> None:
    command = upload()
    photo_id = command.photo_id
    await log.execute(command, client_id="alice", context=CONTEXT)
    await log.redis.xadd(log.keys.log(0), {"p": photo_id, "b": b"\xff"})
    await log.execute(DeletePhoto(photo_id=photo_id), client_id="alice", context=CONTEXT)

    found = await audit(log)
    assert breaks_in(found) == [("?", 0, "it is not an event")]
    assert (found.photos, found.events) == (1, 2)


HOOK = "a1b2c3d4e5f60718"
NOBODY = Author(token_id=None, client_id=None)
WEBHOOK_COMMANDS: tuple[AnyWebhookCommand, ...] = (
    CreateWebhook(
        webhook_id=HOOK,
        url="https://example.com/1",
        types=(),
        known_types=frozenset(),
        system_types=frozenset(),
        description="",
        client_id="alice",
        after=(),
        secret_id="00112233445566ff",
        digest="ab" * 32,
        by=NOBODY,
        most=5,
        in_all=5,
        private=(),
    ),
    ChangeWebhook(
        webhook_id=HOOK,
        url="https://example.com/2",
        types=(),
        known_types=frozenset(),
        system_types=frozenset(),
        description="",
        private=(),
        by=NOBODY,
    ),
    DisableWebhook(webhook_id=HOOK),
    EnableWebhook(webhook_id=HOOK, by=NOBODY),
    RotateWebhookSecret(
        webhook_id=HOOK,
        secret_id="ff66554433221100",
        digest="cd" * 32,
        previous_until=CONTEXT.now,
        by=NOBODY,
    ),
    ReplayWebhook(webhook_id=HOOK, after=("0:0-0",), by=NOBODY),
    DeleteWebhook(webhook_id=HOOK),
)
REBUILD_STEPS: tuple[RebuildStep, ...] = (
    RebuildProgressed(host="a", percent=50, events=1, events_per_s=1, seconds_left=1),
    RebuildCompleted(host="a", generation="g", events=2, duration_ms=1, differing=None),
    RebuildFailed(host="a", error="any"),
)


async def test_every_event_of_the_system_is_a_link_of_its_chain(log: Log) -> None:
    steering, now = ControlLog(log), CONTEXT.now
    for command in (
        PauseStage(stage="thumbnails"),
        ResumeStage(stage="thumbnails"),
        LimitStage(stage="thumbnails", limit=Limit(concurrency=1)),
        RecordCancelled(stage="thumbnails", tasks=1, reason="a test"),
        RaiseAlert(
            now=now,
            stage="thumbnails",
            category=Category.DATA,
            level="warn",
            code="any",
            error="any",
        ),
        ChangeQuota(client_id="alice", quota=OwnQuota(photos=5)),
        RevokeAccess(now=now, token_id="1"),
        CreateApiKey(
            now=now, key_id="k", name="n", digest="0" * 64, scopes=frozenset({"ops.read"})
        ),
        RevokeApiKey(key_id="k"),
        *WEBHOOK_COMMANDS,
        RequestRebuild(),
        *(RecordRebuild(step=step) for step in REBUILD_STEPS),
    ):
        await steering.execute(command, CONTEXT)

    found = await audit(log)

    assert found.breaks == []
    # Version 0.1 wrote drains; a recovery is not a command, and has tests of its own.
    written = set(EVENT_TYPES.values()) - {StageDrained, LogRecovered}
    kinds = {kind.TYPE for kind in written if issubclass(kind, SystemData)}
    assert {fields[b"t"].decode() for _, fields in await stored(log)} == kinds


async def test_the_events_of_the_pipeline_are_a_chain_of_their_own(log: Log) -> None:
    await photo(log)
    steering = ControlLog(log)
    await steering.execute(PauseStage(stage="thumbnails"), CONTEXT)
    await steering.execute(ResumeStage(stage="thumbnails"), CONTEXT)

    whole = await audit(log)
    await tamper(log, at(5, rewritten))
    broken = await audit(log, only="pipeline")

    assert (whole.photos, whole.events, whole.breaks) == (1, 7, [])
    assert (broken.photos, broken.events) == (0, 2)
    problem = "its prev is not the SHA-256 of version 1 as stored"
    assert breaks_in(broken) == [("pipeline", 2, problem)]


async def test_a_photo_whose_events_are_in_two_partitions_is_broken(log: Log) -> None:
    photo_id = await photo(log)
    spread = Log(log.redis, log_id=log.log_id, partitions=2, keys=log.keys)
    await add(log, (await stored(log))[0][1], partition=1)

    found = await audit(spread)

    assert breaks_in(found) == [(photo_id, 1, "it follows version 5")]
    assert len(found.positions) == 2


async def test_an_audit_up_to_a_position_ignores_later_events(log: Log) -> None:
    photo_id = await photo(log)
    before = await audit(log)
    await photo(log)

    again = await audit(log, upto={0: Position.parse(before.positions[0])})
    one = await audit(log, only=photo_id)

    assert again == before
    assert one.anchor == before.anchor


async def test_an_anchor_covers_every_event(log: Log) -> None:
    await photo(log)
    before = await audit(log)

    await tamper(log, at(1, rewritten))

    assert (await audit(log)).anchor != before.anchor


async def test_a_lost_end_of_the_log_is_reported_at_its_former_position(log: Log) -> None:
    await photo(log)
    before = await audit(log)
    end = Position.parse(before.positions[0])
    await log.redis.xdel(log.keys.log(0), end.entry_id)

    cut = await audit(log, upto={0: end})

    assert (cut.breaks, cut.lost, cut.anchor) == ([], before.positions, None)
    assert before.lost == []


async def test_an_empty_log_is_intact(log: Log) -> None:
    found = await audit(log)

    assert (found.photos, found.events, found.breaks) == (0, 0, [])
    assert found.positions == ["0:0-0"]
