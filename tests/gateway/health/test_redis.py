"""What health reports about Redis: its clock, its log, foreign entries and outages."""

import re
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from gateway.http.limits import Limits
from store.log.foreign import note
from store.log.log import Log
from store.redis.connection import connect
from tests.gateway.conftest import DEADLINE_S, Gateway, picture
from tests.gateway.health.checking import EASY, employ, statuses
from tests.servers import url_in, valkey


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
