"""The decoder pool: children that crash, hang or fail are replaced, and tasks continue."""

import struct
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from domain.photo.results import PlaceholderResult, ValidationResult
from domain.pipeline.failures import Category
from handlers.decoder.pool import DecoderPool
from handlers.stage import BadImage, ImageLimits, Recipe, StageContext
from tests.handlers.decoders import REGISTRY, failure, run, seen, until
from tests.handlers.failing_stages import Seen
from tests.handlers.pictures import encoded, gradient


async def test_a_photo_goes_through_all_stages(photos: Path, tmp_path: Path) -> None:
    photo = photos / "camera" / "nikon-d90.jpg"
    async with DecoderPool(count=2) as pool:
        validation = await run(pool, "validation", photo)
        thumbnails = await run(pool, "thumbnails", photo)
        thumbnail = tmp_path / "thumbnail.webp"
        thumbnail.write_bytes(thumbnails.renditions[0].data)
        placeholder = await run(pool, "placeholder", thumbnail)

    assert validation.result == ValidationResult(
        format="JPEG", mime_type="image/jpeg", width=4288, height=2848
    )
    assert [each.width for each in thumbnails.renditions] == [150, 300, 600]
    assert isinstance(placeholder.result, PlaceholderResult)
    assert len(placeholder.result.blurhash) == 28


async def test_limits_and_recipe_reach_the_children(photo: Path) -> None:
    context = StageContext(limits=ImageLimits(max_pixels=20_000), recipe=Recipe(longest_edge=50))
    async with DecoderPool(count=1, context=context) as pool:
        optimized = await run(pool, "optimization", photo)
        photo.write_bytes(encoded(gradient(201, 100)))
        refused = await failure(pool, "validation", photo, of="b")

    assert optimized.renditions[0].width == 50
    assert refused.code == "too-many-pixels"


async def test_a_photo_is_decoded_once(pool: DecoderPool, photo: Path) -> None:
    first = await seen(pool, photo)
    photo.unlink()

    assert await seen(pool, photo) == first


async def test_photos_are_distributed_over_the_children(pool: DecoderPool, photo: Path) -> None:
    found: list[Seen] = []

    async def look(of: str) -> None:
        found.append(await seen(pool, photo, of=of))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, "a")
        tasks.start_soon(look, "b")

    assert len({each.process for each in found}) == 2


async def test_the_oldest_pictures_are_dropped_and_decoded_again(photo: Path) -> None:
    size_bytes = 200 * 100 * 4
    async with DecoderPool(count=1, registry=REGISTRY, cache_bytes=2 * size_bytes) as pool:
        for of in ("a", "b", "c"):
            await seen(pool, photo, of=of)
        photo.write_bytes(encoded(gradient(60, 50)))

        assert (await seen(pool, photo, of="c")).width == 200
        assert (await seen(pool, photo, of="a")).width == 60


async def test_a_rendition_is_never_taken_for_the_original(pool: DecoderPool, photo: Path) -> None:
    thumbnail = photo.with_name("thumbnail.webp")
    thumbnail.write_bytes(encoded(gradient(15, 10), "WEBP"))

    await seen(pool, photo)
    small = (await run(pool, "look-at-thumbnail", thumbnail)).result

    assert isinstance(small, Seen)
    assert small.width == 15
    assert (await seen(pool, photo)).width == 200


@pytest.mark.parametrize(("stage", "how"), [("crash", "SIGSEGV"), ("leave", "exit status 3")])
async def test_a_child_that_dies_is_replaced(
    mortal: DecoderPool, photo: Path, stage: str, how: str
) -> None:
    before = await seen(mortal, photo)

    failed = await failure(mortal, stage, photo)

    assert (failed.category, failed.code) == (Category.RESOURCE, "decoder-died")
    assert how in failed.message
    assert mortal.restarts == {"decoder-died": 1}
    assert (await seen(mortal, photo)).process != before.process


async def test_a_child_that_hangs_is_killed_and_replaced(mortal: DecoderPool, photo: Path) -> None:
    before = await seen(mortal, photo)

    failed = await failure(mortal, "hang", photo, timeout_s=0.2)

    assert (failed.category, failed.code) == (Category.RESOURCE, "decode-timeout")
    assert not Path(f"/proc/{before.process}").exists()
    assert mortal.restarts == {"decode-timeout": 1}
    assert (await seen(mortal, photo)).process != before.process


async def test_tasks_that_wait_for_a_killed_child_continue(
    mortal: DecoderPool, photo: Path
) -> None:
    failures: list[str] = []
    found: list[Seen] = []

    async def hang() -> None:
        failures.append((await failure(mortal, "hang", photo, timeout_s=0.3)).code)

    async def look() -> None:
        found.append(await seen(mortal, photo))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang)
        await until(lambda: mortal.busy == 1)
        for _ in range(3):
            tasks.start_soon(look)

    assert failures == ["decode-timeout"]
    assert len(found) == 3


async def test_a_hanging_photo_does_not_hold_up_the_others(photo: Path) -> None:
    tasks = anyio.create_task_group()
    async with DecoderPool(count=2, registry=REGISTRY) as pool, tasks:
        await seen(pool, photo)
        tasks.start_soon(run, pool, "hang", photo)
        await until(lambda: pool.busy == 1)

        other = await seen(pool, photo, of="b")
        same = await seen(pool, photo)

        assert other.process == same.process
        tasks.cancel_scope.cancel()


async def test_too_much_memory_is_refused_and_the_child_survives(
    one: DecoderPool, photo: Path
) -> None:
    before = await seen(one, photo)

    failed = await failure(one, "hog", photo)

    assert (failed.category, failed.code) == (Category.RESOURCE, "out-of-memory")
    assert (await seen(one, photo)).process == before.process
    assert not one.restarts


@pytest.mark.parametrize("options", [{"format_": "PNG"}, {"format_": "WEBP", "method": 0}])
async def test_a_picture_too_large_for_the_memory_is_not_called_broken(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    photo = tmp_path / "large"
    photo.write_bytes(encoded(Image.new("RGB", (6000, 6000)), **options))

    async with DecoderPool(count=1, memory_bytes=192 << 20) as pool:
        failed = await failure(pool, "validation", photo)

    assert (failed.category, failed.code) == (Category.RESOURCE, "needs-too-much-memory")


async def test_a_bug_in_a_stage_is_reported_without_paths(one: DecoderPool, photo: Path) -> None:
    before = await seen(one, photo)

    failed = await failure(one, "stumble", photo)

    assert (failed.category, failed.code) == (Category.LOGIC, "stage-crashed")
    assert failed.message == "ZeroDivisionError: in …"
    assert (await seen(one, photo)).process == before.process


async def test_a_stage_that_writes_to_standard_error_leaves_one_traceback_in_the_log(
    photo: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with DecoderPool(count=1, registry=REGISTRY) as pool:
        failed = await failure(pool, "chatter", photo)

    log = caplog.text
    assert capfd.readouterr().err == ""
    assert len(failed.message) == 500
    assert "in chatter" in log
    assert "warns" not in log
    assert "logs" not in log
    assert len(log) < 10_000


async def test_a_file_with_a_thousand_oddities_writes_nothing_into_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    entries = b"".join(struct.pack("<HHII", tag, 2, 60_000_000, 8) for tag in range(1_000))
    photo = tmp_path / "odd.tif"
    photo.write_bytes(b"II*\0" + struct.pack("<IH", 8, 1_000) + entries + bytes(4))

    async with DecoderPool(count=1) as pool:
        failed = await failure(pool, "validation", photo)

    assert failed.code == "unreadable-image"
    assert capfd.readouterr().err == ""


async def test_failures_of_a_stage_are_reported_unchanged(one: DecoderPool, photo: Path) -> None:
    refused = await failure(one, "refuse", photo)
    given_up = await failure(one, "give_up", photo)

    assert isinstance(refused, BadImage)
    assert (refused.category, refused.code) == (Category.SECURITY, "too-ugly")
    assert not isinstance(given_up, BadImage)
    assert (given_up.category, given_up.code) == (Category.CONFIGURATION, "no-model")


async def test_a_bad_image_is_refused_by_a_child_too(pool: DecoderPool, photos: Path) -> None:
    bomb = await failure(pool, "validation", photos / "hostile" / "bomb-60000x60000.png")
    fuzzed = await failure(pool, "metadata", photos / "hostile" / "fuzz-d708eeb6.jpg")

    assert isinstance(bomb, BadImage)
    assert bomb.code == "too-many-pixels"
    assert fuzzed.code == "not-an-image"
    assert not pool.restarts


async def test_an_unknown_stage_and_a_missing_file_are_failures(
    one: DecoderPool, photo: Path
) -> None:
    unknown = await failure(one, "enlarge", photo)
    missing = await failure(one, "look", photo.with_name("gone.jpg"))

    assert (unknown.category, unknown.code) == (Category.CONFIGURATION, "unknown-stage")
    assert (missing.category, missing.code) == (Category.TEMPORARY, "unreadable-file")
    assert str(photo.parent) not in missing.message


async def test_a_library_that_prints_breaks_nothing(one: DecoderPool, photo: Path) -> None:
    await run(one, "talk", photo)

    assert (await seen(one, photo)).width == 200


async def test_a_large_rendition_arrives_whole(one: DecoderPool, photo: Path) -> None:
    output = await run(one, "swell", photo)

    assert len(output.renditions[0].data) == 3_000_000


async def test_a_cancelled_task_that_waits_is_removed(mortal: DecoderPool, photo: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(failure, mortal, "hang", photo)
        await until(lambda: mortal.busy == 1)
        tasks.start_soon(run, mortal, "look", photo)
        await until(lambda: mortal.waiting == 1)

        tasks.cancel_scope.cancel()

    assert mortal.waiting == 0


async def test_cancelling_a_running_task_leaves_the_pool_usable(
    mortal: DecoderPool, photo: Path
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run(mortal, "hang", photo, timeout_s=0.3))
        await until(lambda: mortal.busy == 1)
        tasks.cancel_scope.cancel()

    assert (await seen(mortal, photo)).width == 200
    assert mortal.restarts == {"decode-timeout": 1}


async def test_closing_the_pool_fails_unfinished_tasks(photo: Path) -> None:
    codes: list[str] = []

    async def expect_failure(stage: str) -> None:
        codes.append((await failure(pool, stage, photo)).code)

    async with anyio.create_task_group() as tasks, DecoderPool(count=1, registry=REGISTRY) as pool:
        tasks.start_soon(expect_failure, "hang")
        await until(lambda: pool.busy == 1)
        tasks.start_soon(expect_failure, "look")
        await until(lambda: pool.waiting == 1)
    await expect_failure("look")

    assert codes == ["decoders-stopped"] * 3
