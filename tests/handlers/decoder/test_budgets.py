"""Memory is reserved before a picture is decoded, and clients take turns by decoder time."""

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from PIL import Image

from domain.pipeline.failures import Category
from handlers.decoder.budget import Budget, affordable
from handlers.decoder.pool import DecoderPool
from handlers.decoder.queue import DecodeTask, Queue
from handlers.decoder.settings import Pace
from handlers.decoder.turns import ClientUsage
from handlers.imaging.cost import Cost, TooCostly
from handlers.imaging.picture import load
from handlers.registry import find_stages
from handlers.stage import Output, StageFailure
from tests.handlers.failing_stages import Seen
from tests.handlers.pictures import encoded, gradient

REGISTRY = "tests.handlers.failing_stages:TABLE"
MB = 1 << 20


@pytest.fixture
def cheap(tmp_path: Path) -> Path:
    path = tmp_path / "cheap.jpg"
    path.write_bytes(encoded(gradient(200, 100), "JPEG"))
    return path


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file of 36 megapixels, which takes over 700 MB to decode."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.webp"
    path.write_bytes(encoded(Image.new("RGB", (6000, 6000)), "WEBP", lossless=True, method=0))
    return path


async def run(pool: DecoderPool, stage: str, path: Path, of: str, client: str = "") -> Output:
    return await pool.run(stage=stage, affinity=of, source=path, timeout_s=60, client=client)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.002)


async def test_a_picture_that_can_never_fit_is_refused_before_it_is_decoded(bomb: Path) -> None:
    async with DecoderPool(count=1, budget_bytes=512 * MB) as pool:
        with pytest.raises(StageFailure) as failed:
            await run(pool, "validation", bomb, "a")

        assert failed.value.code == "needs-too-much-memory"
        assert failed.value.category == Category.RESOURCE
        assert "36 megapixels" in str(failed.value)
        assert not pool.restarts


async def test_expensive_pictures_never_take_more_memory_than_there_is(
    bomb: Path, cheap: Path
) -> None:
    async with DecoderPool(count=3, budget_bytes=1900 * MB) as pool:
        most = 0

        async def decode(of: str) -> None:
            nonlocal most
            await run(pool, "validation", bomb, of)
            most = max(most, pool.budget.taken_bytes)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(decode, f"bomb-{number}")
            await until(lambda: pool.budget.taken_bytes > 0)
            for number in range(6):
                most = max(most, pool.budget.taken_bytes)
                await run(pool, "validation", cheap, f"cheap-{number}")

        assert pool.budget.spare_bytes > 0
        assert most <= pool.budget.spare_bytes
        assert pool.budget.taken_bytes == 0
        assert not pool.restarts


async def test_a_decoder_is_always_left_for_cheap_pictures(bomb: Path, cheap: Path) -> None:
    pace = Pace(expensive_s=0.5)
    async with DecoderPool(count=2, registry=REGISTRY, pace=pace) as pool:
        tasks = anyio.create_task_group()
        async with tasks:
            for number in range(3):
                tasks.start_soon(run, pool, "hang", bomb, f"bomb-{number}", "mallory")
            await until(lambda: pool.busy == 1 and pool.waiting == 2)

            for number in range(3):
                await run(pool, "look", cheap, f"cheap-{number}", "alice")

            assert pool.waiting == 2
            tasks.cancel_scope.cancel()


async def test_pictures_that_turn_out_to_be_slow_give_a_decoder_back(cheap: Path) -> None:
    async with DecoderPool(count=2, registry=REGISTRY, pace=Pace(slow_s=0.2)) as pool:
        tasks = anyio.create_task_group()
        async with tasks:
            for number in range(2):
                tasks.start_soon(run, pool, "hang", cheap, f"slow-{number}", "mallory")
            await until(lambda: pool.busy == 2)

            await run(pool, "look", cheap, "cheap", "alice")

            assert pool.restarts == {"preempted": 1}
            tasks.cancel_scope.cancel()


async def test_clients_take_turns_however_many_tasks_one_has(cheap: Path) -> None:
    ended: list[str] = []
    before = 0
    async with DecoderPool(count=1, registry=REGISTRY) as pool:

        async def look(of: str, client: str) -> None:
            await run(pool, "look", cheap, of, client)
            ended.append(client)

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(look, f"m{number}", "mallory")
            await until(lambda: pool.waiting >= 38)
            before = len(ended)
            for number in range(2):
                tasks.start_soon(look, f"a{number}", "alice")

    assert ended.count("alice") == 2
    assert set(ended[before + 10 :]) == {"mallory"}


async def test_decoded_pictures_are_finished_before_others_are_decoded(tmp_path: Path) -> None:
    """A decoder keeps only a few pictures, whoever they belong to."""
    small = encoded(gradient(60, 50), "JPEG")
    widths: list[int] = []
    async with DecoderPool(count=1, registry=REGISTRY, cache_bytes=2 * 200 * 100 * 4) as pool:

        async def look(path: Path, of: str) -> None:
            seen = (await run(pool, "look", path, of, of)).result
            assert isinstance(seen, Seen)
            widths.append(seen.width)

        async def process(of: str) -> None:
            path = tmp_path / of
            path.write_bytes(encoded(gradient(200, 100), "JPEG"))
            await look(path, of)
            path.write_bytes(small)  # so that a second decode would show
            async with anyio.create_task_group() as stages:
                for _ in range(3):
                    stages.start_soon(look, path, of)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(process, f"client-{number}")

    assert widths == [200] * 24


@pytest.mark.parametrize(("used_s", "first"), [(1.0, "held"), (3.0, "new")])
async def test_a_decoded_picture_gives_no_client_a_large_advantage(
    used_s: float, first: str
) -> None:
    budget = Budget(8 << 30, 2, cache_bytes=64 * MB, process_bytes=3 << 30)
    queue = Queue(find_stages(REGISTRY), budget, 2.0, 2)
    queue.add(decode_task("waits", "patient"))
    queue.add(decode_task("held", "eager"))
    begun = queue.take(lambda photo: photo == "held", never, never, 0.0)
    assert begun is not None
    queue.add(decode_task("held", "eager"))
    queue.add(decode_task("new", "newcomer"))
    queue.give_back(begun, used_s)

    found = queue.take(lambda photo: photo == "held", lambda photo: photo == "waits", never, 0.0)

    assert found is not None
    assert found.request.photo == first


def decode_task(photo: str, client: str) -> DecodeTask:
    return DecodeTask("look", photo, Path(photo), client=client, timeout_s=60, sha256=None)


def never(_photo: str) -> bool:
    return False


async def test_no_task_loses_its_decoder_twice(cheap: Path) -> None:
    """A slow task that started over ends by its own time-out."""
    async with DecoderPool(count=2, registry=REGISTRY, pace=Pace(slow_s=0.1)) as pool:
        codes: list[str] = []

        async def hang(of: str) -> None:
            with pytest.raises(StageFailure) as failed:
                await pool.run(stage="hang", affinity=of, source=cheap, timeout_s=1.5)
            codes.append(failed.value.code)

        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(hang, f"slow-{number}")
            await until(lambda: pool.busy == 2)
            while len(codes) < 2:
                await run(pool, "look", cheap, "cheap")

        assert codes == ["decode-timeout"] * 2
        assert pool.restarts["preempted"] == 1


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"format_": "WEBP", "lossless": True, "method": 0}, 500 * MB, 800 * MB),
        ({"format_": "PNG"}, 90 * MB, 300 * MB),
        ({"format_": "JPEG"}, 20 * MB, 120 * MB),
        ({"format_": "JPEG", "progressive": True}, 100 * MB, 350 * MB),
    ],
)
def test_the_header_predicts_the_cost_of_decoding(
    options: dict[str, object], least: int, most: int
) -> None:
    data = encoded(Image.new("RGB", (6000, 5000)), **options)  # type: ignore[arg-type]

    def refuse(cost: Cost) -> None:
        raise TooCostly(cost)

    with pytest.raises(TooCostly) as found:
        load(data, None, refuse)

    assert found.value.cost.pixels == 30_000_000
    assert least < found.value.cost.memory_bytes < most


@pytest.mark.parametrize("total", [256 * MB, 1 << 30, 8 << 30])
def test_shares_of_all_decoders_fit_into_the_total(total: int) -> None:
    count = affordable(total, os.cpu_count() or 1, 64 * MB)

    budget = Budget(total, count, cache_bytes=64 * MB, process_bytes=3 << 30)

    resting = count * (80 + 64) * MB
    assert resting + count * budget.allowance_bytes + budget.spare_bytes <= total
    assert budget.largest_bytes <= budget.allowance_bytes + budget.spare_bytes


def test_nobody_saves_up_turns_by_being_away() -> None:
    usage = ClientUsage()
    usage.add("alice")
    usage.begin("alice", 50)
    usage.end("alice", 50, 100)
    usage.begin("alice", 50)
    usage.add("bob")

    assert (usage.used_s("alice"), usage.used_s("bob")) == (150, 100)
