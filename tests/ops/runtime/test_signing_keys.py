import stat
import threading
import time
from pathlib import Path

import pytest

from gateway.http.auth import AuthError, Tokens
from ops.config.settings import Settings
from ops.errors import UserError
from ops.runtime.signing_keys import KeyFile, create, keys_in, read, rotate

HOUR_S = 3_600.0
FIRST, SECOND = "the first secret, long enough for it", "the second one, just as long as that"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create(tmp_path / "secret")
    return tmp_path / "secret"


def token(tokens: Tokens) -> str:
    return tokens.issue("alice", "client", 60, time.time())


def test_a_file_with_one_line_is_the_secret_itself(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{FIRST}\n")

    (key,) = read(tmp_path / "secret")

    assert key.secret == FIRST.encode()


def test_after_a_rotation_both_keys_verify_and_the_new_one_signs(path: Path) -> None:
    old = token(Tokens(read(path)))

    new, earlier = rotate(path, HOUR_S)

    tokens = Tokens(read(path))
    assert read(path) == (new, earlier)
    assert tokens.verify(old).key_id == earlier.id
    assert tokens.verify(token(tokens)).key_id == new.id
    assert HOUR_S < earlier.until - time.time() < HOUR_S + 10
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_expired_key_is_dropped(path: Path) -> None:
    (first,) = read(path)
    rotate(path, -60)

    keys = rotate(path, HOUR_S)

    assert first.id not in {key.id for key in keys}
    assert len(keys) == 2


def test_a_rotation_does_not_extend_an_earlier_key(path: Path) -> None:
    _, first = rotate(path, HOUR_S)

    *_, again = rotate(path, 10 * HOUR_S)

    assert (again.id, again.until) == (first.id, pytest.approx(first.until, abs=1))


def test_a_retired_key_no_longer_verifies(path: Path) -> None:
    (leaked,) = read(path)
    old = token(Tokens(read(path)))

    (new,) = rotate(path, HOUR_S, retired=leaked.id)

    assert new.id != leaked.id
    with pytest.raises(AuthError):
        Tokens(read(path)).verify(old)
    with pytest.raises(UserError, match="no key has the id 'nonsense'"):
        rotate(path, HOUR_S, retired="nonsense")


def test_concurrent_rotations_lose_no_key(path: Path) -> None:
    threads = [threading.Thread(target=rotate, args=(path, HOUR_S)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({key.id for key in read(path)}) == 6


def test_a_process_uses_a_changed_file_at_once(path: Path) -> None:
    tokens, elsewhere = Tokens(KeyFile(path)), Tokens(KeyFile(path))
    old = token(tokens)
    (leaked,) = read(path)
    rotate(path, HOUR_S, retired=leaked.id)

    assert not tokens.knows(leaked.id)
    assert tokens.verify(token(elsewhere)).client_id == "alice"
    with pytest.raises(AuthError):
        tokens.verify(old)


@pytest.mark.parametrize("content", [None, b"", b"short", b"\xff" * 40 + b"\nno time"])
def test_a_file_that_becomes_unusable_changes_nothing(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(KeyFile(path))
    before = token(tokens)
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    assert tokens.verify(before).client_id == "alice"
    assert tokens.verify(before).client_id == "alice"
    assert caplog.text.count("cannot reload the signing keys") == 1


def test_the_previous_secret_verifies_and_does_not_sign() -> None:
    before = Tokens(keys_in(Settings(secret=FIRST)))
    after = Tokens(keys_in(Settings(secret=SECOND, previous_secret=FIRST)))

    assert after.verify(token(before)).client_id == "alice"
    with pytest.raises(AuthError):
        before.verify(token(after))
