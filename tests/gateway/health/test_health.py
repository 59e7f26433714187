import re
import shutil
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from domain.pipeline.stages import ERASURE, TREE
from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from ops.maintenance.advisories import advisories, vulnerable
from projections.projector import Projector
from projections.rebuild import rebuild
from store.log.foreign import note
from store.log.log import Log
from store.queue import liveness
from store.queue.lanes import Lanes
from store.redis.connection import connect
from store.sqlite.connection import open_writer
from store.sqlite.generations import Generations
from tests.gateway.conftest import DEADLINE_S, Gateway, picture, served
from tests.servers import url_in, valkey

EASY = Limits(
    append_patience_s=1.0, degraded_load=1e6, degraded_memory_percent=100, min_free_bytes=0
)
"""Limits under which no machine is too busy for the tests."""


@pytest.fixture
def limits() -> Limits:
    return EASY


async def employ(log: Log, consumer: str = "one") -> None:
    """Report a worker that does nothing else."""
    await Lanes(log, consumer, (*TREE, ERASURE)).prepare(0)
    await liveness.report(log, consumer)


async def statuses(gateway: Gateway, path: str = "/health") -> tuple[int, str, dict[str, str]]:
    answer = await gateway.client.get(path)
    health = answer.json()
    checks = {name: check["status"] for name, check in health["checks"].items()}
    return answer.status_code, health["status"], checks


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


class TestClock:
    @pytest.fixture
    def limits(self) -> Limits:
        """So strict that any two clocks differ, because the comparison itself takes time."""
        return msgspec.structs.replace(EASY, degraded_clock_s=1e-9)

    async def test_a_clock_that_differs_from_that_of_redis_is_named(self, gateway: Gateway) -> None:
        check = (await gateway.client.get("/health/ready")).json()["checks"]["redis"]

        assert check["status"] == "degraded"
        assert re.fullmatch(
            r"its clock is [\d.]+ s (ahead of|behind) this gateway's", check["reason"]
        )


async def test_a_foreign_entry_in_the_log_is_degraded_and_ready(gateway: Gateway) -> None:
    redis: Any = gateway.log.redis
    entry_id = await redis.xadd(gateway.log.keys.log(0), {"what": "ever"})
    await employ(gateway.log)
    await note(gateway.log, 0, [entry_id])

    assert await statuses(gateway, "/health/ready") == (
        200,
        "degraded",
        {"redis": "degraded", "blobs": "ok", "sqlite": "ok", "rooms": "ok"},
    )
    found = (await gateway.client.get("/health")).json()["checks"]["redis"]
    assert found["reason"] == f"contains an entry that is not an event, at 0:{entry_id.decode()}"
    await redis.xdel(gateway.log.keys.log(0), entry_id)
    assert (await statuses(gateway, "/health/ready"))[1] == "ok"


async def test_a_failing_check_is_logged_once(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    redis: Any = gateway.log.redis
    event = {"t": "photo.uploaded", "p": "x", "v": 1, "b": b"\xff"}
    await redis.xadd(gateway.log.keys.log(0), event)

    for _ in range(3):
        assert (await statuses(gateway, "/health/ready"))[2]["sqlite"] == "down"

    assert caplog.text.count("health: sqlite: ") == 1


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


@pytest.mark.parametrize(
    ("missing", "status"),
    [
        (["memory-limit"], "ok"),
        (["landlock", "own-user"], "ok"),  # seccomp forbids what Landlock does
        (["landlock", "seccomp"], "degraded"),
        (["memory-limit", "no-new-privileges"], "degraded"),
    ],
)
async def test_a_missing_sandbox_layer_is_named_and_degrades_health_if_it_matters(
    gateway: Gateway, missing: list[str], status: str
) -> None:
    await employ(gateway.log)
    await liveness.report_unconfined(gateway.log, missing)

    pool = (await gateway.client.get("/health")).json()["checks"]["workerPool"]

    assert (pool["status"], pool["decodersWithout"]) == (status, missing)
    assert ("decoder_seccomp" in pool.get("reason", "")) == (status == "degraded")


async def test_a_system_without_workers_is_degraded_and_not_down(gateway: Gateway) -> None:
    status_code, status, checks = await statuses(gateway)

    assert (status_code, status, checks["workerPool"]) == (200, "degraded", "degraded")
    assert (await statuses(gateway, "/health/ready"))[:2] == (200, "ok")


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


class TestSilentWorkers:
    @pytest.fixture
    def limits(self) -> Limits:
        return msgspec.structs.replace(EASY, stalled_after_s=0.05)

    async def test_a_silent_worker_does_not_count(self, gateway: Gateway) -> None:
        await employ(gateway.log)

        found: dict[str, Any] = {}
        with anyio.fail_after(DEADLINE_S):
            while found != {"status": "degraded", "workers": 0}:
                found = (await gateway.client.get("/health")).json()["checks"]["workerPool"]


class TestBusyMachine:
    @pytest.fixture(params=["degraded_load", "degraded_memory_percent"])
    def limits(self, request: pytest.FixtureRequest) -> Limits:
        return msgspec.structs.replace(EASY, **{request.param: -1.0})

    async def test_a_machine_above_a_threshold_is_degraded(self, gateway: Gateway) -> None:
        status_code, status, checks = await statuses(gateway)

        assert (status_code, status, checks["systemResources"]) == (200, "degraded", "degraded")


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


async def test_another_log_than_the_joined_one_is_down(gateway: Gateway) -> None:
    await gateway.log.redis.delete(gateway.log.keys.meta)

    health = await gateway.client.get("/health")

    assert (health.status_code, health.json()["checks"]["redis"]["status"]) == (503, "down")


class TestWithoutRedis:
    @pytest.fixture
    def server(self, own_folder: Path) -> Generator[ExitStack]:
        """Closing it stops Redis."""
        with ExitStack() as server:
            server.enter_context(valkey(own_folder))
            yield server

    @pytest.fixture
    async def log(self, server: ExitStack, own_folder: Path, prefix: str) -> AsyncGenerator[Log]:
        assert server, "it runs"
        client = connect(url_in(own_folder))
        yield await Log.open(client, prefix=prefix)
        await client.aclose()

    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=0.1)

    @pytest.fixture
    def projecting(self) -> bool:
        return False

    @pytest.fixture
    async def gateway(self, gateway: Gateway, server: ExitStack) -> Gateway:
        """A gateway that has lost Redis after its start."""
        server.close()
        return gateway

    async def test_redis_is_down_and_the_process_alive(self, gateway: Gateway) -> None:
        health = await gateway.client.get("/health")

        assert (health.status_code, health.json()["checks"]["redis"]["status"]) == (503, "down")
        assert (await gateway.client.get("/health/live")).status_code == 200

    async def test_the_reason_is_reported_while_the_circuit_is_open(self, gateway: Gateway) -> None:
        reasons: set[str] = set()

        with anyio.fail_after(DEADLINE_S):
            while "failed too often; the circuit breaker is open" not in reasons:
                check = (await gateway.client.get("/health/ready")).json()["checks"]["redis"]
                assert check["status"] == "down"
                reasons.add(check["reason"])

        assert "does not answer" in reasons

    async def test_an_upload_is_told_to_retry_and_its_draft_is_removed(
        self, gateway: Gateway
    ) -> None:
        answer = await gateway.upload()

        assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
        assert answer.headers["Retry-After"] in ("1", "2")
        assert gateway.stored() == []

    async def test_bytes_that_may_have_been_recorded_stay(self, gateway: Gateway) -> None:
        stored: list[str] = []
        with anyio.fail_after(DEADLINE_S):
            while not stored:  # nothing is stored while the circuit breaker is open
                answer = await gateway.client.post(
                    "/api/photos/upload",
                    files={"file": ("a.png", picture())},
                    headers={"Idempotency-Key": "one"},  # recorded without a look for duplicates
                )
                assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
                stored = gateway.stored()

        [blob] = stored
        assert blob.startswith("originals/")


async def test_health_names_paused_stages_and_stays_ok(gateway: Gateway) -> None:
    operator = gateway.bearer("operator")

    async def paused() -> list[str] | None:
        health = (await gateway.client.get("/health")).json()
        return health["checks"]["workerPool"].get("paused")

    assert await paused() is None
    for stage in ("thumbnails", "metadata"):
        await gateway.client.post(f"/api/ops/queues/{stage}/pause", headers=operator)
    assert await paused() == ["metadata", "thumbnails"]
    await gateway.client.post("/api/ops/queues/all/pause", headers=operator)
    assert await paused() == ["all"]
    await gateway.client.post("/api/ops/queues/all/resume", headers=operator)
    assert await paused() is None


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_a_load_balancer_may_ask_for_the_head_alone(gateway: Gateway, path: str) -> None:
    answer = await gateway.client.head(path)

    assert (answer.status_code, answer.content) == (200, b"")


class TestClocks:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_a_last_event_in_the_future_is_reported(self, gateway: Gateway) -> None:
        """As if the clock of Redis was ahead and has been corrected."""
        await gateway.upload()
        key = gateway.log.keys.log(0)
        redis: Any = gateway.log.redis
        [(_, fields)] = await redis.xrange(key)
        later = int((await gateway.log.now()).timestamp() * 1000) + 3_600_000
        await redis.xadd(key, fields, id=f"{later}-0")

        check = (await gateway.client.get("/health")).json()["checks"]["redis"]

        assert check["status"] == "degraded"
        assert check["reason"].startswith("its clock was ahead: the last event is 3,")

    async def test_clocks_that_agree_are_not_mentioned(self, gateway: Gateway) -> None:
        check = (await gateway.client.get("/health")).json()["checks"]["redis"]

        assert (check["status"], check.get("reason")) == ("ok", None)
