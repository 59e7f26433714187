"""Uploads by tus-js-client, the client that most programs use: cut off, resumed, in parallel."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import UPLOADS, kept
from tests.gateway.uploads.test_uploads import events
from tests.servers import unavailable

SCRIPT = Path(__file__).with_name("upload.js")
GET_CLIENT = (
    "no tus-js-client on this machine: npm install --prefix FOLDER tus-js-client, "
    "and set TUS_JS_CLIENT to the folder"
)
LONGEST_S = 60.0


@pytest.fixture
def client() -> str:
    """The folder of the module."""
    module = Path(os.environ.get("TUS_JS_CLIENT", ""), "node_modules", "tus-js-client")
    if shutil.which("node") is None or not module.is_dir():
        unavailable(GET_CLIENT)
    return str(module)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A photo of 3 MB."""
    path = tmp_path / "photo.png"
    path.write_bytes(picture() + os.urandom(3_000_000))
    return path


async def upload(gateway: Gateway, client: str, file: Path, **options: Any) -> dict[str, Any]:
    """Run the client; return what it prints."""
    given = {
        "client": client,
        "file": str(file),
        "endpoint": f"{gateway.base_url}{UPLOADS}",
        "token": gateway.tokens["alice"],
        "protocol": "tus-v1",
        **options,
    }
    done = await to_thread.run_sync(
        lambda: subprocess.run(
            ["node", str(SCRIPT), json.dumps(given)],
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


async def check(gateway: Gateway, file: Path, photo: str) -> None:
    """Check that the file has become this one photo."""
    [event] = await events(gateway)
    assert event.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert event.original_filename == "from tus.png"
    assert photo == f"/api/photos/{event.photo_id}"
    assert kept(gateway) == []


@pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-05"])
async def test_an_upload_in_chunks(
    gateway: Gateway, client: str, file: Path, protocol: str
) -> None:
    done = await upload(gateway, client, file, chunkSize=1_000_000, protocol=protocol)

    await check(gateway, file, done["photo"])


@pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-05"])
async def test_an_upload_that_is_cut_off_and_resumed(
    gateway: Gateway, client: str, file: Path, protocol: str
) -> None:
    cut = await upload(
        gateway, client, file, chunkSize=500_000, stopAt=1_000_000, protocol=protocol
    )
    done = await upload(gateway, client, file, uploadUrl=cut["url"], protocol=protocol)

    assert cut["accepted"] == 1_000_000
    await check(gateway, file, done["photo"])


async def test_an_upload_in_parallel_parts(gateway: Gateway, client: str, file: Path) -> None:
    done = await upload(gateway, client, file, parallelUploads=4)

    await check(gateway, file, done["photo"])
