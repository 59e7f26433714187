"""The main job with the photos on an S3 server."""

from pathlib import Path

import httpx
import msgspec
import pytest

from ops.maintenance.log_ownership import KEY, PARTITIONS
from tests.conftest import bucket_of
from tests.ops.systems import System, jpeg, photolog, wait_until
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server
from tests.store.blob_stores import inside


class Photo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    photo_id: str
    processing_status: str


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, s3: S3Server, prefix: str) -> str:
    """Name the bucket of the test in the environment."""
    for name, value in {
        "ENDPOINT": s3.url,
        "ACCESS_KEY": ACCESS_KEY,
        "SECRET_KEY": SECRET_KEY,
        "BUCKET": prefix,
    }.items():
        monkeypatch.setenv(f"PHOTOLOG_S3_{name}", value)
    return prefix


@pytest.mark.usefixtures("one_decoder")
def test_a_photo_goes_all_the_way_and_is_gone_without_a_trace(
    settings: str, s3: S3Server, data: Path, tmp_path: Path
) -> None:
    picture = jpeg((2400, 1600))
    file = tmp_path / "picture.jpg"
    file.write_bytes(picture)
    bucket = bucket_of(s3.url, settings)

    with System(data, "--workers", "1") as system:
        sent = system.photolog("upload", "--wait", str(file))
        with httpx.Client(base_url=system.url, headers=system.login(), trust_env=False) as client:
            photo_id = sent.stdout.split()[0]
            path = f"/api/photos/{photo_id}"
            photo = msgspec.json.decode(client.get(path).content, type=Photo)
            original = client.get(f"{path}/original")
            part = client.get(f"{path}/original", headers={"Range": "bytes=100-199"})
            thumbnail = client.get(f"{path}/thumbnails/300")
            stored = inside(bucket)
            health = system.photolog("health")
            compared = system.photolog("reconcile")
            measured = client.get("/metrics").text
            client.delete(path)
            wait_until(lambda: inside(bucket) == [KEY, PARTITIONS], "the photo is erased")

        assert sent.returncode == 0, sent.stderr
        assert photo.processing_status == "completed"
        assert original.content == picture
        assert (part.status_code, part.content) == (206, picture[100:200])
        assert (thumbnail.status_code, thumbnail.headers["Content-Type"]) == (200, "image/webp")
        assert len(stored) == 7  # with the files that have the id of the log, and its partitions
        assert not (data / "blobs").exists()
        assert (health.returncode, compared.returncode) == (0, 0)
        assert 'storage_operations_total{operation="put",outcome="ok"}' in measured
        assert system.photolog("verify").returncode == 0
        assert system.stop() == 0
        assert [each.name for each in (data / "copies").iterdir()] == ["lock"]


def test_a_key_that_is_wrong_is_named_and_nothing_is_started(
    settings: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_SECRET_KEY", "not-the-secret")

    ended = photolog("up", "--port", "0", "--data", str(data))

    assert ended.returncode != 0
    assert "PHOTOLOG_S3_SECRET_KEY: the secret key does not match the access key" in ended.stderr
    assert "not-the-secret" not in ended.stderr
