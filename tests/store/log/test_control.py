from itertools import pairwise
from typing import Any

import anyio
import msgspec
import pytest

from domain.pipeline.control import (
    ControlCommand,
    Controls,
    LimitStage,
    PauseStage,
    RecordCancelled,
    ResumeStage,
)
from domain.pipeline.control_events import Limit, PipelineData, Rate, StageDrained
from domain.rejections import UnknownStage
from domain.system_events import OF_NO_PHOTO
from store.log import codec
from store.log.control import ControlLog
from store.log.log import Log
from store.log.recorded import Recorded
from tests.conftest import CONTEXT
from tests.store.waiting import uploaded

PAUSE = PauseStage(stage="metadata")

DRAINED_OF_0_1 = bytes.fromhex(
    "84a974696d657374616d70b8323032362d31312d32335431303a30303a30302e3030305aa474797065b07069"
    "70656c696e652e647261696e6564a46461746183a57374616765a86d65746164617461a57461736b7307a672"
    "6561736f6eb47468652063616d657261207761732077726f6e67a86d6574616461746189a6736f75726365a4"
    "74657374a8636c69656e744964a5616c696365a973657373696f6e4964a474726970a774726163654964a174"
    "a56163746f72ac636c69656e743a616c696365a56361757365c0a776657273696f6ea131ac70686f746f5665"
    "7273696f6e01a470726576d94030303030303030303030303030303030303030303030303030303030303030"
    "303030303030303030303030303030303030303030303030303030303030303030"
)
"""An event as version 0.1 stored it."""


async def steer(log: Log, command: ControlCommand, actor: str = "operator:ann") -> Controls:
    context = msgspec.structs.replace(CONTEXT, actor=actor)
    return (await ControlLog(log).execute(command, context)).controls


async def control_events(log: Log) -> list[Recorded]:
    """Return the control events in the log."""
    return [each async for each in log.scan(0) if isinstance(each.event.data, PipelineData)]


async def reads(log: Log) -> int:
    """Return how often a stream of this server was read."""
    redis: Any = log.redis
    stats = await redis.info("commandstats")
    return stats.get("cmdstat_xread", {}).get("calls", 0)


async def test_a_command_is_an_event_with_its_actor_and_holds_for_everyone(log: Log) -> None:
    steered = await ControlLog(log).execute(PAUSE, CONTEXT)

    (recorded,) = await control_events(log)
    assert (recorded.event.type, recorded.event.metadata.actor) == (
        "pipeline.paused",
        CONTEXT.actor,
    )
    assert recorded.position == steered.position
    assert await ControlLog(log).load() == steered
    assert steered.controls.is_paused("metadata")


async def test_a_command_that_changes_nothing_returns_the_last_position(log: Log) -> None:
    first = await ControlLog(log).execute(PAUSE, CONTEXT)

    again = await ControlLog(log).execute(PAUSE, CONTEXT)

    assert again == first
    assert len(await control_events(log)) == 1


async def test_a_rejected_command_leaves_no_trace(log: Log) -> None:
    with pytest.raises(UnknownStage):
        await steer(log, PauseStage(stage="faces"))

    assert await control_events(log) == []
    assert (await ControlLog(log).load()).version == 0


async def test_a_load_sees_changes_made_by_others_since_the_last_load(log: Log) -> None:
    looking = ControlLog(log)
    assert not (await looking.load()).controls.is_paused("metadata")

    await steer(log, PAUSE)
    paused = (await looking.load()).controls
    await steer(log, ResumeStage(stage="metadata"))
    resumed = (await looking.load()).controls

    assert (paused.is_paused("metadata"), resumed.is_paused("metadata")) == (True, False)


async def test_control_events_form_their_own_chain_among_photo_events(log: Log) -> None:
    limit = Limit(concurrency=2, rate=Rate(max=10))
    await steer(log, PAUSE)
    await uploaded(log)
    await steer(log, LimitStage(stage="thumbnails", limit=limit))
    await uploaded(log)
    await steer(log, RecordCancelled(stage=None, tasks=3, reason="a bad batch"))

    first, second, third = await control_events(log)

    assert [e.event.metadata.photo_version for e in (first, second, third)] == [1, 2, 3]
    assert second.event.metadata.prev == codec.digest(first.body)
    assert third.event.metadata.prev == codec.digest(second.body)


async def test_a_drain_of_version_0_1_stays_readable_and_changes_no_control(log: Log) -> None:
    """Draining then meant to cancel the waiting tasks."""
    entry = {"t": "pipeline.drained", "p": OF_NO_PHOTO, "v": "1", "b": DRAINED_OF_0_1}
    redis: Any = log.redis
    await redis.xadd(log.keys.log(0), entry)

    found = await ControlLog(log).load()
    await steer(log, PAUSE)
    drained, paused = await control_events(log)

    assert (found.version, found.controls) == (1, Controls())
    assert drained.event.data == StageDrained(
        stage="metadata", tasks=7, reason="the camera was wrong"
    )
    assert paused.event.metadata.photo_version == 2
    assert paused.event.metadata.prev == codec.digest(DRAINED_OF_0_1)


async def test_a_lost_state_is_folded_again_and_the_chain_goes_on(log: Log) -> None:
    await steer(log, PAUSE)
    before = await ControlLog(log).execute(
        LimitStage(stage="metadata", limit=Limit(concurrency=1)), CONTEXT
    )
    await log.redis.delete(log.keys.pipeline(0))

    found = await ControlLog(log).load()
    after = await ControlLog(log).execute(PauseStage(stage=None), CONTEXT)

    assert found == before
    assert (after.version, after.controls.is_paused("thumbnails")) == (3, True)
    last = (await control_events(log))[-1]
    assert last.event.metadata.prev == before.digest


async def test_repeated_loads_do_not_read_the_log(log: Log) -> None:
    await uploaded(log)
    await ControlLog(log).load()
    before = await reads(log)

    found = [await ControlLog(log).load() for _ in range(5)]

    assert await reads(log) == before
    assert {each.version for each in found} == {0}


async def test_concurrent_operators_make_one_history(log: Log) -> None:
    stages = ("validation", "metadata", "thumbnails", "placeholder", "optimization")

    async with anyio.create_task_group() as operators:
        for stage in stages:
            operators.start_soon(steer, log, PauseStage(stage=stage), f"operator:{stage}")
            operators.start_soon(steer, log, PAUSE, "operator:same")

    recorded = await control_events(log)
    assert (await ControlLog(log).load()).controls.paused == set(stages)
    assert [e.event.metadata.photo_version for e in recorded] == [1, 2, 3, 4, 5]
    for one, next_ in pairwise(recorded):
        assert next_.event.metadata.prev == codec.digest(one.body)
