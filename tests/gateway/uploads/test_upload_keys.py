"""Uploads with an ``Idempotency-Key``: the same key gives the same answer, for the same bytes."""

import anyio
import httpx
import pytest

from domain.photo.commands import RecordErased
from store.blobs.interface import original_key
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway, picture
from tests.gateway.processing import process
from tests.gateway.uploads.test_uploads import UPLOAD, events
from tests.store.archive.segments import trim_all


async def keyed(gateway: Gateway, data: bytes, key: str, name: str = "alice") -> httpx.Response:
    return await gateway.client.post(
        UPLOAD,
        files={"file": ("a.png", data)},
        headers={"Idempotency-Key": key, **gateway.bearer(name)},
    )


async def test_the_same_idempotency_key_gets_the_same_answer(gateway: Gateway) -> None:
    data = picture()
    first = await keyed(gateway, data, "one")
    await process(gateway, first.json())

    again = await keyed(gateway, data, "one")

    assert (again.status_code, again.json()) == (201, first.json())
    assert len([key for key in gateway.stored() if key.startswith("originals/")]) == 1
    assert len(await events(gateway)) == 1


async def test_ten_concurrent_uploads_with_one_key_get_the_same_answer(gateway: Gateway) -> None:
    data = picture()
    answers: list[httpx.Response] = []

    async def upload() -> None:
        answers.append(await keyed(gateway, data, "one"))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(upload)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(gateway.stored()) == 1


async def test_a_key_is_rejected_with_other_bytes(gateway: Gateway) -> None:
    await keyed(gateway, picture(), "one")
    before = gateway.stored()

    answer = await keyed(gateway, picture(), "one")

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert gateway.stored() == before
    assert len(before) == 1


async def test_a_key_and_bytes_give_a_new_photo_id_after_a_deletion(
    gateway: Gateway,
) -> None:
    data = picture()
    first = (await keyed(gateway, data, "one")).json()
    await gateway.client.delete(f"/api/photos/{first['photoId']}")
    partition = gateway.log.partition_of("alice")
    command = gateway.log.keys.command(partition, "alice", "one")
    await gateway.log.redis.delete(command)  # as it expires

    second = await keyed(gateway, data, "one")

    assert second.status_code == 201
    assert second.json()["photoId"] != first["photoId"]
    assert (await keyed(gateway, data, "one")).json() == second.json()
    assert len(await events(gateway)) == 2


async def test_a_new_photo_id_needs_neither_the_state_of_the_erased_one_nor_a_read_model(
    gateway: Gateway,
) -> None:
    data, log = picture(), gateway.log
    first = (await keyed(gateway, data, "one")).json()
    await gateway.client.delete(f"/api/photos/{first['photoId']}")
    erased = RecordErased(photo_id=first["photoId"])
    await log.execute(erased, client_id="alice", context=CONTEXT)
    [passed, *_] = await trim_all(log, gateway.blobs, keep_states_s=0.0)
    await log.redis.delete(log.keys.command(log.partition_of("alice"), "alice", "one"))

    second = await keyed(gateway, data, "one")

    assert passed.evicted == 1
    assert second.status_code == 201
    assert second.json()["photoId"] != first["photoId"]


async def test_a_photo_whose_key_has_expired_is_a_duplicate(gateway: Gateway) -> None:
    data = picture()
    first = (await keyed(gateway, data, "one")).json()
    partition = gateway.log.partition_of("alice")
    await gateway.log.redis.delete(gateway.log.keys.command(partition, "alice", "one"))

    second = await keyed(gateway, data, "one")

    assert (second.status_code, second.json()["photoId"]) == (200, first["photoId"])
    assert len(gateway.stored()) == 1


async def test_a_key_belongs_to_one_client(gateway: Gateway) -> None:
    first = await keyed(gateway, picture(), "one")

    answer = await keyed(gateway, picture(), "one", name="bob")

    assert answer.status_code == 201
    assert answer.json()["photoId"] != first.json()["photoId"]


async def test_a_new_key_with_known_bytes_returns_the_duplicate(
    gateway: Gateway,
) -> None:
    data = picture()
    first = await gateway.upload(data)

    answer = await keyed(gateway, data, "one")

    assert (answer.status_code, answer.json()["duplicate"]) == (200, True)
    assert answer.json()["photoId"] == first.json()["photoId"]
    assert gateway.stored() == [original_key(first.json()["photoId"])]


async def test_a_key_that_returned_a_duplicate_is_bound_to_its_bytes(gateway: Gateway) -> None:
    data = picture()
    first = await gateway.upload(data)
    await keyed(gateway, data, "one")

    again = await keyed(gateway, data, "one")
    other = await keyed(gateway, picture(), "one")

    assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert gateway.stored() == [original_key(first.json()["photoId"])]


@pytest.mark.parametrize("found", [False, True], ids=["made", "found"])
async def test_a_key_is_rejected_after_its_photo_is_deleted(
    gateway: Gateway, *, found: bool
) -> None:
    data = picture()
    if found:
        await gateway.upload(data)
    first = await keyed(gateway, data, "one")
    await gateway.client.delete(f"/api/photos/{first.json()['photoId']}")

    again = await keyed(gateway, data, "one")

    assert (again.status_code, again.json()["code"]) == (422, "idempotency-key-reused")
    assert again.json()["detail"] == "The photo of this Idempotency-Key has been deleted."
    assert (await keyed(gateway, data, "two")).status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 201, "schlüssel", "a\tb"])
async def test_an_invalid_key_is_rejected(gateway: Gateway, key: str) -> None:
    answer = await gateway.client.post(
        UPLOAD,
        files={"file": ("a.png", picture())},
        headers=[(b"Idempotency-Key", key.encode())],
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-idempotency-key")
    assert gateway.stored() == []


async def test_two_different_keys_are_rejected_and_a_repeated_one_is_accepted(
    gateway: Gateway,
) -> None:
    answers = [
        await gateway.client.post(
            UPLOAD,
            files={"file": ("a.png", picture())},
            headers=[(b"Idempotency-Key", b"one"), (b"Idempotency-Key", second)],
        )
        for second in (b"two", b"one")
    ]

    assert [answer.status_code for answer in answers] == [400, 201]
    assert answers[0].json()["code"] == "invalid-idempotency-key"
