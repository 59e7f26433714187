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


@pytest.mark.parametrize("data", EVERY_EVENT, ids=lambda data: data.TYPE)
def test_stored_bytes_stay_readable(data: e.AnyEvent, snapshot: SnapshotAssertion) -> None:
    """Existing logs hold these bytes: a changed snapshot breaks their history."""
    body = codec.encode_event(event(data))

    assert body.hex() == snapshot(name="log")
    assert codec.encode_wire(event(data), Position(0, 1, 2)).decode() == snapshot(name="wire")
    assert codec.decode_event(body) == event(data)


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
    old = msgspec.structs.replace(
        event(STARTED), metadata=msgspec.structs.replace(event(STARTED).metadata, version="0")
    )
    body = codec.encode_event(old).replace(b"pipeline", b"workflow")

    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "pipeline": data.pop("workflow")}

    monkeypatch.setitem(codec.UPCASTERS, (STARTED.TYPE, "0"), rename)

    assert codec.decode_event(body).data == STARTED


def test_a_version_without_upcaster_is_corrupt() -> None:
    future = msgspec.structs.replace(event(STARTED).metadata, version="9")
    body = codec.encode_event(msgspec.structs.replace(event(STARTED), metadata=future))

    with pytest.raises(Corrupt):
        codec.decode_event(body)
