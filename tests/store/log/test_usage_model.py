"""The totals of clients match the events after any operations, and no photo is recorded twice."""

import asyncio
import uuid

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.clients.quotas import NO_QUOTA, Quota
from domain.photo import commands as c
from domain.photo.events import PhotoDeleted, PhotoUploaded
from domain.photo.results import Rendition
from domain.pipeline.failures import Category
from domain.rejections import (
    Rejected,
)
from store.log.content_hashes import place_of
from store.log.hash_splitting import HashSplitter
from store.log.log import Log
from store.log.outcome import Appended
from store.redis.connection import connect
from tests.conftest import CONTEXT
from tests.store.commands import upload
from tests.tally import Total, totals

LATER = "2026-11-23T11:00:00.000Z"


def made(photo: c.UploadPhoto, job_id: str, name: str, size: int) -> Rendition:
    return Rendition(
        name=name,
        key=f"renditions/{photo.photo_id}/{job_id}/{name}",
        width=1,
        height=1,
        file_size=size,
        mime_type="image/webp",
        sha256="",
    )


KEY_BYTES = 36
"""Sizes of files that an earlier job may have named; each key has one size."""

BOUNDED = {"bob": Quota(bytes=400, job_bytes=3 * KEY_BYTES)}
"""A job makes at most three files here."""

MADE = {"thumbnails": ("thumbnail-150", "thumbnail-300"), "optimization": ("optimized",)}


class Story(RuleBasedStateMachine):
    """The totals match the events after any operations in any order."""

    photos = Bundle("photos")
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = connect(self.url)
        prefix = f"test-{uuid.uuid4().hex}"
        self.log = self.runner.run(Log.open(self.redis, partitions=2, prefix=prefix))
        self.jobs: dict[str, str] = {}

    def teardown(self) -> None:
        self.runner.run(self.redis.aclose())
        self.runner.close()

    def execute(self, command: c.PhotoCommand, client_id: str, quota: Quota = NO_QUOTA) -> bool:
        try:
            outcome = self.runner.run(
                self.log.execute(command, client_id=client_id, context=CONTEXT, quota=quota)
            )
        except Rejected:
            return False
        return isinstance(outcome, Appended)

    @rule(
        target=photos,
        client_id=st.sampled_from(("alice", "bob")),
        content=st.sampled_from("abcd"),
        most=st.integers(0, 3),
    )
    def send(self, client_id: str, content: str, most: int) -> c.UploadPhoto:
        photo = upload(content, client_id)
        before = self.runner.run(self.log.usage(client_id)).usage.photos
        quota = msgspec.structs.replace(BOUNDED.get(client_id, NO_QUOTA), photos=most)
        if self.execute(photo, client_id, quota):
            assert not most or before < most
            self.jobs[photo.photo_id] = photo.job_id
        return photo

    @rule(photo=photos, pipeline=st.sampled_from(("quick_processing", "full_processing")))
    def reprocess(self, photo: c.UploadPhoto, pipeline: str) -> None:
        job_id = str(uuid.uuid4())
        command = c.RequestProcessing(
            photo_id=photo.photo_id, job_id=job_id, pipeline=pipeline, priority=5
        )
        if self.execute(command, photo.client_id, BOUNDED.get(photo.client_id, NO_QUOTA)):
            self.jobs[photo.photo_id] = job_id

    @rule(photo=photos)
    def backfill(self, photo: c.UploadPhoto) -> None:
        if photo.client_id in BOUNDED:  # operators' jobs reserve nothing
            return
        job_id = str(uuid.uuid4())
        command = c.BackfillStage(photo_id=photo.photo_id, job_id=job_id, stage="optimization")
        if self.execute(command, photo.client_id):
            self.jobs[photo.photo_id] = job_id

    @rule(photo=photos)
    def retry(self, photo: c.UploadPhoto) -> None:
        job_id = str(uuid.uuid4())
        command = c.RetryProcessing(photo_id=photo.photo_id, job_id=job_id)
        if self.execute(command, photo.client_id, BOUNDED.get(photo.client_id, NO_QUOTA)):
            self.jobs[photo.photo_id] = job_id

    @rule(photo=photos, size=st.integers(1, 9), same_key=st.booleans())
    def process(self, photo: c.UploadPhoto, size: int, *, same_key: bool) -> None:
        job_id = self.jobs.get(photo.photo_id, "")
        of = photo.job_id if same_key else job_id
        for stage in ("validation", "metadata", "thumbnails", "optimization", "placeholder"):
            self.execute(
                c.RecordStageCompleted(
                    photo_id=photo.photo_id,
                    job_id=job_id,
                    stage=stage,
                    attempt=1,
                    duration_ms=1,
                    result={},
                    renditions=tuple(
                        made(photo, of, name, len(of) if same_key else size)
                        for name in MADE.get(stage, ())
                    ),
                    remove_at=LATER,
                ),
                photo.client_id,
            )

    @rule(photo=photos)
    def fail(self, photo: c.UploadPhoto) -> None:
        command = c.RecordStageFailed(
            photo_id=photo.photo_id,
            job_id=self.jobs.get(photo.photo_id, ""),
            stage="metadata",
            attempt=1,
            category=Category.DATA,
            code="x",
            error="why",
        )
        self.execute(command, photo.client_id)

    @rule(photo=photos)
    def remove_superseded(self, photo: c.UploadPhoto) -> None:
        loaded = self.runner.run(self.log.load(photo.photo_id, photo.client_id)).photo
        if loaded is not None:
            keys = (*loaded.holding.superseded, *loaded.keys.values(), "nothing")
            command = c.RecordRenditionsRemoved(photo_id=photo.photo_id, keys=keys)
            self.execute(command, photo.client_id)
            self.execute(command, photo.client_id)

    @rule(photo=photos)
    def delete(self, photo: c.UploadPhoto) -> None:
        self.execute(c.DeletePhoto(photo_id=photo.photo_id), photo.client_id)

    @rule(photo=photos)
    def erase(self, photo: c.UploadPhoto) -> None:
        self.execute(c.RecordErased(photo_id=photo.photo_id), photo.client_id)

    @rule(client_id=st.sampled_from(("alice", "bob")), what=st.sampled_from((0, 1, 2, 3)))
    def lose(self, client_id: str, what: int) -> None:
        keys, partition = self.log.keys, self.log.partition_of(client_id)
        names = (
            keys.usage(partition, client_id),
            keys.sha256(partition, client_id),
            keys.clients(partition),
            keys.hashes(partition, client_id, place_of(upload("a").sha256).bucket),
        )
        self.runner.run(self._delete(names[what]))

    @rule()
    def split(self) -> None:
        for partition in range(2):
            self.runner.run(HashSplitter(self.log, most=0).split(partition))

    @rule(photo=photos)
    def lose_state(self, photo: c.UploadPhoto) -> None:
        partition = self.log.partition_of(photo.client_id)
        self.runner.run(self._delete(self.log.keys.photo(partition, photo.photo_id)))

    async def _delete(self, key: str) -> None:
        await self.redis.delete(key)

    @invariant()
    def the_totals_are_those_of_the_events(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        recorded = [each for n in range(2) async for each in self.log.scan(n)]
        expected = totals(recorded)
        held: dict[str, tuple[str, str]] = {}
        for each in recorded:
            match each.event.data:
                case PhotoUploaded(photo_id=photo_id, sha256=sha256):
                    photo = each.event.metadata.client_id, sha256
                    assert photo not in held.values()
                    held[photo_id] = photo
                case PhotoDeleted(photo_id=photo_id):
                    del held[photo_id]
                case _:
                    pass
        for client_id in ("alice", "bob"):
            key = self.log.keys.usage(self.log.partition_of(client_id), client_id)
            total = expected.get(client_id, Total(0, 0, 0))
            if await self.redis.exists(key):  # or it was lost, and nobody has asked since
                assert Total.of((await self.log.usage(client_id)).usage) == total
            quota = BOUNDED.get(client_id, NO_QUOTA)
            reserved = quota.job_bytes * total.jobs
            assert not quota.bytes or total.bytes + reserved <= quota.bytes


def test_the_totals_always_match_the_events(valkey_url: str) -> None:
    Story.url = valkey_url
    run_state_machine_as_test(  # pyright: ignore[reportUnknownMemberType]
        Story, settings=settings(max_examples=40, stateful_step_count=30)
    )
