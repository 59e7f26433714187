import gc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from domain.clients.api_keys import ApiKeyCreated, ApiKeyRevoked
from domain.clients.quotas import OwnQuota, QuotaChanged
from domain.clients.revocations import AccessRevoked
from domain.photo import events as e
from domain.pipeline import control_events as ce
from domain.pipeline.failures import Category
from domain.pipeline.rebuilds import (
    RebuildCompleted,
    RebuildFailed,
    RebuildProgressed,
    RebuildRequested,
)
from domain.pipeline.recoveries import LogRecovered
from domain.sessions.events import (
    DuplicateFound,
    SessionClosed,
    SessionCompleted,
    SessionExpired,
    SessionOpened,
    Totals,
)
from domain.webhooks import events as we
from store.errors import Corrupt
from store.log import codec
from store.log.position import Position
from store.log.recorded import Recorded
from tests.domain.stories import (
    COMPLETED,
    DELETED,
    ERASED,
    JOB,
    PHOTO,
    SHA,
    STARTED,
    UPLOADED,
    event,
    fold,
    rendition,
    stage_completed,
)

TOTALS = Totals(received=3, duplicates=1, completed=2, failed=1, deleted=0, expected=12)

EVERY_EVENT: list[e.AnyEvent] = [
    UPLOADED,
    STARTED,
    e.ProcessingPrioritized(photo_id=PHOTO, job_id=JOB, priority=1, reason="the press"),
    e.ProcessingHurried(photo_id=PHOTO, job_id=JOB, reason="the disk is back"),
    e.ThumbnailGenerated(
        photo_id=PHOTO, job_id=JOB, size=150, thumbnail=rendition("thumbnail-150")
    ),
    stage_completed("optimization", rendition("optimized")),
    e.StageFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="metadata",
        pipeline="full_processing",
        priority=5,
        attempt=1,
        category=Category.TEMPORARY,
        code="x",
        error="why",
        retry_at="2026-11-23T10:00:05.000Z",
    ),
    COMPLETED,
    e.ProcessingFailed(
        photo_id=PHOTO,
        job_id=JOB,
        stage="metadata",
        category=Category.DATA,
        code="x",
        error="why",
        attempts=3,
    ),
    e.ProcessingRequested(photo_id=PHOTO, job_id="b", pipeline="quick_processing", priority=1),
    DELETED,
    ERASED,
    e.ProcessingDiscarded(photo_id=PHOTO, job_id=JOB, reason="too old"),
    e.RenditionsSuperseded(
        photo_id=PHOTO,
        job_id=JOB,
        files=(e.StoredFile(key="renditions/a", file_size=9),),
        remove_at="2026-11-23T11:00:00.000Z",
    ),
    e.RenditionsRemoved(photo_id=PHOTO, files=(e.StoredFile(key="renditions/a", file_size=9),)),
    e.OriginalRestored(photo_id=PHOTO, key="originals/a", file_size=3, sha256=SHA, cause="altered"),
    QuotaChanged(client_id="alice", quota=OwnQuota(photos=5, bytes=0)),
    ce.StagePaused(stage=None),
    ce.StageResumed(stage="metadata"),
    ce.StageCancelled(stage="metadata", tasks=7, reason="the camera was wrong"),
    ce.StageDrained(stage="metadata", tasks=7, reason="the camera was wrong"),
    ce.StageLimited(
        stage="metadata", limit=ce.Limit(concurrency=2, rate=ce.Rate(max=10, duration_ms=1_000))
    ),
    ce.AlertRaised(
        stage="metadata", category=Category.LOGIC, level="critical", code="x", error="why"
    ),
    RebuildRequested(reason="a new disk"),
    RebuildProgressed(host="one", percent=40, events=9, events_per_s=5, seconds_left=3),
    RebuildCompleted(
        host="one", generation="a.sqlite", events=20, duration_ms=4_000, differing=("photos",)
    ),
    RebuildFailed(host="one", error="the disk is full"),
    LogRecovered(
        epoch=2,
        events=20,
        from_read_model=3,
        ends=("0:1795300000000-0",),
        lost=("segment log/segments/00/0 is missing",),
        photo_ids=(PHOTO,),
    ),
    AccessRevoked(client_id="alice", before="2026-11-23T10:00:00.000Z", reason="lost laptop"),
    ApiKeyCreated(
        key_id="0123456789ab",
        name="backup",
        digest="cd" * 32,
        scopes=("photos.read", "photos.write"),
        client_id="alice",
        expires_at="2027-11-23T10:00:00.000Z",
    ),
    ApiKeyRevoked(key_id="0123456789ab", name="backup", client_id="alice", reason="lost laptop"),
    we.WebhookCreated(
        webhook_id="a1b2c3d4e5f60718",
        client_id="alice",
        url="https://example.com/photolog",
        types=("photo.deleted", "photo.uploaded"),
        description="for the archive",
        after=("0:1795300000000-0",),
        secret_id="00112233445566ff",
        digest="cd" * 32,
        created_by="tok-1",
    ),
    we.WebhookChanged(webhook_id="a1b2c3d4e5f60718", url="https://example.com/2"),
    we.WebhookDisabled(webhook_id="a1b2c3d4e5f60718", cause="gone", reason="answered 410"),
    we.WebhookEnabled(webhook_id="a1b2c3d4e5f60718", client_id="alice", created_by="tok-2"),
    we.WebhookSecretRotated(
        webhook_id="a1b2c3d4e5f60718",
        secret_id="ff66554433221100",
        digest="ef" * 32,
        previous_until="2026-11-24T10:00:00.000Z",
    ),
    we.WebhookReplayed(webhook_id="a1b2c3d4e5f60718", after=("0:0-0",), reason="lost a day"),
    we.WebhookDeleted(
        webhook_id="a1b2c3d4e5f60718", client_id="alice", url="https://example.com/2", reason="old"
    ),
    SessionOpened(client_id="alice", session_id="trip", expected=12),
    DuplicateFound(
        client_id="alice",
        session_id="trip",
        upload="0123456789abcdef",
        duplicate_of=PHOTO,
        original_filename="a.jpg",
    ),
    SessionClosed(client_id="alice", session_id="trip"),
    SessionCompleted(client_id="alice", session_id="trip", totals=TOTALS, upto="0:1795300000000-0"),
    SessionExpired(client_id="alice", session_id="trip", totals=TOTALS, upto="0:1795300000000-0"),
]


def test_every_kind_of_event_is_pinned_below() -> None:
    assert {data.TYPE for data in EVERY_EVENT} == e.EVENT_TYPES.keys()


EARLIER_VERSIONS: list[tuple[e.AnyEvent, str]] = [
    (stage_completed("optimization", rendition("optimized")), "1"),
]
"""Events as earlier releases have stored them, with their version."""

STORED = [(data, data.VERSION) for data in EVERY_EVENT] + EARLIER_VERSIONS


@pytest.mark.parametrize(
    ("data", "version"),
    STORED,
    ids=[data.TYPE + ("" if version == "1" else f"-{version}") for data, version in STORED],
)
def test_stored_bytes_stay_readable(
    data: e.AnyEvent, version: str, snapshot: SnapshotAssertion
) -> None:
    """Existing logs hold these bytes: a changed snapshot breaks their history."""
    stored = in_version(version, data)
    body = codec.encode_event(stored)

    assert body.hex() == snapshot(name="log")
    assert codec.encode_wire(stored, Position(0, 1, 2)).decode() == snapshot(name="wire")
    assert codec.decode_event(body) == event(data)


@pytest.mark.parametrize("data", EVERY_EVENT, ids=[data.TYPE for data in EVERY_EVENT])
def test_the_garbage_collector_has_no_events_to_look_through(data: e.AnyEvent) -> None:
    """With the many events of a large page, collections would take a third of the time to read."""
    body = codec.encode_event(event(data))

    recorded = Recorded(position=Position(0, 1, 2), event=codec.decode_event(body), body=body)

    decoded = (recorded, recorded.event, recorded.event.data, recorded.event.metadata)
    assert not [each for each in decoded if gc.is_tracked(each)]


def in_version(version: str, data: e.AnyEvent) -> e.Event:
    now = event(data)
    return msgspec.structs.replace(
        now, metadata=msgspec.structs.replace(now.metadata, version=version)
    )


STAGES = {"validation": None, "colour": "validation"}


@pytest.mark.parametrize(
    "data",
    [
        msgspec.structs.replace(UPLOADED, stages=STAGES),
        e.ProcessingRequested(
            photo_id=PHOTO, job_id="b", pipeline="backfill:colour", priority=10, stages=STAGES
        ),
        msgspec.structs.replace(stage_completed("validation"), starts=("colour",)),
    ],
    ids=lambda data: data.TYPE,
)
def test_events_of_a_job_with_recorded_stages_stay_readable(
    data: e.PhotoEvent, snapshot: SnapshotAssertion
) -> None:
    body = codec.encode_event(event(data))

    assert body.hex() == snapshot(name="log")
    assert codec.decode_event(body) == event(data)


HOOK = "a1b2c3d4e5f60718"

BY_SOMEBODY: list[we.WebhookEvent] = [
    we.WebhookCreated(
        webhook_id=HOOK,
        url="https://example.com/",
        after=(),
        secret_id="00112233445566ff",
        digest="cd" * 32,
        created_by="tok-1",
        created_by_client="alice",
    ),
    we.WebhookEnabled(webhook_id=HOOK, created_by="tok-1", created_by_client="alice"),
    we.WebhookChanged(
        webhook_id=HOOK,
        url="https://example.com/3",
        changed_by="tok-1",
        changed_by_client="alice",
    ),
    we.WebhookSecretRotated(
        webhook_id=HOOK,
        secret_id="ff66554433221100",
        digest="ef" * 32,
        previous_until="2026-11-24T10:00:00.000Z",
        changed_by="tok-1",
        changed_by_client="alice",
    ),
    we.WebhookReplayed(
        webhook_id=HOOK, after=("0:0-0",), changed_by="tok-1", changed_by_client="alice"
    ),
]
"""Events of webhooks that name the access that caused them; earlier ones do not."""


@pytest.mark.parametrize("data", BY_SOMEBODY, ids=lambda data: data.TYPE)
def test_events_that_name_who_changed_a_webhook_stay_readable(
    data: we.WebhookEvent, snapshot: SnapshotAssertion
) -> None:
    body = codec.encode_event(event(data))

    assert body.hex() == snapshot(name="log")
    assert codec.decode_event(body) == event(data)


def test_metadata_of_version_1_names_the_only_source_that_it_had() -> None:
    result = {"takenAt": "2010-05-01T12:00:00", "gps": None}
    data = msgspec.structs.replace(stage_completed("metadata"), result=result)

    read = codec.decode_event(codec.encode_event(in_version("1", data))).data

    assert isinstance(read, e.StageCompleted)
    assert read.result == {**result, "takenAtSource": "exif:DateTimeOriginal"}


@pytest.mark.parametrize(
    ("stage", "result"),
    [
        ("metadata", {"takenAt": None}),
        ("metadata", {}),
        ("validation", {"takenAt": "2010-05-01T12:00:00"}),
    ],
)
def test_results_of_version_1_without_a_time_stay_as_they_are(
    stage: str, result: dict[str, Any]
) -> None:
    data = msgspec.structs.replace(stage_completed(stage), result=result)

    read = codec.decode_event(codec.encode_event(in_version("1", data)))

    assert read == event(data)


def test_a_field_that_older_uploads_lack_is_stored_only_if_it_is_known() -> None:
    known = msgspec.structs.replace(UPLOADED, last_modified_ms=1_764_385_200_123)

    body = codec.encode_event(event(known))

    assert b"lastModifiedMs" not in codec.encode_event(event(UPLOADED))
    assert msgspec.msgpack.decode(body)["data"]["lastModifiedMs"] == 1_764_385_200_123
    assert codec.decode_event(body) == event(known)


@given(st.binary())
def test_arbitrary_bytes_are_corrupt_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Corrupt):
        codec.decode_event(body)


@given(
    st.text(),
    st.integers(0, 2**53),
    st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.integers(0, 2**53)),
)
def test_any_event_reads_as_it_was_written(text: str, number: int, result: dict[str, Any]) -> None:
    uploaded = msgspec.structs.replace(UPLOADED, original_filename=text, file_size=number)
    completed = msgspec.structs.replace(stage_completed("metadata"), result=result)

    for data in (uploaded, completed):
        assert codec.decode_event(codec.encode_event(event(data))) == event(data)


def test_the_wire_shape_is_id_type_timestamp_data_metadata() -> None:
    wire = msgspec.json.decode(codec.encode_wire(event(STARTED), Position(3, 1, 2)))

    assert list(wire) == ["id", "type", "timestamp", "data", "metadata"]
    assert (wire["id"], wire["type"]) == ("3:1-2", "photo.processing.started")
    assert wire["data"] == {"photoId": PHOTO, "jobId": JOB, "pipeline": "full_processing"}


def test_state_reads_as_it_was_written() -> None:
    photo = fold([UPLOADED, STARTED, stage_completed("validation")])
    assert photo is not None
    assert codec.decode_photo(codec.encode_photo(photo)) == photo


def test_an_older_version_passes_its_upcasters(monkeypatch: pytest.MonkeyPatch) -> None:
    body = codec.encode_event(in_version("0", STARTED)).replace(b"pipeline", b"workflow")

    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "pipeline": data.pop("workflow")}

    monkeypatch.setitem(codec.UPCASTERS, (STARTED.TYPE, "0"), rename)

    assert codec.decode_event(body).data == STARTED


def test_a_version_without_upcaster_is_corrupt() -> None:
    body = codec.encode_event(in_version("9", STARTED))

    with pytest.raises(Corrupt):
        codec.decode_event(body)
