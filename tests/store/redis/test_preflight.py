"""Errors and warnings about servers that should not hold the log."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from store.errors import Denied, IsReplica, StoreError, UnsuitableServer
from store.log.log import Log
from store.redis.connection import Client, connect
from store.redis.preflight import examine, faults
from tests.conftest import unavailable
from tests.servers import DEBIAN_REDIS, valkey


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Client]:
    client = connect(url)
    yield client
    await client.aclose()


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest) -> str | None:
    """Each server in turn."""
    if request.param == "valkey":
        return None
    if not Path(DEBIAN_REDIS).exists():
        unavailable(f"no {DEBIAN_REDIS}: apt-get install redis-server")
    return DEBIAN_REDIS


async def refusal(url: str) -> StoreError:
    async with connected(url) as redis:
        with pytest.raises(StoreError) as error:
            await examine(redis)
    return error.value


async def test_a_well_configured_server_passes(own_folder: Path, binary: str | None) -> None:
    with valkey(own_folder, binary=binary) as url:
        async with connected(url) as redis:
            assert await examine(redis) == []


async def test_a_server_that_evicts_is_rejected(own_folder: Path, binary: str | None) -> None:
    with valkey(own_folder, "--maxmemory-policy", "allkeys-lru", binary=binary) as url:
        error = await refusal(url)

    assert isinstance(error, UnsuitableServer)
    assert "set its maxmemory-policy to noeviction (now allkeys-lru)" in str(error)


async def test_a_replica_is_rejected_and_its_master_named(
    own_folder: Path, binary: str | None
) -> None:
    with valkey(own_folder, "--replicaof", "127.0.0.1 9", binary=binary) as url:
        error = await refusal(url)

    assert isinstance(error, IsReplica)
    assert "use its master, 127.0.0.1:9" in str(error)


async def test_a_server_without_an_append_only_file_gets_a_warning(
    own_folder: Path, binary: str | None
) -> None:
    with valkey(own_folder, "--appendonly", "no", binary=binary) as url:
        async with connected(url) as redis:
            [worry] = await examine(redis)

    assert "set its appendonly to yes" in worry


@pytest.mark.parametrize("version", ["6.2.14", "5.0.0"])
def test_an_old_server_is_rejected(version: str) -> None:
    assert faults({"redis_version": version}) == [
        f"the server is Redis {version}: 7.0 or newer is needed"
    ]


@pytest.mark.parametrize("version", ["7.0.15", "7.2.4", "10.1.0"])
def test_a_newer_server_passes(version: str) -> None:
    assert faults({"redis_version": version}) == []


@pytest.mark.parametrize("user", ["", ":wrong@", "nobody:secret@"])
async def test_a_wrong_password_is_distinguished_from_no_answer(
    own_folder: Path, binary: str | None, user: str
) -> None:
    with valkey(own_folder, "--requirepass", "secret", binary=binary) as url:
        error = await refusal(url.replace("unix://", f"unix://{user}"))

    assert isinstance(error, Denied)
    assert "rejects the credentials" in str(error)


async def test_a_password_in_the_url_is_used(own_folder: Path, binary: str | None) -> None:
    with valkey(own_folder, "--requirepass", "secret", binary=binary) as url:
        async with connected(url.replace("unix://", "unix://:secret@")) as redis:
            assert await examine(redis) == []


async def test_a_user_without_info_gets_a_warning(own_folder: Path, binary: str | None) -> None:
    with valkey(own_folder, binary=binary) as url:
        async with connected(url) as admin:
            await admin.execute_command("ACL", "SETUSER", "me", "on", ">secret", "+ping")
        async with connected(url.replace("unix://", "unix://me:secret@")) as redis:
            [worry] = await examine(redis)

    assert "INFO" in worry


async def test_a_forbidden_command_is_denied(own_folder: Path) -> None:
    with valkey(own_folder) as url:
        async with connected(url) as admin:
            await admin.execute_command("ACL", "SETUSER", "me", "on", ">secret", "+ping")
        async with connected(url.replace("unix://", "unix://me:secret@")) as redis:
            with pytest.raises(Denied, match="eval"):
                await Log.open(redis)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "somebody else's"},
        {"id": "x"},
        {"id": "x", "partitions": "many"},
        {"id": "x", "partitions": "0"},
    ],
)
async def test_a_foreign_hash_is_left_unchanged(
    redis: Client, prefix: str, fields: dict[str, str]
) -> None:
    untyped: Any = redis
    await untyped.hset(f"{prefix}:meta", mapping=fields)

    with pytest.raises(UnsuitableServer, match="belongs to another program"):
        await Log.open(redis, prefix=prefix)

    found = await untyped.hgetall(f"{prefix}:meta")
    assert found == {name.encode(): value.encode() for name, value in fields.items()}


async def test_a_key_of_another_type_is_left_unchanged(redis: Client, prefix: str) -> None:
    untyped: Any = redis
    await untyped.set(f"{prefix}:meta", "somebody else's")

    with pytest.raises(UnsuitableServer, match="belongs to another program"):
        await Log.open(redis, prefix=prefix)

    assert await untyped.get(f"{prefix}:meta") == b"somebody else's"
