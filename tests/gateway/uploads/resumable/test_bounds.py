"""Unfinished uploads end, and count against the client's quota while they last."""

import anyio
import msgspec
import pytest

from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import (
    TUS,
    append,
    create,
    created,
    kept,
    offset_of,
    problem_of,
)
from tests.gateway.uploads.test_uploads import events

QUOTA = 1_000_000


@pytest.fixture
def projecting() -> bool:
    return False


@pytest.fixture
def expires_s() -> float:
    return 3600.0


@pytest.fixture
def limits(expires_s: float) -> Limits:
    return Limits(
        append_patience_s=1.0,
        quota_bytes=QUOTA,
        quota_job_bytes=0,
        upload_expires_s=expires_s,
    )


async def test_unfinished_uploads_count_against_the_quota(gateway: Gateway) -> None:
    address = await created(gateway, QUOTA - 1_000)

    second = await create(gateway, 2_000)
    plain = await gateway.upload(picture() + bytes(2_000))
    other = await create(gateway, 2_000, name="bob")
    view = (await gateway.client.get("/api/me")).json()["quota"]

    assert await problem_of(second) == (507, "quota-bytes")
    assert await problem_of(plain) == (507, "quota-bytes")
    assert other.status_code == 201
    assert view["reservedBytes"] == QUOTA - 1_000
    await gateway.client.delete(address, headers=TUS)
    assert (await create(gateway, 2_000)).status_code == 201


async def test_an_upload_may_use_the_quota_that_it_holds(gateway: Gateway) -> None:
    data = picture() + bytes(QUOTA - 1_000)
    address = await created(gateway, len(data))

    done = await append(gateway, address, 0, data)

    assert done.status_code == 204, done.text
    assert len(await events(gateway)) == 1


async def test_an_upload_of_unknown_length_stops_at_the_quota(gateway: Gateway) -> None:
    address = await created(gateway, None, Upload_Defer_Length="1")
    data = picture() + bytes(QUOTA)

    answer = await append(gateway, address, 0, data)

    assert await problem_of(answer) == (507, "quota-bytes")
    assert await offset_of(gateway, address) == 0


class TestExpiry:
    """With uploads that expire soon."""

    @pytest.fixture
    def expires_s(self) -> float:
        return 0.2

    async def test_an_expired_upload_is_gone_and_gives_its_space_back(
        self, gateway: Gateway
    ) -> None:
        data = picture()
        address = await created(gateway, len(data))
        await append(gateway, address, 0, data[:30])
        await anyio.sleep(0.2)

        answer = await append(gateway, address, 30, data[30:])

        assert await problem_of(answer) == (410, "upload-gone")
        assert kept(gateway) == []

    async def test_an_abandoned_upload_is_removed_without_a_request(self, gateway: Gateway) -> None:
        address = await created(gateway, QUOTA)
        with anyio.fail_after(10):
            while kept(gateway):
                await anyio.sleep(0.02)

        assert await problem_of(await gateway.client.get(address)) == (410, "upload-gone")
        assert (await create(gateway, QUOTA)).status_code == 201


async def test_a_received_upload_waits_for_room_and_is_recorded_by_the_next_look(
    gateway: Gateway,
) -> None:
    quota = "/api/ops/clients/alice/quota"
    operator = gateway.bearer("operator")
    await gateway.upload()
    data = picture()
    address = await created(gateway, len(data))
    await gateway.client.put(quota, json={"photos": 1}, headers=operator)
    [path] = (gateway.deps.partials.root / "open").rglob("*.json")
    complete = msgspec.json.decode(path.read_bytes()) | {
        "offset": len(data),
        "is_complete": True,
        "mime_type": "image/png",
    }
    path.write_bytes(msgspec.json.encode(complete))  # as after a kill that came at the last byte
    path.with_suffix(".bytes").write_bytes(data)

    full = await gateway.client.get(address)
    await gateway.client.put(quota, json={"photos": None}, headers=operator)
    done = await gateway.client.get(address)

    assert await problem_of(full) == (503, "upload-unrecorded")
    assert "1 of at most 1 photos" in full.json()["detail"]
    assert done.json()["photoId"] in {event.photo_id for event in await events(gateway)}
