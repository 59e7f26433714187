"""``photolog sessions`` on a running system."""

from pathlib import Path

import msgspec

from tests.ops.systems import System, jpeg, wait_until


def test_a_session_is_opened_filled_shown_closed_and_listed(
    shared_system: System, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg())
    for _ in range(2):
        uploaded = shared_system.photolog("upload", "--session", "a trip/1", str(photo))
        assert uploaded.returncode == 0, uploaded.stderr
    opened = shared_system.photolog("sessions", "open", "a trip/1", "--expected", "2")

    def shown() -> str:
        return shared_system.photolog("sessions", "show", "a trip/1").stdout

    assert opened.stdout == "The session is open.\n", opened.stderr
    wait_until(lambda: "1 completed, 0 failed" in shown(), "the photo is processed")
    assert "2 of 2 expected, 1 of a photo that was there already" in shown()

    closed = shared_system.photolog("sessions", "close", "a trip/1")
    assert closed.stdout == "The session is closed.\n", closed.stderr
    again = shared_system.photolog("upload", "--session", "a trip/1", str(photo))
    assert again.returncode == 1
    assert "closed" in again.stdout + again.stderr
    wait_until(lambda: "closed" in shown(), "the session is closed")
    line = shared_system.photolog("sessions", "list", "--status", "closed", "--json").stdout
    assert msgspec.json.decode(line.splitlines()[0])["sessionId"] == "a trip/1"
    assert "a trip/1" in shared_system.photolog("sessions").stdout
    retried = shared_system.photolog("sessions", "retry", "a trip/1")
    assert retried.stdout.startswith("There is nothing to retry"), retried.stderr


def test_a_mistake_is_explained(shared_system: System) -> None:
    done = shared_system.photolog("sessions", "close", "never opened")

    assert (done.returncode, done.stdout) == (1, "")
    assert "no session" in done.stderr
