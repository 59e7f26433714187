"""Duplicates that are uploaded into a session count once for each idempotency key."""

import httpx

from tests.gateway.conftest import Gateway, picture
from tests.gateway.routes.test_sessions import close, show


async def test_duplicates_count_once_for_each_idempotency_key(gateway: Gateway) -> None:
    data = picture()
    await gateway.upload(data, sessionId="trip")

    async def send(key: str | None) -> httpx.Response:
        answer = await gateway.client.post(
            "/api/photos/upload",
            files={"file": ("a.png", data)},
            data={"sessionId": "trip"},
            headers={"Idempotency-Key": key} if key else {},
        )
        assert (answer.status_code, answer.json()["duplicate"]) == (200, True)
        return answer

    for key in ("one", "one", "two", None):
        last = await send(key)

    session = await show(gateway, after=last)
    assert (session["received"], session["duplicates"], session["photos"]) == (1, 3, 1)
    other = await gateway.upload(data)
    assert other.json()["duplicate"]
    assert (await show(gateway, after=last))["duplicates"] == 3


async def test_a_duplicate_that_was_counted_before_the_closing_is_answered_again(
    gateway: Gateway,
) -> None:
    data = picture()
    await gateway.upload(data)

    async def send(key: str) -> httpx.Response:
        return await gateway.client.post(
            "/api/photos/upload",
            files={"file": ("a.png", data)},
            data={"sessionId": "trip"},
            headers={"Idempotency-Key": key},
        )

    first = await send("one")
    await show(gateway, after=await close(gateway))

    again, other = await send("one"), await send("two")

    assert (again.status_code, again.json()) == (200, first.json())
    assert (other.status_code, other.json()["code"]) == (409, "session-closed")
    assert (await show(gateway))["duplicates"] == 1
