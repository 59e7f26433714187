"""An OpenID provider signs somebody out, whose sessions end on all gateways."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from gateway.access.oidc.config import BACK_CHANNEL, BEGIN
from gateway.access.oidc.logout_token import sign_in_of
from gateway.dependencies import Dependencies
from gateway.routes.oidc import LOGOUT_BYTES
from store.redis.connection import Client, connect
from tests.gateway.access.oidc.test_logout_token import logout_claims
from tests.gateway.access.test_access import WITHIN_S, two
from tests.gateway.conftest import Gateway
from tests.gateway.listeners import following, talking
from tests.gateway.openid.forger import Forger, forging, signed
from tests.servers import DEBIAN_REDIS, unavailable, valkey

Cookie = dict[str, str]


@pytest.fixture
async def forger() -> AsyncGenerator[Forger]:
    async with forging() as running:
        yield running


@pytest.fixture
def deps(deps: Dependencies, forger: Forger) -> Dependencies:
    return msgspec.structs.replace(deps, oidc=forger.config())


@pytest.fixture
async def gateways(deps: Dependencies, tmp_path: Path) -> AsyncGenerator[tuple[Gateway, Gateway]]:
    async with two(deps, tmp_path) as pair:
        for gateway in pair:
            gateway.client.headers.pop("Authorization", None)
        yield pair


async def sign_in(gateway: Gateway, forger: Forger, **claims: Any) -> Cookie:
    """Sign in a browser, and return its cookie."""
    gateway.client.cookies.clear()
    begun = await gateway.client.get(BEGIN)
    asked = httpx.URL(begun.headers["Location"]).params
    forger.gives(signed(forger.claims(asked["nonce"], **claims)))
    returned = {"state": asked["state"], "code": "the-code"}
    answer = await gateway.client.get(f"{BEGIN}/callback", params=returned)
    assert answer.status_code == 303, answer.text
    gateway.client.cookies.clear()
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def sign_out(gateway: Gateway, forger: Forger, **claims: Any) -> httpx.Response:
    token = signed(logout_claims(forger, **claims), typ="logout+jwt")
    return await gateway.client.post(BACK_CHANNEL, data={"logout_token": token, "more": "ignored"})


async def status(gateway: Gateway, cookie: Cookie) -> int:
    return (await gateway.client.get("/api/me", headers=cookie)).status_code


async def until_ended(gateway: Gateway, cookie: Cookie) -> None:
    with anyio.fail_after(WITHIN_S):
        while await status(gateway, cookie) != 401:
            await anyio.sleep(0.02)


async def test_sessions_and_streams_of_the_person_end_on_all_gateways(
    gateways: tuple[Gateway, Gateway], forger: Forger
) -> None:
    here, there = gateways
    person = await sign_in(here, forger)
    other = await sign_in(here, forger, sub="somebody else")
    async with (
        talking(here, name=None, headers={**person, "Origin": here.base_url}) as talk_here,
        talking(there, name=None, headers={**person, "Origin": there.base_url}) as talk_there,
        following(there, headers={**person, "Authorization": ""}) as stream,
        following(there, headers={**other, "Authorization": ""}) as others,
    ):
        for talk in (talk_here, talk_there):
            assert (await talk.ask("identify"))["type"] == "identified"

        answer = await sign_out(here, forger)

        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        with anyio.fail_after(WITHIN_S):
            assert await talk_here.closed() == (4401, "expired-session")
            assert await talk_there.closed() == (4401, "expired-session")
            assert await stream.next() is None
        for gateway in gateways:
            await until_ended(gateway, person)
            assert await status(gateway, other) == 200
        assert others.ready.event == "ready"
    again = await sign_in(here, forger, iat=logout_claims(forger)["iat"] + 2)
    assert await status(there, again) == 200


@pytest.mark.parametrize("partitions", [16])
async def test_a_partition_that_fails_keeps_no_streams_of_the_others_open(
    gateway: Gateway, forger: Forger
) -> None:
    log = gateway.log
    gateway.client.headers.pop("Authorization", None)

    def mark_of(person: str) -> str:
        claims = {"sub": person, "sid": "one", "iat": 0}
        return sign_in_of(claims, forger.config()).marks[0]

    people = ["alice", *(f"person {number}" for number in range(100))]
    person, other = (
        people[0],
        next(
            each
            for each in people
            if log.partition_of(mark_of(each)) != log.partition_of(mark_of(people[0]))
        ),
    )
    cookies = [await sign_in(gateway, forger, sub=each, sid="one") for each in (person, other)]
    redis: Any = log.redis
    closed = f"{{{log.partition_of(mark_of(other)):02}}}"
    tags = {f"{{{number:02}}}" for number in range(16)} - {closed}
    async with (
        following(gateway, headers={**cookies[0], "Authorization": ""}) as stream,
        following(gateway, headers={**cookies[1], "Authorization": ""}),
    ):
        await redis.execute_command(
            "ACL",
            "SETUSER",
            "default",
            "resetkeys",
            *(f"~{log.keys.prefix}:{tag}*" for tag in tags),
        )
        try:
            answer = await sign_out(gateway, forger, sub=person)

            with anyio.fail_after(WITHIN_S):
                assert await stream.next() is None
        finally:
            await redis.execute_command("ACL", "SETUSER", "default", "allkeys")
    assert answer.status_code in (200, 503)  # the token may be noted in the closed partition


async def test_a_session_that_was_found_signed_out_stays_so_without_the_sign_out(
    gateway: Gateway, forger: Forger
) -> None:
    gateway.client.headers.pop("Authorization", None)
    person = await sign_in(gateway, forger)
    await sign_out(gateway, forger)
    await until_ended(gateway, person)
    redis: Any = gateway.log.redis
    kept = [each async for each in redis.scan_iter(f"{gateway.log.keys.prefix}:*:sign-out:*")]
    assert kept

    await redis.unlink(*kept)

    assert await status(gateway, person) == 401


async def test_a_token_is_used_once_on_all_gateways(
    gateways: tuple[Gateway, Gateway], forger: Forger
) -> None:
    here, there = gateways
    assert (await sign_out(here, forger, jti="one")).status_code == 200

    for gateway in (here, there):
        answer = await sign_out(gateway, forger, jti="one")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-logout-token")


@pytest.mark.parametrize(
    ("body", "status_code"),
    [
        (b"", 400),
        (b"logout_token=", 400),
        (b"logout_token=a.b.c", 400),
        (b"logout_token=a.b.c&logout_token=a.b.c", 400),
        (b"{}", 400),
        (b"\xff=\xff", 400),
        (b"a=b&" * 4_000, 400),
        (b"logout_token=" + b"a" * LOGOUT_BYTES, 413),
    ],
)
async def test_a_body_without_a_token_is_rejected(
    gateway: Gateway, body: bytes, status_code: int
) -> None:
    gateway.client.headers.pop("Authorization", None)
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = await gateway.client.post(BACK_CHANNEL, content=body, headers=form)

    assert answer.status_code == status_code, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"


class TestWithoutProvider:
    @pytest.fixture
    def deps(self, deps: Dependencies) -> Dependencies:
        return msgspec.structs.replace(deps, oidc=None)

    async def test_nobody_is_signed_out(self, gateway: Gateway) -> None:
        answer = await gateway.client.post(BACK_CHANNEL, data={"logout_token": "a.b.c"})

        assert (answer.status_code, answer.json()["code"]) == (404, "no-provider")


class TestFullRedis:
    @pytest.fixture(params=[None, DEBIAN_REDIS], ids=["valkey", "redis"])
    async def redis(
        self, own_folder: Path, request: pytest.FixtureRequest
    ) -> AsyncGenerator[Client]:
        """A server of the test's own, whose memory it limits."""
        binary: str | None = request.param
        if binary is not None and not Path(binary).exists():
            unavailable(f"no {binary} on this machine: apt-get install redis-server")
        with valkey(own_folder, "--appendonly", "no", "--save", "", binary=binary) as url:
            client = connect(url)
            yield client
            await client.aclose()

    async def test_people_are_signed_out(self, gateway: Gateway, forger: Forger) -> None:
        gateway.client.headers.pop("Authorization", None)
        person = await sign_in(gateway, forger)
        redis: Any = gateway.log.redis
        await redis.config_set("maxmemory", "1")

        answer = await sign_out(gateway, forger, jti="one")
        again = await sign_out(gateway, forger, jti="one")

        assert (answer.status_code, again.status_code) == (200, 400)
        await until_ended(gateway, person)
