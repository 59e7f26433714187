"""A photo whose original the blob store has lost gets it back from who sends the same bytes."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.limits import Limits
from store.blobs import original_key
from tests.gateway.conftest import Gateway, picture
from tests.gateway.processing import fail


async def _upload(gateway: Gateway, data: bytes, key: str | None) -> httpx.Response:
    return await gateway.client.post(
        "/api/photos/upload",
        files={"file": ("a.png", data)},
        headers={} if key is None else {"Idempotency-Key": key},
    )


def _original(gateway: Gateway) -> Path:
    """That of the only photo."""
    [original] = gateway.blobs.root.glob("originals/*/*")
    return original


def _alter(gateway: Gateway, data: bytes) -> None:
    path = _original(gateway)
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("first_key", "second_key", "status"),
    [(None, None, 200), (None, "again", 200), ("same", "same", 201)],
)
async def test_the_same_bytes_bring_a_lost_original_back(
    gateway: Gateway, first_key: str | None, second_key: str | None, status: int
) -> None:
    data = picture()
    photo = (await _upload(gateway, data, first_key)).json()
    original = _original(gateway)
    original.unlink()

    answer = await _upload(gateway, data, second_key)

    assert (answer.status_code, answer.json()["photoId"]) == (status, photo["photoId"])
    assert _original(gateway) == original
    assert original.read_bytes() == data


@pytest.mark.parametrize("keys", [(None, None), (None, "again"), ("same", "same")])
@pytest.mark.parametrize("cut", [0, 1])
async def test_the_same_bytes_replace_an_altered_original(
    gateway: Gateway, keys: tuple[str | None, str | None], cut: int
) -> None:
    data = picture()
    await _upload(gateway, data, keys[0])
    original = _original(gateway)
    _alter(gateway, bytes([data[0] ^ 1]) + data[1 + cut :])

    await _upload(gateway, data, keys[1])

    assert _original(gateway) == original
    assert original.read_bytes() == data


class TestHealth:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=1.0, linger_s=2.0, integrity_keep_s=0, probe_keep_s=0)

    @pytest.mark.parametrize("seen_by", ["a download", "a worker"])
    async def test_health_tells_of_altered_files_until_they_are_whole(
        self, gateway: Gateway, seen_by: str
    ) -> None:
        data = picture()
        photo = (await _upload(gateway, data, None)).json()
        _alter(gateway, bytes(len(data)))
        if seen_by == "a worker":
            position = await fail(gateway, photo, code="blob-damaged")
            await gateway.get("/api/photos", after=position)
        else:
            await gateway.get(f"/api/photos/{photo['photoId']}/original")

        async def blobs() -> dict[str, Any]:
            return (await gateway.client.get("/health")).json()["checks"]["blobs"]

        altered = await blobs()
        await _upload(gateway, data, None)

        assert altered["status"] == "degraded"
        assert altered["reason"].startswith("altered files seen: 1 ")
        assert (await blobs())["status"] == "ok"


async def test_other_bytes_bring_nothing_back(gateway: Gateway) -> None:
    await gateway.upload(picture())
    _original(gateway).unlink()

    other = (await gateway.upload(picture())).json()

    assert gateway.stored() == [original_key(other["photoId"])]
