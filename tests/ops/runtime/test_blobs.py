"""Blobs opened according to the settings."""

from pathlib import Path

import anyio
import pytest

from ops.config.loading import load
from ops.errors import UserError
from ops.runtime.blobs import open_store
from store.errors import Unavailable
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, VersityServer


def environment(endpoint: str, data: Path, **changes: str) -> dict[str, str]:
    return {
        "PHOTOLOG_DATA": str(data),
        "PHOTOLOG_S3_ENDPOINT": endpoint,
        "PHOTOLOG_S3_ACCESS_KEY": ACCESS_KEY,
        "PHOTOLOG_S3_SECRET_KEY": SECRET_KEY,
        "PHOTOLOG_S3_TIMEOUT_S": "2",
        **{f"PHOTOLOG_{name}": value for name, value in changes.items()},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"S3_ENDPOINT": ""}, "PHOTOLOG_S3_ENDPOINT is unset"),
        ({"S3_ENDPOINT": "http://h:9000/path"}, "PHOTOLOG_S3_ENDPOINT must be http://"),
        ({"S3_PUBLIC_ENDPOINT": "http://me@h"}, "PHOTOLOG_S3_PUBLIC_ENDPOINT must be http://"),
        ({"S3_ACCESS_KEY": ""}, "PHOTOLOG_S3_ACCESS_KEY is unset"),
        ({"S3_SECRET_KEY": ""}, "PHOTOLOG_S3_SECRET_KEY is unset"),
        ({"S3_BUCKET": "My_Photos"}, "PHOTOLOG_S3_BUCKET must be 3 to 63 "),
        ({"S3_CA_FILE": "/nowhere"}, "PHOTOLOG_S3_CA_FILE: /nowhere cannot be used"),
    ],
)
async def test_contradictory_settings_are_named_before_anything_is_sent(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    settings = load(environment("http://127.0.0.1:1", tmp_path, **changes)).settings

    with pytest.raises(UserError) as error:
        async with open_store(settings, "gateway"):
            pass

    assert message in str(error.value)


async def test_a_rejection_by_the_server_names_the_setting(s3: S3Server, tmp_path: Path) -> None:
    settings = load(environment(s3.url, tmp_path, S3_ACCESS_KEY="nobody")).settings

    with pytest.raises(UserError, match="PHOTOLOG_S3_ACCESS_KEY: the server does not know"):
        async with open_store(settings, "gateway", patient=True):
            pass


async def test_an_https_endpoint_without_tls_is_named(s3: S3Server, tmp_path: Path) -> None:
    endpoint = s3.url.replace("http:", "https:")
    settings = load(environment(endpoint, tmp_path)).settings

    with pytest.raises(UserError, match=r"PHOTOLOG_S3_ENDPOINT: the TLS connection to .* failed"):
        async with open_store(settings, "gateway", patient=True):
            pass


async def test_a_patient_process_waits_for_the_server_and_others_do_not(
    own_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = VersityServer(own_folder)
    settings = load(environment(server.url, tmp_path)).settings
    with pytest.raises(Unavailable):
        async with open_store(settings, "reconcile"):
            pass

    stored: list[int] = []

    async def wait_and_store() -> None:
        async with open_store(settings, "gateway", patient=True) as blobs:
            await blobs.put("probes/1", b"x")
            stored.append(await blobs.size("probes/1"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_and_store)
        with anyio.fail_after(10):
            while "waiting for the bucket" not in caplog.text:
                await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(server.start)

    server.kill()
    assert stored == [1]
