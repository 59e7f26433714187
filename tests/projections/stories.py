"""Stories: commands in order, turned by the real rules into events with positions in a log."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from domain.moments import iso
from domain.photo import commands as c
from domain.photo.decide import decide
from domain.photo.events import FIRST_PREV, AnyEvent, Event, Metadata
from domain.photo.results import (
    Camera,
    Description,
    Exposure,
    Gps,
    MetadataResult,
    OptimizationResult,
    PlaceholderResult,
    Rendition,
    Result,
    ThumbnailsResult,
    ValidationResult,
)
from domain.photo.state import Photo, evolve
from domain.pipeline.failures import Category
from domain.rejections import Rejected
from domain.sessions import session as sessions
from domain.sessions.events import chain_of
from domain.sessions.session import NEW, Session, SessionCommand
from store.log import codec
from store.log.position import Position
from store.log.recorded import Recorded

BEGIN = datetime(2026, 11, 23, 10, tzinfo=UTC)
BEGIN_MS = 1_795_428_000_000

SHA = "ab" * 32


def photo_id(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def job_id(number: int, run: int = 1) -> str:
    return str(uuid.UUID(int=run << 32 | number, version=4))


def upload(
    number: int = 1,
    *,
    client_id: str = "alice",
    session_id: str | None = "trip",
    pipeline: str = "full_processing",
) -> c.UploadPhoto:
    return c.UploadPhoto(
        photo_id=photo_id(number),
        job_id=job_id(number),
        client_id=client_id,
        session_id=session_id,
        original_filename=f"{number}.jpg",
        mime_type="image/jpeg",
        file_size=1_000 + number,
        sha256=f"{number:064x}",
        bucket="photolog",
        key=f"originals/{photo_id(number)[:2]}/{photo_id(number)}",
        pipeline=pipeline,
        priority=5,
    )


def start(number: int = 1, run: int = 1) -> c.StartProcessing:
    return c.StartProcessing(photo_id=photo_id(number), job_id=job_id(number, run))


def request(number: int = 1, run: int = 2) -> c.RequestProcessing:
    return c.RequestProcessing(
        photo_id=photo_id(number),
        job_id=job_id(number, run),
        pipeline="quick_processing",
        priority=2,
    )


def delete(number: int = 1) -> c.DeletePhoto:
    return c.DeletePhoto(photo_id=photo_id(number))


def removed(number: int = 1) -> c.RecordRenditionsRemoved:
    """Record the removal of the first run's renditions that a later run may have replaced."""
    keys = tuple(rendition(f"thumbnail-{size}", number).key for size in (150, 300, 600))
    return c.RecordRenditionsRemoved(photo_id=photo_id(number), keys=keys)


def erased(number: int = 1) -> c.RecordErased:
    return c.RecordErased(photo_id=photo_id(number))


def complete(
    stage: str, result: Result | None = None, *renditions: Rendition, number: int = 1, run: int = 1
) -> c.RecordStageCompleted:
    return c.RecordStageCompleted(
        photo_id=photo_id(number),
        job_id=job_id(number, run),
        stage=stage,
        attempt=1,
        duration_ms=7,
        result=msgspec.to_builtins(result) if result else {},
        renditions=renditions,
    )


def fail(
    stage: str, *, number: int = 1, run: int = 1, attempt: int = 1, retry_at: str | None = None
) -> c.RecordStageFailed:
    return c.RecordStageFailed(
        photo_id=photo_id(number),
        job_id=job_id(number, run),
        stage=stage,
        attempt=attempt,
        category=Category.TEMPORARY if retry_at else Category.DATA,
        code="blob-away" if retry_at else "unreadable-image",
        error="The disk is away." if retry_at else "This is no picture.",
        retry_at=retry_at,
    )


def rendition(name: str, number: int = 1, run: int = 1, edge: int = 150) -> Rendition:
    return Rendition(
        name=name,
        key=f"renditions/{photo_id(number)[:2]}/{photo_id(number)}/{job_id(number, run)}/{name}",
        width=edge,
        height=edge * 2 // 3,
        file_size=edge * 10,
        mime_type="image/webp",
        sha256=SHA,
    )


def validation(number: int = 1, run: int = 1, *, damaged: bool = False) -> c.RecordStageCompleted:
    result = ValidationResult(
        format="JPEG", mime_type="image/jpeg", width=4288, height=2848, damaged=damaged
    )
    return complete("validation", result, number=number, run=run)


def metadata(
    number: int = 1, run: int = 1, *, taken_at: str | None = "2010-05-01T12:00:00"
) -> c.RecordStageCompleted:
    result = MetadataResult(
        width=4288,
        height=2848,
        taken_at=taken_at,
        taken_at_source="exif:DateTimeOriginal",
        taken_at_subsecond_ms=50.0,
        taken_at_gps_offset="+02:00",
        digitized_at="2010-05-01T12:00:00",
        camera=Camera(make="NIKON CORPORATION", model="NIKON D90"),
        exposure=Exposure(
            time="1/250",
            f_number=8.0,
            iso=200,
            focal_length=18.0,
            focal_length_35mm=27.0,
            compensation_ev=-0.33,
            program="aperture priority",
            metering_mode="pattern",
            flash_fired=False,
            flash_mode="off",
            white_balance="auto",
        ),
        gps=Gps(
            latitude=43.46,
            longitude=11.88,
            direction_degrees=270.5,
            direction_reference="true",
            time="2010-05-01T10:00:00Z",
        ),
        software="Ver.1.00",
        colour_space="sRGB",
        colour_profile="sRGB IEC61966-2.1",
        bit_depth=8,
        motion_photo=True,
        motion_video_bytes=1_000_000,
        description=Description(
            title="A title", keywords=("sea", "sun"), rating=5, creator="A. Photographer"
        ),
    )
    return complete("metadata", result, number=number, run=run)


def thumbnails(number: int = 1, run: int = 1) -> c.RecordStageCompleted:
    sizes = (150, 300, 600)
    made = [rendition(f"thumbnail-{size}", number, run, size) for size in sizes]
    return complete("thumbnails", ThumbnailsResult(sizes=sizes), *made, number=number, run=run)


def placeholder(number: int = 1) -> c.RecordStageCompleted:
    result = PlaceholderResult(blurhash="LEHV6nWB2yk8pyo0adR*.7kCMdnj")
    return complete("placeholder", result, number=number)


def optimization(number: int = 1) -> c.RecordStageCompleted:
    made = rendition("optimized", number, edge=1920)
    result = OptimizationResult(recipe="webp-1920-q80")
    return complete("optimization", result, made, number=number)


def processed(number: int = 1) -> tuple[c.PhotoCommand, ...]:
    """Return all commands of a full run of the pipeline."""
    return (
        start(number),
        validation(number),
        metadata(number),
        thumbnails(number),
        placeholder(number),
        optimization(number),
    )


SCRIPT: tuple[c.PhotoCommand, ...] = (
    upload(1),
    *processed(1),
    upload(2),
    start(2),
    fail("validation", number=2, retry_at="2026-11-23T10:05:00.000Z"),
    fail("validation", number=2, attempt=2),
    request(2),
    upload(3, session_id=None),
    upload(4, client_id="bob"),
    delete(3),
    erased(3),
    start(4),
    validation(4, damaged=True),
    complete("faces", number=4),
    request(1),
    start(1, 2),
    validation(1, 2),
    thumbnails(1, 2),
    removed(1),
)
"""Photos of alice and bob: a full and a second run, a retry, a failure, a deletion, damage."""


@dataclass
class Chronicle:
    """A log in memory: decided by the real rules, encoded as in the real log."""

    partition: int = 0
    recorded: list[Recorded] = field(default_factory=list[Recorded])
    _photos: dict[str, Photo] = field(default_factory=dict[str, Photo])
    _heads: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    _clients: dict[str, tuple[str, str | None]] = field(
        default_factory=dict[str, tuple[str, str | None]]
    )

    _sessions: dict[str, Session] = field(default_factory=dict[str, Session])

    @classmethod
    def of(cls, *commands: c.PhotoCommand | SessionCommand) -> "Chronicle":
        """Add each command a second after the previous one; skip those that the rules reject."""
        chronicle = cls()
        for second, command in enumerate(commands):
            chronicle.add(command, BEGIN + timedelta(seconds=second))
        return chronicle

    def add(self, command: c.PhotoCommand | SessionCommand, now: datetime = BEGIN) -> None:
        if isinstance(command, SessionCommand):
            self._add_to_session(command, now)
            return
        id_ = command.photo_id
        if isinstance(command, c.UploadPhoto):
            self._clients.setdefault(id_, (command.client_id, command.session_id))
        photo = self._photos.get(id_)
        try:
            decided = decide(command, photo)
        except Rejected:
            return
        for data in decided:
            event = self._event(data, *self._clients[id_], now)
            photo = evolve(photo, event)
            self._photos[id_] = photo
            self._append(event)

    def _add_to_session(self, command: SessionCommand, now: datetime) -> None:
        id_ = chain_of(command.client_id, command.session_id)
        session = self._sessions.get(id_, NEW)
        try:
            decided = sessions.decide(command, session)
        except Rejected:
            return
        for data in decided:
            session = self._sessions[id_] = sessions.evolve(session, data)
            self._append(self._event(data, command.client_id, command.session_id, now))

    def _event(
        self, data: AnyEvent, client_id: str, session_id: str | None, now: datetime
    ) -> Event:
        version, prev = self._heads.get(data.photo_id, (0, FIRST_PREV))
        return Event(
            timestamp=iso(now),
            data=data,
            metadata=Metadata(
                source="test",
                client_id=client_id,
                session_id=session_id,
                trace_id="0af7651916cd43dd8448eb211c80319c",
                actor=f"client:{client_id}",
                cause=None,
                photo_version=version + 1,
                prev=prev,
            ),
        )

    def _append(self, event: Event) -> None:
        body = codec.encode_event(event)
        self._heads[event.data.photo_id] = event.metadata.photo_version, codec.digest(body)
        self.recorded.append(
            Recorded(
                position=Position(self.partition, BEGIN_MS + len(self.recorded) // 2, self._seq()),
                event=codec.decode_event(body),
                body=body,
            )
        )

    def _seq(self) -> int:
        """Let two events share a millisecond, so that the order within it matters."""
        return len(self.recorded) % 2
