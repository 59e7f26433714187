"""The command line under rate limits: it waits as long as the server asks, then retries."""

from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from tests.ops.systems import System, jpeg

COUNT = 8


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Generator[System]:
    data = tmp_path_factory.mktemp("limited") / "data"
    limits = {"rate_uploads": "3/3s", "rate_requests": "auditor=4/4s"}
    with System(data, settings={"decoders": "1"} | limits) as started:
        yield started


def test_an_upload_of_many_files_waits_and_completes(limited: System, tmp_path: Path) -> None:
    for number in range(COUNT):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())

    done = limited.photolog("upload", "--wait", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"{COUNT} processed"
    assert "The limit uploads of this client is used up: 3 times in 3 s." in done.stderr


def test_other_commands_wait_too(limited: System) -> None:
    token = limited.photolog("token", "--client", "anna", "--role", "auditor").stdout.strip()
    with httpx.Client(base_url=limited.url, headers={"Authorization": f"Bearer {token}"}) as client:
        while client.get("/api/login").is_success:
            pass

    done = limited.photolog("photos", "--token", token, "--url", limited.url)

    assert done.returncode == 0, done.stderr
