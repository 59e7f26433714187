"""Outages of Redis or of the blobs' disk: what is rejected, what keeps working, and recovery."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from store.blobs.folder import FolderBlobs
from store.breaker import FAILURES, Breaker
from store.errors import Unavailable
from store.log.log import Log
from store.redis.connection import connect
from tests.clocks import Clock
from tests.gateway.conftest import Gateway, picture, until
from tests.gateway.routes.test_metrics import samples
from tests.gateway.wire import connected, request
from tests.servers import url_in, valkey
from tests.system.disks import fill, remount

OPEN_S = 40.0
FIRST_S = 2.5
RETRY_AFTER = "3"
PATIENCE_S = 20.0
AT_ONCE_S = 5.0
"""On a busy machine; far less than ``PATIENCE_S``."""

LARGE = bytes(500_000)


@pytest.fixture
def patience_s() -> float:
    """How long a command that has started retries; parametrize a test to change it."""
    return PATIENCE_S


@pytest.fixture
def limits(patience_s: float) -> Limits:
    return Limits(append_patience_s=patience_s, linger_s=0.2, min_free_bytes=0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def seen(gateway: Gateway, photo: dict[str, Any], data: bytes) -> None:
    """Check that every route that returns photos returns this one."""
    path = f"/api/photos/{photo['photoId']}"
    assert [each["photoId"] for each in (await gateway.get("/api/photos")).json()["items"]] == [
        photo["photoId"]
    ]
    for shown in (path, f"{path}/history", f"/api/jobs/{photo['jobId']}"):
        assert (await gateway.get(shown)).status_code == 200
    assert (await gateway.get(f"{path}/original")).content == data


async def unsent(gateway: Gateway) -> bytes:
    """Return the response to an upload of which no byte is sent."""
    async with connected(gateway) as wire:
        await wire.send(request(gateway, 50_000_000))
        return await wire.rest()


class TestRedis:
    @pytest.fixture
    def server(self, own_folder: Path) -> Generator[ExitStack]:
        """Closing it stops Redis; another ``valkey`` in it brings Redis back."""
        with ExitStack() as server:
            server.enter_context(valkey(own_folder))
            yield server

    @pytest.fixture
    def breaker(self, clock: Clock) -> Breaker:
        """The circuit breaker of the log, with a clock that only the test advances."""
        return Breaker("redis", open_s=OPEN_S, clock=clock)

    @pytest.fixture
    async def log(
        self, server: ExitStack, own_folder: Path, prefix: str, breaker: Breaker
    ) -> AsyncGenerator[Log]:
        assert server, "it runs"
        client = connect(url_in(own_folder), breaker)
        yield await Log.open(client, prefix=prefix)
        await client.aclose()

    async def test_an_upload_is_rejected_before_its_body_is_received(
        self, gateway: Gateway, server: ExitStack
    ) -> None:
        await _take_away(gateway, server)

        answer = await unsent(gateway)

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert f"retry-after: {RETRY_AFTER}\r\n".encode() in answer
        assert b'"code":"log-unavailable"' in answer
        assert gateway.stored() == []

    async def test_no_command_blocks(self, gateway: Gateway, server: ExitStack) -> None:
        photo = (await gateway.upload()).json()
        path = f"/api/photos/{photo['photoId']}"
        await gateway.get(path, after=photo["position"])
        await _take_away(gateway, server)
        began = time.monotonic()

        answers = [
            await gateway.client.delete(path),
            await gateway.client.post(f"{path}/reprocess"),
            await gateway.client.delete("/api/photos/unknown"),
        ]

        assert time.monotonic() - began < AT_ONCE_S
        assert {
            (answer.status_code, answer.json()["code"], answer.headers["Retry-After"])
            for answer in answers
        } == {(503, "log-unavailable", RETRY_AFTER)}

    @pytest.mark.parametrize("patience_s", [0.2])
    async def test_a_command_for_many_photos_reports_it_too(
        self, gateway: Gateway, server: ExitStack
    ) -> None:
        photos = [(await gateway.upload()).json() for _ in range(2)]
        ids = [photo["photoId"] for photo in photos]
        for photo in photos:
            await gateway.get(f"/api/photos/{photo['photoId']}", after=photo["position"])
        await _take_away(gateway, server)

        answer = await gateway.client.post(
            "/api/ops/dead-letters/discard",
            json={"photoIds": ids, "reason": "why"},
            headers=gateway.bearer("operator"),
        )

        assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")

    async def test_uploaded_photos_are_shown_and_health_names_what_is_down(
        self, gateway: Gateway, server: ExitStack
    ) -> None:
        data = picture()
        photo = (await gateway.upload(data)).json()
        await gateway.get("/api/photos", after=photo["position"])
        await _take_away(gateway, server)
        began = time.monotonic()

        await seen(gateway, photo, data)
        health = (await gateway.client.get("/health")).json()
        measured = await samples(gateway)

        assert time.monotonic() - began < AT_ONCE_S
        assert health["checks"]["redis"] == {
            "status": "down",
            "reason": "failed too often; the circuit breaker is open",
            "breaker": "open",
        }
        assert measured["circuit_breaker_state dependency=redis"] == 2
        assert measured["circuit_breaker_openings_total dependency=redis"] == 1
        assert measured["circuit_breaker_state dependency=blobs"] == 0

    async def test_uploads_find_redis_back_after_the_back_off(
        self, gateway: Gateway, server: ExitStack, own_folder: Path, clock: Clock
    ) -> None:
        await _take_away(gateway, server)
        server.enter_context(valkey(own_folder))
        early = await gateway.upload()
        clock.now_s = FIRST_S

        answer = await gateway.upload()
        while answer.status_code == 503:  # another task is probing right now
            assert answer.headers["Retry-After"] == "1"
            answer = await gateway.upload()

        assert (early.status_code, answer.status_code) == (503, 201)
        health = (await gateway.client.get("/health")).json()
        assert "breaker" not in health["checks"]["redis"]
        assert (await samples(gateway))["circuit_breaker_state dependency=redis"] == 0

    async def test_a_half_received_upload_waits_for_redis(
        self, gateway: Gateway, server: ExitStack, own_folder: Path, clock: Clock
    ) -> None:
        async def content() -> AsyncGenerator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + picture()
            await until(lambda: bool(gateway.stored()), "the draft")
            await _take_away(gateway, server)
            yield LARGE + b"\r\n--x--\r\n"

        form = {"Content-Type": "multipart/form-data; boundary=x"}
        upload = asyncio.create_task(
            gateway.client.post("/api/photos/upload", content=content(), headers=form)
        )
        await until(lambda: _draft_bytes(gateway) > len(LARGE) or upload.done(), "all of it")
        server.enter_context(valkey(own_folder))
        clock.now_s = FIRST_S

        assert (await upload).status_code == 201


class TestBlobs:
    @pytest.fixture
    def deps(self, deps: Dependencies, small_disk: Path, clock: Clock) -> Dependencies:
        """The blobs are on a disk that only has space for small pictures."""
        breaker = Breaker("blobs", open_s=OPEN_S, clock=clock)
        return msgspec.structs.replace(deps, blobs=FolderBlobs(small_disk, breaker=breaker))

    async def test_an_upload_is_rejected_before_its_body_is_received(
        self, gateway: Gateway
    ) -> None:
        await _fail(gateway)

        answer = await unsent(gateway)

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert f"retry-after: {RETRY_AFTER}\r\n".encode() in answer
        assert b'"code":"storage-unavailable"' in answer
        assert gateway.stored() == []

    async def test_uploaded_photos_are_shown_and_health_names_what_is_rejected(
        self, gateway: Gateway
    ) -> None:
        data = picture()
        photo = (await gateway.upload(data)).json()
        await gateway.get("/api/photos", after=photo["position"])
        await _fail(gateway)

        await seen(gateway, photo, data)
        health = await gateway.client.get("/health")
        measured = await samples(gateway)

        assert health.status_code == 200
        assert health.json()["checks"]["blobs"]["status"] == "degraded"
        assert health.json()["checks"]["blobs"]["breaker"] == "open"
        assert measured["circuit_breaker_state dependency=blobs"] == 2

    async def test_health_detects_by_itself_that_the_disk_is_back(
        self, gateway: Gateway, clock: Clock
    ) -> None:
        await _fail(gateway)
        remount(gateway.blobs.root, "rw,size=8m")
        clock.now_s = FIRST_S

        health = (await gateway.client.get("/health")).json()

        assert health["checks"]["blobs"]["status"] == "ok"
        assert "breaker" not in health["checks"]["blobs"]

    async def test_a_photo_can_be_deleted_to_make_room(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        path = f"/api/photos/{photo['photoId']}"
        await gateway.get(path, after=photo["position"])
        await _fill(gateway)

        assert (await gateway.client.delete(path)).status_code == 204

    async def test_the_first_upload_after_the_back_off_finds_the_disk_back(
        self, gateway: Gateway, clock: Clock
    ) -> None:
        await _fail(gateway)
        clock.now_s = FIRST_S
        still_away = await gateway.upload()
        remount(gateway.blobs.root, "rw,size=8m")
        clock.now_s += 2 * FIRST_S

        answer = await gateway.upload(picture() + LARGE)

        assert still_away.status_code == 503
        assert still_away.headers["Retry-After"] == f"{2 * FIRST_S:g}"
        assert answer.status_code == 201

    async def test_a_full_disk_is_reported_every_time_until_it_has_space(
        self, gateway: Gateway
    ) -> None:
        await _fill(gateway)
        health = (await gateway.client.get("/health")).json()
        remount(gateway.blobs.root, "size=8m")

        answer = await gateway.upload(picture() + LARGE)

        assert health["checks"]["blobs"]["status"] == "degraded"
        assert health["checks"]["blobs"]["reason"] == "has no space left"
        assert "breaker" not in health["checks"]["blobs"]
        assert answer.status_code == 201

    async def test_a_disk_that_failed_and_is_full_now_is_reported_as_full(
        self, gateway: Gateway, clock: Clock
    ) -> None:
        await _fail(gateway)
        remount(gateway.blobs.root, "rw")
        clock.now_s = FIRST_S

        await _fill(gateway)


def _draft_bytes(gateway: Gateway) -> int:
    return sum(path.stat().st_size for path in (gateway.blobs.root / "drafts").iterdir())


async def _take_away(gateway: Gateway, server: ExitStack) -> None:
    """Stop Redis, and wait until the gateway notices."""
    server.close()
    for _ in range(FAILURES):
        with suppress(Unavailable):
            await gateway.log.end(0)
    assert gateway.log.redis.breaker.state == "open"


async def _fill(gateway: Gateway) -> None:
    """Fill the disk, and upload until the circuit breaker of a failing disk would open."""
    fill(gateway.blobs.root)
    answers = [await gateway.upload(picture() + LARGE) for _ in range(2 * FAILURES)]
    refused = {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert refused == {(507, "storage-full")}


async def _fail(gateway: Gateway) -> None:
    """Make the disk read-only, and upload until the gateway notices."""
    remount(gateway.blobs.root, "ro")
    answers = [await gateway.upload(picture() + LARGE) for _ in range(FAILURES)]
    refused = {(answer.status_code, answer.json()["code"]) for answer in answers}
    assert refused == {(503, "storage-unavailable")}
    assert gateway.blobs.breaker.state == "open"
