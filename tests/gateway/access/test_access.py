"""Revoked tokens on every gateway, in open streams and after a restart."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import msgspec
import pytest

from domain.clients.revocations import AccessRevoked
from gateway.dependencies import Dependencies
from gateway.http.auth import Key, Role, Tokens
from store.background import Background
from tests.clocks import days_ago
from tests.conftest import one_and_three
from tests.gateway.conftest import DEADLINE_S, SECRET, Gateway, picture, projected, served
from tests.gateway.listeners import following, record, talking
from tests.gateway.uploads.resumable.requests import TUS, TUS_BODY, created, problem_of

WITHIN_S = 2.0
"""The promised time until every gateway applies a revocation."""

OLD, NEW = Key(b"the key of last month, long enough"), Key(b"the key of this month, long enough")


@asynccontextmanager
async def two(deps: Dependencies, folder: Path) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    """Start two gateways on one log, with the tokens of the first."""
    other = msgspec.structs.replace(deps, background=Background())
    async with (
        served(deps) as first,
        served(other) as second,
        projected(deps, folder / "read-model"),
    ):
        second.tokens.update(first.tokens)
        yield first, second


@pytest.fixture
async def gateways(deps: Dependencies, tmp_path: Path) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    async with two(deps, tmp_path) as pair:
        yield pair


async def revoke(gateway: Gateway, **what: Any) -> httpx.Response:
    answer = await gateway.client.post(
        "/api/ops/tokens/revoke", json=what, headers=gateway.bearer("operator")
    )
    assert answer.status_code == 200, answer.text
    return answer


async def until_refused(gateway: Gateway, code: str, **headers: str) -> None:
    """Wait until the gateway rejects these headers with the code."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            answer = await gateway.client.get("/api/login", headers=headers)
            if answer.status_code == 401:
                assert answer.json()["code"] == code
                return
            await anyio.sleep(0.02)


def id_of(gateway: Gateway, name: str) -> str:
    token_id = gateway.deps.tokens.verify(gateway.tokens[name]).token_id
    assert token_id is not None
    return token_id


def now() -> str:
    return datetime.now(UTC).isoformat()


async def test_streams_of_a_revoked_token_end_on_all_gateways_within_two_seconds(
    gateways: tuple[Gateway, Gateway],
) -> None:
    here, there = gateways
    async with (
        following(here) as stream_here,
        following(there) as stream_there,
        talking(here) as talk_here,
        talking(there) as talk_there,
        following(there, name="bob") as stays,
    ):
        assert (await talk_there.ask("identify"))["type"] == "identified"
        with anyio.fail_after(WITHIN_S):
            await revoke(here, tokenId=id_of(here, "alice"))
            assert await stream_here.next() is None
            assert await stream_there.next() is None
            assert await talk_here.closed() == (4401, "revoked-token")
            assert await talk_there.closed() == (4401, "revoked-token")

        for gateway in gateways:
            answer = await gateway.get("/api/photos")
            assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")
        await record(here.log, client_id="bob")
        assert await stays.next() is not None


@one_and_three
async def test_revoking_a_client_ends_its_tokens_and_sessions_but_not_newer_ones(
    gateways: tuple[Gateway, Gateway],
) -> None:
    here, there = gateways
    login = await here.client.post("/api/login", headers=here.bearer("bob"))
    cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Authorization": ""}
    made = await here.client.post("/api/login/tickets", headers=here.bearer("bob"))

    await revoke(here, clientId="bob", reason="lost laptop")

    for headers in (there.bearer("bob"), cookie):
        await until_refused(here, "revoked-token", **headers)
        await until_refused(there, "revoked-token", **headers)
    used = await there.client.post(
        "/api/login",
        json={"ticket": made.json()["ticket"]},
        headers={"Origin": there.base_url, "Authorization": ""},
    )
    assert used.json()["code"] == "revoked-token"
    fresh = here.deps.tokens.issue("bob", Role.CLIENT, 60, time.time())
    for gateway in gateways:
        gateway.tokens["bob"] = fresh
        assert (await gateway.get("/api/photos", name="bob")).status_code == 200
        assert (await gateway.get("/api/photos", name="alice")).status_code == 200


async def test_revoking_all_tokens_before_a_time_includes_tokens_without_an_id(
    gateways: tuple[Gateway, Gateway],
) -> None:
    here, there = gateways

    await revoke(here, before=now())

    for name in ("alice", "bob", "auditor", "operator"):
        await until_refused(there, "revoked-token", **there.bearer(name))
    old = {"Authorization": f"Bearer {_without_id()}"}
    await until_refused(there, "revoked-token", **old)


def _without_id() -> str:
    """Return a token like those that older versions issued."""
    issued = int(time.time()) - 60
    claims: dict[str, Any] = {"iss": "photolog", "sub": "alice", "role": "client", "iat": issued}
    return jwt.encode(claims | {"exp": issued + 3600}, SECRET, algorithm="HS256")  # pyright: ignore[reportUnknownMemberType] # types of the library


async def test_a_revocation_is_an_event_and_survives_a_restart(
    deps: Dependencies, tmp_path: Path
) -> None:
    async with two(deps, tmp_path) as (gateway, _):
        tokens = dict(gateway.tokens)
        await revoke(gateway, tokenId=id_of(gateway, "bob"), reason="lost laptop")
    await deps.log.redis.delete(deps.log.keys.pipeline(0))  # pyright: ignore[reportUnknownMemberType] # the library's Any

    later = msgspec.structs.replace(deps, background=Background())
    async with served(later) as again:
        again.tokens.update(tokens)
        answer = await again.get("/api/login", name="bob")
        listed = await again.get("/api/ops/tokens/revocations", name="auditor")

    assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")
    assert [each["tokenId"] for each in listed.json()["tokens"]] == [
        deps.tokens.verify(tokens["bob"]).token_id
    ]
    (event,) = [
        each.event async for each in deps.log.scan(0) if isinstance(each.event.data, AccessRevoked)
    ]
    assert event.metadata.actor == "operator:operator"
    assert event.data == AccessRevoked(
        token_id=deps.tokens.verify(tokens["bob"]).token_id, reason="lost laptop"
    )


def in_full(time: str) -> str:
    """Return the time as answers have it, with milliseconds."""
    return time.replace("Z", ".000Z")


async def test_every_revocation_is_listed_with_its_actor_time_and_whether_a_wider_one_covers_it(
    gateway: Gateway,
) -> None:
    early, middle, late = (days_ago(days) for days in (3, 2, 1))
    await revoke(gateway, tokenId="t1", reason="lost laptop")
    await revoke(gateway, clientId="carol", before=early)
    await revoke(gateway, clientId="dave", before=late)
    await revoke(gateway, before=middle)

    async def page(**query: Any) -> dict[str, Any]:
        answer = await gateway.client.get(
            "/api/ops/tokens/history", params=query, headers=gateway.bearer("auditor")
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    whole, first = await page(), await page(limit=3)
    second = await page(limit=3, cursor=first["nextCursor"])
    assert [*first["items"], *second["items"]] == whole["items"]
    assert (whole["nextCursor"], second["nextCursor"]) == (None, None)
    told = ("tokenId", "clientId", "before", "superseded")
    assert [tuple(each[name] for name in told) for each in whole["items"]] == [
        (None, None, in_full(middle), False),
        (None, "dave", in_full(late), False),
        (None, "carol", in_full(early), True),
        ("t1", None, None, False),
    ]
    assert {each["revokedBy"] for each in whole["items"]} == {"operator:operator"}
    assert [each["reason"] for each in whole["items"]] == ["", "", "", "lost laptop"]
    times = [each["revokedAt"] for each in whole["items"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "1:1-0", ""])
async def test_an_invalid_cursor_of_revocations_is_rejected(
    shared_gateway: Gateway, cursor: str
) -> None:
    answer = await shared_gateway.client.get(
        "/api/ops/tokens/history",
        params={"cursor": cursor},
        headers=shared_gateway.bearer("operator"),
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


async def test_the_same_revocation_again_records_nothing(gateway: Gateway) -> None:
    before = days_ago(1)
    first = await revoke(gateway, clientId="bob", before=before)
    second = await revoke(gateway, clientId="bob", before="2026-10-01T00:00:00+02:00")

    assert second.headers["X-Log-Position"] == first.headers["X-Log-Position"]
    assert second.json()["clients"] == [{"clientId": "bob", "before": in_full(before)}]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({}, "invalid-revocation"),
        ({"tokenId": "t", "clientId": "bob"}, "invalid-revocation"),
        ({"before": "2999-01-01T00:00:00Z"}, "invalid-revocation"),
        ({"before": "2026-11-01T00:00:00"}, "invalid-request"),
        ({"clientId": "a b"}, "invalid-request"),
        ({"tokenId": "x" * 65}, "invalid-request"),
        ({"client": "bob"}, "invalid-request"),
    ],
)
async def test_an_invalid_revocation_is_rejected(
    shared_gateway: Gateway, what: dict[str, Any], code: str
) -> None:
    answer = await shared_gateway.client.post(
        "/api/ops/tokens/revoke", json=what, headers=shared_gateway.bearer("operator")
    )

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("name", ["alice", "auditor"])
async def test_only_operators_revoke(shared_gateway: Gateway, name: str) -> None:
    answer = await shared_gateway.client.post(
        "/api/ops/tokens/revoke", json={"clientId": "bob"}, headers=shared_gateway.bearer(name)
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_an_upload_whose_token_is_revoked_in_the_meantime_is_not_recorded(
    gateway: Gateway,
) -> None:
    started = anyio.Event()

    async def body() -> AsyncGenerator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield b"\x89PNG\r\n\x1a\n"
        started.set()
        await revoked.wait()
        yield b"more\r\n--x--\r\n"

    revoked = anyio.Event()

    async def take() -> None:
        await started.wait()
        await revoke(gateway, tokenId=id_of(gateway, "alice"))
        revoked.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        answer = await gateway.client.post(
            "/api/photos/upload",
            content=body(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")

    assert gateway.stored() == []


async def test_a_resumable_upload_is_not_recorded_with_a_revoked_token_but_with_another(
    gateway: Gateway,
) -> None:
    data = picture() + bytes(100)
    address = await created(gateway, len(data))
    started, revoked = anyio.Event(), anyio.Event()
    another = Tokens(SECRET).issue("alice", Role.CLIENT, 3600, time.time())

    async def body() -> AsyncGenerator[bytes]:
        yield data[:-10]
        started.set()
        await revoked.wait()
        yield data[-10:]

    async def take() -> None:
        await started.wait()
        await revoke(gateway, tokenId=id_of(gateway, "alice"))
        revoked.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        ended = await gateway.client.patch(
            address, content=body(), headers={**TUS_BODY, "Upload-Offset": "0"}
        )
    before = gateway.stored()
    gateway.tokens["alice"] = another
    done = await gateway.client.head(address, headers={**TUS, **gateway.bearer("alice")})

    assert await problem_of(ended) == (401, "revoked-token")
    assert before == []
    assert int(done.headers["Upload-Offset"]) == len(data)
    assert "Content-Location" in done.headers  # recorded now


async def test_streams_of_a_session_end_when_another_gateway_signs_it_out(
    gateways: tuple[Gateway, Gateway],
) -> None:
    here, there = gateways
    login = await here.client.post("/api/login")
    cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Origin": there.base_url}
    here.client.headers.pop("Authorization")

    async with talking(there, name=None, headers=cookie) as talk:
        assert (await talk.ask("identify"))["type"] == "identified"
        ours = {"Origin": here.base_url}
        assert (await here.client.delete("/api/login", headers=ours)).status_code == 204
        assert await talk.closed() == (4401, "expired-session")


async def test_a_retired_key_ends_its_tokens_sessions_and_streams(
    deps: Dependencies, tmp_path: Path
) -> None:
    keys = [OLD]
    rotating = msgspec.structs.replace(deps, tokens=Tokens(lambda: keys))
    async with two(rotating, tmp_path) as (here, there):
        login = await here.client.post("/api/login")
        cookie = {"Cookie": login.headers["Set-Cookie"].partition(";")[0], "Authorization": ""}
        async with following(there) as stream:
            keys[:] = [NEW, OLD]
            assert (await here.get("/api/photos")).status_code == 200
            here.tokens["bob"] = deps_token(rotating)
            assert (await here.get("/api/photos", name="bob")).status_code == 200

            keys[:] = [NEW]
            assert await stream.next() is None
        assert (await here.get("/api/photos")).json()["code"] == "invalid-token"
        refused = await here.client.get("/api/login", headers=cookie)
        assert refused.json()["code"] == "revoked-token"
        assert (await here.get("/api/photos", name="bob")).status_code == 200


def deps_token(deps: Dependencies) -> str:
    return deps.tokens.issue("bob", Role.CLIENT, 60, time.time())


class TestWaiting:
    @pytest.fixture
    def projecting(self) -> bool:
        """Let the test decide when the read model advances."""
        return False

    async def test_a_waiting_read_is_rejected_if_its_token_is_revoked_in_the_meantime(
        self, gateway: Gateway, deps: Dependencies, tmp_path: Path
    ) -> None:
        position = (await gateway.upload()).json()["position"]

        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(gateway.get("/api/photos", after=position))
            await revoke(gateway, tokenId=id_of(gateway, "alice"))
            async with projected(deps, tmp_path / "read-model"):
                answer = await waiting

        assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")
