"""Commands sent together: each has its own reply, and one caller's end does not end the others."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions
from redis.asyncio.connection import Connection

from store.errors import Unavailable
from store.redis.combining import MOST_TOGETHER, UNDER_WAY, Combiner, Command
from store.redis.connection import Wait, connect
from store.redis.connections import Pool
from tests.servers import valkey

DEADLINE_S = 10.0


class Server:
    """Answers each exchange once ``open`` is set, with the second word of each command."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.exchanges: list[list[Any]] = []
        self.error: BaseException | None = None

    async def __call__(self, commands: Sequence[Command]) -> list[Any]:
        self.exchanges.append([command[1] for command in commands])
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [
            exceptions.ResponseError("no") if command[1] == "bad" else command[1]
            for command in commands
        ]


async def begun(server: Server, combiner: Combiner, *words: Any) -> list[asyncio.Task[Any]]:
    """Send each word; return once all of them wait for the server or for their turn."""
    tasks = [asyncio.create_task(combiner.send(("ECHO", word))) for word in words]
    for _ in range(3):
        await asyncio.sleep(0)
    assert server.exchanges
    return tasks


async def test_what_comes_while_a_command_is_under_way_goes_together() -> None:
    server = Server()
    combiner = Combiner(server)
    tasks = await begun(server, combiner, *range(MOST_TOGETHER + 3))
    server.open.set()

    replies = await asyncio.gather(*tasks)

    assert replies == [*range(MOST_TOGETHER + 3)]
    assert [each for exchange in server.exchanges for each in exchange] == replies
    assert max(len(exchange) for exchange in server.exchanges) == MOST_TOGETHER


async def test_an_error_of_one_command_is_raised_to_its_caller_alone() -> None:
    server = Server()
    tasks = await begun(server, Combiner(server), "first", "bad", "good", "bad")
    server.open.set()

    replies = await asyncio.gather(*tasks, return_exceptions=True)

    assert [replies[0], replies[2]] == ["first", "good"]
    assert all(isinstance(replies[at], exceptions.ResponseError) for at in (1, 3))


async def test_a_lost_connection_ends_all_that_were_sent_and_none_after_them() -> None:
    server = Server()
    combiner = Combiner(server)
    server.error = Unavailable("away")
    tasks = await begun(server, combiner, "first", "second", "third")
    server.open.set()

    replies = await asyncio.gather(*tasks, return_exceptions=True)
    server.error = None
    later = await combiner.send(("ECHO", "later"))

    assert all(isinstance(each, Unavailable) for each in replies)
    assert later == "later"


async def test_a_cancelled_caller_is_not_sent_for_and_does_not_disturb_the_others() -> None:
    server = Server()
    combiner = Combiner(server)
    first, second = await begun(server, combiner, "first", "second")
    others = [await begun(server, combiner, number) for number in range(1, UNDER_WAY)]
    waiting = await begun(server, combiner, "fourth", "fifth")
    first.cancel()
    second.cancel()
    waiting[0].cancel()
    server.open.set()

    with anyio.fail_after(DEADLINE_S):
        assert [await task for [task] in others] == [*range(1, UNDER_WAY)]
        assert await waiting[1] == "fifth"
        assert await combiner.send(("ECHO", "after")) == "after"
    assert "fourth" not in [each for exchange in server.exchanges for each in exchange]


async def test_callers_end_with_the_task_that_sends_for_them() -> None:
    server = Server()
    combiner = Combiner(server)
    server.error = asyncio.CancelledError()
    tasks = await begun(server, combiner, "first", "second", "third")
    server.open.set()

    with anyio.fail_after(DEADLINE_S):
        await asyncio.wait(tasks)
        server.error = None
        assert await combiner.send(("ECHO", "after")) == "after"
    assert all(task.cancelled() for task in tasks)


@pytest.mark.parametrize("wait", [None, Wait()])
async def test_scripts_that_go_together_have_their_own_replies(
    own_folder: Path, wait: Wait | None
) -> None:
    text = "return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))"
    with valkey(own_folder) as url:
        redis = connect(url)
        send = redis.sender(wait)

        async def call(name: str, *args: Any) -> Any:
            return await send(("EVAL", text, 1, name, *args))

        replies = await asyncio.gather(
            call("first", "INCRBY", 2),
            call("n", "INCRBY", 3),
            call("text", "SET", b"\r\n\x00"),
            call("text", "INCR"),
            call("n", "INCRBY", 5),
            return_exceptions=True,
        )
        await redis.aclose()

    assert replies[:3] == [2, 3, b"OK"]
    assert isinstance(replies[3], exceptions.ResponseError)
    assert replies[4] == 8


WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.integers(), st.floats()
)


@given(st.sampled_from(["SET", "CONFIG GET", b"ACL LIST"]), st.lists(WORDS, max_size=5))
def test_commands_are_written_as_the_library_writes_them(name: str, words: list[Any]) -> None:
    connection = Pool(host="127.0.0.1").make_connection()

    ours = b"".join(connection.pack_command(name, *words))

    assert ours == b"".join(Connection().pack_command(name, *words))


@pytest.mark.parametrize("word", [None, True, ["list"], object()])
def test_a_word_of_another_type_is_rejected_as_the_library_does(word: Any) -> None:
    connection = Pool(host="127.0.0.1").make_connection()

    with pytest.raises(exceptions.DataError):
        connection.pack_command("SET", word)
