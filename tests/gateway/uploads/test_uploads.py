import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from domain.photo.events import PhotoUploaded
from gateway.http.limits import Limits
from store.blobs.interface import original_key
from store.log.position import Position
from tests.gateway.conftest import DEADLINE_S, Gateway, picture, until
from tests.gateway.processing import fail, process, start

UPLOAD = "/api/photos/upload"


async def events(gateway: Gateway) -> list[PhotoUploaded]:
    """What the log has of uploads."""
    return [
        recorded.event.data
        async for recorded in gateway.log.scan(0)
        if isinstance(recorded.event.data, PhotoUploaded)
    ]


async def test_a_new_photo_is_created_and_its_bytes_are_kept(gateway: Gateway) -> None:
    data = picture()

    answer = await gateway.upload(data, sessionId="trip", pipeline="quick_processing", priority="2")

    photo = answer.json()
    assert answer.status_code == 201
    assert (photo["status"], photo["duplicate"]) == ("queued", False)
    assert answer.headers["X-Log-Position"] == photo["position"]
    assert answer.headers["Location"] == f"/api/photos/{photo['photoId']}"
    assert gateway.stored() == [original_key(photo["photoId"])]
    assert (gateway.blobs.root / original_key(photo["photoId"])).read_bytes() == data
    [recorded] = [recorded async for recorded in gateway.log.scan(0)]
    event = recorded.event
    assert str(recorded.position) == photo["position"]
    assert (event.metadata.source, event.metadata.actor) == ("gateway", "client:alice")
    assert (event.metadata.client_id, event.metadata.session_id) == ("alice", "trip")
    assert event.data == PhotoUploaded(
        photo_id=photo["photoId"],
        job_id=photo["jobId"],
        original_filename="picture.png",
        mime_type="image/png",
        file_size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        bucket="photolog",
        key=original_key(photo["photoId"]),
        pipeline="quick_processing",
        priority=2,
    )


async def test_fields_may_come_after_the_file_or_be_left_empty(gateway: Gateway) -> None:
    form = [
        ("file", ("a.png", picture())),
        ("sessionId", (None, "späť")),
        ("priority", (None, "")),
    ]

    answer = await gateway.client.post(UPLOAD, files=form)

    assert answer.status_code == 201
    [recorded] = [recorded async for recorded in gateway.log.scan(0)]
    assert recorded.event.metadata.session_id == "späť"


async def test_the_type_is_told_by_the_bytes_not_by_what_the_sender_says(gateway: Gateway) -> None:
    form = {"file": ("a.exe", picture(), "application/x-msdownload")}

    answer = await gateway.client.post(UPLOAD, files=form)

    assert answer.status_code == 201
    [uploaded] = await events(gateway)
    assert uploaded.mime_type == "image/png"


async def test_every_accepted_format_is_taken(gateway: Gateway, photos: Path) -> None:
    files = sorted((photos / "formats").iterdir())

    answers = [await gateway.upload(file.read_bytes()) for file in files]

    assert {answer.status_code for answer in answers} == {201}
    assert [uploaded.mime_type for uploaded in await events(gateway)] == [
        *("image/webp", "image/heic", "image/avif", "image/webp"),
        *("image/gif", "image/png", "image/tiff"),
    ]


async def test_a_real_photo_comes_back_byte_for_byte(gateway: Gateway, photos: Path) -> None:
    data = (photos / "camera" / "nikon-d90.jpg").read_bytes()

    photo = (await gateway.upload(data)).json()

    original = await gateway.get(
        f"/api/photos/{photo['photoId']}/original", after=photo["position"]
    )
    assert original.content == data


async def test_a_photo_shorter_than_the_bytes_that_tell_formats_is_taken(gateway: Gateway) -> None:
    answer = await gateway.upload(b"GIF89a")

    assert answer.status_code == 201


async def test_the_same_bytes_again_are_that_photo(gateway: Gateway) -> None:
    data = picture()
    first = await gateway.upload(data)

    again = await gateway.upload(data)

    assert again.status_code == 200
    assert again.json() == first.json() | {"duplicate": True}
    assert gateway.stored() == [original_key(first.json()["photoId"])]
    assert len(await events(gateway)) == 1


async def test_a_duplicate_says_how_far_that_photo_is(gateway: Gateway) -> None:
    data, other = picture(), picture()
    photo, doomed = (await gateway.upload(data)).json(), (await gateway.upload(other)).json()

    await start(gateway, photo)
    processing = await gateway.upload(data)
    end = await process(gateway, photo)
    completed = await gateway.upload(data)
    await fail(gateway, doomed)
    failed = await gateway.upload(other)

    assert processing.json()["status"] == "processing"
    assert (completed.json()["status"], completed.json()["position"]) == ("completed", end)
    assert failed.json()["status"] == "failed"


async def test_the_same_bytes_of_another_client_are_another_photo(gateway: Gateway) -> None:
    data = picture()
    first = await gateway.upload(data)

    answer = await gateway.upload(data, name="bob")

    assert answer.status_code == 201
    assert answer.json()["photoId"] != first.json()["photoId"]


async def test_a_deleted_photo_can_be_uploaded_again(gateway: Gateway) -> None:
    data = picture()
    photo = (await gateway.upload(data)).json()
    await gateway.client.delete(f"/api/photos/{photo['photoId']}")

    again = await gateway.upload(data)

    assert again.status_code == 201
    assert again.json()["photoId"] != photo["photoId"]


async def test_twenty_uploads_of_the_same_bytes_at_once_make_one_photo(gateway: Gateway) -> None:
    data = picture((300, 300))
    answers: list[httpx.Response] = []

    async def upload() -> None:
        answers.append(await gateway.upload(data))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(upload)

    photo_ids = {answer.json()["photoId"] for answer in answers}
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len(photo_ids) == 1
    assert gateway.stored() == [original_key(photo_ids.pop())]
    assert len(await events(gateway)) == 1


async def keyed(gateway: Gateway, data: bytes, key: str, name: str = "alice") -> httpx.Response:
    return await gateway.client.post(
        UPLOAD,
        files={"file": ("a.png", data)},
        headers={"Idempotency-Key": key, **gateway.bearer(name)},
    )


async def test_the_same_idempotency_key_gets_the_same_answer(gateway: Gateway) -> None:
    data = picture()
    first = await keyed(gateway, data, "one")
    await process(gateway, first.json())

    again = await keyed(gateway, data, "one")

    assert (again.status_code, again.json()) == (201, first.json())
    assert len([key for key in gateway.stored() if key.startswith("originals/")]) == 1
    assert len(await events(gateway)) == 1


async def test_ten_uploads_under_one_key_at_once_get_the_same_answer(gateway: Gateway) -> None:
    data = picture()
    answers: list[httpx.Response] = []

    async def upload() -> None:
        answers.append(await keyed(gateway, data, "one"))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(upload)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(gateway.stored()) == 1


async def test_a_key_is_not_for_other_bytes(gateway: Gateway) -> None:
    await keyed(gateway, picture(), "one")
    before = gateway.stored()

    answer = await keyed(gateway, picture(), "one")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert gateway.stored() == before
    assert len(before) == 1


async def test_a_photo_is_called_after_its_key_and_bytes_and_another_one_once_it_is_deleted(
    gateway: Gateway,
) -> None:
    data = picture()
    first = (await keyed(gateway, data, "one")).json()
    await gateway.client.delete(f"/api/photos/{first['photoId']}")
    partition = gateway.log.partition_of("alice")
    command = gateway.log.keys.command(partition, "alice", "one")
    await gateway.log.redis.delete(command)  # as it expires

    second = await keyed(gateway, data, "one")

    assert second.status_code == 201
    assert second.json()["photoId"] != first["photoId"]
    assert (await keyed(gateway, data, "one")).json() == second.json()
    assert len(await events(gateway)) == 2


async def test_a_photo_whose_key_has_expired_is_a_duplicate(gateway: Gateway) -> None:
    data = picture()
    first = (await keyed(gateway, data, "one")).json()
    partition = gateway.log.partition_of("alice")
    await gateway.log.redis.delete(gateway.log.keys.command(partition, "alice", "one"))

    second = await keyed(gateway, data, "one")

    assert (second.status_code, second.json()["photoId"]) == (200, first["photoId"])
    assert len(gateway.stored()) == 1


async def test_a_key_means_nothing_to_another_client(gateway: Gateway) -> None:
    first = await keyed(gateway, picture(), "one")

    answer = await keyed(gateway, picture(), "one", name="bob")

    assert answer.status_code == 201
    assert answer.json()["photoId"] != first.json()["photoId"]


async def test_a_key_for_bytes_that_another_upload_brought_is_a_duplicate(
    gateway: Gateway,
) -> None:
    data = picture()
    first = await gateway.upload(data)

    answer = await keyed(gateway, data, "one")

    assert (answer.status_code, answer.json()["duplicate"]) == (200, True)
    assert answer.json()["photoId"] == first.json()["photoId"]
    assert gateway.stored() == [original_key(first.json()["photoId"])]


async def test_a_key_that_found_a_duplicate_stands_for_its_bytes(gateway: Gateway) -> None:
    data = picture()
    first = await gateway.upload(data)
    await keyed(gateway, data, "one")

    again = await keyed(gateway, data, "one")
    other = await keyed(gateway, picture(), "one")

    assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert gateway.stored() == [original_key(first.json()["photoId"])]


@pytest.mark.parametrize("found", [False, True], ids=["made", "found"])
async def test_a_key_does_not_stand_for_a_photo_once_it_is_deleted(
    gateway: Gateway, *, found: bool
) -> None:
    data = picture()
    if found:
        await gateway.upload(data)
    first = await keyed(gateway, data, "one")
    await gateway.client.delete(f"/api/photos/{first.json()['photoId']}")

    again = await keyed(gateway, data, "one")

    assert (again.status_code, again.json()["code"]) == (422, "idempotency-key-reused")
    assert again.json()["detail"] == "The photo of this Idempotency-Key has been deleted."
    assert (await keyed(gateway, data, "two")).status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 201, "schlüssel", "a\tb"])
async def test_a_key_that_cannot_be_one_is_refused(gateway: Gateway, key: str) -> None:
    answer = await gateway.client.post(
        UPLOAD,
        files={"file": ("a.png", picture())},
        headers=[(b"Idempotency-Key", key.encode())],
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-idempotency-key")
    assert gateway.stored() == []


async def test_two_keys_are_refused_and_one_that_came_twice_is_one(gateway: Gateway) -> None:
    answers = [
        await gateway.client.post(
            UPLOAD,
            files={"file": ("a.png", picture())},
            headers=[(b"Idempotency-Key", b"one"), (b"Idempotency-Key", second)],
        )
        for second in (b"two", b"one")
    ]

    assert [answer.status_code for answer in answers] == [400, 201]
    assert answers[0].json()["code"] == "invalid-idempotency-key"


async def test_names_lose_their_folders_and_keep_their_letters(gateway: Gateway) -> None:
    names = [
        *("../../etc/passwd", "C:\\Fotos\\Übung 1.jpg", "日本.png", 'a"b.png', ""),
        "a\u202egpj.exe",
    ]

    for name in names:
        await gateway.client.post(UPLOAD, files={"file": (name, picture())})

    assert [uploaded.original_filename for uploaded in await events(gateway)] == [
        *("passwd", "Übung 1.jpg", "日本.png", 'a"b.png', "unnamed", "agpj.exe"),
    ]


async def test_the_trace_of_the_sender_goes_into_the_event_and_back(gateway: Gateway) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    answer = await gateway.client.post(
        UPLOAD,
        files={"file": ("a.png", picture())},
        headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )

    [recorded] = [recorded async for recorded in gateway.log.scan(0)]
    assert answer.headers["X-Trace-Id"] == trace
    assert recorded.event.metadata.trace_id == trace


async def test_an_operator_may_upload_and_an_auditor_may_not(gateway: Gateway) -> None:
    operator = await gateway.upload(name="operator")
    auditor = await gateway.upload(name="auditor")

    assert operator.status_code == 201
    assert (auditor.status_code, auditor.json()["code"]) == (403, "forbidden")


class TestFull:
    """Redis takes no more."""

    async def test_an_upload_says_so_and_nothing_is_recorded(self, gateway: Gateway) -> None:
        redis: Any = gateway.log.redis
        await redis.config_set("maxmemory", "1")
        try:
            answer = await gateway.upload()
        finally:
            await redis.config_set("maxmemory", "0")

        assert (answer.status_code, answer.json()["code"]) == (507, "log-full")
        assert await gateway.log.end(0) == Position.start(0)


class TestNearlyFull:
    """The log's server has room, but not for new work."""

    async def test_results_and_deletions_have_room_when_uploads_have_none_any_more(
        self, gateway: Gateway
    ) -> None:
        photo = (await gateway.upload()).json()
        redis: Any = gateway.log.redis
        filler = gateway.log.keys.settled(0)
        await redis.setrange(filler, 32 << 20, b"x")  # beside which connections count for little
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", str(int(used / 0.95)))
        try:
            await until_full(gateway)
            other = await gateway.upload()
            again = await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess")
            health = (await gateway.client.get("/health")).json()["checks"]["redis"]
            listed = await gateway.get("/api/photos")
            deleted = await gateway.client.delete(f"/api/photos/{photo['photoId']}")
        finally:
            await redis.config_set("maxmemory", "0")
            await redis.delete(filler)

        assert (other.status_code, other.json()["code"]) == (507, "log-full")
        assert (again.status_code, again.json()["code"]) == (507, "log-full")
        assert health["status"] == "degraded"
        assert health["memoryBytes"] > 0.9 * health["memoryMaxBytes"] > 0
        assert (listed.status_code, deleted.status_code) == (200, 204)


async def until_full(gateway: Gateway) -> None:
    """Until the gateway has looked again."""
    with anyio.fail_after(DEADLINE_S):
        while (await gateway.client.get("/health")).json()["checks"]["redis"]["status"] == "ok":
            await anyio.sleep(0.05)


class TestBusy:
    """All slots are taken."""

    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(uploads_at_once=1, upload_patience_s=0.3)

    async def test_who_waits_too_long_for_a_slot_is_told_when_to_come_again(
        self, gateway: Gateway
    ) -> None:
        others: list[httpx.Response] = []

        async def slowly() -> AsyncGenerator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + picture()
            await until(lambda: bool(gateway.stored()), "the draft of the upload with the slot")
            other = asyncio.create_task(gateway.upload())
            while not other.done():
                yield b"\0"
                await asyncio.wait([other], timeout=0.05)
            others.append(await other)
            yield b"\r\n--x--\r\n"

        answer = await gateway.client.post(
            UPLOAD,
            content=slowly(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

        [other] = others
        assert (other.status_code, other.json()["code"]) == (503, "busy")
        assert other.headers["Retry-After"] == "2"
        assert answer.status_code == 201
