from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from domain.clients.quotas import OwnQuota, QuotaChanged
from domain.clients.revocations import AccessRevoked
from domain.photo import events as e
from domain.pipeline import control_events as ce
from domain.pipeline.failures import Category
from store.errors import Corrupt
from store.log import codec
from store.log.position import Position
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

EVERY_EVENT: list[e.AnyEvent] = [
    UPLOADED,
    STARTED,
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
    AccessRevoked(client_id="alice", before="2026-11-23T10:00:00.000Z", reason="lost laptop"),
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


def in_version(version: str, data: e.AnyEvent) -> e.Event:
    now = event(data)
    return msgspec.structs.replace(
        now, metadata=msgspec.structs.replace(now.metadata, version=version)
    )


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
