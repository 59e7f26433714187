"""Resumable uploads into a session that is closed meanwhile."""

from pathlib import Path

import httpx

from projections.rebuild import live_held
from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import (
    TUS,
    append,
    create,
    created,
    encoded,
    problem_of,
)

TRIP = {"Upload_Metadata": encoded(sessionId="trip")}


async def close(gateway: Gateway, *, shown: bool) -> None:
    closed = await gateway.client.put("/api/sessions/trip", json={"status": "closed"})
    assert closed.status_code == 200, closed.text
    if shown:
        await gateway.get("/api/sessions/trip", after=closed.headers["X-Log-Position"])


async def look(gateway: Gateway, address: str) -> httpx.Response:
    return await gateway.client.get(address, headers=TUS)


async def test_a_closed_session_takes_no_new_upload(gateway: Gateway) -> None:
    await gateway.client.put("/api/sessions/trip")
    await close(gateway, shown=True)

    assert await problem_of(await create(gateway, 100, **TRIP)) == (409, "session-closed")


async def test_an_upload_whose_session_closes_ends_with_its_next_bytes(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data), **TRIP)
    await append(gateway, address, 0, data[:20])
    await gateway.client.put("/api/sessions/trip")
    await close(gateway, shown=True)

    refused = await append(gateway, address, 20, data[20:])

    assert await problem_of(refused) == (409, "session-closed")
    assert (await look(gateway, address)).json()["code"] == "upload-gone"
    assert await gateway.deps.partials.held_bytes("alice") == 0


async def test_an_upload_that_arrives_as_its_session_closes_is_rejected_by_the_append(
    gateway: Gateway, tmp_path: Path
) -> None:
    """The read model does not know of the closing yet, so all bytes are received."""
    data = picture()
    address = await created(gateway, len(data), **TRIP)
    await gateway.client.put("/api/sessions/trip")

    async with live_held(gateway.log, Generations(tmp_path / "read-model")):
        await close(gateway, shown=False)
        refused = await append(gateway, address, 0, data)

    assert await problem_of(refused) == (409, "session-closed")
    assert (await look(gateway, address)).json()["code"] == "upload-gone"
    assert [each async for each in gateway.log.scan(0) if each.event.type == "photo.uploaded"] == []


async def test_a_resumable_duplicate_counts_in_its_session(gateway: Gateway) -> None:
    data = picture()
    await gateway.upload(data)
    address = await created(gateway, len(data), **TRIP)

    done = await append(gateway, address, 0, data)

    assert done.status_code == 204
    end = str(await gateway.log.end(0))
    shown = await gateway.get("/api/sessions/trip", name="operator", after=end)
    assert (shown.json()["received"], shown.json()["duplicates"]) == (0, 1)
