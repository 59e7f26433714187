"""Any sequence of commands gives the same log as a Python list would."""

import asyncio
import uuid

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.photo.commands import DeletePhoto, PhotoCommand, StartProcessing, UploadPhoto
from domain.photo.events import FIRST_PREV
from domain.pipeline.stages import PIPELINES
from store.log import codec
from store.log.log import Log
from store.log.outcome import Appended, Duplicate
from store.redis.connection import connect
from tests.conftest import CONTEXT
from tests.store.commands import completed, upload

CLIENTS = ("alice", "bob")
STAGES = sorted(PIPELINES["full_processing"])


class LogAndList(RuleBasedStateMachine):
    photos = Bundle("photos")
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = connect(self.url)
        prefix = f"test-{uuid.uuid4().hex}"
        self.log = self.runner.run(Log.open(self.redis, partitions=2, prefix=prefix))
        self.expected: list[tuple[str, str]] = []
        self.held: dict[tuple[str, str], str] = {}

    def teardown(self) -> None:
        self.runner.run(self.redis.aclose())
        self.runner.close()

    def execute(self, command: PhotoCommand, client_id: str) -> str | None:
        outcome = self.runner.run(self.log.execute(command, client_id=client_id, context=CONTEXT))
        if isinstance(outcome, Appended):
            self.expected += [(command.photo_id, event.type) for event in outcome.events]
        return outcome.photo.photo_id if isinstance(outcome, Duplicate) else None

    @rule(target=photos, client_id=st.sampled_from(CLIENTS), content=st.sampled_from("abcde"))
    def send(self, client_id: str, content: str) -> UploadPhoto:
        command = upload(content, client_id)
        holder = self.held.get((client_id, content))

        assert self.execute(command, client_id) == holder

        if holder is None:
            self.held[client_id, content] = command.photo_id
            return command
        return upload(content, client_id)  # a photo that is not there

    @rule(photo=photos)
    def send_again(self, photo: UploadPhoto) -> None:
        if photo.photo_id in self.held.values():
            before = len(self.expected)
            assert self.execute(photo, photo.client_id) is None
            assert len(self.expected) == before

    @rule(photo=photos, stage=st.sampled_from(STAGES))
    def complete(self, photo: UploadPhoto, stage: str) -> None:
        if self.known(photo):
            self.execute(completed(photo, stage), photo.client_id)

    @rule(photo=photos)
    def start(self, photo: UploadPhoto) -> None:
        if self.known(photo):
            command = StartProcessing(photo_id=photo.photo_id, job_id=photo.job_id)
            self.execute(command, photo.client_id)

    @rule(photo=photos)
    def delete(self, photo: UploadPhoto) -> None:
        if self.known(photo):
            self.execute(DeletePhoto(photo_id=photo.photo_id), photo.client_id)
            for key, holder in list(self.held.items()):
                if holder == photo.photo_id:
                    del self.held[key]

    @rule(photo=photos)
    def lose_state(self, photo: UploadPhoto) -> None:
        key = self.log.keys.photo(self.log.partition_of(photo.client_id), photo.photo_id)
        self.runner.run(self.drop(key))

    async def drop(self, key: str) -> None:
        await self.redis.delete(key)

    def known(self, photo: UploadPhoto) -> bool:
        return any(photo_id == photo.photo_id for photo_id, _ in self.expected)

    @invariant()
    def the_log_is_the_list(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        found: list[tuple[str, str]] = []
        last: dict[str, str] = {}
        for partition in range(self.log.partitions):
            async for recorded in self.log.scan(partition):
                photo_id = recorded.event.data.photo_id
                assert recorded.event.metadata.prev == last.get(photo_id, FIRST_PREV)
                last[photo_id] = codec.digest(recorded.body)
                found.append((photo_id, recorded.event.type))
        assert sorted(found) == sorted(self.expected)
        for photo_id in last:
            own = [kind for of, kind in found if of == photo_id]
            assert own == [kind for of, kind in self.expected if of == photo_id]


def test_the_log_behaves_like_a_list(valkey_url: str) -> None:
    LogAndList.url = valkey_url
    run_state_machine_as_test(  # pyright: ignore[reportUnknownMemberType]
        LogAndList,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
        ),
    )
