import asyncio
from collections.abc import AsyncGenerator

import anyio
import msgspec
import pytest

from domain.photo.commands import DeletePhoto, StartProcessing
from domain.photo.events import FIRST_PREV
from store.errors import Lost, Unavailable
from store.log import codec
from store.log.log import Claim, Log
from store.log.outcome import Appended, Duplicate, KeyReused, Loaded, Outcome, Repeated, Unchanged
from store.log.position import Position
from store.log.recorded import Recorded
from store.redis.connection import Client, connect
from tests.conftest import CONTEXT
from tests.store.commands import completed, upload


@pytest.fixture
async def redis(redis_url: str) -> AsyncGenerator[Client]:
    """A client of each server in turn: both behave the same."""
    client = connect(redis_url)
    yield client
    await client.aclose()


async def everything(log: Log, partition: int = 0) -> list[Recorded]:
    return [recorded async for recorded in log.scan(partition)]


async def test_an_upload_is_in_the_log_at_the_position_it_answers(log: Log) -> None:
    command = upload()

    outcome = await log.execute(command, client_id="alice", context=CONTEXT)

    (recorded,) = await everything(log)
    assert recorded.position == outcome.position
    assert isinstance(outcome, Appended)
    assert outcome.events == (recorded.event,)
    assert recorded.event.data.photo_id == command.photo_id


async def test_the_events_of_a_photo_form_a_chain(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    await log.execute(upload(), client_id="alice", context=CONTEXT)
    await log.execute(completed(command, "validation"), client_id="alice", context=CONTEXT)
    await log.execute(DeletePhoto(photo_id=command.photo_id), client_id="alice", context=CONTEXT)

    own = [r for r in await everything(log) if r.event.data.photo_id == command.photo_id]

    digests = [FIRST_PREV, *(codec.digest(recorded.body) for recorded in own)]
    assert [recorded.event.metadata.prev for recorded in own] == digests[:-1]
    assert [recorded.event.metadata.photo_version for recorded in own] == [1, 2, 3]


async def test_a_lost_state_equals_the_folded_events(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    await log.execute(completed(command, "validation"), client_id="alice", context=CONTEXT)
    cached = await log.load(command.photo_id, "alice")

    await log.redis.delete(log.keys.photo(0, command.photo_id))

    assert await log.load(command.photo_id, "alice") == cached


async def test_a_lost_state_does_not_stop_the_next_append(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    await log.redis.delete(log.keys.photo(0, command.photo_id))

    await log.execute(completed(command, "validation"), client_id="alice", context=CONTEXT)

    assert (await log.load(command.photo_id, "alice")).version == 2


async def test_a_command_can_be_decided_on_what_one_under_way_leads_to(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    expected: list[Loaded] = []

    async def execute(stage: str, loaded: Loaded | None = None) -> Outcome:
        return await log.execute(
            completed(command, stage),
            client_id="alice",
            context=CONTEXT,
            loaded=loaded,
            expect=expected.append,
        )

    first = asyncio.create_task(execute("validation"))
    while not expected:
        await asyncio.sleep(0)
    # Without the first, this one would find a conflict and load the photo.
    second = await execute("metadata", expected[0])
    await first

    assert [each.version for each in expected] == [2, 3]
    assert second.position == (await everything(log))[-1].position
    assert await log.load(command.photo_id, "alice") == msgspec.structs.replace(
        expected[1], position=second.position
    )


async def test_the_same_bytes_of_one_client_are_one_photo(log: Log) -> None:
    first = upload("same bytes")
    await log.execute(first, client_id="alice", context=CONTEXT)

    again = await log.execute(upload("same bytes"), client_id="alice", context=CONTEXT)
    other = await log.execute(upload("same bytes", "bob"), client_id="bob", context=CONTEXT)

    assert isinstance(again, Duplicate)
    assert again.photo.photo_id == first.photo_id
    assert isinstance(other, Appended)
    assert len(await everything(log)) == 2


async def test_concurrent_uploads_of_the_same_bytes_are_one_photo(log: Log) -> None:
    outcomes: list[Outcome] = []

    async def send() -> None:
        outcomes.append(await log.execute(upload("one"), client_id="alice", context=CONTEXT))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(send)

    types = [type(outcome) for outcome in outcomes]
    assert (types.count(Appended), types.count(Duplicate)) == (1, 19)
    assert len(await everything(log)) == 1


async def test_the_bytes_of_a_deleted_photo_can_be_uploaded_again(log: Log) -> None:
    first = upload("bytes")
    await log.execute(first, client_id="alice", context=CONTEXT)
    await log.execute(DeletePhoto(photo_id=first.photo_id), client_id="alice", context=CONTEXT)

    again = await log.execute(upload("bytes"), client_id="alice", context=CONTEXT)

    assert isinstance(again, Appended)


async def test_an_idempotency_key_answers_with_the_first_photo(log: Log) -> None:
    first = upload()
    done = await log.execute(first, client_id="alice", context=CONTEXT, idempotency_key="k")

    again = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")
    other = await log.execute(
        upload(client_id="bob"), client_id="bob", context=CONTEXT, idempotency_key="k"
    )

    assert done.position is not None
    assert again == Repeated(photo_id=first.photo_id, position=done.position)
    assert isinstance(other, Appended)


async def test_a_key_that_found_a_duplicate_is_valid_only_for_its_bytes(log: Log) -> None:
    first, same = upload("same bytes"), upload("same bytes")
    await log.execute(first, client_id="alice", context=CONTEXT)
    await log.execute(same, client_id="alice", context=CONTEXT, idempotency_key="k")

    again = await log.execute(
        upload("same bytes"), client_id="alice", context=CONTEXT, idempotency_key="k"
    )
    other = await log.execute(upload(), client_id="alice", context=CONTEXT, idempotency_key="k")

    assert isinstance(again, Duplicate)
    assert again.photo.photo_id == first.photo_id
    assert other == KeyReused()
    assert len(await everything(log)) == 1


async def test_a_command_sent_again_after_a_lost_reply_records_nothing(log: Log) -> None:
    command = upload()
    first = await log.execute(command, client_id="alice", context=CONTEXT)

    again = await log.execute(command, client_id="alice", context=CONTEXT)

    assert isinstance(first, Appended)
    assert again == Unchanged(after=first.after)
    assert len(await everything(log)) == 1


async def test_concurrent_commands_are_decided_one_after_another(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    stages = ["validation", "metadata", "thumbnails", "optimization", "placeholder"]

    async with anyio.create_task_group() as tasks:
        for stage in stages * 2:
            tasks.start_soon(lambda s=stage: _complete(log, completed(command, s)))

    types = [recorded.event.type for recorded in await everything(log)]
    assert types.count("photo.processing.stage.completed") == len(stages)
    assert types.count("photo.processing.completed") == 1
    assert [r.event.metadata.photo_version for r in await everything(log)] == list(range(1, 8))


async def _complete(log: Log, command: object) -> None:
    await log.execute(command, client_id="alice", context=CONTEXT)  # type: ignore[arg-type]


async def test_a_result_without_its_task_is_dropped(log: Log) -> None:
    command = upload()
    await log.execute(command, client_id="alice", context=CONTEXT)
    lane = log.keys.lane(0, "validation", "normal")
    claim = Claim(lane_key=lane, group="validation", entry_id="1-1", consumer="me")

    with pytest.raises(Lost):
        await log.execute(
            completed(command, "validation"), client_id="alice", context=CONTEXT, claim=claim
        )

    assert len(await everything(log)) == 1


async def test_reading_continues_after_a_position(log: Log) -> None:
    for _ in range(3):
        await log.execute(upload(), client_id="alice", context=CONTEXT)
    first, second, third = await everything(log)

    assert await log.read(first.position) == [second, third]
    assert await log.read(third.position, block_ms=10) == []
    assert await log.end(0) == third.position


async def test_an_empty_log_ends_at_its_start(log: Log) -> None:
    assert await log.end(0) == Position.start(0)


async def test_the_number_of_partitions_is_fixed_when_the_log_is_created(
    redis: Client, prefix: str
) -> None:
    created = await Log.open(redis, partitions=3, prefix=prefix)
    opened = await Log.open(redis, partitions=8, prefix=prefix)

    assert (opened.partitions, opened.log_id) == (3, created.log_id)


async def test_clients_are_spread_over_the_partitions(redis: Client, prefix: str) -> None:
    log = await Log.open(redis, partitions=3, prefix=prefix)
    clients = [f"client-{n}" for n in range(12)]
    for client in clients:
        await log.execute(upload(client_id=client), client_id=client, context=CONTEXT)

    for partition in range(3):
        found = {r.event.metadata.client_id for r in await everything(log, partition)}
        assert found == {each for each in clients if log.partition_of(each) == partition}
        assert found


async def test_an_unreachable_server_raises_unavailable_when_the_patience_is_over(log: Log) -> None:
    away = Log(connect("unix:///nonexistent/redis.sock"), log_id="x", partitions=1, keys=log.keys)

    with pytest.raises(Unavailable):
        await away.execute(
            StartProcessing(photo_id="p", job_id="j"),
            client_id="alice",
            context=CONTEXT,
            patience_s=0.1,
        )


async def test_an_append_ignores_a_stale_loaded_photo_when_the_state_was_lost(
    log: Log,
) -> None:
    command = upload()
    outcome = await log.execute(command, client_id="alice", context=CONTEXT)
    assert isinstance(outcome, Appended)
    await log.execute(completed(command, "validation"), client_id="alice", context=CONTEXT)
    await log.redis.delete(log.keys.photo(0, command.photo_id))

    await log.execute(
        completed(command, "metadata"), client_id="alice", context=CONTEXT, loaded=outcome.after
    )

    versions = [each.event.metadata.photo_version async for each in log.scan(0)]
    assert versions == [1, 2, 3]


async def test_a_state_is_not_restored_when_the_log_has_moved_on(log: Log) -> None:
    command = upload()
    outcome = await log.execute(command, client_id="alice", context=CONTEXT)
    assert isinstance(outcome, Appended)
    first = outcome.after
    assert first.position is not None
    await log.execute(completed(command, "validation"), client_id="alice", context=CONTEXT)
    key = log.keys.photo(0, command.photo_id)
    await log.redis.delete(key)

    restored = await log.restore(
        key, upto=first.position, version=1, digest=first.digest, last=first.position, state=b"x"
    )

    assert not restored
    assert not await log.redis.exists(key)
