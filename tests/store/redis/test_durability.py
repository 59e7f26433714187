"""Appends that return once they are on the disks of a server and its replica."""

import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from domain.photo.commands import DeletePhoto, UploadPhoto
from store.errors import Unavailable, UnsuitableServer
from store.log.log import Log
from store.log.outcome import Appended, Outcome, Unchanged
from store.redis.connection import Client, Wait, connect
from store.redis.preflight import can_wait
from tests.conftest import CONTEXT
from tests.ports import free_ports
from tests.servers import DEBIAN_REDIS, process_of, valkey
from tests.store.commands import upload

DEADLINE_S = 20.0
ONE_REPLICA = Wait(replicas=1, timeout_s=0.3)
"""Shorter than a replica may take to report its progress: some appends are retried."""


@pytest.fixture
async def pair(own_folder: Path) -> AsyncGenerator[tuple[Client, Client]]:
    """A master and its replica."""
    (port,) = free_ports(1)
    folders = own_folder / "master", own_folder / "replica"
    with ExitStack() as servers:
        urls: list[str] = []
        for folder, options in zip(
            folders,
            (
                ("--port", str(port), "--repl-diskless-sync-delay", "0"),
                ("--replicaof", f"127.0.0.1 {port}"),
            ),
            strict=True,
        ):
            folder.mkdir()
            urls.append(servers.enter_context(valkey(folder, *options)))
        master, replica = (connect(url) for url in urls)
        await _in_step(replica)
        yield master, replica
        await master.aclose()
        await replica.aclose()


async def _in_step(replica: Client) -> None:
    untyped: Any = replica
    with anyio.fail_after(DEADLINE_S):
        while (await untyped.info("replication"))["master_link_status"] != "up":
            await anyio.sleep(0.02)


async def record(log: Log, command: UploadPhoto, patience_s: float = 0.0) -> Outcome:
    return await log.execute(command, client_id="alice", context=CONTEXT, patience_s=patience_s)


async def test_an_append_waits_for_the_disk_of_a_single_server(
    own_folder: Path, prefix: str
) -> None:
    with valkey(own_folder) as url:
        redis = connect(url)
        log = await Log.open(redis, prefix=prefix, wait=Wait())

        outcome = await record(log, upload())

        assert isinstance(outcome, Appended)
        await redis.aclose()


async def test_an_append_that_the_replica_has_is_answered(
    pair: tuple[Client, Client], prefix: str
) -> None:
    master, replica = pair
    log = await Log.open(master, prefix=prefix, wait=ONE_REPLICA)

    outcome = await record(log, upload(), patience_s=DEADLINE_S)

    assert isinstance(outcome, Appended | Unchanged)
    assert await replica.xlen(log.keys.log(0)) == 1


async def test_nothing_is_answered_while_the_replica_hangs(
    pair: tuple[Client, Client], prefix: str, own_folder: Path
) -> None:
    master, replica = pair
    log = await Log.open(master, prefix=prefix, wait=ONE_REPLICA)
    command = upload()
    replica_process = process_of(own_folder / "replica")
    replica_process.send_signal(signal.SIGSTOP)

    with pytest.raises(Unavailable, match="0 of 1 replicas"):
        await record(log, command)
    with pytest.raises(Unavailable, match="0 of 1 replicas"):  # it is in the log, but not safe yet
        await record(log, command)
    replica_process.send_signal(signal.SIGCONT)
    outcome = await record(log, command, patience_s=DEADLINE_S)

    assert isinstance(outcome, Unchanged)
    assert await replica.xlen(log.keys.log(0)) == await master.xlen(log.keys.log(0)) == 1


async def test_a_repeated_command_is_answered_once_the_first_is_safe(
    pair: tuple[Client, Client], prefix: str, own_folder: Path
) -> None:
    master, _ = pair
    log = await Log.open(master, prefix=prefix, wait=ONE_REPLICA)
    command = upload()
    await record(log, command, patience_s=DEADLINE_S)
    delete = DeletePhoto(photo_id=command.photo_id)
    await log.execute(delete, client_id="alice", context=CONTEXT)
    replica_process = process_of(own_folder / "replica")
    replica_process.send_signal(signal.SIGSTOP)

    with pytest.raises(Unavailable):
        await log.execute(delete, client_id="alice", context=CONTEXT, patience_s=0)

    replica_process.send_signal(signal.SIGCONT)
    again = await log.execute(delete, client_id="alice", context=CONTEXT, patience_s=DEADLINE_S)
    assert isinstance(again, Unchanged)


async def test_a_server_without_waitaof_is_rejected(own_folder: Path) -> None:
    with valkey(own_folder, binary=DEBIAN_REDIS) as url:
        redis = connect(url)
        with pytest.raises(UnsuitableServer, match=r"came with Redis 7\.2"):
            await can_wait(redis, Wait())
        await redis.aclose()


async def test_a_server_without_an_append_only_file_is_rejected(own_folder: Path) -> None:
    with valkey(own_folder, "--appendonly", "no") as url:
        redis = connect(url)
        with pytest.raises(UnsuitableServer, match="appendonly"):
            await can_wait(redis, Wait())
        await redis.aclose()


async def test_missing_replicas_are_unavailable(own_folder: Path) -> None:
    with valkey(own_folder) as url:
        redis = connect(url)
        with pytest.raises(Unavailable, match="0 of 2 replicas"):
            await can_wait(redis, Wait(replicas=2))
        await redis.aclose()


async def test_a_safe_read_works_on_a_server_that_does_not_know_the_scripts(
    own_folder: Path, prefix: str
) -> None:
    """Such as a replica that has replaced its master."""
    with valkey(own_folder) as url:
        redis = connect(url)
        log = await Log.open(redis, prefix=prefix, wait=Wait())
        command = upload()
        await record(log, command)
        untyped: Any = redis
        await untyped.execute_command("SCRIPT FLUSH")

        loaded = await log.load(command.photo_id, "alice", safe=True)
        await redis.aclose()

    assert loaded.photo is not None
    assert loaded.version == 1
