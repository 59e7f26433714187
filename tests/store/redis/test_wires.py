"""Wires carry exchanges over connections that they keep, and give up those that cannot be used."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from store.breaker import Breaker
from store.redis.connection import Client, connect, plain
from tests.servers import valkey

ECHO = "return ARGV[1]"


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    with valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


def echo(word: str) -> tuple[Any, ...]:
    return "EVAL", ECHO, 0, word


async def connections(redis: Client) -> int:
    """Count the connections of all clients, with the one that asks."""
    listed: bytes = await redis.execute_command("CLIENT", "LIST", "TYPE", "normal")
    return listed.count(b"\n")


async def test_exchanges_in_turn_use_one_connection(url: str) -> None:
    redis, observer = connect(url), connect(url)
    before = await connections(observer)

    replies = [await redis.exchange([echo(word)], None) for word in ("one", "two", "three")]

    assert replies == [[b"one"], [b"two"], [b"three"]]
    assert await connections(observer) == before + 1
    await redis.aclose()
    await observer.aclose()


async def test_an_exchange_after_a_closed_connection_uses_another_one(url: str) -> None:
    redis, observer = connect(url), connect(url)
    await redis.exchange([echo("before")], None)
    await observer.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    while any(wire.is_open for wire in redis.wires.idle):
        await asyncio.sleep(0)

    assert await redis.exchange([echo("after")], None) == [b"after"]
    await redis.aclose()
    await observer.aclose()


async def test_a_cancelled_exchange_leaves_no_reply_for_the_next_one(url: str) -> None:
    redis = connect(url)
    await redis.exchange([echo("before")], None)
    cancelled = asyncio.create_task(redis.exchange([echo("cancelled")], None))
    await asyncio.sleep(0)
    cancelled.cancel()

    assert await redis.exchange([echo("next")], None) == [b"next"]
    assert cancelled.cancelled() or cancelled.cancelling()
    await redis.aclose()


async def test_a_closed_client_carries_no_exchange(url: str) -> None:
    redis = connect(url)
    await redis.exchange([echo("before")], None)
    await redis.aclose()

    with pytest.raises(exceptions.ConnectionError):
        await redis.exchange([echo("after")], None)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"+one\r\n+two\r\n", exceptions.ConnectionError),
        (b"what is this?", exceptions.ConnectionError),
        (b"-LOADING the dataset\r\n", exceptions.BusyLoadingError),
        (b"", exceptions.ConnectionError),
        (b"$9\r\nhalf", exceptions.TimeoutError),
    ],
)
async def test_what_is_no_reply_ends_the_exchange_and_its_connection(
    tmp_path: Path, said: bytes, error: type[Exception]
) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await reader.read(1 << 16):
            if b"EVAL" not in words:
                writer.write(b"+OK\r\n" * words.count(b"\r\n*") + b"%1\r\n+proto\r\n:3\r\n")
            elif said:
                writer.write(said)
            else:
                writer.close()
        writer.close()
        ended.set()

    socket = tmp_path / "redis.sock"
    server = await asyncio.start_unix_server(serve, socket)
    redis = plain(f"unix://{socket}", Breaker("redis"), Client)
    redis.connection_pool.connection_kwargs["socket_timeout"] = 0.5

    with pytest.raises(error):
        await redis.exchange([echo("one")], None)

    await asyncio.wait_for(ended.wait(), 5.0)
    assert not redis.wires.idle
    await redis.aclose()
    server.close()
