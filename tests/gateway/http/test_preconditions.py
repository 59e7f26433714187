"""Conditional requests (RFC 9110, section 13): a false precondition changes nothing."""

import asyncio
from datetime import UTC, datetime

import pytest

from domain.photo.commands import DeletePhoto
from gateway.http.preconditions import Conditions, Current, http_date, parse_date
from store.log.outcome import Loaded
from tests.conftest import CONTEXT
from tests.gateway.conftest import Gateway, picture
from tests.gateway.http.test_methods import addresses, filled
from tests.gateway.processing import process

TAG = '"12-1795300000000-0"'
MODIFIED = 1795300000
LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Fri, 01 Jan 2100 00:00:00 GMT"


def verdict(method: str, current: Current | None, **headers: str) -> str:
    scope = {
        "method": method,
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin-1"))
            for name, value in headers.items()
        ],
    }
    conditions = Conditions.of(scope)
    return conditions.evaluate(current) if conditions else "proceed"


@pytest.mark.parametrize(
    ("headers", "read", "write"),
    [
        ({"if_match": TAG}, "proceed", "proceed"),
        ({"if_match": f'"x,y", {TAG}'}, "proceed", "proceed"),
        ({"if_match": "*"}, "proceed", "proceed"),
        ({"if_match": f"W/{TAG}"}, "failed", "failed"),
        ({"if_match": '"other"'}, "failed", "failed"),
        ({"if_match": TAG.strip('"')}, "failed", "failed"),
        ({"if_match": ""}, "failed", "failed"),
        ({"if_match": f"{TAG}, *"}, "failed", "failed"),
        ({"if_match": f'"a{TAG}"'}, "failed", "failed"),
        ({"if_none_match": TAG}, "not-modified", "failed"),
        ({"if_none_match": f"W/{TAG}"}, "not-modified", "failed"),
        ({"if_none_match": "*"}, "not-modified", "failed"),
        ({"if_none_match": '"other"'}, "proceed", "proceed"),
        ({"if_none_match": ""}, "proceed", "proceed"),
        ({"if_unmodified_since": LONG_AGO}, "failed", "failed"),
        ({"if_unmodified_since": LATER}, "proceed", "proceed"),
        ({"if_unmodified_since": http_date(MODIFIED)}, "proceed", "proceed"),
        ({"if_unmodified_since": "yesterday"}, "proceed", "proceed"),
        ({"if_unmodified_since": f"{LONG_AGO}, {LONG_AGO}"}, "proceed", "proceed"),
        ({"if_modified_since": LATER}, "not-modified", "proceed"),
        ({"if_modified_since": http_date(MODIFIED)}, "not-modified", "proceed"),
        ({"if_modified_since": LONG_AGO}, "proceed", "proceed"),
        # Section 13.2.2: a tag is asked before a date.
        ({"if_match": TAG, "if_unmodified_since": LONG_AGO}, "proceed", "proceed"),
        ({"if_none_match": '"other"', "if_modified_since": LATER}, "proceed", "proceed"),
        ({"if_match": '"other"', "if_none_match": TAG}, "failed", "failed"),
        ({"if_match": TAG, "if_none_match": TAG}, "not-modified", "failed"),
        ({"if_unmodified_since": LATER, "if_none_match": TAG}, "not-modified", "failed"),
    ],
)
def test_preconditions_are_evaluated_in_order(
    headers: dict[str, str], read: str, write: str
) -> None:
    current = Current(etag=TAG, modified=MODIFIED)

    assert verdict("GET", current, **headers) == read
    assert verdict("HEAD", current, **headers) == read
    assert verdict("DELETE", current, **headers) == write
    assert verdict("OPTIONS", current, **headers) == "proceed"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if_match": "*"}, "failed"),
        ({"if_match": TAG}, "failed"),
        ({"if_none_match": "*"}, "proceed"),
        ({"if_unmodified_since": LONG_AGO}, "proceed"),
    ],
)
def test_a_missing_resource_matches_nothing(headers: dict[str, str], expected: str) -> None:
    assert verdict("PUT", None, **headers) == expected


def test_repeated_headers_form_one_list() -> None:
    headers = [(b"if-match", b'"other"'), (b"if-match", TAG.encode())]
    conditions = Conditions.of({"method": "DELETE", "headers": headers})

    assert conditions
    assert conditions.evaluate(Current(etag=TAG)) == "proceed"


def test_a_long_list_is_parsed_immediately() -> None:
    """A backtracking pattern would take longer than the age of the universe."""
    assert verdict("GET", Current(etag=TAG), if_match='"a"' + " , ," * 10_000 + "x") == "failed"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", (1994, 11, 6, 8, 49, 37)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", (1994, 11, 6, 8, 49, 37)),
        ("Sun Nov  6 08:49:37 1994", (1994, 11, 6, 8, 49, 37)),
        ("Thu, 31 Dec 2026 23:59:60 GMT", (2026, 12, 31, 23, 59, 59)),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("1994-11-06T08:49:37Z", None),
        ("", None),
        (None, None),
    ],
)
def test_dates_come_in_three_forms(text: str | None, moment: tuple[int, ...] | None) -> None:
    expected = datetime(*moment, tzinfo=UTC).timestamp() if moment else None  # pyright: ignore[reportArgumentType] # six numbers

    assert parse_date(text) == expected


async def uploaded(gateway: Gateway) -> tuple[str, str, str]:
    """Upload and process a photo; return its address, ETag and Last-Modified."""
    photo = (await gateway.upload()).json()
    address = f"/api/photos/{photo['photoId']}"
    answer = await gateway.get(address, after=await process(gateway, photo))
    return address, answer.headers["ETag"], answer.headers["Last-Modified"]


FALSE = [
    {"If-Match": '"other"'},
    {"If-Unmodified-Since": LONG_AGO},
    {"If-None-Match": "*"},
]


@pytest.mark.parametrize("headers", FALSE)
async def test_a_command_whose_precondition_is_false_changes_nothing(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    address, _, _ = await uploaded(gateway)
    end = await gateway.log.end(0)

    deleted = await gateway.client.delete(address, headers=headers)
    again = await gateway.client.post(f"{address}/reprocess", headers=headers)

    for answer in (deleted, again):
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")
    assert await gateway.log.end(0) == end
    assert (await gateway.get(address)).status_code == 200


async def test_a_command_whose_preconditions_hold_is_executed(gateway: Gateway) -> None:
    address, tag, modified = await uploaded(gateway)

    answer = await gateway.client.delete(
        address, headers={"If-Match": tag, "If-Unmodified-Since": modified}
    )

    assert answer.status_code == 204


async def test_the_tag_changes_with_each_event(gateway: Gateway) -> None:
    address, tag, _ = await uploaded(gateway)
    photo_id = address.rpartition("/")[2]
    await gateway.log.execute(DeletePhoto(photo_id=photo_id), client_id="alice", context=CONTEXT)

    answer = await gateway.client.delete(address, headers={"If-Match": tag})

    assert answer.status_code == 412


async def test_a_deleted_photo_matches_nothing(gateway: Gateway) -> None:
    address, tag, _ = await uploaded(gateway)
    await gateway.client.delete(address)

    assert (await gateway.client.delete(address, headers={"If-Match": "*"})).status_code == 412
    assert (await gateway.client.delete(address, headers={"If-Match": tag})).status_code == 412
    assert (await gateway.client.delete(address)).status_code == 204


async def test_one_of_many_commands_with_the_same_tag_succeeds(gateway: Gateway) -> None:
    for _ in range(5):
        address, tag, _ = await uploaded(gateway)

        answers = await asyncio.gather(
            *(gateway.client.delete(address, headers={"If-Match": tag}) for _ in range(8))
        )

        assert sorted(answer.status_code for answer in answers) == [204] + [412] * 7


async def test_the_condition_is_checked_again_when_the_command_is_decided_again(
    gateway: Gateway,
) -> None:
    """An event between the check and the append makes the log check again."""
    photo = (await gateway.upload()).json()
    seen: list[int] = []

    def require(loaded: Loaded) -> None:
        seen.append(loaded.version)

    stale = await gateway.log.load(photo["photoId"], "alice")
    await gateway.log.execute(
        DeletePhoto(photo_id=photo["photoId"]), client_id="alice", context=CONTEXT
    )
    await gateway.log.execute(
        DeletePhoto(photo_id=photo["photoId"]),
        client_id="alice",
        context=CONTEXT,
        loaded=stale,
        require=require,
    )

    assert seen == [1, 2]


@pytest.mark.parametrize("path", ["", "/original", "/optimized", "/history"])
async def test_a_read_whose_condition_is_false_gets_no_content(gateway: Gateway, path: str) -> None:
    address, _, _ = await uploaded(gateway)

    answer = await gateway.get(address + path, **{"If-Match": '"other"'})
    head = await gateway.client.head(address + path, headers={"If-Match": '"other"'})

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")
    assert (head.status_code, head.content) == (412, b"")


async def test_a_photo_that_has_not_changed_is_not_sent_again(gateway: Gateway) -> None:
    address, tag, modified = await uploaded(gateway)

    for headers in ({"If-None-Match": tag}, {"If-Modified-Since": modified}):
        answer = await gateway.get(address, **headers)

        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert "Content-Length" not in answer.headers


async def test_a_request_that_fails_anyway_is_answered_with_its_own_error(gateway: Gateway) -> None:
    """Section 13.2.1: preconditions are not evaluated for requests that fail without them."""
    wrong = {"If-Match": '"other"'}
    address, _, _ = await uploaded(gateway)

    assert (await gateway.get("/api/photos/none", **wrong)).status_code == 404
    assert (await gateway.client.delete("/api/photos/none", headers=wrong)).status_code == 404
    auditor = wrong | gateway.bearer("auditor")
    assert (await gateway.client.delete(address, headers=auditor)).status_code == 403
    nobody = wrong | {"Authorization": "Bearer x"}
    assert (await gateway.client.delete(address, headers=nobody)).status_code == 401


@pytest.mark.parametrize("tag", ['"x"', "*"])
async def test_if_match_fails_for_an_upload(gateway: Gateway, tag: str) -> None:
    answer = await gateway.client.post(
        "/api/photos/upload", files={"file": ("a.png", picture())}, headers={"If-Match": tag}
    )

    assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")
    assert gateway.stored() == []


async def test_preconditions_apply_to_commands_of_operators(gateway: Gateway) -> None:
    end = await gateway.log.end(0)
    for path in ("pause", "resume", "drain", "cancel"):
        answer = await gateway.client.post(
            f"/api/ops/queues/metadata/{path}",
            headers=gateway.bearer("operator") | {"If-Match": '"x"'},
        )

        assert answer.status_code == 412, path
    assert await gateway.log.end(0) == end


async def test_every_command_evaluates_its_preconditions(gateway: Gateway) -> None:
    photo = (await gateway.upload()).json()
    await gateway.get("/api/photos", after=photo["position"])
    headers = gateway.bearer("operator") | {"If-Match": '"x"'}
    for path, methods in addresses(gateway.deps).items():
        for method in methods - {"GET", "OPTIONS"}:
            answer = await gateway.client.request(method, filled(path, photo), headers=headers)

            # While its job runs, processing the photo again fails without any precondition.
            expected = 409 if path.endswith("/reprocess") else 412
            assert answer.status_code == expected, (method, path, answer.text)
