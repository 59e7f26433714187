"""What health reports about the read model: damage, lag, and its absence."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.http.limits import Limits
from projections.projector import Projector
from projections.rebuild import rebuild
from store.sqlite.connection import open_writer
from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway
from tests.gateway.health.checking import EASY, statuses


async def test_a_failing_check_is_logged_once(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    redis: Any = gateway.log.redis
    event = {"t": "photo.uploaded", "p": "x", "v": 1, "b": b"\xff"}
    await redis.xadd(gateway.log.keys.log(0), event)

    for _ in range(3):
        assert (await statuses(gateway, "/health/ready"))[2]["sqlite"] == "down"

    assert caplog.text.count("health: sqlite: ") == 1


class TestFileOfTheReadModel:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_damage_is_found_before_a_query_and_ends_with_the_file(
        self, gateway: Gateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        generations = Generations(tmp_path / "read-model")
        for _ in range(40):
            await gateway.upload()
        await Projector(gateway.log, generations).catch_up()
        path = generations.current()
        assert path is not None
        db = open_writer(path)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'")
        db.close()
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096 + 8)
            file.write(b"rubbish!" * 400)

        status_code, _, _ = await statuses(gateway)
        check = (await gateway.client.get("/health")).json()["checks"]["sqlite"]

        assert (status_code, check["status"], check["integrity"]) == (503, "down", "damaged")
        assert (await gateway.get("/api/photos")).status_code == 200
        assert caplog.text.count("health: sqlite: the read model is damaged") == 1
        await rebuild(gateway.log, generations)
        check = (await gateway.client.get("/health")).json()["checks"]["sqlite"]
        assert (check["status"], check["integrity"]) == ("ok", "ok")


class TestImpatience:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    @pytest.fixture
    def limits(self) -> Limits:
        return msgspec.structs.replace(EASY, integrity_timeout_s=-1.0)

    async def test_a_file_too_large_to_examine_is_unknown_and_ok(
        self, gateway: Gateway, tmp_path: Path
    ) -> None:
        generations = Generations(tmp_path / "read-model")
        await Projector(gateway.log, generations).catch_up()
        path = generations.current()
        assert path is not None
        db = open_writer(path)
        db.execute("CREATE TABLE much (n INTEGER PRIMARY KEY) STRICT")
        db.execute_many("INSERT INTO much VALUES (?)", [(n,) for n in range(20_000)])
        db.close()

        check = (await gateway.client.get("/health")).json()["checks"]["sqlite"]

        assert (check["status"], check["integrity"]) == ("ok", "unknown")


class TestWithoutProjector:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_without_a_read_model_the_gateway_is_alive_but_not_ready(
        self, gateway: Gateway
    ) -> None:
        health = await gateway.client.get("/health")
        ready = await gateway.client.get("/health/ready")
        live = await gateway.client.get("/health/live")

        assert (health.status_code, health.json()["status"]) == (503, "down")
        assert health.json()["checks"]["sqlite"] == {"status": "down", "reason": "does not answer"}
        assert health.json()["checks"]["redis"]["status"] == "ok"
        assert (ready.status_code, live.status_code) == (503, 200)

    async def test_queries_are_unavailable_and_uploads_continue(self, gateway: Gateway) -> None:
        upload = await gateway.upload()
        photos = await gateway.get("/api/photos")

        assert upload.status_code == 201
        assert (photos.status_code, photos.json()["code"]) == (503, "unavailable")
        assert photos.headers["Retry-After"] == "2"


class TestLateProjector:
    @pytest.fixture
    def limits(self) -> Limits:
        return msgspec.structs.replace(EASY, degraded_lag_s=-1)

    async def test_a_read_model_that_is_behind_is_degraded_and_ready(
        self, gateway: Gateway
    ) -> None:
        health = await gateway.client.get("/health")
        ready = await gateway.client.get("/health/ready")

        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["checks"]["sqlite"]["status"] == "degraded"
        assert ready.status_code == 200
