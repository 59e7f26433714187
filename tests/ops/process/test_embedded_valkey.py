import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from handlers.parent_death import bound_to_parent
from ops.process.embedded_valkey import Valkey, url_in
from store.redis.connection import connect
from tests.ops.systems import wait_until


@contextmanager
def _running(valkey: Valkey) -> "Generator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(bound_to_parent(valkey.prepare()))
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        valkey.clean()


async def _ready(valkey: Valkey) -> Any:
    state: object = "down"
    while state != "ready":
        state = await valkey.state()
    return connect(valkey.url)


async def test_every_write_is_on_the_disk_before_it_is_answered_and_no_port_is_open(
    data: Path,
) -> None:
    valkey = Valkey(data / "valkey", 64 << 20)
    with _running(valkey):
        redis = await _ready(valkey)

        config = await redis.config_get(
            "appendonly",
            "appendfsync",
            "save",
            "port",
            "maxmemory-policy",
            "unixsocketperm",
            "maxmemory",
        )
        await redis.aclose()

    assert config == {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "port": "0",
        "maxmemory": str(64 << 20),
        "maxmemory-policy": "noeviction",
        "unixsocketperm": "700",
    }


async def test_answered_writes_survive_a_kill(data: Path) -> None:
    valkey = Valkey(data / "valkey")
    with _running(valkey) as process:
        redis = await _ready(valkey)
        for number in range(100):
            await redis.xadd("log", {"n": number})
        os.kill(process.pid, signal.SIGKILL)
        await redis.aclose()

    with _running(valkey):
        redis = await _ready(valkey)
        entries = await redis.xrange("log")
        await redis.aclose()

    assert [int(fields[b"n"]) for _, fields in entries] == list(range(100))


async def test_a_folder_with_a_long_or_odd_name_gets_a_socket_that_others_find(
    data: Path,
) -> None:
    folder = data / ('long "and" odd ' * 8) / "valkey"
    valkey = Valkey(folder)
    with _running(valkey):
        redis = await _ready(valkey)
        assert await redis.ping()
        await redis.aclose()

        socket = Path((folder / "socket").read_text())
        assert url_in(folder) == valkey.url
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700

    assert not socket.parent.exists()
    assert (folder / "appendonlydir").is_dir()


async def test_a_server_that_does_not_run_is_down(data: Path) -> None:
    assert await Valkey(data / "valkey").state() == "down"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills with the parent")
def test_a_command_bound_to_its_parent_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    starter = (
        "import json, subprocess, sys; from pathlib import Path;"
        "from handlers.parent_death import bound_to_parent;"
        "process = subprocess.Popen(bound_to_parent(['sleep', '600']), start_new_session=True);"
        f"Path({str(pids)!r}).write_text(json.dumps(process.pid)); process.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter])
    wait_until(lambda: pids.exists() and pids.read_text(), "the child is started")
    child = json.loads(pids.read_text())
    wait_until(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes()[:6], "it runs")

    parent.kill()
    parent.wait()

    wait_until(lambda: not _runs(child), "the child ends")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
