"""The checker finds answers that contradict the log."""

import hashlib

import pytest

from tests.system.checker import Findings
from tests.system.clients import Accepted, Answer
from tests.system.ledger import Ledger
from tests.system.promises import broken_promises


@pytest.fixture
async def found(ledger: Ledger) -> Findings:
    await ledger.process(await ledger.upload(photo_id="kept", content="bytes"))
    await ledger.upload(photo_id="gone", content="others")
    await ledger.tell("photo.deleted", "gone")
    await ledger.tell("photo.erased", "gone")
    return await ledger.examined()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def accepted() -> Accepted:
    """Answers that agree with the log."""
    return Accepted(
        photos={"kept", "gone"},
        deleted={"gone"},
        answers=[
            Answer(201, "kept", "key", sha256("bytes")),
            Answer(201, "kept", "key", sha256("bytes")),
            Answer(200, "kept", None, sha256("bytes")),
            Answer(201, "gone", "other", sha256("others")),
        ],
    )


async def test_kept_promises_are_no_findings(found: Findings, accepted: Accepted) -> None:
    assert broken_promises(accepted, found) == []


async def test_an_answered_photo_that_is_lost_is_found(found: Findings, accepted: Accepted) -> None:
    accepted.photos.add("lost")

    assert broken_promises(accepted, found) == ["lost: answered, and not in the log"]


async def test_a_photo_without_an_answer_is_found(found: Findings, accepted: Accepted) -> None:
    accepted.photos.remove("kept")

    assert broken_promises(accepted, found) == ["kept: in the log, and never answered"]


async def test_an_unrequested_erasure_is_found(found: Findings, accepted: Accepted) -> None:
    accepted.deleted.clear()

    assert broken_promises(accepted, found) == ["gone: erased, and nobody deleted it"]


async def test_a_deletion_that_was_not_done_is_found(found: Findings, accepted: Accepted) -> None:
    accepted.deleted.add("kept")

    assert broken_promises(accepted, found) == ["kept: deleted, and not erased"]


async def test_a_broken_picture_that_is_completed_is_found(
    found: Findings, accepted: Accepted
) -> None:
    accepted.broken.add("kept")

    assert broken_promises(accepted, found) == ["kept: not a picture, and did not fail"]


async def test_other_bytes_than_those_sent_are_found(found: Findings, accepted: Accepted) -> None:
    accepted.answers[2] = Answer(200, "kept", None, sha256("others"))

    problem = "kept: the bytes recorded are not those that were sent"
    assert broken_promises(accepted, found) == [problem]


async def test_a_key_that_made_two_photos_is_found(found: Findings, accepted: Accepted) -> None:
    accepted.answers[3] = Answer(201, "gone", "key", sha256("others"))

    assert broken_promises(accepted, found) == ["key key: answered with 2 photos, gone, kept"]


async def test_a_photo_that_was_new_twice_is_found(found: Findings, accepted: Accepted) -> None:
    accepted.answers[2] = Answer(201, "kept", None, sha256("bytes"))

    assert broken_promises(accepted, found) == ["kept: created under 2 keys"]
