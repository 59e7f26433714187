import hashlib
import logging
import os
from typing import Any

import httpx
import msgspec
import pytest

from tests.gateway.conftest import Gateway, picture
from tests.gateway.processing import fail, process


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A processed photo of alice, and its bytes."""

    photo: dict[str, Any]
    data: bytes

    @property
    def path(self) -> str:
        return f"/api/photos/{self.photo['photoId']}"

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.data).hexdigest()}"'


@pytest.fixture
async def stored(gateway: Gateway) -> Stored:
    data = picture((400, 400))
    photo = (
        await gateway.client.post(
            "/api/photos/upload", files={"file": ('Ü "quoted".png', data, "image/png")}
        )
    ).json()
    await gateway.get("/api/photos", after=await process(gateway, photo))
    return Stored(photo=photo, data=data)


async def test_an_original_is_served_whole_with_its_type_and_etag(
    gateway: Gateway, stored: Stored
) -> None:
    answer = await gateway.get(f"{stored.path}/original")

    assert (answer.status_code, answer.content) == (200, stored.data)
    headers = answer.headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Length"] == str(len(stored.data))
    assert headers["ETag"] == stored.etag
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert headers["Vary"] == "Authorization, Cookie"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Content-Disposition"] == (
        "inline; filename=\"U _quoted_.png\"; filename*=UTF-8''%C3%9C%20%22quoted%22.png"
    )


async def test_a_file_can_be_downloaded(gateway: Gateway, stored: Stored) -> None:
    answer = await gateway.get(f"{stored.path}/thumbnails/300?download=true")

    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert answer.headers["Content-Disposition"].endswith("-thumbnail-300.webp")


@pytest.mark.parametrize(
    "path", ["thumbnails/150", "thumbnails/300", "thumbnails/600", "optimized"]
)
async def test_a_rendition_is_revalidated_and_transfers_nothing_while_unchanged(
    gateway: Gateway, stored: Stored, path: str
) -> None:
    first = await gateway.get(f"{stored.path}/{path}")
    same = await gateway.get(f"{stored.path}/{path}", **{"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, first.headers["Content-Type"]) == (200, "image/webp")
    assert first.headers["ETag"] == f'"{hashlib.sha256(first.content).hexdigest()}"'
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["ETag"] == first.headers["ETag"]
    assert same.headers["Cache-Control"] == "private, no-cache"


async def test_a_new_rendition_has_another_etag(gateway: Gateway, stored: Stored) -> None:
    before = await gateway.get(f"{stored.path}/thumbnails/150")
    job = (await gateway.client.post(f"{stored.path}/reprocess")).json()
    end = await process(gateway, job, shade=200)

    after = await gateway.get(
        f"{stored.path}/thumbnails/150", after=end, **{"If-None-Match": before.headers["ETag"]}
    )

    assert after.status_code == 200
    assert after.headers["ETag"] != before.headers["ETag"]


async def test_a_range_of_a_file_is_served(gateway: Gateway, stored: Stored) -> None:
    answer = await gateway.get(f"{stored.path}/original", Range="bytes=10-19")

    assert (answer.status_code, answer.content) == (206, stored.data[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(stored.data)}"
    assert answer.headers["Content-Length"] == "10"


async def test_the_end_of_a_file_is_served(gateway: Gateway, stored: Stored) -> None:
    answer = await gateway.get(f"{stored.path}/original", Range="bytes=-7")

    assert (answer.status_code, answer.content) == (206, stored.data[-7:])


async def test_an_interrupted_download_resumes(gateway: Gateway, stored: Stored) -> None:
    half = len(stored.data) // 2

    second = await gateway.get(
        f"{stored.path}/original", Range=f"bytes={half}-", **{"If-Range": stored.etag}
    )
    changed = await gateway.get(
        f"{stored.path}/original", Range=f"bytes={half}-", **{"If-Range": '"of another file"'}
    )

    assert (second.status_code, second.content) == (206, stored.data[half:])
    assert (changed.status_code, changed.content) == (200, stored.data)


async def test_several_ranges_return_the_whole_file(gateway: Gateway, stored: Stored) -> None:
    answer = await gateway.get(f"{stored.path}/original", Range="bytes=0-1,5-6")

    assert (answer.status_code, answer.content) == (200, stored.data)


async def test_a_range_beyond_the_end_is_rejected(gateway: Gateway, stored: Stored) -> None:
    answer = await gateway.get(f"{stored.path}/original", Range=f"bytes={len(stored.data)}-")

    assert (answer.status_code, answer.json()["code"]) == (416, "range-not-satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(stored.data)}"


async def test_a_head_has_the_headers_alone(gateway: Gateway, stored: Stored) -> None:
    answer = await gateway.client.head(f"{stored.path}/original", headers={"Range": "bytes=0-1"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(stored.data))
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"] == stored.etag


async def lacking(gateway: Gateway, path: str, after: str) -> tuple[str, str]:
    """Return the detail and advice of the problem for a missing rendition."""
    answer = await gateway.get(path, after=after)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (404, "rendition-not-found")
    return problem["detail"], problem["advice"]


@pytest.mark.parametrize(
    ("path", "what"), [("thumbnails/150", "thumbnails"), ("optimized", "optimized picture")]
)
async def test_pending_renditions_advise_to_wait(gateway: Gateway, path: str, what: str) -> None:
    photo = (await gateway.upload()).json()

    problem = await lacking(gateway, f"/api/photos/{photo['photoId']}/{path}", photo["position"])

    assert problem == (f"The photo has no {what} yet.", "Wait until the photo is processed.")


async def test_renditions_that_the_pipeline_does_not_produce_advise_another_one(
    gateway: Gateway,
) -> None:
    photo = (await gateway.upload(pipeline="quick_processing")).json()
    path = f"/api/photos/{photo['photoId']}/optimized"

    before = await lacking(gateway, path, photo["position"])
    after = await lacking(gateway, path, await process(gateway, photo))

    assert before == after
    assert after == (
        "The pipeline quick_processing produces no optimized picture.",
        "Process the photo again with full_processing.",
    )


async def test_a_failed_photo_has_no_renditions_and_says_why(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()

    path = f"/api/photos/{photo['photoId']}/thumbnails/150"
    detail, advice = await lacking(gateway, path, await fail(gateway, photo))

    assert detail == "The photo has no thumbnails, because it could not be processed."
    assert advice == "See the photo's `processingError`."


async def test_an_unknown_thumbnail_size_lists_the_available_ones(
    gateway: Gateway, stored: Stored
) -> None:
    detail, advice = await lacking(
        gateway, f"{stored.path}/thumbnails/200", stored.photo["position"]
    )

    assert detail == "There is no thumbnail of 200 px."
    assert advice == "Available sizes: 150, 300, 600 px."


@pytest.mark.parametrize("size", ["151", "0", "large", "-1"])
async def test_a_size_that_does_not_exist_is_not_found(
    gateway: Gateway, stored: Stored, size: str
) -> None:
    answer = await gateway.get(f"{stored.path}/thumbnails/{size}")

    assert answer.status_code == 404
    assert answer.json()["code"] in ("rendition-not-found", "not-found")


async def test_a_missing_blob_is_reported(gateway: Gateway, stored: Stored) -> None:
    [original] = gateway.blobs.root.glob("originals/*/*")
    original.unlink()

    answer = await gateway.get(f"{stored.path}/original")

    assert (answer.status_code, answer.json()["code"]) == (500, "blob-missing")


async def test_a_blob_of_the_wrong_size_is_reported_as_damaged(
    gateway: Gateway, stored: Stored
) -> None:
    [original] = gateway.blobs.root.glob("originals/*/*")
    original.write_bytes(stored.data[:-1])

    answer = await gateway.get(f"{stored.path}/original")

    assert (answer.status_code, answer.json()["code"]) == (500, "corrupt")
    assert answer.json()["advice"] == "Ask the operator to run `photolog reconcile`."


async def test_a_small_altered_file_is_rejected(gateway: Gateway, stored: Stored) -> None:
    [original] = gateway.blobs.root.glob("originals/*/*")
    altered = bytearray(stored.data)
    altered[len(altered) // 2] ^= 1
    original.write_bytes(altered)

    answer = await gateway.get(f"{stored.path}/original")
    part = await gateway.get(f"{stored.path}/original", Range="bytes=0-9")
    all_of_it = await gateway.get(f"{stored.path}/original", Range="bytes=0-")

    assert (answer.status_code, answer.json()["code"]) == (500, "corrupt")
    assert (all_of_it.status_code, all_of_it.json()["code"]) == (500, "corrupt")
    assert "etag" not in answer.headers
    assert (part.status_code, part.content) == (206, bytes(altered[:10]))
    counted = (await gateway.client.get("/metrics")).text
    assert 'storage_operations_total{operation="get",outcome="corrupt"} 2.0' in counted


@pytest.mark.parametrize("at", [0, -1])
async def test_the_download_of_a_large_altered_file_is_aborted_before_its_end(
    gateway: Gateway, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = picture((8, 8)) + os.urandom(3 << 20)  # bytes after the end of a PNG are kept
    photo = (await gateway.upload(data)).json()
    url = f"/api/photos/{photo['photoId']}/original"
    whole = await gateway.get(url, after=photo["position"])
    [original] = gateway.blobs.root.glob("originals/*/*")
    altered = bytearray(data)
    altered[at] ^= 1
    original.write_bytes(altered)

    received = bytearray()

    async def receive() -> None:
        async with gateway.client.stream("GET", url) as answer:
            assert answer.headers["content-length"] == str(len(data))
            async for chunk in answer.aiter_bytes():
                received.extend(chunk)

    with pytest.raises(httpx.RemoteProtocolError):
        await receive()
    assert whole.content == data
    assert len(received) < len(data)
    assert "aborted a download: " in caplog.text
    assert "originals/" in caplog.text


async def test_a_damaged_file_is_logged_once_however_often_it_is_requested(
    gateway: Gateway, stored: Stored, caplog: pytest.LogCaptureFixture
) -> None:
    [original] = gateway.blobs.root.glob("originals/*/*")
    original.write_bytes(stored.data[:-1])

    for _ in range(3):
        await gateway.get(f"{stored.path}/original")
    original.unlink()
    for _ in range(3):
        await gateway.get(f"{stored.path}/original")

    damaged, missing = (line for line in caplog.records if line.levelno >= logging.WARNING)
    assert "corrupt" in damaged.getMessage()
    assert "blob-missing" in missing.getMessage()
    assert (damaged.exc_info, missing.exc_info) == (None, None)
