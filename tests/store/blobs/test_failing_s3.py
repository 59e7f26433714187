"""Blobs on a server that is unavailable, slow, full, or not accessible."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from store.blobs.local_copies import LocalCopies
from store.blobs.s3 import S3Blobs
from store.blobs.s3_draft import S3Draft
from store.blobs.s3_server import Server
from store.breaker import FAILURES, Breaker
from store.errors import CircuitOpen, Denied, Full, Unavailable
from tests.clocks import Clock
from tests.conftest import bucket_of
from tests.proxies import proxied
from tests.s3_servers import SECRET_KEY, VersityServer
from tests.store.blob_stores import content, inside
from tests.system.disks import fill, small_disk

KEY, OTHER = "originals/ab/abc", "originals/cd/cde"
PART = bytes(5 << 20)
OPEN_S = 16.0
FIRST_S = 1.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(own_folder: Path) -> Generator[VersityServer]:
    """A server that a test may kill."""
    with VersityServer(own_folder) as server:
        yield server


@asynccontextmanager
async def opened(
    server: Server, tmp_path: Path, clock: Clock | None = None, *, prepare: bool = True
) -> AsyncGenerator[S3Blobs]:
    """A clock for the breaker, which stands still."""
    breaker = Breaker("blobs", open_s=OPEN_S, clock=clock or Clock())
    copies = LocalCopies(tmp_path / "copies", 1 << 30)
    blobs = S3Blobs(server, "writer", copies, breaker=breaker)
    if prepare:
        await blobs.prepare()
    yield blobs
    blobs.close()


async def all_of(draft: S3Draft, data: bytes) -> None:
    """Write in small chunks, like an upload."""
    for at in range(0, len(data), 1 << 20):
        await draft.write(data[at : at + (1 << 20)])


async def test_a_server_that_is_killed_in_the_middle_of_an_upload_leaves_nothing_half_done(
    own: VersityServer, tmp_path: Path, clock: Clock
) -> None:
    server = bucket_of(own.url, "photos")
    async with opened(server, tmp_path, clock) as blobs:
        await blobs.put(KEY, b"kept")
        async with blobs.draft(OTHER) as draft:
            await draft.write(PART)
            own.kill()
            with pytest.raises(Unavailable, match="refuses connections"):
                await draft.write(PART)
        for _ in range(FAILURES - 1):
            with pytest.raises(Unavailable):
                await blobs.put(OTHER, b"a rendition")

        assert blobs.breaker.state == "open"
        with pytest.raises(CircuitOpen):
            await blobs.put(OTHER, b"a rendition")
        for read in (blobs.size(KEY), content(blobs, KEY), blobs.free_bytes()):
            with pytest.raises(Unavailable):
                await read

        own.start()
        assert await content(blobs, KEY) == b"kept"
        assert len(inside(server)) > 1
        clock.now_s = FIRST_S
        async with blobs.draft(OTHER) as draft:
            await draft.write(PART)
            await draft.commit()

        assert blobs.breaker.state == "closed"
        assert inside(server) == [KEY, OTHER]


async def test_the_next_process_finds_what_was_unfinished_when_both_were_killed(
    own: VersityServer, tmp_path: Path
) -> None:
    server = bucket_of(own.url, "photos")
    async with opened(server, tmp_path) as blobs:
        draft = blobs.draft(OTHER)
        await (await draft.__aenter__()).write(PART)
        own.kill()
    own.start()

    async with opened(server, tmp_path) as blobs:
        (left,) = await blobs.leftovers()
        await blobs.clear(left)

    assert left.key is None
    assert inside(server) == []


@pytest.mark.parametrize("size", [3, 2 * len(PART)])
async def test_a_blob_whose_last_reply_was_lost_counts_as_stored(
    s3: VersityServer, prefix: str, tmp_path: Path, size: int
) -> None:
    async with proxied(s3.port) as proxy:
        server = bucket_of(proxy.url, prefix)
        async with opened(server, tmp_path) as blobs, blobs.draft(KEY) as draft:
            await draft.write(bytes(size))
            proxy.lose = b"If-None-Match"
            await draft.commit()

            assert proxy.lose is None
            assert await blobs.size(KEY) == size

        assert blobs.breaker.state == "closed"


@pytest.mark.parametrize("size", [3, 2 * len(PART)])
async def test_a_server_without_conditional_writes_is_checked_first(
    s3: VersityServer, prefix: str, tmp_path: Path, size: int
) -> None:
    async with proxied(s3.port) as proxy:
        proxy.refuse = b"If-None-Match"
        async with opened(bucket_of(proxy.url, prefix), tmp_path) as blobs:
            for key in (KEY, OTHER):
                async with blobs.draft(key) as draft:
                    await draft.write(bytes(size))
                    await draft.commit()

            assert [blob.size for blob in await blobs.keys("")] == [size, size]


async def test_a_server_that_is_too_slow_times_out_and_a_slow_one_does_not(
    s3: VersityServer, prefix: str, tmp_path: Path
) -> None:
    async with proxied(s3.port) as proxy:
        server = msgspec.structs.replace(bucket_of(proxy.url, prefix), timeout_s=0.5)
        async with opened(server, tmp_path) as blobs:
            proxy.delay_s = 0.02
            async with blobs.draft(KEY) as draft:
                await draft.write(PART)
                await draft.commit()
            assert len(await content(blobs, KEY)) == len(PART)

            proxy.delay_s = 60.0
            began = time.monotonic()
            with pytest.raises(Unavailable, match="timed out"):
                await blobs.put(OTHER, b"x")
            with pytest.raises(Unavailable, match="timed out"):
                await content(blobs, KEY)
            assert time.monotonic() - began < 10

            proxy.delay_s = 0.0
            assert len(await content(blobs, KEY)) == len(PART)
            await blobs.put(OTHER, b"x")


async def test_a_read_never_mixes_a_blob_with_its_replacement(
    bucket: Server, tmp_path: Path
) -> None:
    async with opened(bucket, tmp_path) as blobs:
        await blobs.put(KEY, b"1" * 3_000_000)
        reading = blobs.read(KEY)
        await anext(reading)
        await blobs.put(KEY, b"2" * 3_000_000)

        with pytest.raises(Unavailable, match="replaced"):
            await anext(reading)


@pytest.fixture
def tight(own_folder: Path) -> Generator[VersityServer]:
    """A server with room for a dozen parts."""
    with small_disk(own_folder / "disk", 62 << 20) as disk, VersityServer(disk) as server:
        yield server


async def test_a_full_server_can_be_read_and_accepts_blobs_once_it_has_room(
    tight: VersityServer, tmp_path: Path, clock: Clock
) -> None:
    server = bucket_of(tight.url, "photos")
    async with opened(server, tmp_path, clock) as blobs:
        await blobs.put(KEY, 4 * PART)
        for _ in range(FAILURES + 1):
            async with blobs.draft(OTHER) as draft:
                with pytest.raises(Full):
                    await all_of(draft, 12 * PART)

        assert blobs.breaker.state == "closed"
        assert inside(server) == [KEY]
        assert await blobs.size(KEY) == 4 * len(PART)
        fill(tight.folder)
        with pytest.raises(Full):
            await blobs.put(OTHER, b"a rendition")
        await blobs.delete(KEY)
        async with blobs.draft(OTHER) as draft:
            await all_of(draft, 2 * PART)
            await draft.commit()
        assert inside(server) == [OTHER]


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"access_key": "nobody"}, "access_key"),
        ({"secret_key": "not-the-secret"}, "secret_key"),
        ({"bucket": "Photos"}, "bucket"),
        ({"region": "eu-north-1"}, "region"),
    ],
)
async def test_the_error_names_the_wrong_setting(
    s3: VersityServer, tmp_path: Path, wrong: dict[str, str], setting: str
) -> None:
    server = msgspec.structs.replace(bucket_of(s3.url, "photos"), **wrong)
    async with opened(server, tmp_path, prepare=False) as blobs:
        with pytest.raises(Denied) as denied:
            await blobs.prepare()

    assert denied.value.setting == setting


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:ListBucket"])
async def test_a_bucket_of_another_account_is_rejected(
    s3: VersityServer, bucket: Server, tmp_path: Path, action: str
) -> None:
    async with opened(bucket, tmp_path) as blobs:
        await blobs.put(KEY, b"theirs")
    guest = s3.add_guest(bucket.bucket, action)
    server = msgspec.structs.replace(bucket, access_key=guest, secret_key=SECRET_KEY)

    async with opened(server, tmp_path, prepare=False) as blobs:
        with pytest.raises(Denied, match=bucket.bucket) as denied:
            await blobs.prepare()

    assert denied.value.setting == "bucket"
    assert inside(bucket) == [KEY]


async def test_an_endpoint_that_is_not_s3_is_reported_as_such(tmp_path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<p>Hello!"
    async with (
        answering(page) as endpoint,
        opened(bucket_of(endpoint, "photos"), tmp_path, prepare=False) as blobs,
    ):
        with pytest.raises(Unavailable, match="does not answer like an S3 server"):
            await blobs.prepare()


async def test_a_server_that_says_that_it_speaks_tls_is_reported_as_such(tmp_path: Path) -> None:
    """Servers in Go do, MinIO among them; others close the connection."""
    words = b"Client sent an HTTP request to an HTTPS server.\n"
    async with (
        answering(b"HTTP/1.0 400 Bad Request\r\n\r\n" + words) as endpoint,
        opened(bucket_of(endpoint, "photos"), tmp_path, prepare=False) as blobs,
    ):
        with pytest.raises(Denied, match="expects TLS: use https://") as denied:
            await blobs.prepare()

    assert denied.value.setting == "endpoint"


@asynccontextmanager
async def answering(answer: bytes) -> AsyncGenerator[str]:
    """Give this answer to every request; yield the endpoint."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def test_drafts_that_clean_up_after_others_at_the_same_time_share_the_work(
    bucket: Server, tmp_path: Path
) -> None:
    async with opened(bucket, tmp_path) as blobs:
        left = [blobs.draft(f"originals/ab/left-{number}") for number in range(2)]
        blobs.unclean.extend(left)

        async with asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(_abandon(blobs, f"originals/ab/{number}"))

        assert not blobs.unclean


async def _abandon(blobs: S3Blobs, key: str) -> None:
    async with blobs.draft(key) as draft:
        await draft.write(b"x")
