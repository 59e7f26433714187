import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from ops.client.queue_table import age, spark, table
from ops.client.queues import Queues
from ops.errors import UserError

STAGE: dict[str, Any] = {
    "stage": "metadata",
    "lanes": {
        "high": {"waiting": 1},
        "normal": {"waiting": 0},
        "low": {"waiting": 5_000, "clients": 3},
    },
    "inProgress": 2,
    "delayed": 3,
    "oldestAgeMs": 90_000,
    "inPerS": 10.0,
    "outPerS": 0.25,
    "paused": False,
    "limit": {"concurrency": None, "rate": None},
    "deadLetters": 4,
}
QUEUES: dict[str, Any] = {
    "allPaused": False,
    "concurrency": None,
    "ratesOverMs": 60_012,
    "stages": [STAGE],
    "workers": [],
}


def queues(stage: dict[str, Any] | None = None, **changes: Any) -> Queues:
    whole = QUEUES | {"stages": [STAGE | (stage or {})]} | changes
    return msgspec.convert(whole, Queues)


def lines(now: Queues) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as said:
        console.print(table(now))
    return [line.rstrip() for line in said.get().splitlines()]


def cells(now: Queues) -> list[str]:
    return lines(now)[1].split()


def test_a_stage_is_a_line_with_its_tasks_and_rates() -> None:
    assert cells(queues()) == [
        *("metadata", "1", "0", "5,000", "3", "2", "3", "90", "s", "10.0", "0.25", "4")
    ]


def test_the_heading_names_the_period_of_the_rates() -> None:
    new = queues({"inPerS": None, "outPerS": None}, ratesOverMs=None)

    assert "  In/s (60 s)  Out/s (60 s)  " in lines(queues())[0]
    assert "  In/s  Out/s  " in lines(new)[0]
    assert cells(new)[9:11] == ["–", "–"]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"paused": True}, "paused"),
        ({"paused": True, "state": "paused"}, "paused"),
        ({"paused": True, "state": "draining"}, "draining"),
        ({"limit": {"concurrency": 2}}, "2 at once"),
        ({"limit": {"rate": {"max": 10, "durationMs": 1_000}}}, "10 in 1,000 ms"),
        ({"paused": True, "limit": {"concurrency": 2}}, "paused, 2 at once"),
    ],
)
def test_a_line_ends_with_the_state_of_its_stage(stage: dict[str, Any], said: str) -> None:
    assert lines(queues(stage))[1].endswith(f"4  {said}")


def test_the_state_of_all_stages_is_below_the_table() -> None:
    said = lines(queues(allPaused=True, concurrency=5))

    assert said[2:4] == ["All stages are paused.", "Each worker runs 5 tasks at once."]


def test_workers_are_shown_with_each_task_in_hand() -> None:
    doing = [
        {"stage": stage, "photoId": f"p-{stage}", "attempt": 2, "silentMs": 1_500}
        for stage in ("metadata", "thumbnails")
    ]
    workers: list[dict[str, Any]] = [
        {"name": "busy", "silentMs": 10, "doing": doing},
        {"name": "idle\x1b[2J", "silentMs": 200_000, "doing": []},
    ]

    said = lines(queues(workers=workers))[3:]

    assert said[0].split() == ["Worker", "Doing", "Photo", "Attempt", "Silent", "for"]
    assert said[1].split() == ["busy", "metadata", "p-metadata", "2", "1", "s"]
    assert said[2].split() == ["thumbnails", "p-thumbnails", "2", "1", "s"]
    assert said[3].split() == ["idle\N{REPLACEMENT CHARACTER}[2J", "idle", "3", "min"]


def test_the_table_says_that_no_worker_is_known() -> None:
    assert lines(queues())[3] == "No worker is known."


@pytest.mark.parametrize(
    ("age_ms", "said"),
    [
        (None, "–"),
        (0, "0 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_200_000, "2 h"),
        (172_800_000, "2 d"),
    ],
)
def test_an_age_has_a_suitable_unit(age_ms: int | None, said: str) -> None:
    assert age(age_ms) == said


def test_several_partitions_are_shown_with_their_readers() -> None:
    readers = [{"name": "host:1:aaaa", "silentMs": 3}, {"name": "other:1:bbbb", "silentMs": 3}]
    read = {"partition": 0, "server": None, "answers": True, "toPlan": 2, "readers": readers}
    alone = read | {"partition": 1, "server": "10.0.0.1:6379", "toPlan": None, "readers": []}
    away = alone | {"partition": 2, "answers": False}

    shown = lines(queues(partitions=[read, alone, away]))[-3:]

    assert [" ".join(line.split()) for line in shown] == [
        "0 – 2 host:1:aaaa, other:1:bbbb",
        "1 10.0.0.1:6379 – nobody",
        "2 10.0.0.1:6379 – does not answer",
    ]
    assert "Partition" not in "".join(lines(queues(partitions=[read])))
    named = "Not counted, because it does not answer: partition 2."
    assert named in lines(queues(partitions=[read, alone, away]))
    assert named not in lines(queues(partitions=[read, alone]))


def test_pauses_and_limits_are_unknown_while_their_partition_does_not_answer() -> None:
    unknown = queues({"paused": None, "limit": None}, allPaused=None)

    assert "Which stages are paused or limited is unknown." in lines(unknown)
    with pytest.raises(UserError, match="partition 0 does not answer"):
        unknown.limit_of("metadata")


def test_the_tables_fit_80_columns_with_the_last_hour() -> None:
    paused = queues({"stage": "optimization", "paused": True, "limit": {"concurrency": 2}})
    console = Console(file=io.StringIO(), width=80)

    with console.capture() as said:
        console.print(table(paused, 80, {"optimization": [0, 5_000]}))

    heads, stage, state, *_ = said.get().splitlines()
    assert heads.split()[:5] == ["Stage", "Waiting", "Delayed", "Run", "Oldest"]
    assert stage.split() == [
        "optimization",
        *("5,001", "3", "2", "90", "s", "10.0", "0.25", "4", "█"),
    ]
    assert state.strip() == "paused, 2 at once"
    assert all(len(line) <= 80 for line in said.get().splitlines())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], ""),
        ([0], " "),
        ([0, 1], " █"),
        ([4, 8], "▄█"),
        ([1, 1_000], "▁█"),
        ([0] * 360, " " * 12),
    ],
)
def test_a_line_of_bars_shows_each_value_above_0(values: list[int], said: str) -> None:
    assert spark(values) == said
