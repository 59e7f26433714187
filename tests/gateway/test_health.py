from pathlib import Path

import pytest

from gateway.limits import Limits
from store.client import connect
from store.keys import Keys
from store.log import Log
from tests.gateway.conftest import Gateway, picture


async def test_all_is_well(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=photo["position"])
    del gateway.client.headers["Authorization"]

    answer = await gateway.client.get("/health")

    health = answer.json()
    assert (answer.status_code, health["status"]) == (200, "ok")
    checks = health["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "redis": "ok",
        "blobs": "ok",
        "readModel": "ok",
    }
    assert checks["redis"]["latencyMs"] >= 0
    assert checks["blobs"]["freeBytes"] > 0
    assert checks["readModel"]["lagMs"] == 0
    assert (await gateway.client.get("/health/ready")).status_code == 200
    assert (await gateway.client.get("/health/live")).json() == {"status": "ok"}


class TestWithoutProjector:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_without_a_read_model_it_is_not_ready_but_alive(self, gateway: Gateway) -> None:
        health = await gateway.client.get("/health")
        ready = await gateway.client.get("/health/ready")
        live = await gateway.client.get("/health/live")

        assert (health.status_code, health.json()["status"]) == (503, "down")
        assert health.json()["checks"]["readModel"]["status"] == "down"
        assert health.json()["checks"]["redis"]["status"] == "ok"
        assert (ready.status_code, live.status_code) == (503, 200)

    async def test_queries_say_so_and_uploads_go_on(self, gateway: Gateway) -> None:
        upload = await gateway.upload()
        photos = await gateway.get("/api/photos")

        assert upload.status_code == 201
        assert (photos.status_code, photos.json()["code"]) == (503, "unavailable")
        assert photos.headers["Retry-After"] == "2"


class TestLateProjector:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(degraded_lag_s=-1, min_free_bytes=0)

    async def test_a_read_model_that_is_behind_is_degraded_and_ready(
        self, gateway: Gateway
    ) -> None:
        health = await gateway.client.get("/health")
        ready = await gateway.client.get("/health/ready")

        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["checks"]["readModel"]["status"] == "degraded"
        assert ready.status_code == 200


class TestWithoutRedis:
    @pytest.fixture
    async def log(self, tmp_path: Path) -> Log:
        """A log whose server is not there."""
        away = connect(f"unix://{tmp_path}/nobody.sock")
        return Log(away, log_id="away", partitions=1, keys=Keys())

    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=0.1)

    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_it_is_down_and_alive(self, gateway: Gateway) -> None:
        health = await gateway.client.get("/health")

        assert (health.status_code, health.json()["checks"]["redis"]["status"]) == (503, "down")
        assert (await gateway.client.get("/health/live")).status_code == 200

    async def test_an_upload_is_told_to_come_again_and_its_draft_goes(
        self, gateway: Gateway
    ) -> None:
        answer = await gateway.upload()

        assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
        assert answer.headers["Retry-After"] == "2"
        assert gateway.stored() == []

    async def test_bytes_that_may_have_been_recorded_stay(self, gateway: Gateway) -> None:
        answer = await gateway.client.post(
            "/api/photos/upload",
            files={"file": ("a.png", picture())},
            headers={"Idempotency-Key": "one"},  # recorded without a look at known bytes
        )

        assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
        [blob] = gateway.stored()
        assert blob.startswith("originals/")
