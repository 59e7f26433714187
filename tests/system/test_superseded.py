"""Renditions that a later job has replaced can be removed without harm."""

from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.conftest import bucket_of
from tests.ops.systems import System, jpeg, wait_until
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.store.blob_stores import files, inside

SHOWN = ("thumbnails/150", "thumbnails/300", "thumbnails/600", "optimized", "original")

Look = Callable[[], set[str]]
"""The keys of the renditions that are stored."""


def _check(data: Path, picture: Path, renditions: Look) -> None:
    with System(data) as system:
        photo_id = system.photolog("upload", "--wait", str(picture)).stdout.split()[0]
        token = system.photolog("token", "--client", "local").stdout.strip()
        path = f"/api/photos/{photo_id}"
        first = renditions()
        with httpx.Client(
            base_url=system.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False
        ) as client:
            job_id = client.post(f"{path}/reprocess").json()["jobId"]
            wait_until(
                lambda: client.get(f"/api/jobs/{job_id}").json()["status"] == "completed",
                "the photo is processed again",
            )
            young = system.photolog("reconcile", "--remove", "--superseded")
            both = renditions()

            def removed() -> bool:
                again = ("--remove", "--superseded", "--older-than", "1s")
                assert system.photolog("reconcile", *again).returncode == 0
                return len(renditions()) == len(both) - len(first)

            wait_until(removed, "what was replaced is removed")
            shown = [client.get(f"{path}/{name}").status_code for name in SHOWN]
        compared = system.photolog("reconcile", "--json", "--older-than", "1s")
        verified = system.photolog("verify")

    found = msgspec.json.decode(compared.stdout)
    assert (young.returncode, compared.returncode, verified.returncode) == (0, 0, 0)
    assert len(first) == 4
    assert first < both
    assert renditions() == both - first
    assert shown == [200] * len(SHOWN)
    assert (found["missing"], found["unnamed"], found["superseded"]) == ([], [], [])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.jpg"
    file.write_bytes(jpeg((2400, 1600)))
    return file


def test_renditions_of_an_earlier_job_are_removed_from_a_folder(data: Path, picture: Path) -> None:
    _check(data, picture, lambda: set(files(data / "blobs" / "renditions")))


def test_renditions_of_an_earlier_job_are_removed_from_minio(
    data: Path, picture: Path, minio: MinioServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "ENDPOINT": minio.url,
        "ACCESS_KEY": ACCESS_KEY,
        "SECRET_KEY": SECRET_KEY,
        "BUCKET": prefix,
    }.items():
        monkeypatch.setenv(f"PHOTOLOG_S3_{name}", value)
    bucket = bucket_of(minio.url, prefix)

    _check(data, picture, lambda: {key for key in inside(bucket) if key.startswith("renditions/")})


def test_workers_remove_them_after_the_grace_period(
    data: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_SUPERSEDED_GRACE_S", "1")
    folder = data / "blobs" / "renditions"
    with System(data) as system:
        photo_id = system.photolog("upload", "--wait", str(picture)).stdout.split()[0]
        token = system.photolog("token", "--client", "local").stdout.strip()
        first = set(files(folder))
        with httpx.Client(
            base_url=system.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False
        ) as client:
            client.post(f"/api/photos/{photo_id}/reprocess").raise_for_status()
            wait_until(lambda: not first & set(files(folder)), "the first renditions are gone")
            wait_until(
                lambda: (
                    [each["type"] for each in history(client, photo_id)].count(
                        "photo.renditions.removed"
                    )
                    == 2
                ),
                "the removal of the files of both stages is recorded",
            )
            used = client.get("/api/me").json()["quota"]["bytes"]["used"]
        compared = msgspec.json.decode(system.photolog("reconcile", "--json").stdout)

    stored = (*folder.rglob("*"), *(data / "blobs" / "originals").rglob("*"))
    assert used == sum(file.stat().st_size for file in stored if file.is_file())
    assert (compared["missing"], compared["superseded"]) == ([], [])


def history(client: httpx.Client, photo_id: str) -> list[dict[str, str]]:
    return client.get(f"/api/photos/{photo_id}/history").json()["items"]
