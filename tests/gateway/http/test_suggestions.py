"""Answers to a wrong address, method or value name the right ones."""

from typing import Any

import pytest

from tests.gateway.conftest import Gateway


@pytest.fixture(scope="module")
def gateway(shared_gateway: Gateway) -> Gateway:
    return shared_gateway


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/api/photo", "/api/photos"),
        ("/api/Photos", "/api/photos"),
        ("/photos", "/api/photos"),
        ("/api/photos/1/thumbnail/150", "/api/photos/{photoId}/thumbnails/{size}"),
        ("/api/photos/1/thumbnails", "/api/photos/{photoId}/thumbnails/{size}"),
        ("/api/photos/1/orignal", "/api/photos/{photoId}/original"),
        ("/api/ops/deadletters", "/api/ops/dead-letters"),
        ("/api/ops/queue", "/api/ops/queues"),
        ("/healt", "/health"),
    ],
)
async def test_an_unknown_address_is_told_the_nearest(
    gateway: Gateway, path: str, meant: str
) -> None:
    answer = await gateway.client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert answer.json()["advice"] == f"Did you mean {meant}? /docs lists all addresses."


@pytest.mark.parametrize("path", ["/xyzzy", "/api", "/" + "a/" * 90, "/api/" + "p" * 5_000])
async def test_an_address_that_is_like_no_other_gets_general_advice(
    gateway: Gateway, path: str
) -> None:
    answer = await gateway.client.get(path)

    assert answer.json()["advice"] == "Look the address up at /docs."


async def test_a_photo_cannot_be_patched_but_other_things_can_be_done(gateway: Gateway) -> None:
    answer = await gateway.client.patch("/api/photos/1", json={"title": "Summer"})

    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS"
    assert answer.json()["advice"] == (
        "Use DELETE (delete a photo), GET (get a photo) or "
        "POST /api/photos/{photoId}/reprocess (process a photo again)."
    )


@pytest.mark.parametrize(
    ("path", "body", "advice"),
    [
        (
            "/api/ops/dead-letters/retry",
            {"category": "bad"},
            "Use temporary, resource, data, logic, security or configuration.",
        ),
        (
            "/api/ops/backfill",
            {"stage": "thumbs", "run": "a"},
            "Choose one of validation, metadata, thumbnails, optimization, placeholder.",
        ),
    ],
)
async def test_a_wrong_value_is_told_the_right_ones(
    gateway: Gateway, path: str, body: Any, advice: str
) -> None:
    answer = await gateway.client.post(path, json=body, headers=gateway.bearer("operator"))

    assert answer.json()["advice"] == advice
