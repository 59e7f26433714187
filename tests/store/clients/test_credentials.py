import time

import anyio
import pytest

from store.clients.credentials import CredentialPlace, Credentials, Grant, held
from store.log.log import Log
from store.redis.connection import Client
from tests.conftest import one_and_three

HOUR_S = 3_600.0


def grant(client_id: str = "alice") -> Grant:
    now = time.time()
    return Grant(client_id=client_id, role="client", issued=now, expires=now + HOUR_S)


def place(secret: str, log: Log) -> CredentialPlace:
    found = held(secret, log)
    assert found is not None
    return found


@one_and_three
async def test_a_session_is_found_by_its_secret_until_it_is_deleted(log: Log) -> None:
    sessions, of = Credentials(log, "session", 5), grant()
    secret = await sessions.create(of, HOUR_S)
    where = place(secret, log)

    assert await sessions.find(where) == of
    assert await Credentials(log, "ticket", 5).find(where) is None
    assert await sessions.missing([where]) == set()
    await sessions.delete(where)
    assert await sessions.find(where) is None
    assert await sessions.missing([where]) == {where}


async def test_redis_never_has_the_secret_itself(log: Log, redis: Client) -> None:
    secret = await Credentials(log, "session", 5).create(grant(), HOUR_S)

    text = secret.partition("-")[2].encode()
    async for key in redis.scan_iter(match=f"{log.keys.prefix}:*"):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # the library's Any
        assert text not in (await redis.dump(key) or b"")  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] # the library's Any
        assert text not in key


async def test_only_one_of_many_concurrent_callers_gets_a_ticket(log: Log) -> None:
    tickets, of = Credentials(log, "ticket", 5), grant()
    where = place(await tickets.create(of, HOUR_S), log)
    got: list[Grant | None] = []

    async def take() -> None:
        got.append(await tickets.take(where))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(take)

    assert [each for each in got if each] == [of]


@one_and_three
async def test_the_oldest_sessions_beyond_the_limit_are_deleted(log: Log) -> None:
    sessions = Credentials(log, "session", 3)
    others = await sessions.create(grant("bob"), HOUR_S)
    secrets = [await sessions.create(grant(), HOUR_S) for _ in range(5)]

    found = [await sessions.find(place(secret, log)) is not None for secret in secrets]
    assert found.count(True) == 3
    assert found[-1]
    assert await sessions.find(place(others, log)) is not None


async def test_expired_sessions_leave_nothing_behind(log: Log, redis: Client) -> None:
    sessions = Credentials(log, "session", 3)
    where = place(await sessions.create(grant(), 0.05), log)
    with anyio.fail_after(10):
        while await sessions.find(where) is not None:
            await anyio.sleep(0.01)

    await sessions.create(grant(), HOUR_S)

    index = log.keys.credentials(where.partition, "session", "alice")
    assert await redis.zcard(index) == 1  # pyright: ignore[reportUnknownMemberType] # the library's Any


@pytest.mark.parametrize("secret", ["", "x", "9999-" + "a" * 32, "0-" + "a" * 31, "-1-" + "a" * 32])
async def test_a_malformed_secret_is_not_looked_up(log: Log, secret: str) -> None:
    assert held(secret, log) is None
