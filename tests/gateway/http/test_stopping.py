"""Stop a gateway that runs as a separate process with a real signal."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.http.auth import Role, Tokens
from tests.gateway.conftest import SECRET

PROGRAM = """
import socket, sys
from pathlib import Path

import anyio, uvicorn

from gateway.app import create_app
from gateway.http.auth import Tokens
from gateway.dependencies import Dependencies
from gateway.http.limits import Limits
from gateway.http.server import configuration
from gateway.webhooks.secrets import WebhookSecrets
from projections.projector import Projector
from store.blobs.folder import FolderBlobs
from store.blobs.partials import Partials
from store.redis.connection import connect
from store.log.log import Log
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader

url, prefix, folder, secret, listener = sys.argv[1:]

async def main():
    log = await Log.open(connect(url), prefix=prefix)
    generations = Generations(Path(folder) / "read-model")
    deps = Dependencies(
        log=log,
        blobs=FolderBlobs(Path(folder) / "blobs"),
        partials=Partials(Path(folder) / "uploads"),
        reader=Reader(generations),
        tokens=Tokens(secret.encode()),
        webhook_secrets=WebhookSecrets(secret.encode()),
        limits=Limits(drain_s=3_600),  # open streams are not cut off while a test runs
    )
    server = uvicorn.Server(configuration(create_app(deps), deps.limits))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Projector(log, generations).run)
        await server.serve(sockets=[socket.socket(fileno=int(listener))])

anyio.run(main)
"""


async def test_a_stopping_server_ends_its_rooms_immediately(
    valkey_url: str, prefix: str, tmp_path: Path
) -> None:
    token = Tokens(SECRET).issue("alice", Role.CLIENT, 3600, time.time())
    bearer = {"Authorization": f"Bearer {token}"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        arguments = [valkey_url, prefix, str(tmp_path), SECRET.decode(), str(fd)]
        server = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], pass_fds=[fd])
    try:
        with anyio.fail_after(30):
            async with (
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
                client.stream(
                    "GET", "/api/events", params={"room": "client"}, headers=bearer, timeout=30
                ) as stream,
                connect(
                    f"ws://127.0.0.1:{port}/ws", additional_headers=bearer, proxy=None
                ) as websocket,
            ):
                lines = stream.aiter_lines()
                assert await anext(lines) == "event: ready"
                await websocket.send('{"type":"identify"}')
                assert "identified" in str(await websocket.recv())

                server.send_signal(signal.SIGTERM)
                rest = [line async for line in lines]
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
            await anyio.to_thread.run_sync(server.wait, abandon_on_cancel=True)

        assert rest[0].startswith("retry:")
        assert websocket.close_code == 1012
    finally:
        server.kill()
        server.wait()
