"""What the log and the blob stores report to observers."""

from pathlib import Path

import anyio
import pytest

from domain.photo.commands import DeletePhoto
from domain.rejections import Rejected
from store.blobs.folder import FolderBlobs
from store.errors import Missing
from store.log.log import Log
from store.log.outcome import Duplicate
from store.observing import ObservedAppend
from tests.conftest import CONTEXT
from tests.store.commands import upload

KEY = "originals/ab/abc"


@pytest.fixture
def observed() -> list[tuple[str, str]]:
    """Operation and outcome of each observed call, in order."""
    return []


@pytest.fixture
def blobs(tmp_path: Path, observed: list[tuple[str, str]]) -> FolderBlobs:
    def observe(operation: str, outcome: str, seconds: float) -> None:
        assert seconds > 0
        observed.append((operation, outcome))

    return FolderBlobs(tmp_path, observe=observe)


async def test_every_blob_operation_is_observed_once(
    blobs: FolderBlobs, observed: list[tuple[str, str]]
) -> None:
    await blobs.put(KEY, b"x" * 3_000_000)
    assert [chunk async for chunk in blobs.read(KEY)]
    async with blobs.local(KEY):
        pass
    await blobs.size(KEY)
    await blobs.keys("originals")
    await blobs.delete(KEY)

    names = ("put", "get", "get", "stat", "list", "delete")
    assert observed == [(name, "ok") for name in names]


async def test_failures_are_observed_with_their_reason(
    blobs: FolderBlobs, observed: list[tuple[str, str]]
) -> None:
    with pytest.raises(Missing):
        await blobs.size(KEY)
    with pytest.raises(Missing):
        async with blobs.local(KEY):
            pass
    with pytest.raises(ValueError, match="is not a valid blob key"):
        await blobs.size("../secret")

    assert observed == [("stat", "missing"), ("get", "missing"), ("stat", "failed")]


async def test_a_cancelled_operation_is_observed(
    blobs: FolderBlobs, observed: list[tuple[str, str]]
) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await blobs.size(KEY)

    assert observed == [("stat", "failed")]


async def test_only_appends_are_observed_with_their_events(log: Log) -> None:
    observed: list[ObservedAppend] = []
    log.observe = observed.append
    command = upload("same")

    await log.execute(command, client_id="alice", context=CONTEXT)
    duplicate = await log.execute(upload("same"), client_id="alice", context=CONTEXT)
    delete = DeletePhoto(photo_id=command.photo_id)
    await log.execute(delete, client_id="alice", context=CONTEXT)
    await log.execute(delete, client_id="alice", context=CONTEXT)
    with pytest.raises(Rejected):
        await log.execute(DeletePhoto(photo_id="none"), client_id="alice", context=CONTEXT)

    types = [[event.type for event in each.events] for each in observed]
    assert isinstance(duplicate, Duplicate)
    assert duplicate.photo.photo_id == command.photo_id
    assert types == [["photo.uploaded"], ["photo.deleted"]]
    assert all(each.seconds > 0 for each in observed)
