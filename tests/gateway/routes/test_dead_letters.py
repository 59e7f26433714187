import asyncio
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.photo.commands import DiscardFailure
from domain.pipeline.failures import Category
from gateway.routes.bulk import AT_ONCE
from projections.rebuild import live_held
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway
from tests.gateway.processing import complete, fail, start
from tests.gateway.tasks import claim, dispatch, events

LETTERS = "/api/ops/dead-letters"
NOBODY = str(uuid.UUID(int=0))


async def dead(gateway: Gateway, **failure: Any) -> dict[str, Any]:
    """Upload a photo of alice and fail its job; return it once lists show the failure."""
    photo = (await gateway.upload()).json()
    end = await fail(gateway, photo, **failure)
    await gateway.get("/api/photos", after=end)
    return photo


async def listed(
    gateway: Gateway, query: str = "", *, after: str | None = None, name: str = "operator"
) -> list[str]:
    found = await gateway.get(f"{LETTERS}{query}", name=name, after=after)
    assert found.status_code == 200, found.text
    return [item["photoId"] for item in found.json()["items"]]


async def give(
    gateway: Gateway, what: str, *, name: str = "operator", **body: Any
) -> httpx.Response:
    return await gateway.client.post(f"{LETTERS}/{what}", json=body, headers=gateway.bearer(name))


async def retry(gateway: Gateway, **body: Any) -> httpx.Response:
    return await give(gateway, "retry", **body)


def without_results(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer without the result of each photo."""
    body = answer.json()
    del body["results"]
    return body


async def discard(gateway: Gateway, **body: Any) -> httpx.Response:
    return await give(gateway, "discard", **({"reason": "a screenshot"} | body))


async def test_a_failure_is_listed_with_its_reason(gateway: Gateway) -> None:
    photo = await dead(gateway)

    answer = await gateway.get(LETTERS, name="auditor")

    (item,) = answer.json()["items"]
    assert answer.json()["nextCursor"] is None
    assert item.pop("firstFailedAt") == item.pop("lastFailedAt")
    assert item == {
        "photoId": photo["photoId"],
        "jobId": photo["jobId"],
        "clientId": "alice",
        "stage": "validation",
        "category": "data",
        "code": "truncated",
        "error": "The picture ends too early.",
        "attempts": 1,
    }


async def test_the_list_is_filtered_and_paged(gateway: Gateway) -> None:
    data = await dead(gateway)
    resource = await dead(gateway, category=Category.RESOURCE, stage="metadata")

    first = (
        await gateway.client.get(f"{LETTERS}?limit=1", headers=gateway.bearer("operator"))
    ).json()
    rest = await listed(gateway, f"?cursor={first['nextCursor']}")

    found = [first["items"][0]["photoId"], *rest]
    assert sorted(found) == sorted([resource["photoId"], data["photoId"]])
    assert await listed(gateway, "?category=resource") == [resource["photoId"]]
    assert await listed(gateway, "?stage=validation") == [data["photoId"]]
    assert await listed(gateway, "?clientId=bob") == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?cursor=x", "invalid-cursor"),
        ("?limit=500", "invalid-limit"),
        ("?category=x", "invalid-request"),
    ],
)
async def test_an_invalid_query_is_rejected(shared_gateway: Gateway, query: str, code: str) -> None:
    answer = await shared_gateway.get(f"{LETTERS}{query}", name="operator")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("name", ["alice", "auditor"])
@pytest.mark.parametrize("what", ["retry", "discard"])
async def test_only_operators_change_them(gateway: Gateway, what: str, name: str) -> None:
    photo = await dead(gateway)
    reason = {"reason": "why"} if what == "discard" else {}

    answer = await give(gateway, what, name=name, photoIds=[photo["photoId"]], **reason)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await gateway.get(LETTERS, name="alice")).json()["code"] == "forbidden"
    assert len(await events(gateway, photo)) == 3


class TestRetry:
    async def test_a_retry_continues_from_the_stage_that_failed(self, gateway: Gateway) -> None:
        photo = (await gateway.upload(priority="7")).json()
        await start(gateway, photo)
        await complete(gateway, photo, "validation")
        await complete(gateway, photo, "optimization")
        await gateway.get("/api/photos", after=await fail(gateway, photo, stage="metadata"))

        answer = await retry(gateway, photoIds=[photo["photoId"]])

        assert without_results(answer) == {"retried": 1, "skipped": [], "nextCursor": None}
        last = (await events(gateway, photo))[-1]
        assert answer.headers["X-Log-Position"] == last["id"]
        assert last["type"] == "photo.processing.requested"
        assert last["metadata"]["actor"] == "operator:operator"
        assert last["data"]["done"] == ["optimization", "validation"]
        assert (last["data"]["pipeline"], last["data"]["priority"]) == ("full_processing", 7)
        assert await listed(gateway, after=last["id"]) == []

    async def test_a_retry_can_have_another_priority(self, gateway: Gateway) -> None:
        photo = await dead(gateway)

        await retry(gateway, photoIds=[photo["photoId"]], priority=1)

        await dispatch(gateway)
        urgent = await claim(gateway)
        assert (urgent.task.photo_id, urgent.task.priority) == (photo["photoId"], 1)

    async def test_a_photo_that_did_not_fail_is_skipped_with_its_code(
        self, gateway: Gateway
    ) -> None:
        good = (await gateway.upload()).json()
        gone, failed = await dead(gateway), await dead(gateway)
        await gateway.client.delete(f"/api/photos/{gone['photoId']}")
        ids = [good["photoId"], gone["photoId"], NOBODY, failed["photoId"], NOBODY]

        answer = (await retry(gateway, photoIds=ids)).json()

        assert answer["retried"] == 1
        assert {each["photoId"]: each["code"] for each in answer["skipped"]} == {
            good["photoId"]: "job-running",
            gone["photoId"]: "photo-deleted",
            NOBODY: "photo-not-found",
        }
        assert len(answer["skipped"]) == 3

    async def test_a_filter_does_not_retry_what_was_discarded_meanwhile(
        self, gateway: Gateway, tmp_path: Path
    ) -> None:
        photo = await dead(gateway)
        discarded = DiscardFailure(photo_id=photo["photoId"], reason="a screenshot")
        async with live_held(gateway.log, Generations(tmp_path / "read-model")):
            await gateway.log.execute(discarded, client_id="alice", context=CONTEXT)

            by_filter = (await retry(gateway, all=True)).json()
            by_name = (await retry(gateway, photoIds=[photo["photoId"]])).json()

        assert by_filter["retried"] == 0
        assert [each["code"] for each in by_filter["skipped"]] == ["nothing-failed"]
        assert by_name["retried"] == 1

    async def test_two_concurrent_retries_start_one_job(self, gateway: Gateway) -> None:
        photo = await dead(gateway)

        answers = await asyncio.gather(
            *(retry(gateway, photoIds=[photo["photoId"]]) for _ in range(5))
        )

        types = [event["type"] for event in await events(gateway, photo)]
        assert types.count("photo.processing.requested") == 1
        for answer in answers:
            # The later call is skipped, or finds the job started already.
            codes = [each["code"] for each in answer.json()["skipped"]]
            assert (answer.json()["retried"], codes) in ((1, []), (0, ["job-running"]))

    async def test_a_photo_that_is_named_twice_counts_once(self, gateway: Gateway) -> None:
        photos = [await dead(gateway) for _ in range(2)]
        ids = [photo["photoId"] for photo in photos]

        answer = await retry(gateway, photoIds=[*ids, *ids])

        assert without_results(answer) == {"retried": 2, "skipped": [], "nextCursor": None}
        for photo in photos:
            types = [event["type"] for event in await events(gateway, photo)]
            assert types.count("photo.processing.requested") == 1

    async def test_skipped_photos_keep_the_order_of_the_page(self, gateway: Gateway) -> None:
        ids = [(await gateway.upload()).json()["photoId"] for _ in range(2 * AT_ONCE)]

        answer = await retry(gateway, photoIds=ids)

        assert [each["photoId"] for each in answer.json()["skipped"]] == ids

    async def test_a_filter_is_handled_page_by_page(self, gateway: Gateway) -> None:
        photos = [await dead(gateway) for _ in range(3)]
        other = await dead(gateway, category=Category.RESOURCE)

        first = (await retry(gateway, category="data", limit=2)).json()
        second = (await retry(gateway, category="data", limit=2, cursor=first["nextCursor"])).json()

        assert (first["retried"], second["retried"], second["nextCursor"]) == (2, 1, None)
        for photo in photos:
            assert (await events(gateway, photo))[-1]["type"] == "photo.processing.requested"
        assert await listed(gateway, after=str(await gateway.log.end(0))) == [other["photoId"]]

    async def test_all_failures_of_a_stage_or_of_all_stages_are_retried(
        self, gateway: Gateway
    ) -> None:
        await dead(gateway)
        await dead(gateway, stage="metadata")
        await dead(gateway, stage="thumbnails")

        of_stage = (await retry(gateway, stage="metadata")).json()
        await gateway.get("/api/photos", after=str(await gateway.log.end(0)))
        everything = (await retry(gateway, all=True)).json()

        assert (of_stage["retried"], everything["retried"]) == (1, 2)

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "invalid-request"),
            ({"all": False}, "invalid-request"),
            ({"photoIds": []}, "invalid-request"),
            ({"photoIds": [NOBODY], "all": True}, "invalid-request"),
            ({"photoIds": [NOBODY], "stage": "metadata"}, "invalid-request"),
            ({"photoIds": [NOBODY], "priority": 11}, "invalid-request"),
            ({"photoIDs": [NOBODY]}, "invalid-request"),
            ({"category": "bad luck"}, "invalid-request"),
            ({"photoIds": [NOBODY] * 201}, "invalid-limit"),
            ({"all": True, "limit": 201}, "invalid-limit"),
            ({"all": True, "cursor": "x"}, "invalid-cursor"),
        ],
    )
    async def test_an_invalid_selection_is_rejected(
        self, shared_gateway: Gateway, body: dict[str, Any], code: str
    ) -> None:
        answer = await retry(shared_gateway, **body)

        assert (answer.status_code, answer.json()["code"]) == (400, code)


class TestDiscard:
    async def test_the_history_records_the_reason(self, gateway: Gateway) -> None:
        photo = await dead(gateway)

        answer = await discard(gateway, photoIds=[photo["photoId"]])

        last = (await events(gateway, photo))[-1]
        assert answer.json() == {
            "discarded": 1,
            "skipped": [],
            "results": [{"photoId": photo["photoId"], "outcome": "done", "code": None}],
            "nextCursor": None,
        }
        assert (last["type"], last["data"]["reason"]) == (
            "photo.processing.discarded",
            "a screenshot",
        )
        assert await listed(gateway, after=answer.headers["X-Log-Position"]) == []

    async def test_discarding_again_records_nothing(self, gateway: Gateway) -> None:
        photo = await dead(gateway)
        await discard(gateway, photoIds=[photo["photoId"]])
        before = await events(gateway, photo)

        again = await discard(gateway, photoIds=[photo["photoId"]])

        assert again.json()["discarded"] == 1
        assert await events(gateway, photo) == before

    async def test_a_photo_that_did_not_fail_is_skipped(self, gateway: Gateway) -> None:
        photo = (await gateway.upload()).json()

        answer = (await discard(gateway, photoIds=[photo["photoId"]])).json()

        assert answer["skipped"] == [{"photoId": photo["photoId"], "code": "nothing-failed"}]

    async def test_it_needs_a_reason(self, shared_gateway: Gateway) -> None:
        for reason in ({}, {"reason": ""}):
            answer = await give(shared_gateway, "discard", all=True, **reason)

            assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


class TestGroups:
    async def test_failures_are_counted_by_reason(self, gateway: Gateway) -> None:
        await dead(gateway, code="truncated")
        await dead(gateway, code="truncated")
        await dead(gateway, code="too-large")
        end = str(await gateway.log.end(0))

        found = (await gateway.get(f"{LETTERS}/groups", name="auditor", after=end)).json()

        assert [(each["code"], each["count"]) for each in found["items"]] == [
            ("truncated", 2),
            ("too-large", 1),
        ]
        assert found["more"] is False

    async def test_all_that_match_a_code_are_retried_with_a_result_each(
        self, gateway: Gateway
    ) -> None:
        wanted = await dead(gateway, code="truncated")
        other = await dead(gateway, code="too-large")
        await gateway.get(LETTERS, name="operator", after=str(await gateway.log.end(0)))

        answer = await retry(gateway, code="truncated")
        named = await retry(gateway, photoIds=[wanted["photoId"], other["photoId"], NOBODY])

        assert answer.json()["results"] == [
            {"photoId": wanted["photoId"], "outcome": "done", "code": None}
        ]
        outcomes = {each["photoId"]: each["outcome"] for each in named.json()["results"]}
        assert outcomes[other["photoId"]] == "done"
        assert outcomes[NOBODY] == "skipped"
        assert outcomes[wanted["photoId"]] == "skipped"

    @pytest.mark.parametrize("query", ["sort=newest", "cursor=x", "from=yesterday", "category=x"])
    async def test_a_bad_query_is_rejected(self, shared_gateway: Gateway, query: str) -> None:
        answer = await shared_gateway.get(f"{LETTERS}/groups?{query}", name="operator")

        assert answer.status_code == 400

    async def test_clients_do_not_see_them(self, gateway: Gateway) -> None:
        assert (await gateway.get(f"{LETTERS}/groups")).json()["code"] == "forbidden"
