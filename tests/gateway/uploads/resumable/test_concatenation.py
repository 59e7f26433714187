"""Uploads made of parts, the concatenation of tus 1.0: repeated, interrupted, refused."""

import hashlib

import anyio
import httpx
import pytest

from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import (
    TUS,
    append,
    create,
    created,
    encoded,
    kept,
    problem_of,
)
from tests.gateway.uploads.test_uploads import events


async def test_parts_are_concatenated_to_one_photo(gateway: Gateway) -> None:
    data = picture()
    parts = [data[:20], data[20:50], data[50:]]
    addresses = [await created(gateway, len(part), Upload_Concat="partial") for part in parts]
    for address, part in zip(addresses, parts, strict=True):
        await append(gateway, address, 0, part)
    concat = f"final;{' '.join(addresses)}"

    final = await create(
        gateway, None, Upload_Concat=concat, Upload_Metadata=encoded(filename="whole.png")
    )

    assert final.status_code == 201, final.text
    [event] = await events(gateway)
    assert event.sha256 == hashlib.sha256(data).hexdigest()
    assert event.original_filename == "whole.png"
    head = await gateway.client.head(final.headers["Location"], headers=TUS)
    assert head.headers["Upload-Concat"] == concat
    assert head.headers["Upload-Length"] == str(len(data))
    refused = await append(gateway, final.headers["Location"], len(data), b"more")
    assert await problem_of(refused) == (403, "upload-is-final")
    assert kept(gateway) == []


async def test_parts_of_a_repeated_concatenation_become_the_same_photo(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data), Upload_Concat="partial")
    await append(gateway, address, 0, data)
    root = gateway.deps.partials.root
    saved = {path: path.read_bytes() for path in (root / "open").rglob("*") if path.is_file()}
    first = await create(gateway, None, Upload_Concat=f"final;{address}")
    for path, content in saved.items():  # as after a crash that came before the parts ended
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for path in (root / "ended").rglob("*.json"):
        path.unlink()

    again = await create(gateway, None, Upload_Concat=f"final;{address}")

    assert again.headers["Content-Location"] == first.headers["Content-Location"]
    assert len(await events(gateway)) == 1


async def parts_of(gateway: Gateway, data: bytes) -> list[str]:
    """Upload the data in two parts; return their addresses."""
    addresses: list[str] = []
    for part in (data[:30], data[30:]):
        address = await created(gateway, len(part), Upload_Concat="partial")
        await append(gateway, address, 0, part)
        addresses.append(address)
    return addresses


async def test_a_concatenation_whose_answer_was_lost_is_answered_as_before(
    gateway: Gateway,
) -> None:
    concat = f"final;{' '.join(await parts_of(gateway, picture()))}"
    fields = encoded(filename="whole.png", sessionId="trip")
    first = await create(gateway, None, Upload_Concat=concat, Upload_Metadata=fields)

    again = await create(gateway, None, Upload_Concat=concat, Upload_Metadata=fields)

    assert (first.status_code, again.status_code) == (201, 201)
    for name in ("Location", "Content-Location", "Upload-Length", "X-Log-Position"):
        assert again.headers[name] == first.headers[name]
    assert len(await events(gateway)) == 1


async def test_concatenations_at_the_same_time_are_one(gateway: Gateway) -> None:
    concat = f"final;{' '.join(await parts_of(gateway, picture()))}"
    answers: list[httpx.Response] = []

    async def concatenate() -> None:
        answers.append(await create(gateway, None, Upload_Concat=concat))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(concatenate)

    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert len(await events(gateway)) == 1


async def test_a_concatenation_that_a_crash_interrupted_ends_the_parts_that_are_left(
    gateway: Gateway,
) -> None:
    addresses = await parts_of(gateway, picture())
    left = addresses[1].rpartition("/")[2]
    root = gateway.deps.partials.root
    saved = {path: path.read_bytes() for path in (root / "open").rglob(f"{left}.*")}
    first = await create(gateway, None, Upload_Concat=f"final;{' '.join(addresses)}")
    for path, content in saved.items():
        path.write_bytes(content)
    for path in (root / "ended").rglob(f"{left}.json"):
        path.unlink()

    again = await create(gateway, None, Upload_Concat=f"final;{' '.join(addresses)}")

    assert again.headers["Location"] == first.headers["Location"]
    assert kept(gateway) == []


@pytest.mark.parametrize("other", ["order", "a part", "metadata", "key", "client"])
async def test_another_concatenation_of_used_parts_is_refused(gateway: Gateway, other: str) -> None:
    addresses = await parts_of(gateway, picture())
    headers = {"Upload_Concat": f"final;{' '.join(addresses)}"}
    await create(gateway, None, **headers)
    match other:
        case "order":
            headers["Upload_Concat"] = f"final;{' '.join(reversed(addresses))}"
        case "a part":
            headers["Upload_Concat"] = f"final;{addresses[0]}"
        case "metadata":
            headers["Upload_Metadata"] = encoded(priority="9")
        case "key":
            headers["Idempotency_Key"] = "other"
        case _:
            pass

    answer = await create(gateway, None, name="bob" if other == "client" else "alice", **headers)

    refused = (404, "upload-not-found") if other == "client" else (410, "upload-gone")
    assert await problem_of(answer) == refused


async def test_a_rejected_concatenation_stays_rejected(gateway: Gateway) -> None:
    headers = {
        "Upload_Concat": f"final;{' '.join(await parts_of(gateway, picture()))}",
        "Upload_Metadata": encoded(sha256="0" * 64),
    }
    first = await create(gateway, None, **headers)

    again = await create(gateway, None, **headers)

    assert first.json()["code"] == "digest-mismatch"
    assert await problem_of(again) == (410, "upload-gone")
    assert "rejected" in again.json()["detail"]


async def test_an_incomplete_part_cannot_be_concatenated(gateway: Gateway) -> None:
    address = await created(gateway, 100, Upload_Concat="partial")

    answer = await create(gateway, None, Upload_Concat=f"final;{address}")

    assert await problem_of(answer) == (409, "upload-incomplete")
