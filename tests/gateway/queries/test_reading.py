import asyncio
from pathlib import Path

import pytest

from gateway.http.limits import Limits
from projections.projector import Projector
from store.log.position import Position
from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway, projected


async def test_a_query_after_an_uploads_position_includes_it(gateway: Gateway) -> None:
    for _ in range(10):
        photo = (await gateway.upload()).json()

        newest = await gateway.get("/api/photos?limit=1", after=photo["position"])

        assert newest.json()["items"][0]["photoId"] == photo["photoId"]


QUERIES = (
    *("/api/photos", "/api/photos/p", "/api/photos/p/history", "/api/photos/p/original"),
    *("/api/photos/p/thumbnails/150", "/api/photos/p/optimized", "/api/jobs/j"),
    "/api/sessions/s",
)


@pytest.mark.parametrize("path", QUERIES)
async def test_every_query_accepts_after(shared_gateway: Gateway, path: str) -> None:
    answer = await shared_gateway.get(path, after="no position")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-position")


@pytest.mark.parametrize("path", QUERIES)
async def test_every_query_rejects_unknown_parameters(shared_gateway: Gateway, path: str) -> None:
    answer = await shared_gateway.get(f"{path}?asOf=2026-11-23T10:00:00Z")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert "'asOf'" in answer.json()["detail"]


BEYOND = str(Position(0, 9999999999999, 0))


async def test_a_query_does_not_wait_for_a_position_beyond_the_log(gateway: Gateway) -> None:
    await gateway.upload()

    answer = await gateway.get("/api/photos", after=BEYOND)

    assert (answer.status_code, answer.json()["code"]) == (409, "unknown-position")
    assert answer.json()["detail"] == f"There is no event at {BEYOND} that you may see."


class TestBehind:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(after_timeout_s=0.2)

    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_a_query_does_not_wait_for_a_position_forever(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()

        answer = await gateway.get("/api/photos", after=photo["position"])

        assert (answer.status_code, answer.json()["code"]) == (503, "read-model-behind")
        assert answer.headers["Retry-After"] == "2"


class TestLate:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_a_query_waits_for_the_projector(self, gateway: Gateway, tmp_path: Path) -> None:
        photo = (await gateway.upload()).json()
        waiting = asyncio.create_task(
            gateway.get(f"/api/photos/{photo['photoId']}", after=photo["position"])
        )

        async with projected(gateway.deps, tmp_path / "read-model"):
            answer = await waiting

        assert answer.status_code == 200

    async def test_a_command_waits_for_the_projector_before_it_denies_a_photo(
        self, gateway: Gateway, tmp_path: Path
    ) -> None:
        photo = (await gateway.upload()).json()
        known = asyncio.create_task(gateway.client.delete(f"/api/photos/{photo['photoId']}"))
        unknown = asyncio.create_task(gateway.client.delete("/api/photos/nobody"))

        async with projected(gateway.deps, tmp_path / "read-model"):
            assert (await known).status_code == 204
            assert (await unknown).json()["code"] == "photo-not-found"


class TestDamaged:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_a_damaged_read_model_is_unavailable_and_not_a_bug(
        self, gateway: Gateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        generations = Generations(tmp_path / "read-model")
        await Projector(gateway.log, generations).catch_up()
        path = generations.current()
        assert path is not None
        path.write_bytes(b"\xa5" * path.stat().st_size)

        answer = await gateway.get("/api/photos")

        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "2"
        assert "Traceback" not in caplog.text
        assert generations.is_doubted(path)
