"""A gateway whose photos are on an S3 server."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest

from gateway.dependencies import Dependencies
from store.blobs.local_copies import LocalCopies
from store.blobs.s3 import S3Blobs
from store.blobs.s3_server import Server
from store.breaker import Breaker
from tests.conftest import bucket_of
from tests.gateway.conftest import Gateway, picture
from tests.s3_servers import S3Server, VersityServer
from tests.store.blob_stores import inside

DEADLINE_S = 30.0

LARGE = bytes(12_000_000)


@pytest.fixture
def own(own_folder: Path) -> Generator[S3Server]:
    """A server that tests can stop."""
    with VersityServer(own_folder) as server:
        yield server


@pytest.fixture
def server(own: S3Server) -> Server:
    return bucket_of(own.url, "photos")


@pytest.fixture
async def deps(deps: Dependencies, server: Server, tmp_path: Path) -> AsyncGenerator[Dependencies]:
    breaker = Breaker("blobs", failures=1, open_s=0.1)
    blobs = S3Blobs(server, "gateway", LocalCopies(tmp_path, 0), breaker=breaker)
    await blobs.prepare()
    yield msgspec.structs.replace(deps, blobs=blobs)
    blobs.close()


async def uploaded(gateway: Gateway, data: bytes) -> str:
    """Upload a photo; return the path of its original once it can be read."""
    answer = await gateway.upload(data)
    assert answer.status_code == 201
    photo = answer.json()
    await gateway.get("/api/photos", after=photo["position"])
    return f"/api/photos/{photo['photoId']}/original"


async def test_an_original_is_served_whole_and_in_ranges(gateway: Gateway, server: Server) -> None:
    data = picture() + LARGE
    path = await uploaded(gateway, data)

    whole = await gateway.get(path)
    part = await gateway.get(path, Range="bytes=5000000-8999999")
    again = await gateway.upload(data)

    assert whole.content == data
    assert (part.status_code, part.content) == (206, data[5_000_000:9_000_000])
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert len(inside(server)) == 1


@pytest.mark.parametrize("data", [b"no picture", b"no picture" + LARGE])
async def test_a_rejected_upload_leaves_nothing(
    gateway: Gateway, server: Server, data: bytes
) -> None:
    answer = await gateway.upload(data)

    assert answer.status_code == 415
    assert inside(server) == []


async def test_an_upload_that_loses_the_server_is_rejected_and_leaves_nothing(
    gateway: Gateway, own: S3Server, server: Server
) -> None:
    kept = await uploaded(gateway, picture())

    def killing() -> Generator[bytes]:
        """Send a form; stop the server when it has the first half."""
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield picture() + LARGE
        own.kill()
        yield LARGE + b"\r\n--b--\r\n"

    async def body() -> AsyncGenerator[bytes]:
        for chunk in killing():
            yield chunk

    answer = await gateway.client.post(
        "/api/photos/upload",
        content=body(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    read = await gateway.get(kept)
    health = await gateway.get("/health/ready")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")
    assert (read.status_code, read.json()["code"]) == (503, "unavailable")
    assert (health.status_code, health.json()["checks"]["blobs"]["status"]) == (503, "down")
    own.start()
    await until_stored(gateway)
    assert (await gateway.get(kept)).status_code == 200
    await until_ready(gateway)
    assert len(inside(server)) == 2


async def until_ready(gateway: Gateway) -> None:
    """Wait as a load balancer does: a check may still hold an answer from before."""
    with anyio.fail_after(DEADLINE_S):
        while (await gateway.get("/health/ready")).status_code != 200:
            await anyio.sleep(0.05)


async def until_stored(gateway: Gateway) -> None:
    """Retry an upload until it succeeds, as the problem advises."""
    for _ in range(100):
        answer = await gateway.upload(picture())
        if answer.status_code == 201:
            return
        assert answer.json()["code"] == "storage-unavailable"
    pytest.fail("nothing is stored any more")


class TestLinks:
    @pytest.fixture
    def server(self, own: S3Server) -> Server:
        server = bucket_of(own.url, "photos")
        there = own.url.replace("127.0.0.1", "localhost")
        return msgspec.structs.replace(server, links=True, public_endpoint=there)

    async def test_a_reader_is_redirected_to_the_server(
        self, gateway: Gateway, server: Server
    ) -> None:
        data = picture() + LARGE
        path = await uploaded(gateway, data)

        sent = await gateway.get(path)
        async with httpx.AsyncClient(trust_env=False) as anyone:
            whole = await anyone.get(sent.headers["Location"])
            part = await anyone.get(sent.headers["Location"], headers={"Range": "bytes=1-3"})
            altered = await anyone.get(sent.headers["Location"].replace("/originals/", "/other/"))

        assert (sent.status_code, sent.content) == (307, b"")
        assert sent.headers["Cache-Control"] == "private, no-store"
        assert sent.headers["Location"].startswith(f"{server.public_endpoint}/photos/originals/")
        assert whole.content == data
        assert whole.headers["Content-Type"] == "image/png"
        assert whole.headers["Content-Disposition"].startswith("inline; ")
        assert (part.status_code, part.content) == (206, data[1:4])
        assert altered.status_code == 403

    async def test_a_client_that_may_not_see_the_photo_is_not_redirected(
        self, gateway: Gateway
    ) -> None:
        path = await uploaded(gateway, picture())

        answer = await gateway.get(path, name="bob")

        assert (answer.status_code, "Location" in answer.headers) == (404, False)

    async def test_a_request_without_a_body_is_answered_by_the_gateway(
        self, gateway: Gateway
    ) -> None:
        path = await uploaded(gateway, picture())
        sent = await gateway.client.head(path)
        etag = sent.headers["ETag"]

        same = await gateway.get(path, **{"If-None-Match": etag})

        assert (sent.status_code, same.status_code) == (200, 304)

    async def test_the_page_may_show_pictures_of_the_server(
        self, gateway: Gateway, server: Server
    ) -> None:
        policy = (await gateway.get("/")).headers["Content-Security-Policy"]

        assert f"img-src 'self' blob: data: {server.public_endpoint};" in policy
