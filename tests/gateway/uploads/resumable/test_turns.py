"""Two requests for one upload: the later one takes over, and bytes are never mixed."""

import fcntl
import hashlib
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest

from gateway.http.limits import Limits
from gateway.uploads.resumable.turns import Turns
from store.blobs.partials import Partials
from tests.gateway.conftest import Gateway, picture, served, until
from tests.gateway.uploads.resumable.requests import (
    TUS,
    append,
    created,
    offset_of,
    problem_of,
)
from tests.gateway.uploads.resumable.test_hostile import patch
from tests.gateway.uploads.test_uploads import events
from tests.gateway.wire import connected

WAITS_S = 30.0


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=0.2, upload_patience_s=WAITS_S)


def bytes_of(gateway: Gateway) -> Path:
    [path] = (gateway.deps.partials.root / "open").rglob("*.bytes")
    return path


async def test_a_request_that_resumes_ends_the_one_that_hangs(gateway: Gateway) -> None:
    data = picture((2_000, 2_000)) + bytes(5_000_000)
    address = await created(gateway, len(data))

    async with connected(gateway) as wire:
        sent = 4_500_000
        await wire.send(patch(gateway, address, len(data)) + data[:sent])
        await until(lambda: bytes_of(gateway).stat().st_size >= 4 << 20, "the first bytes")
        offset = await offset_of(gateway, address)  # although the request still sends
        answer = await wire.answer()
        done = await append(gateway, address, offset, data[offset:])

    assert answer.startswith(b"HTTP/1.1 409")
    assert 4 << 20 <= offset <= sent
    assert "Content-Location" in done.headers
    [event] = await events(gateway)
    assert event.file_size == len(data)
    shown = await gateway.get(
        f"{done.headers['Content-Location']}/original", after=done.headers["X-Log-Position"]
    )
    assert shown.content == data


async def test_bytes_of_concurrent_requests_are_never_mixed(gateway: Gateway) -> None:
    start = picture()
    bodies = [start + bytes([filler]) * 3_000_000 for filler in range(6)]
    address = await created(gateway, len(bodies[0]))
    answers: list[httpx.Response] = []

    async def send(body: bytes) -> None:
        answers.append(await append(gateway, address, 0, body))

    async with anyio.create_task_group() as group:
        for body in bodies:
            group.start_soon(send, body)

    codes = {answer.json()["code"] for answer in answers if answer.status_code != 204}
    assert codes <= {"upload-superseded", "upload-offset-mismatch"}
    recorded = [event.sha256 for event in await events(gateway)]
    if recorded:
        assert recorded[0] in {hashlib.sha256(body).hexdigest() for body in bodies}
        assert len(recorded) == 1
    else:
        kept = bytes_of(gateway).read_bytes()[: await offset_of(gateway, address)]
        assert any(body.startswith(kept) for body in bodies)


async def test_a_deletion_ends_the_request_that_sends(gateway: Gateway) -> None:
    address = await created(gateway, 1_000)

    async with connected(gateway) as wire:
        await wire.send(patch(gateway, address, 1_000) + picture()[:60])
        deleted = await gateway.client.delete(address, headers=TUS)

        assert deleted.status_code == 204
        assert (await wire.answer()).split()[1] in (b"409", b"410")
    assert await problem_of(await gateway.client.get(address)) == (410, "upload-gone")


async def test_an_upload_that_another_process_uses_is_locked(gateway: Gateway) -> None:
    address = await created(gateway, 1_000)

    with bytes_of(gateway).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = await gateway.client.get(address)

    assert await problem_of(answer) == (423, "upload-locked")
    assert answer.headers["Retry-After"]
    assert await offset_of(gateway, address) == 0


async def test_another_gateway_of_the_machine_continues_an_upload(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))
    await append(gateway, address, 0, data[:30])

    async with served(gateway.deps) as other:
        done = await append(other, address, 30, data[30:])

    assert "Content-Location" in done.headers
    again = await gateway.client.head(address, headers=TUS)
    assert again.headers["Content-Location"] == done.headers["Content-Location"]


async def test_a_gateway_that_lacks_the_upload_says_so(gateway: Gateway, tmp_path: Path) -> None:
    address = await created(gateway, 1_000)
    elsewhere = msgspec.structs.replace(gateway.deps, partials=Partials(tmp_path / "elsewhere"))

    async with served(elsewhere) as other:
        answer = await append(other, address, 0, b"x")

    assert await problem_of(answer) == (404, "upload-not-found")


async def test_turns_are_taken_one_after_another() -> None:
    turns, inside, most = Turns(), 0, 0

    async def use() -> None:
        nonlocal inside, most
        async with turns.of("one"):
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(use)

    assert most == 1
