"""Kill the gateway at any moment of an upload: nothing durable is lost, nothing is done twice."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest

from domain.photo.events import PhotoUploaded
from gateway.http.auth import Role, Tokens
from store.log.log import Log
from tests.gateway.conftest import SECRET, picture
from tests.gateway.http.test_stopping import PROGRAM
from tests.gateway.uploads.resumable.requests import TUS, TUS_BODY, UPLOADS

SIZE = 12_000_000
KEPT = 4 << 20
"""A crash costs no more than this, and what has arrived since it was kept last."""

READY_S = 60.0


@asynccontextmanager
async def killed(
    valkey_url: str, prefix: str, folder: Path
) -> AsyncGenerator[tuple[httpx.AsyncClient, "subprocess.Popen[bytes]"]]:
    """Run a gateway as a process, and kill it when the block ends."""
    token = Tokens(SECRET).issue("alice", Role.CLIENT, 3600, time.time())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        arguments = [valkey_url, prefix, str(folder), SECRET.decode(), str(fd)]
        server = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], pass_fds=[fd])
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=READY_S,
        ) as client:
            yield client, server
    finally:
        server.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(server.wait)


def durable(folder: Path) -> int:
    """Return the offset in the state of the only unfinished upload; 0 if there is none."""
    for path in (folder / "uploads" / "open").rglob("*.json"):
        with suppress(FileNotFoundError):
            return json.loads(path.read_bytes()).get("offset", 0)
    return 0


async def sent(client: httpx.AsyncClient, address: str, offset: int, data: bytes) -> None:
    with suppress(httpx.TransportError):
        await client.patch(
            address, content=data[offset:], headers={**TUS_BODY, "Upload-Offset": f"{offset}"}
        )


@pytest.mark.parametrize("moment", ["after the first bytes", "at the last byte", "while recording"])
async def test_an_upload_survives_a_kill(
    valkey_url: str, log: Log, tmp_path: Path, moment: str
) -> None:
    data, before = picture() + bytes(SIZE), 0
    prefix = log.keys.prefix
    async with killed(valkey_url, prefix, tmp_path) as (client, server):
        created = await client.post(UPLOADS, headers={**TUS, "Upload-Length": str(len(data))})
        address = created.headers["Location"]
        async with anyio.create_task_group() as group:
            group.start_soon(sent, client, address, 0, data)
            least = KEPT if moment == "after the first bytes" else len(data)
            with anyio.fail_after(READY_S):
                while durable(tmp_path) < least and not ended(tmp_path):
                    await anyio.sleep(0.001)
                while moment == "while recording" and not (drafted(tmp_path) or ended(tmp_path)):
                    await anyio.sleep(0.001)
            before = durable(tmp_path)
            server.send_signal(signal.SIGKILL)

    async with killed(valkey_url, prefix, tmp_path) as (client, _):
        head = await client.head(address, headers=TUS)
        offset = int(head.headers["Upload-Offset"])
        assert offset >= before
        await sent(client, address, offset, data)
        done = await client.head(address, headers=TUS)
        again = await client.head(address, headers=TUS)

    assert done.headers["Upload-Offset"] == str(len(data))
    assert done.headers["Content-Location"] == again.headers["Content-Location"]
    recorded = [
        each.event.data async for each in log.scan(0) if isinstance(each.event.data, PhotoUploaded)
    ]
    assert [each.sha256 for each in recorded] == [hashlib.sha256(data).hexdigest()]
    assert not [*(tmp_path / "uploads").rglob("*.bytes")]


def ended(folder: Path) -> bool:
    return any((folder / "uploads" / "ended").rglob("*.json"))


def drafted(folder: Path) -> bool:
    return any((folder / "blobs" / "drafts").iterdir())
