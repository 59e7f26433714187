"""Model tests: each task is handed out once, and no waiting client is starved."""

import asyncio
import itertools
import uuid
from collections import defaultdict, deque
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.pipeline.stages import Task, lane
from store.log import codec
from store.log.log import Log
from store.queue.lanes import Claimed, Lanes
from store.queue.turns import GRACE_MS, ClaimRequest
from store.redis.connection import connect
from tests.store.waiting import NEVER_IDLE_MS

CLIENTS = ("alice", "bob", "carol")
STAGES = ("metadata", "validation")
NAMES = ("high", "normal", "low")
COSTS = st.sampled_from((1, 90, 700, 4_000, 25_000))
PROMISED = ClaimRequest(stages=STAGES)


def task(number: int, client: str, stage: str, priority: int, cost_ms: int) -> Task:
    return Task(
        photo_id=str(number),
        client_id=client,
        job_id="job",
        stage=stage,
        priority=priority,
        trace_id="t",
        cause="0:1-0",
        cost_ms=cost_ms,
        follows=stage != "validation" and number % 2 == 0,
    )


class LanesAndLists(RuleBasedStateMachine):
    """Two consumers, three clients, all lanes; the turns are lost repeatedly."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Any = connect(self.url)
        prefix = f"test-{uuid.uuid4().hex}"
        self.log = self.runner.run(Log.open(self.redis, prefix=prefix))
        self.consumers = [Lanes(self.log, name, STAGES) for name in ("one", "two")]
        for each in self.consumers:
            self.runner.run(each.prepare(0))
        self.numbers = itertools.count()
        self.waiting: dict[tuple[str, str, str], deque[Task]] = defaultdict(deque)
        self.held: dict[int, list[Claimed]] = {0: [], 1: []}
        self.owed: dict[tuple[str, str], int] = {}
        self.is_whole = True

    def teardown(self) -> None:
        self.runner.run(self._all())
        self.runner.run(self.redis.aclose())
        self.runner.close()

    async def _all(self) -> None:
        """Check that exactly the remaining tasks can be claimed."""
        await self.consumers[0].prepare(0)
        for _ in range(sum(map(len, self.waiting.values()))):
            (found,) = await self.consumers[0].claim(0, 1, PROMISED)
            self._check(found, exactly=True)
        assert await self.consumers[0].claim(0, 1, PROMISED) == []

    def _check(self, found: Claimed, *, exactly: bool) -> None:
        each = found.task
        line = self.waiting[lane(each.priority), each.stage, each.client_id]
        assert each in line
        if exactly:
            assert each == line[0]
        line.remove(each)
        assert found.claim.lane_key == self.log.keys.lane(0, each.stage, lane(each.priority))
        assert found.deliveries == 1

    def _put(self, each: Task) -> None:
        key = self.log.keys.lane(0, each.stage, lane(each.priority))
        self.runner.run(self.redis.xadd(key, {"b": codec.encode_task(each)}))
        self.waiting[lane(each.priority), each.stage, each.client_id].append(each)

    @rule(
        client=st.sampled_from(CLIENTS),
        stage=st.sampled_from(STAGES),
        priority=st.sampled_from((1, 5, 9)),
        cost_ms=COSTS,
        count=st.integers(1, 4),
    )
    def come(self, client: str, stage: str, priority: int, cost_ms: int, count: int) -> None:
        for _ in range(count):
            self._put(task(next(self.numbers), client, stage, priority, cost_ms))

    @rule(
        who=st.integers(0, 1),
        count=st.integers(1, 3),
        stages=st.sampled_from((STAGES, STAGES[:1], STAGES[1:])),
        of_client=st.dictionaries(st.sampled_from(CLIENTS), st.integers(0, 2), max_size=2),
        of_each=st.sampled_from((None, 1, 2)),
        of_stage=st.dictionaries(st.sampled_from(STAGES), st.integers(1, 2)),
        dear_ms=st.sampled_from((None, 2_000)),
    )
    def claim(
        self,
        who: int,
        count: int,
        stages: tuple[str, ...],
        of_client: dict[str, int],
        of_each: int | None,
        of_stage: dict[str, int],
        dear_ms: int | None,
    ) -> None:
        request = ClaimRequest(
            stages=stages,
            most_of=of_stage,
            most_of_client=of_client,
            most_of_each=of_each,
            dear_ms=dear_ms,
            settle=self.owed,
        )
        self.owed = {}
        found = self.runner.run(self.consumers[who].claim(0, count, request))

        each_may = count if of_each is None else of_each
        left_of_client = {client: of_client.get(client, each_may) for client in CLIENTS}
        left_of_stage = {stage: of_stage.get(stage, count) for stage in stages}
        for each in found:
            left_of_client[each.task.client_id] -= 1
            left_of_stage[each.task.stage] -= 1
            self._check(each, exactly=self.is_whole)
            self.held[who].append(each)
        assert min((*left_of_client.values(), *left_of_stage.values())) >= 0
        dear = [dear_ms is not None and each.task.cost_ms > dear_ms for each in found]
        assert not any(dear[:-1])
        if self.is_whole and len(found) < count and not any(dear):
            assert not any(
                line and left_of_stage.get(stage, 0) > 0 and left_of_client[client] > 0
                for (_, stage, client), line in self.waiting.items()
            )

    @precondition(lambda self: any(self.held.values()))
    @rule(who=st.integers(0, 1), spent_ms=COSTS)
    def end(self, who: int, spent_ms: int) -> None:
        if self.held[who]:
            done = self.held[who].pop(0)
            account = lane(done.task.priority), done.task.client_id
            self.owed[account] = self.owed.get(account, 0) + spent_ms - done.task.charge_ms
            self.runner.run(self.log.acknowledge(done.task, done.claim))

    @precondition(lambda self: any(self.held.values()))
    @rule(who=st.integers(0, 1))
    def hand_back(self, who: int) -> None:
        if self.held[who]:
            back = self.held[who].pop()
            assert self.runner.run(self.consumers[who].release([back.claim])) == 1
            key = lane(back.task.priority), back.task.stage, back.task.client_id
            self.waiting[key].append(back.task)

    @rule(heir=st.integers(0, 1), stalled=st.booleans())
    def take_over(self, heir: int, stalled: bool) -> None:
        idle_ms = 0 if stalled else NEVER_IDLE_MS
        dead = None if stalled else ("one", "two")[1 - heir]
        taken = self.runner.run(self.consumers[heir].abandoned(0, idle_ms=idle_ms, dead=dead))

        names = {each.claim.entry_id for each in taken}
        lost = {each.claim.entry_id for each in self.held[1 - heir]}
        own = {each.claim.entry_id for each in self.held[heir]}
        assert lost <= names <= lost | own
        self.held[heir] = [each for each in self.held[heir] if each.claim.entry_id not in names]
        self.held[heir] += [msgspec.structs.replace(each, deliveries=1) for each in taken]
        self.held[1 - heir] = []

    @rule(
        kind=st.sampled_from(("turns", "waiting", "accounts")),
        name=st.sampled_from(NAMES),
        stage=st.sampled_from(STAGES),
        retyped=st.booleans(),
    )
    def lose(self, kind: str, name: str, stage: str, retyped: bool) -> None:
        keys = self.log.keys
        key = {
            "turns": keys.turns(0, stage, name),
            "waiting": keys.waiting(0, stage, name),
            "accounts": keys.accounts(0, name),
        }[kind]
        self.runner.run(self.redis.delete(key))
        self.is_whole = False
        if retyped:
            self.runner.run(self.redis.set(key, "x"))
            self.mend()

    @rule()
    def mend(self) -> None:
        for each in self.consumers:
            self.runner.run(each.prepare(0))
        self.is_whole = True

    @invariant()
    def the_lanes_have_what_waits_and_what_is_held(self) -> None:
        async def lengths() -> int:
            lanes = [self.log.keys.lane(0, stage, name) for stage in STAGES for name in NAMES]
            return sum([await self.redis.xlen(each) for each in lanes])

        held = sum(map(len, self.held.values()))
        waiting = sum(map(len, self.waiting.values()))
        assert self.runner.run(lengths()) == held + waiting


def test_every_task_is_handed_out_once_whatever_happens(redis_url: str) -> None:
    class Machine(LanesAndLists):
        url = redis_url

    run_state_machine_as_test(  # pyright: ignore[reportUnknownMemberType]
        Machine, settings=settings(max_examples=25, stateful_step_count=40)
    )


FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Step(msgspec.Struct, frozen=True, kw_only=True):
    client: str
    expected_ms: int
    took_ms: int


STEPS = st.lists(
    st.builds(Step, client=st.sampled_from(CLIENTS), expected_ms=COSTS, took_ms=COSTS),
    min_size=10,
    max_size=60,
)


async def ahead(log: Log, steps: list[Step], hand: int, later: int) -> list[int]:
    """Return how much more one waiting client was served than another since both began to wait.

    One number per pair of clients and claim, in ms. The last ``later`` tasks arrive one by one,
    after each claim.
    """
    lanes = Lanes(log, "one", STAGES)
    await lanes.prepare(0)
    took: dict[str, int] = {}
    left: dict[str, int] = defaultdict(int)
    served: dict[str, int] = defaultdict(int)
    since: dict[tuple[str, str], int] = {}

    async def come(number: int) -> None:
        each = steps[number]
        new = task(number, each.client, "validation", 5, each.expected_ms)
        key = log.keys.lane(0, "validation", "normal")
        await log.redis.xadd(key, {"b": codec.encode_task(new)})
        took[new.photo_id] = each.took_ms
        left[each.client] += 1

    for number in range(len(steps) - later):
        await come(number)
    in_hand: deque[Claimed] = deque()
    owed: dict[tuple[str, str], int] = {}
    seen: list[int] = []
    for number in range(len(steps)):
        for pair in itertools.permutations(CLIENTS, 2):
            if not all(left[each] for each in pair):
                since.pop(pair, None)
            else:
                since.setdefault(pair, served[pair[0]] - served[pair[1]])
        if len(in_hand) == hand:
            done = in_hand.popleft()
            account = "normal", done.task.client_id
            owed[account] = took[done.task.photo_id] - done.task.charge_ms
            await log.acknowledge(done.task, done.claim)
        (found,) = await lanes.claim(0, 1, ClaimRequest(stages=STAGES, settle=owed))
        owed = {}
        in_hand.append(found)
        served[found.task.client_id] += took[found.task.photo_id]
        left[found.task.client_id] -= 1
        seen += [abs(served[a] - served[b] - was) for (a, b), was in since.items()]
        if number < later:
            await come(len(steps) - later + number)
    return seen


@FEW
@given(steps=STEPS, hand=st.integers(1, 4))
def test_no_waiting_client_is_served_more_than_a_task_ahead_of_another(
    redis_url: str, steps: list[Step], hand: int
) -> None:
    right = [msgspec.structs.replace(each, took_ms=each.expected_ms) for each in steps]

    seen = asyncio.run(_alone(redis_url, right, hand, 0))

    assert max(seen, default=0) <= max(each.took_ms for each in right)


async def _alone(url: str, steps: list[Step], hand: int, later: int) -> list[int]:
    redis = connect(url)
    try:
        log = await Log.open(redis, prefix=f"test-{uuid.uuid4().hex}")
        return await ahead(log, steps, hand, later)
    finally:
        await redis.aclose()


@FEW
@given(steps=STEPS, hand=st.integers(1, 4), share=st.floats(0, 1))
def test_the_bound_also_holds_with_wrong_costs_and_clients_that_come_and_go(
    redis_url: str, steps: list[Step], hand: int, share: float
) -> None:
    later = int(share * len(steps) / 2)

    seen = asyncio.run(_alone(redis_url, steps, hand, later))

    largest = max(max(each.expected_ms, each.took_ms) for each in steps)
    assert max(seen, default=0) <= (2 + 2 * hand) * largest + GRACE_MS
