"""What health reports as a whole, and about the disk, the machine and the libraries."""

import shutil

import anyio
import msgspec
import pytest

from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from ops.maintenance.advisories import advisories, vulnerable
from tests.gateway.conftest import Gateway, served
from tests.gateway.health.checking import EASY, employ, statuses


async def test_all_is_well(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=photo["position"])
    await employ(gateway.log)
    del gateway.client.headers["Authorization"]

    answer = await gateway.client.get("/health")

    health = answer.json()
    assert (answer.status_code, health["status"]) == (200, "ok")
    checks = health["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "redis": "ok",
        "blobs": "ok",
        "sqlite": "ok",
        "systemResources": "ok",
        "workerPool": "ok",
        "rooms": "ok",
        "background": "ok",
        "connections": "ok",
        "webhooks": "ok",
        "archive": "ok",
        "libraries": "ok",
    }
    assert checks["redis"]["memoryBytes"] > 0
    assert checks["redis"]["memoryMaxBytes"] == 0
    assert (checks["connections"]["open"], checks["connections"]["max"]) == (1, EASY.connections)
    assert checks["redis"]["latencyMs"] >= 0
    assert checks["blobs"]["latencyMs"] > 0
    assert checks["blobs"]["freeBytes"] > 0
    assert (checks["sqlite"]["lagMs"], checks["sqlite"]["integrity"]) == (0, "ok")
    assert 0 < checks["systemResources"]["memoryUsedPercent"] < 100
    assert checks["systemResources"]["loadPerProcessor"] >= 0
    assert checks["workerPool"]["workers"] == 1
    assert await statuses(gateway, "/health/ready") == (
        200,
        "ok",
        {"redis": "ok", "blobs": "ok", "sqlite": "ok", "rooms": "ok"},
    )
    assert (await gateway.client.get("/health/live")).json() == {"status": "ok"}


async def test_a_vulnerable_library_is_named(deps: Dependencies) -> None:
    flaws = vulnerable(advisories().library, {"libheif": "1.23.0", "libwebp": "1.6.0"})

    async def known_flaws() -> list[str]:
        return [str(flaw) for flaw in flaws]

    async with served(msgspec.structs.replace(deps, known_flaws=known_flaws)) as gateway:
        health = (await gateway.client.get("/health")).json()

    libraries = health["checks"]["libraries"]
    assert (health["status"], libraries["status"]) == ("down", "degraded")  # no read model
    assert libraries["reason"].startswith("libheif 1.23.0 is vulnerable (")
    assert libraries["reason"].endswith(", fixed in 1.23.6")


async def test_the_check_of_the_blobs_leaves_nothing_behind(gateway: Gateway) -> None:
    await gateway.client.get("/health")

    assert gateway.stored() == []


async def test_concurrent_requests_write_to_the_disk_once(gateway: Gateway) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(gateway.client.get, "/health")

    metrics = (await gateway.client.get("/metrics")).text
    assert 'storage_operations_total{operation="put",outcome="ok"} 1.0' in metrics


async def test_blobs_that_cannot_be_written_are_down_even_if_they_can_be_read(
    gateway: Gateway,
) -> None:
    shutil.rmtree(gateway.blobs.root / "drafts")

    status_code, status, checks = await statuses(gateway)

    assert (status_code, status, checks["blobs"]) == (503, "down", "down")
    assert (await statuses(gateway, "/health/ready"))[0] == 503


class TestBusyMachine:
    @pytest.fixture(params=["degraded_load", "degraded_memory_percent"])
    def limits(self, request: pytest.FixtureRequest) -> Limits:
        return msgspec.structs.replace(EASY, **{request.param: -1.0})

    async def test_a_machine_above_a_threshold_is_degraded(self, gateway: Gateway) -> None:
        status_code, status, checks = await statuses(gateway)

        assert (status_code, status, checks["systemResources"]) == (200, "degraded", "degraded")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_a_load_balancer_may_ask_for_the_head_alone(gateway: Gateway, path: str) -> None:
    answer = await gateway.client.head(path)

    assert (answer.status_code, answer.content) == (200, b"")
