"""Quotas over HTTP: enforced early and exactly, shown, and changed by operators."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from gateway.http.limits import Limits
from store.log.log import Log
from store.redis.connection import connect
from tests.gateway.conftest import DEADLINE_S, Gateway, picture, served, until
from tests.gateway.processing import fail, process

UPLOAD = "/api/photos/upload"
QUOTA = "/api/ops/clients/alice/quota"


def code(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


async def set_quota(gateway: Gateway, **most: int | None) -> dict[str, Any]:
    headers = gateway.bearer("operator")
    answer = await gateway.client.put(QUOTA, json=most, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def quota_of(gateway: Gateway, name: str = "alice") -> dict[str, Any]:
    return (await gateway.get("/api/me", name=name)).json()["quota"]


async def refused_unread(gateway: Gateway, size: int) -> httpx.Response:
    """Return the response to an upload of which only the head is sent."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    try:
        writer.write(
            f"POST {UPLOAD} HTTP/1.1\r\nHost: {gateway.host}\r\nContent-Length: {size}\r\n"
            f"Authorization: Bearer {gateway.tokens['alice']}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
        )
        with anyio.fail_after(DEADLINE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
            body = await reader.readexactly(length)
        return httpx.Response(int(head.split()[1]), content=body)
    finally:
        writer.close()


@asynccontextmanager
async def second(gateway: Gateway) -> AsyncGenerator[Gateway]:
    """Serve another gateway over the same log and blobs."""
    log = gateway.log
    redis = connect("unix://" + log.redis.connection_pool.connection_kwargs["path"])
    other = await Log.open(redis, prefix=log.keys.prefix)
    deps = msgspec.structs.replace(gateway.deps, log=other)
    try:
        async with served(deps) as running:
            yield running
    finally:
        await redis.aclose()


class TestPhotos:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=1.0, linger_s=2.0, quota_photos=5)

    async def test_two_gateways_together_accept_no_more_than_the_quota(
        self, gateway: Gateway
    ) -> None:
        async with second(gateway) as other:
            both = [gateway, other]
            answers = await asyncio.gather(*(both[n % 2].upload() for n in range(20)))

        codes = [code(each) for each in answers]
        assert codes.count((201, None)) == 5
        assert codes.count((507, "quota-photos")) == 15
        assert len([each async for each in gateway.log.scan(0)]) == 5
        assert len(gateway.stored()) == 5  # rejected uploads leave nothing
        assert (await quota_of(gateway))["photos"] == {"used": 5, "limit": 5}

    async def test_a_client_without_quota_is_rejected_before_it_sends(
        self, gateway: Gateway
    ) -> None:
        for _ in range(5):
            await gateway.upload()

        answer = await refused_unread(gateway, 5_000)

        assert code(answer) == (507, "quota-photos")
        assert answer.json()["advice"]
        assert (await gateway.upload(name="bob")).status_code == 201

    async def test_a_repeated_key_gets_the_same_response_despite_the_quota(
        self, gateway: Gateway
    ) -> None:
        data = picture()

        async def send() -> httpx.Response:
            return await gateway.client.post(
                UPLOAD, files={"file": ("a.png", data)}, headers={"Idempotency-Key": "one"}
            )

        first = await send()
        for _ in range(4):
            await gateway.upload()

        assert (await send()).json() == first.json()
        assert code(await gateway.upload()) == (507, "quota-photos")

    async def test_deleting_frees_quota(self, gateway: Gateway) -> None:
        photos = [(await gateway.upload()).json() for _ in range(5)]
        await gateway.client.delete(f"/api/photos/{photos[0]['photoId']}")

        assert (await gateway.upload()).status_code == 201

    async def test_an_operator_raises_the_quota_in_all_gateways(self, gateway: Gateway) -> None:
        for _ in range(5):
            await gateway.upload()
        async with second(gateway) as other:
            changed = await set_quota(gateway, photos=6)
            with anyio.fail_after(DEADLINE_S):
                while (await quota_of(other))["photos"]["limit"] != 6:
                    await anyio.sleep(0.05)
            accepted = await other.upload()

        assert changed["own"]["photos"] == 6
        assert changed["quota"]["photos"] == {"used": 5, "limit": 6}
        assert accepted.status_code == 201
        assert code(await gateway.upload()) == (507, "quota-photos")
        assert (await gateway.upload(name="bob")).status_code == 201

    async def test_each_change_is_an_event_in_the_operators_name(self, gateway: Gateway) -> None:
        await set_quota(gateway, photos=6, bytes=0)
        await set_quota(gateway, photos=6, bytes=0)
        await set_quota(gateway)

        events = [each.event async for each in gateway.log.scan(0)]
        assert [(each.type, each.metadata.actor) for each in events] == [
            ("client.quota.changed", "operator:operator")
        ] * 2
        assert (await quota_of(gateway))["photos"]["limit"] == 5

    async def test_a_lost_count_is_not_taken_for_zero(self, gateway: Gateway) -> None:
        for _ in range(5):
            await gateway.upload()
        await gateway.log.redis.delete(gateway.log.keys.usage(0, "alice"))

        assert code(await gateway.upload()) == (507, "quota-photos")


class TestBytes:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(
            append_patience_s=1.0,
            linger_s=2.0,
            quota_bytes=300_000,
            quota_job_bytes=50_000,
            max_field_bytes=1_000,
        )

    async def test_the_quota_reserves_bytes_for_renditions(self, gateway: Gateway) -> None:
        answers = await asyncio.gather(*(gateway.upload(picture()) for _ in range(24)))

        quota = await quota_of(gateway)
        accepted = [each for each in answers if each.status_code == 201]
        assert 1 <= len(accepted) <= 5
        assert {code(each) for each in answers} == {(201, None), (507, "quota-bytes")}
        assert quota["reservedBytes"] == 50_000 * len(accepted)
        assert quota["bytes"]["used"] + quota["reservedBytes"] <= 300_000
        await fail(gateway, accepted[0].json())
        assert (await quota_of(gateway))["reservedBytes"] == 50_000 * (len(accepted) - 1)

    async def test_an_upload_that_cannot_fit_is_rejected_before_it_is_sent(
        self, gateway: Gateway
    ) -> None:
        assert code(await refused_unread(gateway, 400_000)) == (507, "quota-bytes")

    async def test_a_quota_that_no_job_fits_into_says_so(self, gateway: Gateway) -> None:
        await set_quota(gateway, bytes=50_000)

        answer = await gateway.upload()

        assert code(answer) == (507, "quota-bytes")
        assert answer.json()["detail"] == (
            "The quota of 50,000 bytes is too small: each job reserves 50,000 bytes."
        )
        assert answer.json()["advice"] == "Ask the operator for a larger quota."

    async def test_an_upload_of_unknown_size_is_rejected_once_it_is_too_large(
        self, gateway: Gateway
    ) -> None:
        async def endlessly() -> AsyncGenerator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + picture()
            for _ in range(10):
                yield bytes(100_000)
            yield b"\r\n--x--\r\n"

        answer = await gateway.client.post(
            UPLOAD,
            content=endlessly(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

        assert code(answer) == (507, "quota-bytes")
        assert gateway.stored() == []

    async def test_renditions_count_including_superseded_ones(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        await process(gateway, photo)
        again = await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess")
        await process(gateway, again.json(), shade=8)

        stored = sum((gateway.blobs.root / name).stat().st_size for name in gateway.stored())
        assert len(gateway.stored()) == 9
        assert (await quota_of(gateway))["bytes"] == {"used": stored, "limit": 300_000}

    async def test_a_client_without_bytes_left_cannot_reprocess(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        await process(gateway, photo)
        used = (await quota_of(gateway))["bytes"]["used"]
        await set_quota(gateway, bytes=used)
        path = f"/api/photos/{photo['photoId']}/reprocess"

        assert code(await gateway.client.post(path)) == (507, "quota-bytes")
        operator = await gateway.client.post(path, headers=gateway.bearer("operator"))
        assert operator.status_code == 202


class TestJobs:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=1.0, linger_s=2.0, quota_jobs=1)

    async def test_a_job_that_ends_frees_quota_for_another(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()
        refused = await gateway.upload()
        await fail(gateway, photo)
        accepted = await gateway.upload()
        again = await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess")

        assert code(refused) == (429, "quota-jobs")
        assert refused.headers["Retry-After"] == "2"
        assert accepted.status_code == 201
        assert code(again) == (429, "quota-jobs")


class TestUploads:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=1.0, linger_s=2.0, quota_uploads=1)

    async def test_one_upload_too_many_is_rejected_and_other_clients_get_in(
        self, gateway: Gateway
    ) -> None:
        answers: list[httpx.Response] = []
        seen: list[dict[str, Any]] = []

        async def slowly() -> AsyncGenerator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + picture()
            await until(lambda: bool(gateway.stored()), "the draft of the open upload")
            seen.append((await quota_of(gateway))["uploads"])
            answers.extend([await gateway.upload(), await gateway.upload(name="bob")])
            yield b"\r\n--x--\r\n"

        answer = await gateway.client.post(
            UPLOAD,
            content=slowly(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

        assert answer.status_code == 201
        assert seen == [{"used": 1, "limit": 1}]
        assert [code(each) for each in answers] == [(429, "quota-uploads"), (201, None)]
        assert (await gateway.upload()).status_code == 201


class TestIdempotencyKeys:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(append_patience_s=1.0, linger_s=2.0, quota_idempotency_keys=1)

    async def test_one_key_too_many_is_rejected_and_told_when_to_retry(
        self, gateway: Gateway
    ) -> None:
        async def send(key: str) -> httpx.Response:
            return await gateway.client.post(
                UPLOAD, files={"file": ("a.png", picture())}, headers={"Idempotency-Key": key}
            )

        assert (await send("one")).status_code == 201
        refused = await send("two")

        assert code(refused) == (429, "quota-idempotency-keys")
        assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
        assert (await quota_of(gateway))["idempotencyKeys"] == {"used": 1, "limit": 1}
        assert (await gateway.upload()).status_code == 201  # without a key


async def test_me_shows_the_usage_of_the_quota(gateway: Gateway) -> None:
    data = picture()
    await gateway.upload(data)

    me = (await gateway.get("/api/me")).json()

    assert me["quota"] == {
        "photos": {"used": 1, "limit": None},
        "bytes": {"used": len(data), "limit": None},
        "reservedBytes": 0,
        "jobs": {"used": 1, "limit": None},
        "uploads": {"used": 0, "limit": None},
        "idempotencyKeys": {"used": 0, "limit": 1_000_000},
    }


@pytest.mark.parametrize(
    ("name", "method", "path", "body", "answers"),
    [
        ("operator", "GET", "/api/ops/clients?prefix=a%25", None, (400, "invalid-client")),
        ("alice", "GET", "/api/ops/clients", None, (403, "forbidden")),
        ("alice", "GET", "/api/ops/quotas", None, (403, "forbidden")),
        ("alice", "GET", QUOTA, None, (403, "forbidden")),
        ("alice", "PUT", QUOTA, {}, (403, "forbidden")),
        ("auditor", "PUT", QUOTA, {}, (403, "forbidden")),
        ("auditor", "GET", QUOTA, None, (200, None)),
        ("operator", "PUT", QUOTA, {"photos": -1}, (400, "invalid-request")),
        ("operator", "PUT", QUOTA, {"photos": 2**53}, (400, "invalid-request")),
        ("operator", "PUT", QUOTA, {"photo": 1}, (400, "invalid-request")),
        ("operator", "PUT", "/api/ops/clients/a%20b/quota", {}, (400, "invalid-client")),
        ("operator", "GET", "/api/ops/clients?cursor=%00", None, (400, "invalid-cursor")),
    ],
)
async def test_quotas_are_visible_and_changeable_by_role(
    gateway: Gateway,
    name: str,
    method: str,
    path: str,
    body: Any,
    answers: tuple[int, str | None],
) -> None:
    answer = await gateway.client.request(method, path, json=body, headers=gateway.bearer(name))

    assert code(answer) == answers
