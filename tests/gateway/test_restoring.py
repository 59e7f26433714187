"""A photo whose original the blob store has lost gets it back from who sends the same bytes."""

from pathlib import Path

import httpx
import pytest

from store.blobs import original_key
from tests.gateway.conftest import Gateway, picture


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


async def test_other_bytes_bring_nothing_back(gateway: Gateway) -> None:
    await gateway.upload(picture())
    _original(gateway).unlink()

    other = (await gateway.upload(picture())).json()

    assert gateway.stored() == [original_key(other["photoId"])]
