"""How API keys end: they expire, or are revoked with everything that uses them."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from domain.clients.api_keys import CreateApiKey
from domain.photo.events import Context
from gateway.dependencies import Dependencies
from gateway.http import api_keys
from gateway.http.api_keys import MadeKey
from store.log.control import ControlLog
from store.log.log import Log
from tests.gateway.access.test_access import WITHIN_S, two
from tests.gateway.access.test_api_keys import key, listed, until_known
from tests.gateway.conftest import DEADLINE_S, Gateway
from tests.gateway.listeners import following, talking


@pytest.fixture
async def gateways(deps: Dependencies, tmp_path: Path) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    async with two(deps, tmp_path) as pair:
        yield pair


async def test_an_expired_key_is_rejected(gateway: Gateway, log: Log) -> None:
    made = api_keys.make()
    await ControlLog(log).execute(
        _create(made, expires_at=datetime.now(UTC) + timedelta(milliseconds=100)),
        Context(now=datetime.now(UTC), source="test", actor="test", trace_id="0" * 32),
    )
    gateway.tokens["key"] = made.text

    code = None
    with anyio.fail_after(DEADLINE_S):
        # The gateway does not know the key at first, or it has not expired yet.
        while code in (None, "invalid-token"):
            code = (await gateway.get("/api/login", name="key")).json().get("code")
            await anyio.sleep(0.05)

    assert code == "expired-token"
    assert await listed(gateway) == []


def _create(made: MadeKey, **more: Any) -> CreateApiKey:
    return CreateApiKey(
        now=datetime.now(UTC),
        key_id=made.id,
        name="backup",
        digest=made.digest,
        scopes=frozenset({"events.read"}),
        client_id="alice",
        **more,
    )


async def test_an_open_stream_ends_when_its_key_expires(gateway: Gateway, log: Log) -> None:
    made = api_keys.make()
    await ControlLog(log).execute(
        _create(made, expires_at=datetime.now(UTC) + timedelta(seconds=4)),
        Context(now=datetime.now(UTC), source="test", actor="test", trace_id="0" * 32),
    )
    gateway.tokens["key"] = made.text
    await until_known(gateway)
    async with following(gateway, name="key") as stream, talking(gateway, name="key") as talk:
        with anyio.fail_after(DEADLINE_S):
            assert await stream.next() is None
            assert await talk.closed() == (4401, "expired-token")


@pytest.mark.parametrize("how", ["key", "client", "everyone"])
async def test_streams_of_a_revoked_key_end_on_all_gateways(
    gateways: tuple[Gateway, Gateway], how: str
) -> None:
    here, there = gateways
    made = await key(here, scopes=["events.read", "photos.read"])
    there.tokens["key"] = made["key"]
    await until_known(there)
    async with (
        following(here, name="key") as stream_here,
        following(there, name="key") as stream_there,
        talking(there, name="key") as talk_there,
    ):
        assert (await talk_there.ask("identify"))["type"] == "identified"
        with anyio.fail_after(WITHIN_S):
            await end(here, made["id"], how)
            assert await stream_here.next() is None
            assert await stream_there.next() is None
            assert await talk_there.closed() == (4401, "revoked-token")

    for gateway in gateways:
        answer = await gateway.get("/api/photos", name="key")
        assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")


async def end(gateway: Gateway, key_id: str, how: str) -> None:
    operator = gateway.bearer("operator")
    if how == "key":
        answer = await gateway.client.delete(f"/api/keys/{key_id}?reason=lost", headers=operator)
        assert answer.status_code == 200
        return
    whose = {"clientId": "alice"} if how == "client" else {"before": datetime.now(UTC).isoformat()}
    answer = await gateway.client.post("/api/ops/tokens/revoke", json=whose, headers=operator)
    assert answer.status_code == 200


async def test_revoking_a_client_ends_its_keys_but_no_others_and_no_later_ones(
    gateway: Gateway,
) -> None:
    await key(gateway)
    others = await key(gateway, clientId="bob")

    await end(gateway, "", "client")

    later = await key(gateway)
    assert [each["id"] for each in await listed(gateway)] == [others["id"], later["id"]]


async def test_a_revoked_key_stays_revoked_after_a_restart_and_its_events_hold_no_secret(
    deps: Dependencies, tmp_path: Path
) -> None:
    async with two(deps, tmp_path) as (here, there):
        made = await key(here)
        await end(here, made["id"], "key")
        again = await here.client.delete(f"/api/keys/{made['id']}", headers=here.bearer("operator"))
        assert again.status_code == 200
        unknown = await here.client.delete("/api/keys/none", headers=here.bearer("operator"))
        assert unknown.json()["code"] == "key-not-found"

        audit = await there.get(
            "/api/audit", name="operator", after=again.headers["X-Log-Position"]
        )
        revoked, created = audit.json()["items"]
        assert (created["what"], created["actor"]) == ("access.key.created", "operator:operator")
        assert (revoked["what"], revoked["reason"]) == ("access.key.revoked", "lost")
        assert made["key"].rpartition("_")[2] not in audit.text
    async with two(deps, tmp_path) as (gateway, _):
        gateway.tokens["key"] = made["key"]
        answer = await gateway.get("/api/photos", name="key")
        assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")


async def test_an_upload_whose_key_is_revoked_in_the_meantime_is_not_recorded(
    gateway: Gateway,
) -> None:
    made = await key(gateway, scopes=["photos.write"])
    began, revoked = anyio.Event(), anyio.Event()

    async def body() -> AsyncGenerator[bytes]:
        yield (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
            b"\x89PNG\r\n\x1a\n"
        )
        began.set()
        await revoked.wait()
        yield b"\0\r\n--x--\r\n"

    async def revoke_it() -> None:
        await began.wait()
        await end(gateway, made["id"], "key")
        revoked.set()

    headers = {**gateway.bearer("key"), "Content-Type": "multipart/form-data; boundary=x"}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(revoke_it())
        answer = await gateway.client.post("/api/photos/upload", content=body(), headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "revoked-token")
    assert (await gateway.get("/api/photos")).json()["items"] == []
