import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families
from syrupy.assertion import SnapshotAssertion

from domain.photo.commands import RecordErased
from gateway.http.limits import Limits
from handlers.worker.dispatcher import Dispatcher
from tests.conftest import CONTEXT
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.listeners import following, talking
from tests.gateway.processing import process


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0)


async def samples(gateway: Gateway) -> dict[str, float]:
    """Return the value of each sample, by name with labels."""
    answer = await gateway.client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_the_metric_names(gateway: Gateway, snapshot: SnapshotAssertion) -> None:
    answer = await gateway.client.get("/metrics")

    families = text_string_to_metric_families(answer.text)
    assert sorted((family.name, family.type) for family in families) == snapshot


async def test_responses_are_counted_by_route_and_never_by_path(
    gateway: Gateway,
) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get(f"/api/photos/{photo['photoId']}", after=photo["position"])
    await gateway.get("/api/photos/nobodys")
    await gateway.get("/wp-admin.php")
    await gateway.client.get("/api/photos", headers={"Authorization": "Bearer x"})

    found = await samples(gateway)

    def count(method: str, route: str, status: int) -> float:
        labels = f"method={method} route={route} status={status}"
        return found[f"photolog_http_requests_total {labels}"]

    assert count("POST", "/api/photos/upload", 201) == 1
    assert count("GET", "/api/photos/{photo_id}", 200) == 1
    assert count("GET", "/api/photos/{photo_id}", 404) == 1
    assert count("GET", "/api/photos", 401) == 1
    assert count("GET", "", 404) == 1
    assert found["photolog_http_answer_seconds_count method=POST route=/api/photos/upload"] == 1
    assert not [name for name in found if "nobodys" in name or photo["photoId"] in name]


async def test_the_lag_of_a_current_read_model_is_zero(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=photo["position"])

    assert (await samples(gateway))["photolog_projection_lag_seconds partition=0"] == 0


async def test_events_are_counted_by_type(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.upload()
    await gateway.client.delete(f"/api/photos/{photo['photoId']}")

    found = await samples(gateway)

    assert found["events_published_total type=photo.uploaded"] == 2
    assert found["events_published_total type=photo.deleted"] == 1
    assert found["photolog_log_events partition=0"] == 3
    assert found["photolog_log_memory_bytes partition=0"] > 1_000


async def test_operations_on_blobs_are_counted_by_outcome(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    path = f"/api/photos/{photo['photoId']}/original"
    await gateway.get(path, after=photo["position"])
    for blob in gateway.stored():
        (gateway.blobs.root / blob).unlink()
    await gateway.get(path)

    found = await samples(gateway)

    assert found["storage_operations_total operation=put outcome=ok"] == 1
    assert found["storage_operations_total operation=get outcome=ok"] == 1
    assert found["storage_operations_total operation=stat outcome=missing"] == 1
    assert found["storage_operation_duration_ms_count operation=put"] == 1
    assert found["storage_operation_duration_ms_sum operation=put"] > 0


async def test_the_stored_bytes_are_those_of_the_files(gateway: Gateway) -> None:
    """They include deleted photos until erased, and superseded renditions until removed."""
    photo = (await gateway.upload()).json()
    doomed = (await gateway.upload()).json()
    await gateway.client.delete(f"/api/photos/{doomed['photoId']}")
    await process(gateway, photo)
    again = await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess")
    position = await process(gateway, again.json(), shade=8)
    await gateway.get("/api/photos", after=position)

    found = await samples(gateway)

    files = [gateway.blobs.root / name for name in gateway.stored()]
    assert len(files) == 2 + 4 + 4
    assert found["storage_size_bytes"] == sum(file.stat().st_size for file in files)
    erased = await gateway.log.execute(
        RecordErased(photo_id=doomed["photoId"]), client_id="alice", context=CONTEXT
    )
    await gateway.get("/api/photos", after=str(erased.position))
    files = [file for file in files if doomed["photoId"] not in str(file)]
    found = await samples(gateway)
    assert found["storage_size_bytes"] == sum(file.stat().st_size for file in files)


async def test_a_waiting_task_is_counted_in_its_lane(gateway: Gateway) -> None:
    await gateway.upload(priority="1")
    await gateway.upload()
    dispatcher = Dispatcher(gateway.log, consumer="one", dead=None, stalled_after_s=30)
    high, normal = (f"job_queue_size lane={lane} stage=validation" for lane in ("high", "normal"))

    found: dict[str, float] = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatcher.run)
        with anyio.fail_after(DEADLINE_S):
            while not (found.get(high) and found.get(normal)):
                found = await samples(gateway)
        tasks.cancel_scope.cancel()

    assert (found[high], found[normal]) == (1, 1)
    assert sum(n for name, n in found.items() if name.startswith("job_queue_size")) == 2


async def test_only_live_deliveries_count_as_delays(gateway: Gateway) -> None:
    name = "event_delivery_duration_ms"
    async with following(gateway) as stream:
        await gateway.upload()
        await stream.take(1)
    live = await samples(gateway)

    async with following(gateway, after="0:0-0") as stream:
        await stream.take(1)
    both = await samples(gateway)

    assert live[f"{name}_count"] == both[f"{name}_count"] == 1
    assert live[f"{name}_bucket le=+Inf"] == 1
    assert 0 <= live[f"{name}_sum"] < DEADLINE_S * 1000
    assert (live["photolog_room_deliveries_total"], both["photolog_room_deliveries_total"]) == (
        1,
        2,
    )


async def test_open_sockets_are_counted_while_open(gateway: Gateway) -> None:
    async with talking(gateway) as talk:
        await talk.ask("ping")
        opened = await samples(gateway)

    closed = opened
    with anyio.fail_after(DEADLINE_S):
        while closed["websocket_connections_active"]:
            closed = await samples(gateway)
    assert opened["websocket_connections_active"] == 1
    assert opened["photolog_room_connections transport=websocket"] == 1


class TestWithoutProjector:
    @pytest.fixture
    def projecting(self) -> bool:
        return False

    async def test_unavailable_values_are_left_out(self, gateway: Gateway) -> None:
        found = await samples(gateway)

        assert "photolog_projection_lag_seconds partition=0" not in found
        assert "storage_size_bytes" not in found
        assert found["photolog_log_events partition=0"] == 0
