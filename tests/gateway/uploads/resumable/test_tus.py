"""Uploads by tus 1.0: created, interrupted, continued, concatenated, deleted."""

import base64
import hashlib

import pytest

from gateway.http.limits import Limits
from tests.gateway.conftest import Gateway, picture
from tests.gateway.uploads.resumable.requests import (
    TUS,
    TUS_BODY,
    UPLOADS,
    append,
    created,
    encoded,
    kept,
    offset_of,
    problem_of,
)
from tests.gateway.uploads.test_uploads import events


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, max_upload_bytes=1_000_000)


async def test_an_upload_in_two_pieces_becomes_the_same_photo_as_a_plain_one(
    gateway: Gateway,
) -> None:
    data = picture()
    fields = encoded(filename="a.png", sessionId="trip", priority="5", lastModified="1000")
    address = await created(gateway, len(data), Upload_Metadata=fields)

    first = await append(gateway, address, 0, data[:40])
    middle = await offset_of(gateway, address)
    last = await append(gateway, address, 40, data[40:])

    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "40")
    assert middle == 40
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(data)))
    photo_id = last.headers["Content-Location"].rpartition("/")[2]
    [event] = await events(gateway)
    assert event.photo_id == photo_id
    assert event.original_filename == "a.png"
    assert event.last_modified_ms == 1000
    shown = await gateway.get(
        f"{last.headers['Content-Location']}/original", after=last.headers["X-Log-Position"]
    )
    assert shown.content == data
    photo = await gateway.get(last.headers["Content-Location"])
    assert photo.json()["sessionId"] == "trip"
    assert kept(gateway) == []


async def test_every_answer_says_the_version_and_how_far_the_upload_is(gateway: Gateway) -> None:
    metadata = encoded(filename="a.png")
    address = await created(gateway, 1000, Upload_Metadata=metadata)

    answer = await gateway.client.head(address, headers=TUS)

    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Upload-Offset"] == "0"
    assert answer.headers["Upload-Length"] == "1000"
    assert answer.headers["Upload-Metadata"] == metadata
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Upload-Expires"].endswith(" GMT")
    state = (await gateway.client.get(address)).json()
    assert (state["offset"], state["length"], state["complete"]) == (0, 1000, False)


async def test_options_tells_what_the_server_offers(gateway: Gateway) -> None:
    answer = await gateway.client.options(UPLOADS)

    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == "1000000"
    assert "concatenation" in answer.headers["Tus-Extension"].split(",")
    assert "sha1" in answer.headers["Tus-Checksum-Algorithm"].split(",")


async def test_the_first_bytes_can_come_with_the_creation(gateway: Gateway) -> None:
    data = picture()

    answer = await gateway.client.post(
        UPLOADS, content=data[:50], headers={**TUS_BODY, "Upload-Length": str(len(data))}
    )

    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "50")
    done = await append(gateway, answer.headers["Location"], 50, data[50:])
    assert "Content-Location" in done.headers


async def test_the_length_can_come_with_the_last_bytes(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, None, Upload_Defer_Length="1")

    await append(gateway, address, 0, data[:50])
    head = await gateway.client.head(address, headers=TUS)
    done = await append(gateway, address, 50, data[50:], Upload_Length=str(len(data)))

    assert head.headers["Upload-Defer-Length"] == "1"
    assert "Content-Location" in done.headers


async def test_bytes_of_a_photo_that_is_there_are_a_duplicate(gateway: Gateway) -> None:
    data = picture()
    photo = (await gateway.upload(data)).json()
    address = await created(gateway, len(data))

    done = await append(gateway, address, 0, data)

    assert done.headers["Content-Location"] == f"/api/photos/{photo['photoId']}"
    assert (await gateway.client.get(address)).json()["duplicate"] is True
    assert len(await events(gateway)) == 1


async def test_a_finished_upload_still_answers_what_it_became(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))
    done = await append(gateway, address, 0, data)

    again = await gateway.client.head(address, headers=TUS)
    late = await append(gateway, address, 0, data)
    deleted = await gateway.client.delete(address, headers=TUS)

    assert again.headers["Upload-Offset"] == again.headers["Upload-Length"] == str(len(data))
    assert again.headers["Content-Location"] == done.headers["Content-Location"]
    assert await problem_of(late) == (409, "upload-offset-mismatch")
    assert await problem_of(deleted) == (410, "upload-gone")
    assert len(await events(gateway)) == 1


@pytest.mark.parametrize(("algorithm", "name"), [("sha1", "sha1"), ("sha256", "sha256")])
async def test_a_body_with_another_checksum_counts_as_never_sent(
    gateway: Gateway, algorithm: str, name: str
) -> None:
    data = picture()
    address = await created(gateway, len(data))
    wrong = base64.b64encode(hashlib.new(algorithm, b"other").digest()).decode()
    right = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()

    refused = await append(gateway, address, 0, data, Upload_Checksum=f"{name} {wrong}")
    between = await offset_of(gateway, address)
    done = await append(gateway, address, 0, data, Upload_Checksum=f"{name} {right}")

    assert await problem_of(refused) == (460, "checksum-mismatch")
    assert refused.headers["Tus-Resumable"] == "1.0.0"
    assert between == 0
    assert done.status_code == 204


async def test_a_content_digest_is_verified(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()

    refused = await append(gateway, address, 0, data, Content_Digest=f"sha-256=:{digest}:")

    assert await problem_of(refused) == (400, "digest-mismatch")
    assert await offset_of(gateway, address) == 0


async def test_a_file_with_another_sha256_is_rejected_and_nothing_is_stored(
    gateway: Gateway,
) -> None:
    data = picture()
    address = await created(
        gateway, len(data), Upload_Metadata=encoded(sha256=hashlib.sha256(b"other").hexdigest())
    )

    refused = await append(gateway, address, 0, data)

    assert await problem_of(refused) == (400, "digest-mismatch")
    assert await problem_of(await gateway.client.get(address)) == (410, "upload-gone")
    assert gateway.stored() == []
    assert kept(gateway) == []
    assert await events(gateway) == []


async def test_a_file_that_is_no_photo_is_named_before_the_rest_arrives(gateway: Gateway) -> None:
    address = await created(gateway, 900_000)

    refused = await append(gateway, address, 0, b"%PDF-1.7".ljust(100))

    assert await problem_of(refused) == (415, "unsupported-type")
    assert "PDF" in refused.json()["detail"]
    assert kept(gateway) == []


async def test_a_deleted_upload_is_gone(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data))
    await append(gateway, address, 0, data[:30])

    deleted = await gateway.client.delete(address, headers=TUS)

    assert deleted.status_code == 204
    assert await problem_of(await append(gateway, address, 30, data[30:])) == (410, "upload-gone")
    assert kept(gateway) == []


async def test_an_idempotency_key_holds_for_plain_and_resumable_uploads(gateway: Gateway) -> None:
    data = picture()
    address = await created(gateway, len(data), Idempotency_Key="one")
    done = await append(gateway, address, 0, data)

    plain = await gateway.client.post(
        "/api/photos/upload", files={"file": data}, headers={"Idempotency-Key": '"one"'}
    )

    assert plain.status_code == 201
    assert done.headers["Content-Location"] == plain.headers["Location"]


@pytest.mark.parametrize("speaks", ["PATCH", "POST"])
async def test_a_client_that_can_only_post_names_the_method_in_a_header(
    gateway: Gateway, speaks: str
) -> None:
    data = picture()
    address, deleted = await created(gateway, len(data)), await created(gateway, len(data))
    method = {} if speaks == "PATCH" else {"X-HTTP-Method-Override": "PATCH"}
    body = {**TUS_BODY, "Upload-Offset": "0", **method}

    done = await gateway.client.request(speaks, address, content=data, headers=body)
    gone = await gateway.client.post(deleted, headers={**TUS, "X-HTTP-Method-Override": "DELETE"})

    assert done.status_code == gone.status_code == 204
    assert done.headers["Upload-Offset"] == str(len(data))
    assert len(await events(gateway)) == 1
    assert await problem_of(await gateway.client.get(deleted)) == (410, "upload-gone")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/uploads/{id}", "PUT"),
        ("/api/uploads/{id}", "HEAD"),
        ("/api/uploads/{id}", "patch"),
        ("/api/photos/{id}", "DELETE"),
    ],
)
async def test_no_other_method_or_address_is_overridden(
    gateway: Gateway, path: str, method: str
) -> None:
    address = await created(gateway, 5)

    answer = await gateway.client.post(
        path.format(id=address.rpartition("/")[2]),
        headers={**TUS, "X-HTTP-Method-Override": method},
    )

    assert await problem_of(answer) == (405, "method-not-allowed")
    assert await offset_of(gateway, address) == 0


async def test_another_client_cannot_override_its_way_into_an_upload(gateway: Gateway) -> None:
    address = await created(gateway, 5)

    answer = await gateway.client.post(
        address,
        headers={**TUS, "X-HTTP-Method-Override": "DELETE", **gateway.bearer("bob")},
    )

    assert await problem_of(answer) == (404, "upload-not-found")
    assert await offset_of(gateway, address) == 0


@pytest.mark.parametrize(
    ("wanted", "has_digest"),
    [
        ("sha-256=10", True),
        ("sha-512=3, sha-256=1", True),
        ("sha-256=0", False),
        ("md5=5", False),
        ("sha-256", False),
        ("sha-256=1;", False),
    ],
)
async def test_a_client_that_wants_the_digest_of_the_file_gets_it_at_the_end(
    gateway: Gateway, wanted: str, *, has_digest: bool
) -> None:
    data = picture()
    address = await created(gateway, len(data), Want_Repr_Digest=wanted)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()

    before = await append(gateway, address, 0, data[:20], Want_Repr_Digest=wanted)
    done = await append(gateway, address, 20, data[20:], Want_Repr_Digest=wanted)
    later = await gateway.client.head(address, headers={**TUS, "Want-Repr-Digest": wanted})

    assert "Repr-Digest" not in before.headers
    for answer in (done, later):
        expected = f"sha-256=:{digest}:" if has_digest else None
        assert answer.headers.get("Repr-Digest") == expected
