"""Within a class of lanes, the client that has been served least is next."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from domain.pipeline.stages import ERASURE, Task
from store.log import codec
from store.log.log import Log
from store.queue.lanes import Claimed, Lanes
from store.queue.turns import GRACE_MS, ClaimRequest

STAGES = ("metadata", "validation", ERASURE)
MANY = 1_300
"""More entries than one claim admits."""


def task(client: str, number: int = 0, **changes: Any) -> Task:
    named: dict[str, Any] = {
        "photo_id": f"{client}-{number}",
        "client_id": client,
        "job_id": "job",
        "stage": "validation",
        "priority": 5,
        "trace_id": "t",
        "cause": "0:1-0",
        "cost_ms": 100,
    }
    return Task(**(named | changes))


async def put(log: Log, *tasks: Task) -> None:
    """Put tasks in lanes, as a dispatcher does."""
    lanes = {1: "high", 5: "normal", 9: "low"}
    pipe = log.redis.pipeline(transaction=False)
    for each in tasks:
        key = log.keys.lane(0, each.stage, lanes[each.priority])
        pipe.xadd(key, {"b": codec.encode_task(each)})
    await pipe.execute()


def bulk(client: str, count: int, **changes: Any) -> list[Task]:
    return [task(client, number, **changes) for number in range(count)]


@pytest.fixture
async def lanes(log: Log) -> Lanes:
    return await lanes_of(log)


async def lanes_of(log: Log, consumer: str = "one") -> Lanes:
    lanes = Lanes(log, consumer, STAGES)
    await lanes.prepare(0)
    return lanes


async def claimed(lanes: Lanes, count: int = 1, **request: Any) -> list[Claimed]:
    """Claim tasks one by one, as a worker does; the first claim settles the accounts."""
    found: list[Claimed] = []
    for _ in range(count):
        named: dict[str, Any] = {"stages": STAGES} | request
        found += await lanes.claim(0, 1, ClaimRequest(**named))
        request.pop("settle", None)
    return found


async def clients(lanes: Lanes, count: int = 1, **request: Any) -> list[str]:
    return [each.task.client_id for each in await claimed(lanes, count, **request)]


async def acknowledge(log: Log, *done: Claimed) -> None:
    for each in done:
        await log.acknowledge(each.task, each.claim)


async def waiting_for(log: Log, stage: str = "validation", lane: str = "normal") -> int:
    key = log.keys.lane(0, stage, lane)
    return await log.redis.xlen(key) - (await log.redis.xpending(key, stage))["pending"]


async def test_a_photo_does_not_wait_behind_the_bulk_of_another_client(
    log: Log, lanes: Lanes
) -> None:
    await put(log, *bulk("bulk", 20))
    before = await clients(lanes, 10)
    await put(log, task("visitor"))

    assert before == ["bulk"] * 10
    assert await clients(lanes) == ["visitor"]


async def test_clients_take_turns_by_cost_not_by_number(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("large", 20, cost_ms=900), *bulk("small", 100, cost_ms=100))

    served = Counter(await clients(lanes, 50))

    assert served == {"large": 5, "small": 45}


async def test_bulk_in_several_stages_gets_one_share(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("two", 50), *bulk("two", 50, stage="metadata"), *bulk("one", 50))

    served = Counter(await clients(lanes, 60))

    assert abs(served["two"] - served["one"]) <= 1 + GRACE_MS // 100


async def test_the_tasks_of_a_client_come_in_order(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("b", 12), *bulk("a", 12))

    found = [each.task.photo_id for each in await claimed(lanes, 24)]

    assert [each for each in found if each[0] == "a"] == [f"a-{n}" for n in range(12)]
    assert [each for each in found if each[0] == "b"] == [f"b-{n}" for n in range(12)]


async def test_a_photo_in_progress_is_finished_before_another_begins(
    log: Log, lanes: Lanes
) -> None:
    await put(log, *[each for name in "abcdef" for each in bulk(name, 5)])
    begun = await claimed(lanes)
    await put(log, task(begun[0].task.client_id, stage="metadata", follows=True))

    found = await claimed(lanes)

    assert (found[0].task.client_id, found[0].task.stage) == (begun[0].task.client_id, "metadata")


async def test_a_photo_in_progress_yields_to_clients_that_have_had_less(
    log: Log, lanes: Lanes
) -> None:
    await put(log, *bulk("bulk", 20, cost_ms=5_000))
    await claimed(lanes, 5)
    await put(log, *bulk("bulk", 15, cost_ms=1_500, stage="metadata", follows=True))
    await put(log, *bulk("visitor", 5))

    assert await clients(lanes, 5) == ["visitor"] * 5


async def test_the_actual_cost_of_a_task_is_settled(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("bomb", 50, cost_ms=1), *bulk("other", 400, cost_ms=100))
    await clients(lanes, 2)

    settled = {("normal", "bomb"): 25_000}
    after = [*await clients(lanes, settle=settled), *await clients(lanes, 240)]

    assert set(after) == {"other"}


async def test_a_client_that_paid_too_much_gets_it_back(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("dear", 50, cost_ms=5_000), *bulk("other", 50, cost_ms=100))
    assert sorted(await clients(lanes, 2)) == ["dear", "other"]

    assert await clients(lanes, settle={("normal", "dear"): -4_950}) == ["dear"]


async def test_nobody_saves_up_by_waiting(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("always", 300), task("rare"))
    await clients(lanes, 200)
    await put(log, *bulk("rare", 100))

    served = Counter(await clients(lanes, 60))

    assert served["rare"] - served["always"] <= 2 * GRACE_MS // 100


async def test_a_debt_remains_while_no_task_of_the_client_waits(log: Log, lanes: Lanes) -> None:
    await put(log, task("dear", cost_ms=5_000), *bulk("other", 200))
    await clients(lanes, 10)
    await put(log, *bulk("dear", 5))

    assert set(await clients(lanes, 30)) == {"other"}


async def test_a_client_is_passed_over_except_for_its_erasures(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("full", 3), task("full", 9, stage=ERASURE), *bulk("other", 1))
    found = await claimed(lanes, 4, most_of_client={"full": 0}, of_all=(ERASURE,))

    assert {(each.task.client_id, each.task.stage) for each in found} == {
        ("other", "validation"),
        ("full", ERASURE),
    }


async def test_a_high_lane_is_served_first_and_has_turns_of_its_own(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", 5, priority=1), *bulk("b", 3, priority=1), *bulk("b", 9))

    assert Counter(await clients(lanes, 6)) == {"a": 3, "b": 3}


async def test_tasks_of_an_earlier_version_take_turns_too(log: Log, lanes: Lanes) -> None:
    def former(each: Task) -> bytes:
        data = msgspec.to_builtins(each)
        return msgspec.msgpack.encode({k: data[k] for k in data if k not in ("cost_ms", "follows")})

    key = log.keys.lane(0, "validation", "normal")
    for each in (*bulk("bulk", 6), task("visitor")):
        await log.redis.xadd(key, {"b": former(each)})
    redis: Any = log.redis
    held = await redis.xreadgroup("validation", "former", {key: ">"}, count=2)

    found = await claimed(lanes, 5)

    assert [each.task.client_id for each in found[:2]].count("visitor") == 1
    assert len(held[key.encode()]) + len(found) == 7


@pytest.mark.parametrize("harm", ["deleted", "of another type"])
@pytest.mark.parametrize("lost", ["turns", "waiting", "accounts", "all"])
async def test_lost_turns_are_rebuilt_from_the_lanes(
    log: Log, lanes: Lanes, lost: str, harm: str
) -> None:
    await put(log, *bulk("a", 10, cost_ms=3_000), *bulk("b", 10, cost_ms=3_000))
    held = await claimed(lanes, 4)
    keys = {
        "turns": log.keys.turns(0, "validation", "normal"),
        "waiting": log.keys.waiting(0, "validation", "normal"),
        "accounts": log.keys.accounts(0, "normal"),
    }
    redis: Any = log.redis
    for key in keys.values() if lost == "all" else [keys[lost]]:
        await redis.delete(key)
        if harm != "deleted":
            await redis.set(key, "x")
    await put(log, *bulk("c", 10, cost_ms=3_000))

    await lanes.prepare(0)
    found = await claimed(lanes, 30)

    assert len({each.claim.entry_id for each in held + found}) == len(held + found) == 30
    first = Counter(each.task.client_id for each in found[:15])
    assert min(first.values()) >= 3


async def test_a_held_task_stays_held_when_turns_are_rebuilt(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", 3))
    (held,) = await claimed(lanes)
    await log.redis.delete(log.keys.waiting(0, "validation", "normal"))
    other = await lanes_of(log, "other")

    assert len(await claimed(other, 5)) == 2
    assert await lanes.refresh([held.claim]) == [True]


async def test_entries_that_are_gone_from_the_lane_are_skipped(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", MANY), *bulk("b", 2))
    await clients(lanes)
    await log.redis.xtrim(log.keys.lane(0, "validation", "normal"), maxlen=2, approximate=False)

    assert await clients(lanes, 3) == ["b", "b"]


async def test_a_claim_sees_the_last_of_many_new_tasks(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("bulk", MANY), task("visitor"))

    assert await clients(lanes, most_of_client={"bulk": 0}) == ["visitor"]


async def test_a_task_that_is_handed_back_waits_like_the_others(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", 2), *bulk("b", 2))
    (held,) = await claimed(lanes)
    await lanes.release([held.claim])

    found = await claimed(lanes, 5)

    assert sorted(each.task.photo_id for each in found) == ["a-0", "a-1", "b-0", "b-1"]


async def test_tasks_that_do_not_run_cost_a_client_nothing(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", 50), *bulk("b", 50, stage="metadata"))
    drain = await lanes_of(log, "drain")
    await drain.claim(0, 40, ClaimRequest(stages=("metadata",), pays=False))

    assert Counter(await clients(lanes, 20))["b"] >= 9


async def test_accounts_are_dropped_when_no_client_waits(log: Log, lanes: Lanes) -> None:
    await put(log, *[task(f"client-{n}") for n in range(50)])
    done = await claimed(lanes, 51)
    await acknowledge(log, *done)

    assert (
        await log.redis.exists(
            *(log.keys.accounts(0, lane) for lane in ("high", "normal", "low")),
            *(log.keys.turns(0, stage, "normal") for stage in STAGES),
            *(log.keys.waiting(0, stage, "normal") for stage in STAGES),
        )
        == 0
    )


async def test_only_accounts_of_clients_that_have_had_more_are_kept(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("always", 300, cost_ms=500))
    for n in range(200):
        await put(log, task(f"once-{n}"))
        await clients(lanes, 2)

    redis: Any = log.redis
    assert await redis.zcard(log.keys.accounts(0, "normal")) < 60
    assert await waiting_for(log) > 0


async def test_waiting_clients_are_counted(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", 4), *bulk("b", 4), task("c"))

    assert [each.clients for each in await claimed(lanes, 2)] == [3, 3]


async def test_a_claim_can_be_for_more_urgent_tasks_alone(log: Log, lanes: Lanes) -> None:
    await put(log, task("a", priority=5), task("a", priority=9))

    assert await claimed(lanes, above="normal") == []
    assert await claimed(lanes, above="high") == []
    await put(log, task("b", priority=1))
    assert await clients(lanes, 2, above="normal") == ["b"]
    assert [each.task.priority for each in await claimed(lanes, 2, above=None)] == [5, 9]


async def test_a_client_pays_although_no_more_urgent_task_waits(log: Log, lanes: Lanes) -> None:
    await put(log, *bulk("a", 3), *bulk("b", 3))
    [first] = await clients(lanes)

    await claimed(lanes, above="normal", settle={("normal", first): -1_000})

    assert await clients(lanes) == [first]
