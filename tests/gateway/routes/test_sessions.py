"""Upload sessions over HTTP: opened, counted, closed, retried."""

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import msgspec
import pytest

from domain.pipeline.failures import Category
from gateway.http.limits import Limits
from projections.rebuild import live_held
from store.sqlite.generations import Generations
from tests.gateway.conftest import Gateway, picture
from tests.gateway.listeners import talking
from tests.gateway.processing import fail, process
from tests.gateway.tasks import events
from tests.gateway.wire import connected

OPEN_MAX = 3


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, open_upload_sessions=OPEN_MAX)


async def put(
    gateway: Gateway, session_id: str = "trip", *, name: str = "alice", query: str = "", **body: Any
) -> httpx.Response:
    return await gateway.client.put(
        f"/api/sessions/{session_id}{query}", json=body, headers=gateway.bearer(name)
    )


async def close(gateway: Gateway, session_id: str = "trip", **options: Any) -> httpx.Response:
    return await put(gateway, session_id, status="closed", **options)


async def show(
    gateway: Gateway, session_id: str = "trip", *, after: httpx.Response | None = None, **who: str
) -> dict[str, Any]:
    position = None if after is None else after.headers["X-Log-Position"]
    found = await gateway.get(f"/api/sessions/{session_id}", after=position, **who)
    assert found.status_code == 200, found.text
    return found.json()


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def failed(gateway: Gateway, count: int, session_id: str = "trip") -> list[dict[str, Any]]:
    """Upload photos of alice into the session and fail their jobs, as the read model shows."""
    photos = [(await gateway.upload(sessionId=session_id)).json() for _ in range(count)]
    end = ""
    for photo in photos:
        end = await fail(gateway, photo)
    await gateway.get("/api/photos", after=end)
    return photos


async def retry(gateway: Gateway, *, name: str = "alice", **body: Any) -> httpx.Response:
    return await gateway.client.post(
        "/api/photos/retry", json={"sessionId": "trip", **body}, headers=gateway.bearer(name)
    )


async def test_the_first_upload_opens_a_session(gateway: Gateway) -> None:
    uploaded = await gateway.upload(sessionId="trip")

    session = await show(gateway, after=uploaded)

    assert (session["status"], session["received"], session["queued"]) == ("open", 1, 1)
    assert (session["expected"], session["duplicates"], session["failures"]) == (None, 0, [])
    assert session["openedAt"] == session["firstUploadedAt"]


async def test_a_session_is_opened_with_an_expected_count_that_can_change(gateway: Gateway) -> None:
    first = await put(gateway, expected=12)
    same = await put(gateway)
    more = await put(gateway, expected=15)

    assert [each.status_code for each in (first, same, more)] == [201, 200, 200]
    assert first.json() | {"position": ""} == {
        "sessionId": "trip",
        "clientId": "alice",
        "status": "open",
        "expected": 12,
        "position": "",
    }
    assert (same.json()["position"], more.json()["expected"]) == (first.json()["position"], 15)
    session = await show(gateway, after=more)
    assert (session["expected"], session["received"], session["firstUploadedAt"]) == (15, 0, None)


async def test_a_closed_session_takes_no_more_uploads(gateway: Gateway) -> None:
    data = picture()
    uploaded = await gateway.upload(data, sessionId="trip")
    closed = await close(gateway)
    before = gateway.stored()

    again = await close(gateway)
    refused = [
        await gateway.upload(sessionId="trip"),
        await gateway.upload(data, sessionId="trip"),
        await put(gateway, expected=3),
    ]
    session = await show(gateway, after=closed)
    refused.append(await gateway.upload(sessionId="trip"))  # now the read model knows as well

    assert uploaded.status_code == 201
    assert (closed.status_code, again.status_code) == (200, 200)
    assert closed.json() == again.json()
    assert closed.json()["status"] == session["status"] == "closed"
    assert [problem(each) for each in refused] == [(409, "session-closed")] * 4
    assert gateway.stored() == before
    assert (await gateway.upload(sessionId="other")).status_code == 201
    assert (await gateway.upload(name="bob", sessionId="trip")).status_code == 201


async def test_an_upload_is_rejected_even_while_the_read_model_does_not_show_the_closing(
    gateway: Gateway, tmp_path: Path
) -> None:
    await show(gateway, after=await gateway.upload(sessionId="trip"))
    before = gateway.stored()

    async with live_held(gateway.log, Generations(tmp_path / "read-model")):
        closed = await close(gateway)
        refused = await gateway.upload(sessionId="trip")
        shown = await show(gateway)

    assert (closed.json()["status"], shown["status"]) == ("closed", "open")
    assert problem(refused) == (409, "session-closed")
    assert gateway.stored() == before


async def test_the_body_of_an_upload_into_a_closed_session_is_not_received(
    gateway: Gateway,
) -> None:
    await put(gateway)
    await show(gateway, after=await close(gateway))
    start = (
        b'--x\r\nContent-Disposition: form-data; name="sessionId"\r\n\r\ntrip\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    )
    head = (
        f"POST /api/photos/upload HTTP/1.1\r\nHost: {gateway.host}\r\n"
        f"Authorization: {gateway.bearer('alice')['Authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n"
    )

    async with connected(gateway) as wire:
        await wire.send(head.encode() + start)  # and nothing of the file
        answer, body = await wire.answer(), await wire.rest()

    assert int(answer.split()[1]) == 409
    assert msgspec.json.decode(body)["code"] == "session-closed"


async def test_an_upload_that_was_recorded_before_the_closing_is_answered_again(
    gateway: Gateway,
) -> None:
    data = picture()

    async def send() -> httpx.Response:
        return await gateway.client.post(
            "/api/photos/upload",
            files={"file": ("a.png", data)},
            data={"sessionId": "trip"},
            headers={"Idempotency-Key": "one"},
        )

    first = await send()
    await show(gateway, after=await close(gateway))

    again = await send()

    assert (again.status_code, again.json()) == (201, first.json())


async def test_events_of_a_session_come_to_its_room_and_to_that_of_its_client(
    gateway: Gateway,
) -> None:
    async with talking(gateway) as talk, talking(gateway, name="bob") as other:
        await talk.ask("identify", sessionId="trip")
        await other.ask("identify", sessionId="trip")
        await put(gateway, expected=2)
        await close(gateway)
        received = await talk.events(3)
        await put(gateway, name="bob")
        (own,) = await other.events(1)

    assert [each["event"]["type"] for each in received] == [
        *("session.opened", "session.closed", "session.completed")
    ]
    assert all(each["rooms"] == ["client:alice", "session:trip"] for each in received)
    assert received[-1]["event"]["data"]["totals"]["received"] == 0
    assert own["event"]["metadata"]["clientId"] == "bob"


async def test_failures_are_shown_and_retried_once_each(gateway: Gateway) -> None:
    photos = await failed(gateway, 3)
    done = (await gateway.upload(sessionId="trip")).json()
    await show(gateway)
    await gateway.get("/api/photos", after=await process(gateway, done))

    session = await show(gateway)
    both = [await retry(gateway), await retry(gateway)]
    after = await show(gateway, after=both[0])

    assert (session["failed"], session["completed"]) == (3, 1)
    assert {each["photoId"] for each in session["failures"]} == {each["photoId"] for each in photos}
    assert session["failures"][0]["error"] == "The picture ends too early."
    assert [each.json()["retried"] for each in both] == [3, both[1].json()["retried"]]
    assert (after["failed"], after["queued"], after["failures"]) == (0, 3, [])
    for photo in photos:
        types = [each["type"] for each in await events(gateway, photo)]
        assert types.count("photo.processing.requested") == 1


async def test_a_retry_handles_a_page_and_its_cursor_leads_to_the_rest(gateway: Gateway) -> None:
    await failed(gateway, 5)

    first = (await retry(gateway, limit=3)).json()
    second = (await retry(gateway, limit=3, cursor=first["nextCursor"])).json()

    assert (first["retried"], second["retried"], second["nextCursor"]) == (3, 2, None)
    assert problem(await retry(gateway, limit=201)) == (400, "invalid-limit")
    assert problem(await retry(gateway, cursor="../x")) == (400, "invalid-request")


async def test_failures_that_lie_in_the_bytes_can_be_left_out_of_a_retry(gateway: Gateway) -> None:
    await failed(gateway, 2)
    other = (await gateway.upload(sessionId="trip")).json()
    end = await fail(gateway, other, category=Category.LOGIC, code="cancelled")
    await gateway.get("/api/photos", after=end)

    first = (await retry(gateway, skipLasting=True, limit=2)).json()
    rest = (await retry(gateway, skipLasting=True, limit=2, cursor=first["nextCursor"])).json()

    results = first["results"] + rest["results"]
    assert [each["photoId"] for each in results] == [other["photoId"]]
    assert (first["retried"] + rest["retried"], rest["nextCursor"]) == (1, None)
    assert (await retry(gateway)).json()["retried"] == 2


async def test_failures_of_a_closed_session_can_be_retried(gateway: Gateway) -> None:
    await failed(gateway, 1)
    await close(gateway)

    assert (await retry(gateway)).json()["retried"] == 1


async def test_sessions_of_other_clients_are_hidden(gateway: Gateway) -> None:
    last = await gateway.upload(sessionId="trip")
    await show(gateway, after=last)

    as_bob = [
        await gateway.get("/api/sessions/trip", name="bob"),
        await close(gateway, name="bob"),
        await retry(gateway, name="bob"),
    ]
    named = [
        await close(gateway, name="bob", query="?clientId=alice"),
        await retry(gateway, name="bob", clientId="alice"),
        await gateway.get("/api/sessions?clientId=alice", name="bob"),
        await put(gateway, name="operator", query="?clientId=alice"),
        await put(gateway, name="auditor"),
        await retry(gateway, name="auditor"),
    ]

    assert [problem(each) for each in as_bob] == [(404, "session-not-found")] * 3
    assert [problem(each) for each in named] == [(403, "forbidden")] * 6
    assert (await show(gateway))["status"] == "open"


async def test_operators_close_and_retry_the_sessions_of_clients(gateway: Gateway) -> None:
    await failed(gateway, 1)
    await gateway.upload(name="bob", sessionId="trip")

    ambiguous = [await close(gateway, name="operator"), await retry(gateway, name="operator")]
    retried = await retry(gateway, name="operator", clientId="alice", reason="a new decoder")
    closed = await close(
        gateway, name="operator", query="?clientId=alice", reason="the camera was stolen"
    )
    position = closed.headers["X-Log-Position"]
    listed = await gateway.get(f"/api/audit?clientId=alice&after={position}", name="auditor")

    assert [problem(each) for each in ambiguous] == [(409, "ambiguous-session")] * 2
    assert (retried.json()["retried"], closed.json()["clientId"]) == (1, "alice")
    last = listed.json()["items"][0]
    assert (last["what"], last["reason"]) == ("session.closed", "the camera was stolen")
    assert (last["clientId"], last["photoId"]) == ("alice", None)


async def test_a_client_opens_a_limited_number_of_sessions(gateway: Gateway) -> None:
    answers: list[httpx.Response] = []

    async def open_one(number: int) -> None:
        answers.append(await put(gateway, f"s{number}"))

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(open_one, number)

    statuses = sorted(each.status_code for each in answers)
    assert statuses == [201] * OPEN_MAX + [429] * 7
    assert {each.json()["code"] for each in answers if each.status_code == 429} == {
        "too-many-open-sessions"
    }
    assert (await put(gateway, name="bob")).status_code == 201
    opened = next(each.json()["sessionId"] for each in answers if each.status_code == 201)
    assert (await put(gateway, opened, expected=5)).status_code == 200
    await show(gateway, opened, after=await close(gateway, opened))
    assert (await put(gateway, "one more")).status_code == 201
    assert (await gateway.upload(sessionId="implicit")).status_code == 201


@pytest.mark.parametrize(
    ("session_id", "body"),
    [
        ("trip", {"expected": 0}),
        ("trip", {"expected": 1_000_001}),
        ("trip", {"expected": 2**63}),
        ("trip", {"expected": "12"}),
        ("trip", {"expected": 1.5}),
        ("trip", {"status": "expired"}),
        ("trip", {"status": "closed", "expected": 3}),
        ("trip", {"totals": {}}),
    ],
)
async def test_an_invalid_request_opens_nothing(
    shared_gateway: Gateway, session_id: str, body: dict[str, Any]
) -> None:
    assert problem(await put(shared_gateway, session_id, **body)) == (400, "invalid-request")
    assert (await shared_gateway.get(f"/api/sessions/{session_id}")).status_code == 404


@pytest.mark.parametrize("session_id", ["s" * 129, "a%00b", "%E2%80%8B"])
async def test_a_session_needs_a_valid_id(gateway: Gateway, session_id: str) -> None:
    assert problem(await put(gateway, session_id)) == (400, "invalid-session")


@pytest.mark.parametrize("session_id", ["a/b", "a b", "日本 😀", "retry", "a%b", "{00}:log"])
async def test_a_session_may_have_any_printable_id(gateway: Gateway, session_id: str) -> None:
    quoted = httpx.URL("http://x/").copy_with(path=f"/{session_id}").raw_path.decode()[1:]

    opened = await put(gateway, quoted, expected=2)
    uploaded = await gateway.upload(sessionId=session_id)
    closed = await close(gateway, quoted)

    assert opened.json()["sessionId"] == session_id
    assert (await show(gateway, quoted, after=closed))["received"] == 1
    assert uploaded.status_code == 201


async def test_ids_that_differ_in_slashes_name_different_sessions(gateway: Gateway) -> None:
    ids = ("a/b", "a//b", "/a/b", "a/b/", "a%2Fb")
    for session_id in ids:
        assert (await gateway.upload(sessionId=session_id)).status_code == 201

    closed = await close(gateway, quote("a//b", safe=""))

    assert closed.json()["sessionId"] == "a//b"
    for session_id in ids:
        shown = await show(gateway, quote(session_id, safe=""), after=closed)
        expected = "closed" if session_id == "a//b" else "open"
        assert (shown["sessionId"], shown["status"], shown["received"]) == (session_id, expected, 1)


async def test_closing_needs_a_session(gateway: Gateway) -> None:
    assert problem(await close(gateway, str(uuid.uuid4()))) == (404, "session-not-found")


async def test_lists_have_pages_and_filters(gateway: Gateway) -> None:
    for number in range(3):
        last = await put(gateway, f"s{number}")
    last = await close(gateway, "s1")
    await gateway.upload(name="bob", sessionId="trip")

    async def listed(query: str = "", name: str = "alice") -> tuple[list[str], str | None]:
        answer = await gateway.get(f"/api/sessions{query}", name=name)
        page = answer.json()
        return [each["sessionId"] for each in page["items"]], page["nextCursor"]

    await show(gateway, "s1", after=last)

    first, cursor = await listed("?limit=2")
    rest, end = await listed(f"?limit=2&cursor={cursor}")

    assert sorted(first + rest) == ["s0", "s1", "s2"]
    assert end is None
    assert (await listed("?status=closed"))[0] == ["s1"]
    assert set((await listed("?clientId=bob", "operator"))[0]) <= {"trip"}
    assert len((await listed("", "operator"))[0]) >= 3
    assert problem(await gateway.get("/api/sessions?cursor=x")) == (400, "invalid-cursor")
