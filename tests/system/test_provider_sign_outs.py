"""Sessions of an OpenID provider, and their ends, on a cluster: the marks are on all masters."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskStatus

from gateway.access.oidc.config import BACK_CHANNEL, BEGIN
from tests.gateway.access.oidc.test_logout_token import logout_claims
from tests.gateway.openid.forger import Forger, forging, signed
from tests.gateway.openid.provider import CLIENT_ID, CLIENT_SECRET
from tests.system.clusters import Cluster
from tests.system.hosts import DEADLINE_S, host, settings_of

PEOPLE = 8
"""Enough that their marks, two each, are on several masters."""


@pytest.fixture
async def forger() -> AsyncGenerator[Forger]:
    async with forging() as running:
        yield running


async def sign_in(http: httpx.AsyncClient, forger: Forger, person: str) -> dict[str, str]:
    """Sign in a browser, and return its cookie."""
    begun = await http.get(BEGIN)
    asked = httpx.URL(begun.headers["Location"]).params
    forger.gives(signed(forger.claims(asked["nonce"], sub=person, sid=f"session of {person}")))
    returned = {"state": asked["state"], "code": "the-code"}
    answer = await http.get(f"{BEGIN}/callback", params=returned)
    assert answer.status_code == 303, answer.text
    http.cookies.clear()
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def sign_out(http: httpx.AsyncClient, forger: Forger, **claims: Any) -> None:
    token = signed(logout_claims(forger, **claims), typ="logout+jwt")
    answer = await http.post(BACK_CHANNEL, data={"logout_token": token})
    assert answer.status_code == 200, answer.text


async def follow(
    http: httpx.AsyncClient, cookie: dict[str, str], *, task_status: TaskStatus[None]
) -> None:
    """Read an event stream to its end."""
    room = {"room": "client"}
    async with http.stream("GET", "/api/events", params=room, headers=cookie) as stream:
        assert stream.status_code == 200
        task_status.started()
        async for _ in stream.aiter_lines():
            pass


async def test_sessions_and_streams_of_all_partitions_work_and_end(
    servers: Cluster, prefix: str, tmp_path: Path, forger: Forger
) -> None:
    settings = settings_of(
        tmp_path / "host",
        servers.url,
        oidc_issuer=forger.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_public_url="https://photos.example.com",
    )
    people = [f"person {number}" for number in range(PEOPLE)]
    async with (
        host(settings, prefix) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30) as http,
    ):
        cookies = {person: await sign_in(http, forger, person) for person in people}

        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as streams:
                for person in people:
                    await streams.start(follow, http, cookies[person])
                for person in people[::2]:
                    await sign_out(http, forger, sub=person)
                for person in people[1::2]:
                    await sign_out(http, forger, sub=None, sid=f"session of {person}")

        for cookie in cookies.values():
            assert (await http.get("/api/me", headers=cookie)).status_code == 401
