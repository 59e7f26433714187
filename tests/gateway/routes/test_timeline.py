"""Photos by the date they were taken."""

import re

import pytest

from tests.gateway.conftest import Gateway
from tests.gateway.processing import process
from tests.gateway.routes.test_photos import ids, uploaded


async def test_photos_are_listed_and_counted_by_the_date_they_were_taken(gateway: Gateway) -> None:
    first, second = [await uploaded(gateway) for _ in range(2)]
    end = await process(gateway, first, taken_at="2010-05-01T12:00:00")

    page = (await gateway.get(f"/api/photos?sort=taken&after={end}")).json()
    may = await gateway.get("/api/photos?sort=taken&takenFrom=2010-05&takenTo=2010-05-01T12:00:01")
    months = (await gateway.get("/api/photos/timeline")).json()
    days = (await gateway.get("/api/photos/timeline?by=day")).json()

    today = page["items"][0]["uploadedAt"][:10]
    assert ids(page) == [second["photoId"], first["photoId"]]
    assert ids(may.json()) == [first["photoId"]]
    assert months == {
        "items": [{"bucket": today[:7], "photos": 1}, {"bucket": "2010-05", "photos": 1}],
        "nextCursor": None,
    }
    assert [each["bucket"] for each in days["items"]] == [today, "2010-05-01"]


async def test_a_page_by_date_leads_to_the_next_one(gateway: Gateway) -> None:
    photos = [await uploaded(gateway) for _ in range(3)]
    end = await process(gateway, photos[2], taken_at="2010-05-01T12:00:00")

    first = (await gateway.get(f"/api/photos?sort=taken&limit=2&after={end}")).json()
    second = (
        await gateway.get(f"/api/photos?sort=taken&limit=2&cursor={first['nextCursor']}")
    ).json()

    assert len(first["items"]) == 2
    assert ids(second) == [photos[2]["photoId"]]


async def test_clients_count_their_own_photos_and_operators_all(gateway: Gateway) -> None:
    await uploaded(gateway)
    await uploaded(gateway, name="bob")

    async def counted(name: str, query: str = "") -> int:
        answer = await gateway.get(f"/api/photos/timeline{query}", name=name)
        assert answer.status_code == 200, answer.text
        return sum(each["photos"] for each in answer.json()["items"])

    assert await counted("alice") == 1
    assert await counted("operator") == await counted("auditor") == 2
    assert await counted("operator", "?clientId=bob") == 1
    forbidden = await gateway.get("/api/photos/timeline?clientId=bob")
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("?sort=taken&status=queued", "invalid-request"),
        ("?sort=taken&from=2019-07-04", "invalid-request"),
        ("?takenFrom=2019-07", "invalid-request"),
        ("?sort=name", "invalid-request"),
        ("?sort=taken&takenFrom=2019", "invalid-time"),
        ("?sort=taken&takenTo=2019-13", "invalid-time"),
        ("?sort=taken&takenTo=2019-02-30", "invalid-time"),
        ("?sort=taken&takenTo=2019-07-04T12:00Z", "invalid-time"),
        ("/timeline?by=week", "invalid-request"),
        ("/timeline?cursor=x", "invalid-cursor"),
        ("/timeline?limit=9", "invalid-request"),
    ],
)
async def test_a_wrong_query_is_rejected(shared_gateway: Gateway, path: str, code: str) -> None:
    answer = await shared_gateway.get(f"/api/photos{path}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_what_the_advice_on_a_wrong_date_says_is_accepted(shared_gateway: Gateway) -> None:
    wrong = (await shared_gateway.get("/api/photos?sort=taken&takenFrom=2099")).json()

    [example] = re.findall(r"[\dT:-]{19}", wrong["advice"])
    for date in (example, example[:10], example[:7]):
        answer = await shared_gateway.get(f"/api/photos?sort=taken&takenFrom={date}")
        assert answer.status_code == 200, date


async def test_a_filter_of_the_other_order_says_which_order_has_it(gateway: Gateway) -> None:
    taken = (await gateway.get("/api/photos?takenFrom=2019-07")).json()
    uploaded = (await gateway.get("/api/photos?sort=taken&status=queued")).json()

    assert "sort=taken" in taken["advice"]
    assert "sort=uploaded" in uploaded["advice"]
