from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.gateway.conftest import Gateway
from tests.gateway.processing import fail, process, start


async def uploaded(gateway: Gateway, name: str = "alice", **fields: str) -> dict[str, Any]:
    """Upload a photo; return it once lists show it."""
    photo = (await gateway.upload(None, name=name, **fields)).json()
    await gateway.get("/api/photos", name=name, after=photo["position"])
    return photo


def ids(answer: dict[str, Any]) -> list[str]:
    return [photo["photoId"] for photo in answer["items"]]


class TestOne:
    async def test_a_photo_exists_as_soon_as_its_upload_is_in_the_read_model(
        self, gateway: Gateway
    ) -> None:
        photo = (await gateway.upload(sessionId="trip")).json()

        answer = await gateway.get(f"/api/photos/{photo['photoId']}", after=photo["position"])

        shown = answer.json()
        assert answer.status_code == 200
        assert shown["photoId"] == photo["photoId"]
        assert shown["processingStatus"] == "queued"
        assert (shown["clientId"], shown["sessionId"]) == ("alice", "trip")
        assert shown["position"] == photo["position"]

    async def test_a_processed_photo_names_its_pictures(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        end = await process(gateway, photo)

        shown = (await gateway.get(f"/api/photos/{photo['photoId']}", after=end)).json()

        assert shown["processingStatus"] == "completed"
        assert [thumbnail["size"] for thumbnail in shown["thumbnails"]] == [150, 300, 600]
        for url in [*(each["url"] for each in shown["thumbnails"]), shown["optimized"]["url"]]:
            assert (await gateway.get(url)).status_code == 200

    @pytest.mark.parametrize(
        "path", ["", "/original", "/thumbnails/150", "/optimized", "/history", "/chain"]
    )
    async def test_another_clients_photo_is_not_found(self, gateway: Gateway, path: str) -> None:
        photo = await uploaded(gateway)
        await process(gateway, photo)

        stranger = await gateway.get(f"/api/photos/{photo['photoId']}{path}", name="bob")
        nobodys = await gateway.get(f"/api/photos/no-such-photo{path}", name="bob")

        assert (stranger.status_code, stranger.json()["code"]) == (404, "photo-not-found")
        assert (nobodys.status_code, nobodys.json()["code"]) == (404, "photo-not-found")

    @pytest.mark.parametrize("name", ["operator", "auditor"])
    async def test_operators_and_auditors_see_any_photo(self, gateway: Gateway, name: str) -> None:
        photo = await uploaded(gateway)

        for path in ("", "/original", "/history", "/chain"):
            answer = await gateway.get(f"/api/photos/{photo['photoId']}{path}", name=name)
            assert answer.status_code == 200


class TestList:
    async def test_a_client_sees_its_own_photos_newest_first(self, gateway: Gateway) -> None:
        photos = [await uploaded(gateway) for _ in range(3)]
        await uploaded(gateway, "bob")

        answer = (await gateway.get("/api/photos")).json()

        assert sorted(ids(answer)) == sorted(photo["photoId"] for photo in photos)
        times = [photo["uploadedAt"] for photo in answer["items"]]
        assert times == sorted(times, reverse=True)
        assert answer["nextCursor"] is None

    async def test_pages_follow_on_their_cursors_without_gap_or_repeat(
        self, gateway: Gateway
    ) -> None:
        photos = [await uploaded(gateway) for _ in range(5)]

        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await gateway.client.get("/api/photos", params=params)).json()
            seen += ids(page)
            cursor = page["nextCursor"]

        assert sorted(seen) == sorted(photo["photoId"] for photo in photos)
        assert len(seen) == 5

    async def test_lists_can_be_filtered(self, gateway: Gateway) -> None:
        first = await uploaded(gateway, sessionId="trip")
        second = await uploaded(gateway)
        done, failed = await process(gateway, first), await fail(gateway, second)
        await gateway.get("/api/photos", after=max(done, failed))

        async def found(**params: str) -> list[str]:
            return ids((await gateway.client.get("/api/photos", params=params)).json())

        assert await found(status="completed") == [first["photoId"]]
        assert await found(status="failed") == [second["photoId"]]
        assert await found(status="queued") == []
        assert await found(sessionId="trip") == [first["photoId"]]
        assert await found(**{"from": "2099-01-01"}) == []
        assert len(await found(**{"from": "2020-01-01T00:00:00+02:00", "to": "2099-01-01"})) == 2
        assert len(await found(**{"from": "2020-01-01 10:00:00.5Z"})) == 2
        assert await found(to="2020-01-01T00:00:00Z") == []

    async def test_operators_see_all_photos_or_those_of_one_client(self, gateway: Gateway) -> None:
        hers, his = await uploaded(gateway), await uploaded(gateway, "bob")

        everyones = await gateway.get("/api/photos", name="operator")
        bobs = await gateway.get("/api/photos?clientId=bob", name="auditor")

        assert sorted(ids(everyones.json())) == sorted([hers["photoId"], his["photoId"]])
        assert ids(bobs.json()) == [his["photoId"]]

    async def test_a_client_may_not_ask_for_anothers_list(self, gateway: Gateway) -> None:
        own = await gateway.get("/api/photos?clientId=alice")
        answer = await gateway.get("/api/photos?clientId=bob")

        assert own.status_code == 200
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("limit=0", "invalid-request"),
            ("limit=x", "invalid-request"),
            ("limit=201", "invalid-limit"),
            ("status=lost", "invalid-request"),
            ("cursor=nonsense", "invalid-cursor"),
            ("cursor=é", "invalid-cursor"),
            (
                "cursor=" + urlsafe_b64encode(b'["a","b",' + b"[" * 12_000).decode(),
                "invalid-cursor",
            ),
            ("from=yesterday", "invalid-time"),
            ("to=2026-13-01", "invalid-time"),
            ("from=0001-01-01T00:00:00%2B14:00", "invalid-time"),
            ("from=" + "1" * 20, "invalid-time"),
            ("from=2026-11-23T10:00:00." + "1" * 30_000, "invalid-time"),
            ("after=nonsense", "invalid-position"),
        ],
    )
    async def test_an_invalid_query_gets_its_code(
        self, shared_gateway: Gateway, query: str, code: str
    ) -> None:
        await uploaded(shared_gateway)

        answer = await shared_gateway.get(f"/api/photos?{query}")

        assert (answer.status_code, answer.json()["code"]) == (400, code)


class TestDelete:
    async def test_a_deleted_photo_is_gone_with_its_files(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)

        answer = await gateway.client.delete(f"/api/photos/{photo['photoId']}")

        assert (answer.status_code, answer.content) == (204, b"")
        position = answer.headers["X-Log-Position"]
        for path in ("", "/original"):
            gone = await gateway.get(f"/api/photos/{photo['photoId']}{path}", after=position)
            assert (gone.status_code, gone.json()["code"]) == (404, "photo-not-found")
        assert (await gateway.get("/api/photos")).json()["items"] == []

    async def test_deleting_twice_succeeds_and_records_nothing(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        first = await gateway.client.delete(f"/api/photos/{photo['photoId']}")

        again = await gateway.client.delete(f"/api/photos/{photo['photoId']}")

        assert again.status_code == 204
        assert again.headers["X-Log-Position"] == first.headers["X-Log-Position"]

    async def test_a_photo_can_be_deleted_the_moment_it_was_uploaded(
        self, gateway: Gateway
    ) -> None:
        photo = (await gateway.upload()).json()  # the read model may not have it yet

        answer = await gateway.client.delete(f"/api/photos/{photo['photoId']}")

        assert answer.status_code == 204

    async def test_nobody_deletes_another_clients_photo(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        path = f"/api/photos/{photo['photoId']}"

        stranger = await gateway.client.delete(path, headers=gateway.bearer("bob"))
        auditor = await gateway.client.delete(path, headers=gateway.bearer("auditor"))

        assert (stranger.status_code, stranger.json()["code"]) == (404, "photo-not-found")
        assert (auditor.status_code, auditor.json()["code"]) == (403, "forbidden")
        assert (await gateway.get(path)).status_code == 200

    async def test_an_operator_deletes_any_photo_under_its_own_name(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)

        answer = await gateway.client.delete(
            f"/api/photos/{photo['photoId']}", headers=gateway.bearer("operator")
        )

        deleted = [recorded.event async for recorded in gateway.log.scan(0)][-1]
        assert answer.status_code == 204
        assert (deleted.type, deleted.metadata.actor) == ("photo.deleted", "operator:operator")
        assert deleted.metadata.client_id == "alice"


class TestReprocess:
    async def test_a_processed_photo_is_processed_again(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        await process(gateway, photo)

        answer = await gateway.client.post(
            f"/api/photos/{photo['photoId']}/reprocess",
            json={"pipeline": "quick_processing", "priority": 1},
        )

        requested = answer.json()
        assert answer.status_code == 202
        assert (requested["photoId"], requested["status"]) == (photo["photoId"], "queued")
        assert requested["jobId"] != photo["jobId"]
        assert answer.headers["X-Log-Position"] == requested["position"]
        job = await gateway.get(f"/api/jobs/{requested['jobId']}", after=requested["position"])
        assert (job.json()["pipeline"], job.json()["priority"]) == ("quick_processing", 1)

    @pytest.mark.parametrize("body", [None, b"{}", b"null"])
    async def test_without_a_body_the_whole_pipeline_runs(
        self, gateway: Gateway, body: bytes | None
    ) -> None:
        photo = await uploaded(gateway)
        await process(gateway, photo)

        answer = await gateway.client.post(
            f"/api/photos/{photo['photoId']}/reprocess", content=body
        )

        requested = answer.json()
        job = await gateway.get(f"/api/jobs/{requested['jobId']}", after=requested["position"])
        assert job.json()["pipeline"] == "full_processing"

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"pipeline": "magic"}, 400, "unknown-pipeline"),
            ({"priority": 11}, 400, "invalid-priority"),
            ({"priority": "high"}, 400, "invalid-request"),
            ([], 400, "invalid-request"),
            ({"pipeline": "p" * 70_000}, 413, "body-too-large"),
        ],
    )
    async def test_an_invalid_body_gets_its_code(
        self, gateway: Gateway, body: Any, status: int, code: str
    ) -> None:
        photo = await uploaded(gateway)
        await process(gateway, photo)

        answer = await gateway.client.post(f"/api/photos/{photo['photoId']}/reprocess", json=body)

        assert (answer.status_code, answer.json()["code"]) == (status, code)

    @pytest.mark.parametrize("body", [b"{", b"[" * 60_000], ids=["cut", "deep"])
    async def test_broken_json_is_a_bad_request(self, gateway: Gateway, body: bytes) -> None:
        photo = await uploaded(gateway)

        answer = await gateway.client.post(
            f"/api/photos/{photo['photoId']}/reprocess", content=body
        )

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")

    async def test_a_running_or_deleted_photo_cannot_be_reprocessed(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        path = f"/api/photos/{photo['photoId']}"
        await start(gateway, photo)

        running = await gateway.client.post(f"{path}/reprocess")
        await gateway.client.delete(path)
        deleted = await gateway.client.post(f"{path}/reprocess")

        assert (running.status_code, running.json()["code"]) == (409, "job-running")
        assert (deleted.status_code, deleted.json()["code"]) == (410, "photo-deleted")

    async def test_auditors_and_strangers_cannot_reprocess(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        path = f"/api/photos/{photo['photoId']}/reprocess"

        auditor = await gateway.client.post(path, headers=gateway.bearer("auditor"))
        stranger = await gateway.client.post(path, headers=gateway.bearer("bob"))

        assert (auditor.status_code, auditor.json()["code"]) == (403, "forbidden")
        assert (stranger.status_code, stranger.json()["code"]) == (404, "photo-not-found")


class TestHistory:
    async def test_the_history_is_all_events_in_order_even_after_the_end(
        self, gateway: Gateway
    ) -> None:
        photo = await uploaded(gateway)
        await uploaded(gateway)
        await process(gateway, photo)
        deleted = await gateway.client.delete(f"/api/photos/{photo['photoId']}")

        answer = await gateway.get(
            f"/api/photos/{photo['photoId']}/history", after=deleted.headers["X-Log-Position"]
        )

        events = answer.json()["items"]
        assert [event["metadata"]["photoVersion"] for event in events] == [*range(1, 13)]
        assert {event["data"]["photoId"] for event in events} == {photo["photoId"]}
        assert (events[0]["type"], events[-1]["type"]) == ("photo.uploaded", "photo.deleted")
        assert events[0]["id"] == photo["position"]

    async def test_pages_of_the_history_follow_on_their_cursors(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway)
        end = await process(gateway, photo)
        path = f"/api/photos/{photo['photoId']}/history"
        whole = (await gateway.get(path, after=end)).json()["items"]

        pages: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await gateway.get(f"{path}?limit=4" + (f"&cursor={cursor}" if cursor else ""))
            pages += page.json()["items"]
            cursor = page.json()["nextCursor"]

        assert pages == whole

    @pytest.mark.parametrize("cursor", ["nonsense", "1:1-1"])
    async def test_a_cursor_of_another_list_is_rejected(
        self, gateway: Gateway, cursor: str
    ) -> None:
        photo = await uploaded(gateway)

        answer = await gateway.get(f"/api/photos/{photo['photoId']}/history?cursor={cursor}")

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


class TestJobsAndSessions:
    async def test_a_job_lists_its_stages(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway, pipeline="full_processing", priority="3")
        end = await process(gateway, photo)

        job = (await gateway.get(f"/api/jobs/{photo['jobId']}", after=end)).json()

        assert (job["status"], job["progress"], job["priority"]) == ("completed", 1.0, 3)
        assert {stage["status"] for stage in job["stages"]} == {"completed"}

    async def test_a_session_counts_its_photos(self, gateway: Gateway) -> None:
        session = "summer/2026 ☀"
        done = await uploaded(gateway, sessionId=session)
        await uploaded(gateway, sessionId=session)
        end = await process(gateway, done)

        answer = await gateway.get("/api/sessions/summer%2F2026%20%E2%98%80", after=end)

        counted = answer.json()
        assert (counted["sessionId"], counted["clientId"]) == (session, "alice")
        assert (counted["photos"], counted["completed"], counted["queued"]) == (2, 1, 1)

    async def test_two_clients_may_use_the_same_session_id(self, gateway: Gateway) -> None:
        await uploaded(gateway, sessionId="trip")
        await uploaded(gateway, "bob", sessionId="trip")

        own = await gateway.get("/api/sessions/trip", name="bob")
        either = await gateway.get("/api/sessions/trip", name="operator")
        bobs = await gateway.get("/api/sessions/trip?clientId=bob", name="auditor")

        assert (own.json()["clientId"], own.json()["photos"]) == ("bob", 1)
        assert (either.status_code, either.json()["code"]) == (409, "ambiguous-session")
        assert bobs.json()["clientId"] == "bob"

    async def test_jobs_and_sessions_of_other_clients_are_not_found(self, gateway: Gateway) -> None:
        photo = await uploaded(gateway, sessionId="trip")

        job = await gateway.get(f"/api/jobs/{photo['jobId']}", name="bob")
        session = await gateway.get("/api/sessions/trip", name="bob")
        nobodys = await gateway.get("/api/sessions/none", name="operator")

        assert (job.status_code, job.json()["code"]) == (404, "job-not-found")
        assert (session.status_code, session.json()["code"]) == (404, "session-not-found")
        assert nobodys.status_code == 404
