import asyncio
import hashlib
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from domain.photo.events import PhotoUploaded
from gateway.http.limits import Limits
from store.blobs.folder import FolderDraft
from store.blobs.interface import original_key
from store.log.position import Position
from tests.gateway.conftest import DEADLINE_S, Gateway, picture
from tests.gateway.processing import fail, process, start

UPLOAD = "/api/photos/upload"


async def events(gateway: Gateway) -> list[PhotoUploaded]:
    """Return the upload events in the log."""
    return [
        recorded.event.data
        async for recorded in gateway.log.scan(0)
        if isinstance(recorded.event.data, PhotoUploaded)
    ]


async def test_a_new_photo_is_created_and_its_bytes_are_stored(gateway: Gateway) -> None:
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1764385200123", 1_764_385_200_123),
        ("0", 0),
        ("-86400000", -86_400_000),
        ("253402300799999", 253_402_300_799_999),
        ("", None),
    ],
)
@pytest.mark.parametrize("before", [True, False])
async def test_the_event_has_the_time_of_the_clients_file_if_the_client_sends_it(
    gateway: Gateway, text: str, expected: int | None, before: bool
) -> None:
    field, file = ("lastModified", (None, text)), ("file", ("a.png", picture()))

    answer = await gateway.client.post(UPLOAD, files=[field, file] if before else [file, field])

    assert answer.status_code == 201
    [uploaded] = await events(gateway)
    assert uploaded.last_modified_ms == expected


async def test_the_type_is_detected_from_the_bytes_not_from_the_declaration(
    gateway: Gateway,
) -> None:
    form = {"file": ("a.exe", picture(), "application/x-msdownload")}

    answer = await gateway.client.post(UPLOAD, files=form)

    assert answer.status_code == 201
    [uploaded] = await events(gateway)
    assert uploaded.mime_type == "image/png"


async def test_every_supported_format_is_accepted(gateway: Gateway, photos: Path) -> None:
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


async def test_a_photo_shorter_than_the_bytes_that_identify_formats_is_accepted(
    gateway: Gateway,
) -> None:
    answer = await gateway.upload(b"GIF89a")

    assert answer.status_code == 201


async def test_uploading_the_same_bytes_again_returns_that_photo(gateway: Gateway) -> None:
    data = picture()
    first = await gateway.upload(data)

    again = await gateway.upload(data)

    assert again.status_code == 200
    assert again.json() == first.json() | {"duplicate": True}
    assert gateway.stored() == [original_key(first.json()["photoId"])]
    assert len(await events(gateway)) == 1


async def test_a_duplicate_reports_the_status_of_that_photo(gateway: Gateway) -> None:
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


async def test_twenty_concurrent_uploads_of_the_same_bytes_create_one_photo(
    gateway: Gateway,
) -> None:
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


async def test_file_names_lose_their_folders_and_keep_their_letters(gateway: Gateway) -> None:
    names = [
        *("../../etc/passwd", "C:\\Fotos\\Übung 1.jpg", "日本.png", 'a"b.png', ""),
        "a\u202egpj.exe",
    ]

    for name in names:
        await gateway.client.post(UPLOAD, files={"file": (name, picture())})

    assert [uploaded.original_filename for uploaded in await events(gateway)] == [
        *("passwd", "Übung 1.jpg", "日本.png", 'a"b.png', "unnamed", "agpj.exe"),
    ]


async def test_the_trace_of_the_sender_is_in_the_event_and_the_answer(gateway: Gateway) -> None:
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
    """Redis has no memory left."""

    async def test_an_upload_is_rejected_and_nothing_is_recorded(self, gateway: Gateway) -> None:
        redis: Any = gateway.log.redis
        await redis.config_set("maxmemory", "1")
        try:
            answer = await gateway.upload()
        finally:
            await redis.config_set("maxmemory", "0")

        assert (answer.status_code, answer.json()["code"]) == (507, "log-full")
        assert await gateway.log.end(0) == Position.start(0)


class TestNearlyFull:
    """The log's server has memory left, but not for new work."""

    async def test_deletions_succeed_while_uploads_are_rejected(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        redis: Any = gateway.log.redis
        filler = gateway.log.keys.settled(0)
        await redis.setrange(filler, 32 << 20, b"x")  # so large that connections hardly matter
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
    """Wait until the gateway has measured the memory again."""
    with anyio.fail_after(DEADLINE_S):
        while (await gateway.client.get("/health")).json()["checks"]["redis"]["status"] == "ok":
            await anyio.sleep(0.05)


class TestBusy:
    """All slots are in use."""

    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(uploads_at_once=1, upload_patience_s=0.3)

    async def test_an_upload_that_waits_too_long_for_a_slot_gets_retry_after(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit, has_slot, may_end = FolderDraft.commit, asyncio.Event(), asyncio.Event()

        async def late(draft: FolderDraft) -> None:
            has_slot.set()
            await may_end.wait()
            await commit(draft)

        monkeypatch.setattr(FolderDraft, "commit", late)
        holding = asyncio.create_task(gateway.upload())
        async with asyncio.timeout(DEADLINE_S):
            await has_slot.wait()

        other = await gateway.upload()
        may_end.set()

        assert (other.status_code, other.json()["code"]) == (503, "busy")
        assert other.headers["Retry-After"] == "2"
        assert (await holding).status_code == 201
