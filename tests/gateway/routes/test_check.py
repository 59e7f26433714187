"""``POST /api/photos/check`` names the files that a client already has."""

import hashlib

import pytest

from tests.gateway.conftest import Gateway, picture

CHECK = "/api/photos/check"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_files_that_are_there_are_named_in_the_order_of_the_request(
    gateway: Gateway,
) -> None:
    one, two, other, new = (picture() for _ in range(4))
    first, second = [(await gateway.upload(data)).json()["photoId"] for data in (one, two)]
    await gateway.upload(other, name="bob")
    asked = [sha256(data) for data in (two, other, new, one, two)]

    answer = await gateway.client.post(CHECK, json={"sha256": asked})

    assert answer.status_code == 200
    assert answer.json() == {
        "known": [
            {"sha256": sha256(two), "photoId": second},
            {"sha256": sha256(one), "photoId": first},
        ]
    }


async def test_a_deleted_photo_is_not_there(gateway: Gateway) -> None:
    data = picture()
    photo = (await gateway.upload(data)).json()
    await gateway.get(f"/api/photos/{photo['photoId']}", after=photo["position"])
    deleted = await gateway.client.delete(f"/api/photos/{photo['photoId']}")

    answer = await gateway.client.post(CHECK, json={"sha256": [sha256(data)]})

    assert deleted.is_success
    assert answer.json() == {"known": []}


async def test_a_thousand_files_fit_in_one_request(gateway: Gateway) -> None:
    data = picture()
    photo = (await gateway.upload(data)).json()
    asked = [*(sha256(b"%d" % number) for number in range(999)), sha256(data)]

    answer = await gateway.client.post(CHECK, json={"sha256": asked})
    over = await gateway.client.post(CHECK, json={"sha256": [*asked, asked[0]]})

    assert [each["photoId"] for each in answer.json()["known"]] == [photo["photoId"]]
    assert (over.status_code, over.json()["code"]) == (400, "invalid-request")


@pytest.mark.parametrize("wrong", [[], ["x"], ["A" * 64], [7], "0" * 64])
async def test_what_is_no_sha256_is_rejected(shared_gateway: Gateway, wrong: object) -> None:
    answer = await shared_gateway.client.post(CHECK, json={"sha256": wrong})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


async def test_the_form_of_a_sha256_is_said(shared_gateway: Gateway) -> None:
    answer = (await shared_gateway.client.post(CHECK, json={"sha256": ["A" * 64]})).json()

    assert answer["detail"].startswith("sha256[0]: ")
    assert answer["advice"] == "Use 64 hexadecimal digits in lower case."


async def test_an_auditor_uploads_nothing_and_checks_nothing(gateway: Gateway) -> None:
    answer = await gateway.client.post(
        CHECK, json={"sha256": ["0" * 64]}, headers=gateway.bearer("auditor")
    )

    assert answer.status_code == 403
