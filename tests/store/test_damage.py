"""Somebody writes into the server: what is folded from the log comes back from there."""

from typing import Any

import pytest

from domain.commands import DeletePhoto
from domain.controls import PauseStage
from store.controls import ControlLog
from store.lanes import Lanes
from store.log import Log
from tests.store.waiting import CONTEXT, STAGES, uploaded

HARM = {
    "a field is gone": ("HDEL", "v"),
    "the version is no number": ("HSET", "v", "abc"),
    "the state is garbage": ("HSET", "s", "garbage"),
    "both are wrong": ("HSET", "s", "garbage", "d", "zz", "v", "77", "p", "1-1"),
    "another type": ("SET", "str"),
}


async def harm(log: Log, key: str, name: str) -> None:
    command, *rest = HARM[name]
    redis: Any = log.redis
    if command == "SET":
        await redis.set(key, *rest)
    else:
        await redis.execute_command(command, key, *rest)


@pytest.mark.parametrize("name", HARM)
async def test_a_damaged_state_of_a_photo_is_folded_anew(log: Log, name: str) -> None:
    photo = await uploaded(log)
    whole = await log.load(photo.photo_id, "alice")
    partition = log.partition_of("alice")

    await harm(log, log.keys.photo(partition, photo.photo_id), name)
    command = DeletePhoto(photo_id=photo.photo_id)
    done = await log.execute(command, client_id="alice", context=CONTEXT, patience_s=2)

    assert whole.photo is not None
    assert [event.type for event in done.events] == ["photo.deleted"]
    assert done.events[0].metadata.photo_version == whole.version + 1


@pytest.mark.parametrize("name", HARM)
async def test_what_operators_have_said_is_folded_anew(log: Log, name: str) -> None:
    controls = ControlLog(log)
    await controls.execute(PauseStage(stage="metadata"), CONTEXT)

    await harm(log, log.keys.pipeline(0), name)
    found = await ControlLog(log).execute(PauseStage(stage="validation"), CONTEXT, patience_s=2)

    assert found.controls.is_paused("metadata")
    assert found.version == 2


async def test_a_lane_or_timers_of_another_type_have_lost_their_tasks(log: Log) -> None:
    await uploaded(log)
    lanes = Lanes(log, "worker", STAGES)
    await lanes.prepare(0)
    lanes.lost.clear()

    redis: Any = log.redis
    for key in (log.keys.lane(0, STAGES[0], "high"), log.keys.timers(0)):
        await redis.set(key, "str")
        await lanes.prepare(0)

        assert lanes.lost == {0}
        assert await redis.type(key) != b"string"
        lanes.lost.clear()
