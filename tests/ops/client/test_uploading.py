import os
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from domain.photo.commands import LAST_MODIFIED_MS
from ops.client.finding import Failed, Found, find_files
from ops.client.uploading import Outcome, Uploaded, Wish, upload

ACCEPTED = {
    "photoId": "p",
    "jobId": "j",
    "status": "queued",
    "duplicate": False,
    "position": "0:1-0",
}
NOT_WANTED = {
    "title": "Not a photo",
    "code": "unsupported-type",
    "detail": "It is a text.",
    "advice": "Send a photo.",
}
AWAY = {"title": "Away", "code": "log-unavailable", "detail": "Nothing was recorded."}

Answer = Callable[[httpx.Request], httpx.Response]


async def _upload(
    found: Found,
    answer: Answer,
    *,
    wait_s: float | None = None,
    timeout_s: float = 600.0,
    waits: list[str] | None = None,
) -> tuple[list[Outcome], int]:
    """Return outcomes and how many bytes count as sent at the end; ``waits`` gets the reasons."""
    outcomes: list[Outcome] = []
    reasons: list[str] = [] if waits is None else waits
    sent = [0]
    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://photolog") as client:
        await upload(
            client,
            found,
            Wish(session_id="trip", priority=2),
            advance=sent.append,
            ended=outcomes.append,
            waiting=reasons.append,
            wait=wait_s is not None,
            timeout_s=timeout_s if wait_s is None else wait_s,
        )
    return outcomes, sum(sent)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x" * 100_000)
    return path


async def test_the_form_has_the_file_and_the_given_fields(photo: Path) -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(201, json=ACCEPTED)

    outcomes, sent = await _upload(find_files([photo]), answer)

    assert outcomes == [
        Uploaded(
            path=str(photo),
            photo_id="p",
            job_id="j",
            status="queued",
            duplicate=False,
            position="0:1-0",
        )
    ]
    assert sent == 100_000
    assert b'name="sessionId"\r\n\r\ntrip' in bodies[0]
    assert b'name="priority"\r\n\r\n2' in bodies[0]
    assert b"pipeline" not in bodies[0]
    modified = photo.stat().st_mtime_ns // 1_000_000
    assert b'name="lastModified"\r\n\r\n%d\r\n' % modified in bodies[0]
    assert b'filename="a.jpg"' in bodies[0]


async def test_an_impossible_time_of_the_file_is_not_sent(photo: Path) -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(201, json=ACCEPTED)

    os.utime(photo, ns=(0, (LAST_MODIFIED_MS + 1) * 1_000_000))
    if photo.stat().st_mtime_ns // 1_000_000 <= LAST_MODIFIED_MS:
        pytest.skip("this file system has no such time")
    await _upload(find_files([photo]), answer)

    assert b"lastModified" not in bodies[0]


async def test_a_name_that_is_not_utf_8_is_shown_as_text_and_others_are_uploaded(
    tmp_path: Path, photo: Path
) -> None:
    odd, gone = (
        Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/caf\xe9.jpg", b"/\xff.jpg")
    )
    odd.write_bytes(b"odd")

    outcomes, _ = await _upload(
        find_files([odd, gone, photo]), lambda _: httpx.Response(201, json=ACCEPTED)
    )

    assert {Path(each.path).name: type(each) for each in outcomes} == {
        "caf\N{REPLACEMENT CHARACTER}.jpg": Uploaded,
        "\N{REPLACEMENT CHARACTER}.jpg": Failed,
        photo.name: Uploaded,
    }
    assert msgspec.json.encode(outcomes)  # JSON cannot hold lone surrogates


async def test_a_rejected_file_fails_with_the_problem_of_the_server(photo: Path) -> None:
    outcomes, _ = await _upload(find_files([photo]), lambda _: httpx.Response(415, json=NOT_WANTED))

    assert outcomes == [
        Failed(
            path=str(photo),
            code="unsupported-type",
            reason="It is a text. Send a photo.",
        )
    ]


async def test_a_busy_server_is_retried_with_the_same_key(photo: Path) -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return httpx.Response(503, headers={"Retry-After": "0"}, json=NOT_WANTED)
        return httpx.Response(201, json=ACCEPTED)

    outcomes, _ = await _upload(find_files([photo]), answer)

    assert isinstance(outcomes[0], Uploaded)
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_retries_end_while_a_server_stays_busy(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.client.retry.PATIENCE_S", 0.1)

    outcomes, _ = await _upload(
        find_files([photo]),
        lambda _: httpx.Response(503, headers={"Retry-After": "1"}, json=NOT_WANTED),
    )

    assert isinstance(outcomes[0], Failed)


async def test_a_waiting_upload_reports_why_and_its_bytes_count_once(photo: Path) -> None:
    answers = iter(
        [
            httpx.Response(503, headers={"Retry-After": "0"}, json=AWAY),
            httpx.Response(201, json=ACCEPTED),
        ]
    )
    waits: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        return next(answers)

    _, sent = await _upload(find_files([photo]), answer, waits=waits)

    assert waits == ["Nothing was recorded. (log-unavailable)"]
    assert sent == 100_000


async def test_a_busy_answer_about_a_job_is_reported(photo: Path) -> None:
    answers = iter(
        [
            httpx.Response(201, json=ACCEPTED),
            httpx.Response(503, json=AWAY),
            httpx.Response(200, json={"status": "failed", "error": None}),
        ]
    )
    waits: list[str] = []

    await _upload(find_files([photo]), lambda _: next(answers), wait_s=10, waits=waits)

    assert waits == ["Nothing was recorded. (log-unavailable)"]


async def test_retries_end_after_the_timeout(photo: Path) -> None:
    tries = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        return httpx.Response(503, headers={"Retry-After": "1"}, json=AWAY)

    outcomes, _ = await _upload(find_files([photo]), answer, timeout_s=0.5)

    assert isinstance(outcomes[0], Failed)
    assert (outcomes[0].code, tries) == ("log-unavailable", 1)


async def test_an_interrupted_upload_is_retried_and_counted_once(photo: Path) -> None:
    tries = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        request.read()
        if tries == 1:
            raise httpx.ReadError("the gateway was killed", request=request)
        return httpx.Response(201, json=ACCEPTED)

    outcomes, sent = await _upload(find_files([photo]), answer)

    assert isinstance(outcomes[0], Uploaded)
    assert (tries, sent) == (2, 100_000)


async def test_a_file_that_was_deleted_meanwhile_fails_alone(tmp_path: Path, photo: Path) -> None:
    found = find_files([photo])
    found.files.insert(0, (tmp_path / "gone.jpg", 1))

    outcomes, _ = await _upload(found, lambda _: httpx.Response(201, json=ACCEPTED))

    assert {type(outcome) for outcome in outcomes} == {Failed, Uploaded}


@pytest.mark.parametrize("damaged", [False, True])
async def test_waiting_shows_whether_the_photo_is_damaged(photo: Path, *, damaged: bool) -> None:
    answers = iter(
        [
            httpx.Response(201, json=ACCEPTED),
            httpx.Response(200, json={"status": "completed", "error": None}),
            httpx.Response(200, json={"photoId": "p", "damaged": damaged}),
        ]
    )

    outcomes, _ = await _upload(find_files([photo]), lambda _: next(answers), wait_s=10)

    assert isinstance(outcomes[0], Uploaded)
    assert (outcomes[0].status, outcomes[0].damaged) == ("completed", damaged)


async def test_waiting_ends_for_a_photo_that_is_deleted_meanwhile(photo: Path) -> None:
    answers = iter(
        [
            httpx.Response(201, json=ACCEPTED),
            httpx.Response(200, json={"status": "completed", "error": None}),
            httpx.Response(404, json=NOT_WANTED),
        ]
    )

    outcomes, _ = await _upload(find_files([photo]), lambda _: next(answers), wait_s=10)

    assert isinstance(outcomes[0], Uploaded)
    assert (outcomes[0].status, outcomes[0].damaged) == ("completed", None)


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ({"status": "completed", "error": None}, "completed"),
        ({"status": "failed", "error": {"code": "damaged", "message": "It ends early."}}, "failed"),
    ],
)
async def test_waiting_shows_how_processing_ended(
    photo: Path, job: dict[str, object], status: str
) -> None:
    answers = iter(
        [
            httpx.Response(201, json=ACCEPTED),
            httpx.Response(404, json=NOT_WANTED),  # not in the read model yet
            httpx.Response(200, json={"status": "processing", "error": None}),
            httpx.Response(200, json=job),
            httpx.Response(404, json=NOT_WANTED),
        ]
    )

    outcomes, _ = await _upload(find_files([photo]), lambda _: next(answers), wait_s=10)

    assert outcomes[0].status == status
    if isinstance(outcomes[0], Failed):
        assert (outcomes[0].code, outcomes[0].reason) == ("damaged", "It ends early.")


async def test_waiting_ends_when_no_photo_is_processed_for_the_timeout(photo: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(201, json=ACCEPTED)
        return httpx.Response(200, json={"status": "queued"})

    outcomes, _ = await _upload(find_files([photo]), answer, wait_s=0.1)

    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].code == "not-processed-yet"
