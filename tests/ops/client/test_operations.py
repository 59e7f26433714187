import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ops.client.backfill import Progress, backfill
from ops.client.operations import Operations
from ops.errors import UserError

BUSY = {"title": "Busy", "code": "busy", "detail": "", "advice": ""}


def lanes(low: int = 0) -> dict[str, Any]:
    waiting = {"high": 0, "normal": 0, "low": low}
    return {name: {"waiting": number} for name, number in waiting.items()}


def queues(low: int = 0) -> dict[str, Any]:
    stage = {
        "stage": "placeholder",
        "lanes": lanes(low),
        "inProgress": 0,
        "delayed": 0,
        "oldestAgeMs": None,
        "paused": False,
        "limit": {},
        "deadLetters": 0,
    }
    return {
        "allPaused": False,
        "concurrency": None,
        "stages": [stage],
        "workers": [],
    }


def page(requested: int, cursor: str | None = None, **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"already": 0, "skipped": [], "total": None}
    return {**empty, "requested": requested, "nextCursor": cursor, **more}


def answering(*answers: Any) -> tuple[Operations, list[httpx.Request]]:
    """Return operations of a server with these answers in turn: JSON, a response or an error."""
    asked: list[httpx.Request] = []
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, httpx.Response) else httpx.Response(200, json=given)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://photolog")
    return Operations(client), asked


def busy() -> httpx.Response:
    return httpx.Response(503, headers={"Retry-After": "0"}, json=BUSY)


async def test_a_server_that_has_answered_is_retried_while_busy_or_unreachable() -> None:
    operations, asked = answering(queues(), busy(), httpx.ReadError("gone"), queues())

    await operations.queues()
    await operations.queues()

    assert len(asked) == 4


@pytest.mark.parametrize(
    ("first", "error"), [(busy(), UserError), (httpx.ReadError("gone"), httpx.ReadError)]
)
async def test_a_server_that_never_answered_is_not_retried(
    first: Any, error: type[Exception]
) -> None:
    operations, asked = answering(first, queues())

    with pytest.raises(error):
        await operations.queues()

    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answers", "calls"),
    [
        ([(5, 0)], 1),
        ([(0, 0)], 1),
        ([(5, 7), (5, 2), (2, 0)], 3),
        ([(0, 9), (0, 4), (0, 0)], 3),  # tasks of ended jobs are removed too
        ([(5, 7), (5, 7)], 2),  # new tasks arrive as fast
        ([(0, 3), (0, 3)], 2),
    ],
)
async def test_cancelling_goes_on_while_fewer_remain(
    answers: list[tuple[int, int]], calls: int
) -> None:
    given = [{"cancelled": cancelled, "remaining": remaining} for cancelled, remaining in answers]
    operations, asked = answering(*given)

    found = [each.cancelled async for each in operations.cancel("all", "why")]

    assert found == [cancelled for cancelled, _ in answers]
    assert len(asked) == calls


def rest(running: int, *, paused: bool = True) -> dict[str, Any]:
    idle = paused and running == 0
    stage = {"stage": "metadata", "paused": paused, "idle": idle, "running": running}
    return stage | {"unaware": [], "silent": [], "workers": []}


@pytest.mark.parametrize(
    ("answers", "timeout_s"),
    [
        ([rest(0)], 9),
        ([rest(2), rest(2), rest(1), rest(0)], 9),
        ([rest(2), rest(2, paused=False)], 9),  # somebody resumes it
        ([rest(2)], 0),
    ],
)
async def test_a_drain_pauses_once_and_then_only_waits(
    answers: list[dict[str, Any]], timeout_s: float
) -> None:
    operations, asked = answering(*answers)

    found = [each async for each in operations.drain("metadata", timeout_s)]

    assert [each.running for each in found] == [each["running"] for each in answers]
    assert [each.method for each in asked] == ["POST", *["GET"] * (len(answers) - 1)]
    assert {each.url.path for each in asked} == {"/api/ops/queues/metadata/drain"}


async def test_a_sweep_follows_every_selection_to_its_end() -> None:
    first: dict[str, Any] = {"retried": 2, "skipped": [], "nextCursor": "c"}
    last = {"retried": 1, "skipped": [{"photoId": "p", "code": "job-running"}], "nextCursor": None}
    operations, asked = answering(first, last, last)

    swept = [each async for each in operations.sweep("retry", [{"all": True}, {"photoIds": ["p"]}])]

    assert [each.done for each in swept] == [2, 1, 1]
    assert [json.loads(each.content) for each in asked] == [
        {"all": True},
        {"all": True, "cursor": "c"},
        {"photoIds": ["p"]},
    ]


async def test_a_list_ends_at_its_limit() -> None:
    pages = [{"items": [1] * 50, "nextCursor": "c"}, {"items": [2] * 10, "nextCursor": "d"}]
    operations, asked = answering(*pages)

    found = [bytes(each) async for each in operations.dead_letters(60, stage="metadata", code=None)]

    assert found == [b"1"] * 50 + [b"2"] * 10
    assert dict(asked[1].url.params) == {"stage": "metadata", "cursor": "c", "limit": "10"}


class TestBackfill:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] # pytest calls it
        monkeypatch.setattr("ops.client.backfill.LOOK_S", 0.001)

    async def run(
        self, operations: Operations, told: Callable[[Progress], None] = lambda _: None
    ) -> Progress:
        return await backfill(operations, "placeholder", "first", ahead=10, told=told)

    async def test_it_waits_before_each_page_while_too_many_tasks_wait(self) -> None:
        operations, asked = answering(
            *(queues(11), queues(10), page(2, "c", total=3)),
            *(queues(40), queues(11), queues(0), page(1)),
        )

        done = await self.run(operations)

        assert [request.method for request in asked] == [
            *("GET", "GET", "POST"),
            *("GET", "GET", "GET", "POST"),
        ]
        assert json.loads(asked[-1].content)["cursor"] == "c"
        assert (done.requested, done.total) == (3, 3)

    async def test_it_reports_its_progress(self) -> None:
        skipped = [{"photoId": "p", "code": "job-running"}]
        operations, _ = answering(
            *(queues(5), page(2, "c", total=4, already=1, skipped=skipped), queues(7)), page(0)
        )
        told: list[tuple[int, int, int]] = []

        await self.run(operations, lambda p: told.append((p.passed, p.total, p.waiting)))

        assert told == [(0, 0, 5), (4, 4, 5), (4, 4, 7), (4, 4, 7)]
