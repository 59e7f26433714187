"""The security log notes what it should, and cannot be flooded."""

import logging
from typing import Any

import msgspec
import pytest

from gateway.access.security_log import OTHERS, PHOTOS_MAX, WINDOW_S, SecurityLog
from gateway.http.auth import AuthError, Principal, Role
from gateway.http.limits import Limits
from projections.models.history import HistoryEntry
from store.background import Background
from store.log.position import Position
from tests.gateway.conftest import Gateway, picture
from tests.gateway.listeners import following, talking
from tests.gateway.processing import process

LOGGER = "photolog.security"


@pytest.fixture
def limits() -> Limits:
    return Limits(append_patience_s=1.0, linger_s=2.0, security_lines=5, security_sources=3)


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def noted(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """Return the fields of each line, and its trace."""
    return [
        getattr(each, "fields") | {"trace": getattr(each, "subject").trace_id}  # noqa: B009 # of extra
        for each in caplog.records
        if each.name == LOGGER
    ]


async def test_a_failed_sign_in_is_noted(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await gateway.client.get("/api/photos", headers={"Authorization": "Bearer forged"})

    assert noted(caplog) == [
        {
            "kind": "sign-in-failed",
            "address": "127.0.0.1",
            "method": "GET",
            "path": "/api/photos",
            "code": "invalid-token",
            "trace": answer.json()["traceId"],
        }
    ]


async def test_refused_access_is_noted_with_who_asked(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    photo = (await gateway.upload()).json()["photoId"]
    bob = gateway.bearer("bob")
    await gateway.get("/api/photos", after=(await gateway.upload()).json()["position"])

    await gateway.client.get(f"/api/photos/{photo}", headers=bob)
    await gateway.client.get(f"/api/photos/{photo}/original", headers=bob)
    await gateway.client.delete(f"/api/photos/{photo}", headers=bob)
    await gateway.client.get("/api/ops/queues", headers=bob)
    await gateway.client.get("/api/events", params={"room": "client:alice"}, headers=bob)

    lines = noted(caplog)
    assert {line["kind"] for line in lines} == {"access-refused"}
    assert {(line["client"], line["role"]) for line in lines} == {("bob", "client")}
    assert [(line["path"], line["code"]) for line in lines] == [
        (f"/api/photos/{photo}", "photo-not-found"),
        (f"/api/photos/{photo}/original", "photo-not-found"),
        (f"/api/photos/{photo}", "photo-not-found"),
        ("/api/ops/queues", "forbidden"),
        ("/api/events?room=client:alice", "forbidden"),
    ]


async def test_only_the_log_tells_another_clients_photo_from_a_missing_one(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    upload = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=upload["position"])

    bob = gateway.bearer("bob")
    for number, method in enumerate(("GET", "DELETE"), start=1):
        theirs, none = [
            (await gateway.client.request(method, f"/api/photos/{photo_id}", headers=bob)).json()
            for photo_id in (upload["photoId"], "none")
        ]

        assert len(noted(caplog)) == number
        del theirs["traceId"], none["traceId"]
        assert theirs == none | {"detail": none["detail"].replace("none", upload["photoId"])}


async def test_reads_by_operators_and_auditors_are_noted(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    upload = (await gateway.upload()).json()
    photo = f"/api/photos/{upload['photoId']}"
    await gateway.get(photo, after=upload["position"])
    await gateway.get(photo, name="auditor")
    await gateway.get("/api/photos?clientId=alice&limit=1", name="operator")
    await gateway.get(photo + "/optimized", name="operator")  # it does not exist yet
    await gateway.get("/api/ops/queues", name="operator")  # belongs to no client
    async with following(gateway, "client:alice", name="auditor"):
        pass
    async with talking(gateway, name="operator") as talk:
        await talk.ask("identify", clientId="alice")

    lines = noted(caplog)
    assert {line["kind"] for line in lines} == {"privileged-read"}
    assert [(line["role"], line["path"]) for line in lines] == [
        ("auditor", photo),
        ("operator", "/api/photos?clientId=alice"),
        ("auditor", "/api/events?room=client:alice"),
        ("operator", "/ws client:alice"),
    ]


async def test_the_thumbnails_that_are_read_share_a_line_that_names_each_photo(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    photos: list[str] = []
    for size in (300, 400):
        upload = (await gateway.upload(picture((size, size)))).json()
        photos.append(upload["photoId"])
        await gateway.get("/api/photos", after=await process(gateway, upload))
    for photo_id in (*photos, photos[0]):
        path = f"/api/photos/{photo_id}/thumbnails/150"
        assert (await gateway.get(path, name="operator")).status_code == 200
        await gateway.get(path)

    gateway.security.tell_thumbnails()
    gateway.security.tell_thumbnails()

    [line] = noted(caplog)
    assert (line["kind"], line["role"]) == ("privileged-read", "operator")
    assert line["photos"] == ",".join(photos)


async def test_access_refused_over_a_websocket_is_noted(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with talking(gateway, name=None, headers={"Authorization": "Bearer x"}) as talk:
        assert (await talk.closed())[0] == 4401
    async with talking(gateway, name="bob") as talk:
        await talk.ask("identify", clientId="alice")

    assert [(line["kind"], line["method"], line["code"]) for line in noted(caplog)] == [
        ("sign-in-failed", "WS", "invalid-token"),
        ("access-refused", "WS", "forbidden"),
    ]


async def test_asking_whether_one_is_signed_in_is_not_noted(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    del gateway.client.headers["Authorization"]

    await gateway.client.get("/api/login")
    await gateway.client.get("/health")

    assert noted(caplog) == []


def scope(address: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/api/photos",
        "query_string": b"",
        "headers": [],
        "client": (address, 1),
        **more,
    }


def thumbnail(address: str, client_id: str, photo_id: str) -> dict[str, Any]:
    """Return the scope of an operator's request for a thumbnail."""
    return scope(
        address,
        user=Principal(client_id=client_id, role=Role.OPERATOR),
        path_template="/api/photos/{photo_id}/thumbnails/{size}",
        path_params={"photo_id": photo_id},
    )


FORGED = AuthError("invalid-token", "The token is forged.")


class TestFlooded:
    """Without a gateway, so that the test decides when a minute ends."""

    @pytest.fixture
    def security(self, limits: Limits) -> SecurityLog:
        return SecurityLog(limits, Background())

    def test_a_source_gets_a_few_lines_and_then_a_count(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(1_000):
            security.refused(scope("192.0.2.7"), FORGED)
        assert len(noted(caplog)) == 5

        security.count_up(float("inf"))

        *_, last = caplog.records
        assert last.getMessage() == f"sign-in-failed: 995 more within {WINDOW_S:.0f} s"
        assert noted(caplog)[-1]["address"] == "192.0.2.7"

    def test_a_noisy_source_hides_no_other(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(100):
            security.refused(scope("192.0.2.7"), FORGED)

        security.refused(scope("192.0.2.8"), FORGED)

        assert noted(caplog)[-1]["address"] == "192.0.2.8"

    def test_a_crowd_of_addresses_causes_a_bounded_number_of_lines_and_windows(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(5_000):
            security.refused(scope(f"10.0.{number >> 8}.{number & 255}"), FORGED)
            assert security.windows <= 4

        security.count_up(float("inf"))

        assert len(noted(caplog)) == 3 + 5 + 1
        assert noted(caplog)[-1]["address"] == OTHERS
        assert "4,992 more" in caplog.records[-1].getMessage()

    def test_the_addresses_of_one_network_are_one_source(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(100):
            security.refused(scope(f"2001:db8::{number:x}"), FORGED)

        assert len(noted(caplog)) == 5

    def test_a_line_names_the_token_by_its_id(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        who = Principal(client_id="ann", role=Role.AUDITOR, token_id="t-17")

        security.answered(scope("192.0.2.7", user=who, path_template="/api/photos"), 200)

        assert noted(caplog)[0]["token"] == "t-17"

    def test_many_thumbnails_are_told_in_lines_of_some_and_none_is_left_out(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(2 * PHOTOS_MAX + 1):
            security.answered(thumbnail("192.0.2.7", "ann", f"{number}"), 200)
        security.answered(thumbnail("192.0.2.7", "bea", "x"), 200)
        security.answered(thumbnail("192.0.2.7", "bea", "not found"), 404)
        security.tell_thumbnails()

        lines = noted(caplog)
        told = [line["photos"].split(",") for line in lines if line["client"] == "ann"]
        assert [len(each) for each in told] == [PHOTOS_MAX, PHOTOS_MAX, 1]
        assert [each for of_one in told for each in of_one] == [
            *map(str, range(2 * PHOTOS_MAX + 1))
        ]
        assert [line["photos"] for line in lines if line["client"] == "bea"] == ["x"]

    def test_a_revocation_is_noted(
        self, security: SecurityLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        event = {
            "data": {"tokenId": "t-17"},
            "metadata": {"actor": "operator:ann", "traceId": "abc"},
        }
        entry = HistoryEntry(
            position=Position(0, 1, 0),
            client_id="",
            session_id=None,
            photo_id="",
            type="token.revoked",
            body=msgspec.json.encode(event),
        )

        security.happened(entry)
        security.happened(msgspec.structs.replace(entry, type="photo.deleted"))

        assert noted(caplog) == [
            {"kind": "revocation", "actor": "operator:ann", "token": "t-17", "trace": "abc"}
        ]
