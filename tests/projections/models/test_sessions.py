from projections.models import sessions
from projections.models.sessions import SessionView
from store.sqlite.connection import Connection
from tests.projections.conftest import fold_in
from tests.projections.stories import Chronicle, delete, fail, processed, request, start, upload


def counts_after(db: Connection, *commands: object) -> dict[str, int]:
    """Return the non-zero counts of alice's trip after the commands."""
    fold_in(db, Chronicle.of(*commands).recorded)  # type: ignore[arg-type]
    view = sessions.get(db, "alice", "trip")
    assert view is not None
    counts = {
        "photos": view.photos,
        "queued": view.queued,
        "processing": view.processing,
        "completed": view.completed,
        "failed": view.failed,
    }
    return {name: count for name, count in counts.items() if count}


def test_a_session_counts_its_photos_by_status(db: Connection) -> None:
    story = [
        upload(1),
        upload(2),
        upload(3),
        upload(4),
        *processed(1),
        start(2),
        start(3),
        fail("validation", number=3),
    ]

    assert counts_after(db, *story) == {
        "photos": 4,
        "queued": 1,
        "processing": 1,
        "completed": 1,
        "failed": 1,
    }


def test_another_run_moves_a_photo_back_to_queued(db: Connection) -> None:
    assert counts_after(db, upload(), *processed(), request()) == {"photos": 1, "queued": 1}


def test_a_deleted_photo_leaves_the_counts(db: Connection) -> None:
    assert counts_after(db, upload(1), upload(2), *processed(1), delete(1)) == {
        "photos": 1,
        "queued": 1,
    }


def test_a_photo_without_a_session_counts_in_none(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(session_id=None), start()).recorded)

    assert db.execute("SELECT count(*) FROM sessions") == [(0,)]


def test_clients_may_use_the_same_session_name(db: Connection) -> None:
    fold_in(db, Chronicle.of(upload(1), upload(2), upload(3, client_id="bob")).recorded)

    bob = SessionView(
        session_id="trip",
        client_id="bob",
        photos=1,
        queued=1,
        processing=0,
        completed=0,
        failed=0,
        first_uploaded_at="2026-11-23T10:00:02.000Z",
        last_uploaded_at="2026-11-23T10:00:02.000Z",
    )
    assert sessions.get(db, "bob", "trip") == bob
    assert sessions.get(db, "carol", "trip") is None
    alice, other = sessions.find(db, "trip")
    assert other == bob
    assert (alice.client_id, alice.photos) == ("alice", 2)
    assert (alice.first_uploaded_at, alice.last_uploaded_at) == (
        "2026-11-23T10:00:00.000Z",
        "2026-11-23T10:00:01.000Z",
    )
