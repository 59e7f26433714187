"""Sessions that are idle or done are ended by an event, once, whoever looks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from gateway.http.limits import Limits
from gateway.sessions.keeper import SessionKeeper
from projections.verify import verify
from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway, picture
from tests.gateway.processing import process

IDLE_S = 3600.0


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, upload_session_idle_s=IDLE_S)


def later(seconds: float = IDLE_S + 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def types(gateway: Gateway) -> list[str]:
    """Return the types of the sessions' events in the log."""
    found = [each.event.type async for each in gateway.log.scan(0)]
    return [each for each in found if each.startswith("session.")]


async def reach(gateway: Gateway) -> None:
    """Wait until the read model has everything."""
    end = await gateway.log.end(0)
    assert (await gateway.get("/api/photos", name="operator", after=str(end))).status_code == 200


async def done(gateway: Gateway, session_id: str = "trip") -> dict[str, Any]:
    """Upload a photo of alice into the session and process it."""
    photo = (await gateway.upload(sessionId=session_id)).json()
    await process(gateway, photo)
    await reach(gateway)
    return photo


async def show(gateway: Gateway, session_id: str = "trip") -> dict[str, Any]:
    await reach(gateway)
    return (await gateway.get(f"/api/sessions/{session_id}")).json()


async def test_an_idle_session_expires_once_however_many_gateways_look(gateway: Gateway) -> None:
    await done(gateway)
    keepers = [SessionKeeper(gateway.deps) for _ in range(5)]
    for keeper in keepers:
        await keeper.look(later(IDLE_S - 60))
    assert await types(gateway) == []

    async with anyio.create_task_group() as tasks:
        for keeper in keepers:
            tasks.start_soon(keeper.look, later())
    await reach(gateway)
    await keepers[0].look(later())

    assert await types(gateway) == ["session.expired"]
    session = await show(gateway)
    assert (session["status"], session["completed"]) == ("expired", 1)


async def test_an_upload_opens_an_expired_session_which_can_expire_again(gateway: Gateway) -> None:
    keeper = SessionKeeper(gateway.deps)
    await done(gateway)
    await keeper.look(later())

    await done(gateway)

    assert (await show(gateway))["status"] == "open"
    assert (await show(gateway))["received"] == 2
    await keeper.look(later())
    assert (await show(gateway))["status"] == "expired"
    assert await types(gateway) == ["session.expired"] * 2


async def test_a_session_does_not_expire_while_its_photos_are_processed(gateway: Gateway) -> None:
    await gateway.upload(sessionId="trip")
    await reach(gateway)

    await SessionKeeper(gateway.deps).look(later())

    assert await types(gateway) == []


async def test_an_expired_session_can_be_opened_and_closed(gateway: Gateway) -> None:
    await done(gateway)
    await SessionKeeper(gateway.deps).look(later())
    await reach(gateway)

    opened = await gateway.client.put("/api/sessions/trip", json={"expected": 5})
    closed = await gateway.client.put("/api/sessions/trip", json={"status": "closed"})

    assert (opened.status_code, closed.status_code) == (201, 200)
    assert (await show(gateway))["status"] == "closed"


async def test_a_closed_session_is_completed_when_its_last_photo_is_processed(
    gateway: Gateway,
) -> None:
    first = await done(gateway)
    second = (await gateway.upload(sessionId="trip")).json()
    await gateway.client.put("/api/sessions/trip", json={"status": "closed"})
    await reach(gateway)
    keepers = [SessionKeeper(gateway.deps) for _ in range(3)]
    await keepers[0].look(later())
    assert await types(gateway) == ["session.closed"]

    await process(gateway, second)
    await reach(gateway)
    async with anyio.create_task_group() as tasks:
        for keeper in keepers:
            tasks.start_soon(keeper.look, later())

    assert await types(gateway) == ["session.closed", "session.completed"]
    (completed,) = [
        each.event.data
        async for each in gateway.log.scan(0)
        if each.event.type == "session.completed"
    ]
    assert completed.totals.completed == 2  # type: ignore[union-attr]
    assert (await show(gateway))["completedAt"] is not None
    assert first["photoId"] != second["photoId"]


async def test_without_a_limit_sessions_stay_open(gateway: Gateway, deps: Any) -> None:
    limits = Limits(upload_session_idle_s=0)
    await done(gateway)

    await SessionKeeper(msgspec.structs.replace(deps, limits=limits)).look(later(10**7))

    assert await types(gateway) == []


async def test_one_look_ends_a_limited_number(gateway: Gateway) -> None:
    for number in range(60):
        await gateway.client.put(f"/api/sessions/s{number}")
    await reach(gateway)
    keeper = SessionKeeper(gateway.deps)

    await keeper.look(later())
    assert len([each for each in await types(gateway) if each == "session.expired"]) == 50
    await reach(gateway)
    await keeper.look(later())

    assert len([each for each in await types(gateway) if each == "session.expired"]) == 60


async def test_a_fresh_fold_of_the_log_has_the_same_sessions(
    gateway: Gateway, tmp_path: Path
) -> None:
    keeper = SessionKeeper(gateway.deps)
    data = picture()
    await gateway.upload(data)
    await done(gateway)
    await done(gateway, "other")
    await gateway.upload(data, sessionId="trip")
    await reach(gateway)
    await keeper.look(later())
    await done(gateway, "other")
    await gateway.client.put("/api/sessions/other", json={"status": "closed"})
    await reach(gateway)
    await keeper.look(later())
    await reach(gateway)

    report = await verify(gateway.log, Generations(tmp_path / "read-model"))

    assert report.equal, report
    assert set(await types(gateway)) == {
        *("session.duplicate.found", "session.expired", "session.closed", "session.completed")
    }
