"""Commands for tokens, links and keys, on a running system."""

import os
import pty
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from gateway.access.cookies import COOKIE
from ops.runtime.signing_keys import read
from tests.clocks import days_ago
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, jpeg, run, wait_until

SECRET = "a secret of the tests, long enough"


def status(system: System, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{system.url}/api/photos", headers=headers, timeout=DEADLINE_S)
    return answer.status_code


def token(system: System, *arguments: str) -> str:
    return system.photolog("token", *arguments).stdout.strip()


def sign_in(system: System, link: str) -> httpx.Response:
    ticket = link.strip().partition("#ticket=")[2]
    return httpx.post(
        f"{system.url}/api/login", json={"ticket": ticket}, headers={"Origin": system.url}
    )


def test_a_token_is_revoked_by_its_id_or_as_a_whole(shared_system: System) -> None:
    first, second, third = (token(shared_system, "--client", "ann") for _ in range(3))
    shown = run("tokens", "show", first).stdout
    found = re.search(r"^id +(\S+)$", shown, re.MULTILINE)
    assert found is not None, shown

    done = shared_system.photolog("tokens", "revoke", found[1], second)

    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: status(shared_system, first) == 401, "the first is rejected")
    wait_until(lambda: status(shared_system, second) == 401, "the second is rejected")
    assert status(shared_system, third) == 200
    listed = shared_system.photolog("tokens", "list").stdout
    assert listed.splitlines()[0].split("  ")[0] == "Tokens"
    assert f"token {found[1]}  " in listed


@pytest.mark.parametrize("wrong", ["nonsense", "0123456789ABCDEF0123", "0" * 21, ""])
def test_an_invalid_token_id_is_rejected(shared_system: System, wrong: str) -> None:
    done = shared_system.photolog("tokens", "revoke", wrong)

    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be a token id" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_accepts_the_options_of_its_siblings_and_needs_a_token(shared_system: System) -> None:
    given = shared_system.photolog("token", "--client", "ann").stdout
    shown = run("tokens", "show", "--data", str(shared_system.data), said=given)
    nothing = run("tokens", "show", said=" \n")

    assert "client   ann" in shown.stdout
    assert nothing.exit_code == 1
    assert "There is no token" in nothing.stderr


def test_the_tokens_of_a_client_are_revoked_and_its_next_one_is_valid(
    shared_system: System,
) -> None:
    before = token(shared_system, "--client", "carol")

    done = shared_system.photolog("tokens", "revoke", "--client", "carol", "--reason", "left")

    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: status(shared_system, before) == 401, "it is rejected")
    assert status(shared_system, token(shared_system, "--client", "carol")) == 200
    listed = shared_system.photolog("tokens").stdout
    assert re.search(
        r"^client carol +\d{4}-\S+ [\d:]{8}  +\d{4}-\S+ [\d:]{8}  +operator:local +left *$",
        listed,
        re.MULTILINE,
    ), listed


def test_a_revocation_that_a_wider_one_includes_is_still_listed(system: System) -> None:
    yesterday = days_ago(1)
    for wish in (
        ("--client", "dora", "--before", yesterday),
        ("--before", "now", "--yes"),
    ):
        done = system.photolog("tokens", "revoke", *wish)
        assert done.returncode == 0, done.stdout + done.stderr

    head, everyone, dora = system.photolog("tokens", "list").stdout.splitlines()

    assert head.split() == [
        *("Tokens", "Issued", "up", "to", "(UTC)", "Revoked", "(UTC)", "By", "Reason")
    ]
    assert everyone.startswith("everyone ")
    assert "wider" not in everyone
    assert dora.startswith(f"client dora  {yesterday[:10]} 00:00:00  ")
    assert dora.rstrip().endswith(" (a wider revocation includes this one)")


def test_all_tokens_before_now_are_revoked_and_the_command_line_still_works(
    system: System,
) -> None:
    before = token(system)
    link = system.photolog("link").stdout

    done = system.photolog("tokens", "revoke", "--before", "now", "--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: status(system, before) == 401, "it is rejected")
    assert sign_in(system, link).json()["code"] == "revoked-token"
    assert system.photolog("photos").returncode == 0
    pid = system.pid_of("gateway")
    assert pid is not None
    os.kill(pid, 9)
    wait_until(lambda: system.pid_of("gateway") not in (pid, None), "another gateway")
    wait_until(lambda: status(system, token(system)) == 200, "it lets in")
    assert status(system, before) == 401


def test_revoking_the_tokens_of_everyone_asks_first(shared_system: System) -> None:
    command = ("--data", str(shared_system.data), "tokens", "revoke", "--before", "now")
    before = token(shared_system)

    refused, unanswered = run(*command, said="n\n"), run(*command)

    assert refused.exit_code == unanswered.exit_code == 1
    assert refused.stderr.startswith("Revoke every token of every client that was issued up to ")
    assert "Nobody answered, so nothing was changed: confirm with --yes" in unanswered.stderr
    assert status(shared_system, before) == 200


def test_a_revocation_that_changes_nothing_names_the_one_in_force(system: System) -> None:
    early, late = days_ago(2), days_ago(1)
    given = token(system)

    def revoke(*wish: str) -> str:
        done = system.photolog("tokens", "revoke", "--yes", *wish)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = [
        revoke("--client", "dora", "--before", late),
        revoke("--client", "dora", "--before", early),
        revoke("--before", late),
        revoke("--client", "emil", "--before", early),
        revoke(given),
        revoke(given),
    ]

    done = "Revoked. Every gateway knows within two seconds.\n"
    covered = f"issued up to {late.replace('Z', '.000Z')} are revoked already.\n"
    assert said[0] == said[2] == said[4] == done
    assert said[1] == f"Nothing to revoke: all tokens of dora {covered}"
    assert said[3] == f"Nothing to revoke: all tokens of everyone {covered}"
    assert re.fullmatch(r"Nothing to revoke: token [0-9a-f]+ is revoked already\.\n", said[5])


def test_a_time_before_the_oldest_valid_token_revokes_nothing_and_says_why(system: System) -> None:
    wish = ("tokens", "revoke", "--yes", "--before", "2020-01-01T00:00:00Z")

    everyone = system.photolog(*wish)
    client = system.photolog(*wish, "--client", "ann")

    assert everyone.returncode == client.returncode == 0, everyone.stderr + client.stderr
    up_to = "that was issued up to 2020-01-01T00:00:00+00:00 is valid any more: tokens live for 366"
    assert everyone.stdout.startswith(f"No token {up_to} days at most. API keys that ")
    assert client.stdout.startswith(f"No token of ann {up_to} days at most. API keys of ann that ")
    assert system.photolog("tokens", "list").stdout == "There are no revocations.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name tokens, or --client, --before, or both options."),
        (("t1", "--client", "ann"), "Name tokens, or --client"),
        (("--before", "yesterday"), "'yesterday' is not a time"),
        (("--before", "2026-11-23T10:00:00"), "has no offset from UTC"),
        (("--before", "2999-01-01T00:00:00Z", "--yes"), "is in the future"),
        (("a.b.c",), "This is not a token"),
    ],
)
def test_an_invalid_revocation_is_rejected(
    shared_system: System, arguments: tuple[str, ...], said: str
) -> None:
    done = shared_system.photolog("tokens", "revoke", *arguments)

    assert done.returncode != 0
    assert said in done.stderr


def test_tokens_survive_a_rotation_until_their_key_is_retired(system: System) -> None:
    before = token(system)
    first = read(system.data / "secret")[0].id

    rotated = system.photolog("tokens", "rotate")
    listed = system.photolog("tokens", "keys")

    second = read(system.data / "secret")[0].id
    assert rotated.returncode == 0, rotated.stderr
    assert re.fullmatch(rf"{second}  signs\n{first}  verifies until \S+\n", rotated.stdout), (
        rotated.stdout
    )
    assert listed.stdout == rotated.stdout
    assert system.photolog("photos").returncode == 0
    assert status(system, before) == 200
    done = system.photolog("tokens", "rotate", "--retire", first)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: status(system, before) == 401, "its key is retired")
    assert status(system, token(system)) == 200
    secrets = [key.secret.decode() for key in read(system.data / "secret")]
    assert not any(secret in done.stdout + rotated.stdout for secret in secrets)


def test_a_secret_of_the_settings_is_changed_there() -> None:
    shown = run("tokens", "rotate", PHOTOLOG_SECRET=SECRET)

    assert shown.exit_code == 1
    assert "PHOTOLOG_PREVIOUS_SECRET" in shown.output
    assert SECRET not in shown.output
    both = {"PHOTOLOG_SECRET": SECRET, "PHOTOLOG_PREVIOUS_SECRET": f"{SECRET}, before"}
    shown = run("tokens", "keys", **both)
    assert re.fullmatch(r"\w+  signs\n\w+  verifies\n", shown.output), shown.output


def test_no_token_lives_longer_than_the_setting(tmp_path: Path) -> None:
    longest = {"PHOTOLOG_SECRET": SECRET, "PHOTOLOG_TOKEN_TTL_MAX_S": "86400"}

    refused = run("token", "--ttl", "2d", **longest)

    assert refused.exit_code == 1
    assert "at most 1 day (PHOTOLOG_TOKEN_TTL_MAX_S), not 2 days" in refused.output
    assert run("token", **longest).exit_code == 0  # as long as it may
    assert run("token", "--ttl", "31d", PHOTOLOG_SECRET=SECRET).exit_code == 1


def test_urgent_uploads_need_a_token_with_the_scope(shared_system: System, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg())
    arguments = ("upload", "--priority", "1", str(photo))

    plain = shared_system.photolog(*arguments, "--token", token(shared_system))
    scope = token(shared_system, "--scope", "priority:high")
    scoped = shared_system.photolog(*arguments, "--token", scope)
    photo.write_bytes(jpeg())
    own = shared_system.photolog(*arguments)

    assert plain.returncode != 0
    assert "Priority 1 needs the scope priority:high" in plain.stderr
    assert "--scope NAME" in plain.stderr
    assert scoped.returncode == own.returncode == 0
    assert "unknown scope" in shared_system.photolog("token", "--scope", "all").stderr.lower()


def test_a_link_signs_in_once_as_the_client_of_the_command_line(
    shared_system: System, tmp_path: Path
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg())
    done = shared_system.photolog("upload", str(photo))
    assert done.returncode == 0, done.stderr
    link = shared_system.photolog("link").stdout

    first, second = sign_in(shared_system, link), sign_in(shared_system, link)

    assert link.startswith(f"{shared_system.url}/#ticket=")
    assert (first.status_code, second.status_code) == (200, 401)
    cookies = {COOKIE: first.cookies[COOKIE]}
    photos = httpx.get(f"{shared_system.url}/api/photos", cookies=cookies).json()["items"]
    listed = shared_system.photolog("photos").stdout
    assert photos
    assert all(photo["photoId"] in listed for photo in photos)


def test_history_of_another_clients_photo_hints_at_the_options(
    shared_system: System, tmp_path: Path
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(jpeg())
    sent = shared_system.photolog("upload", "--client", "dora", "--json", "--wait", str(photo))
    found = re.search(r'"photoId":"([^"]+)"', sent.stdout)
    assert found is not None, sent.stdout + sent.stderr

    refused = shared_system.photolog("history", found[1])

    assert refused.returncode == 1
    assert "--client" in refused.stderr
    assert "--role auditor" in refused.stderr
    for hint in (("--client", "dora"), ("--role", "auditor")):
        assert shared_system.photolog("history", found[1], *hint).returncode == 0


def test_no_secret_is_printed_without_a_terminal(shared_system: System) -> None:
    said = shared_system.welcome + shared_system.log.read_text()

    assert "#" not in shared_system.welcome
    assert not re.search(r"[#?&](ticket|token)=|eyJ|\b\d+-[\w-]{32}\b", said)
    assert " link " in shared_system.welcome
    pages = Path("/proc").glob("[0-9]*/cmdline")
    commands = b"".join(_read(page) for page in pages)
    assert read(shared_system.data / "secret")[0].secret not in commands


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def test_on_a_terminal_the_start_shows_a_link_that_signs_in_once(data: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PHOTOLOG, "up", "--port", "0", "--data", str(data)],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    try:
        said = b""
        deadline = time.monotonic() + DEADLINE_S
        while b"Stop" not in said and time.monotonic() < deadline:
            said += os.read(ours, 4096)
        found = re.search(r"Open +((http://\S+)/#ticket=(\S+))", said.decode())
        assert found is not None, said
        headers = {"Origin": found[2]}
        answers = [
            httpx.post(f"{found[2]}/api/login", json={"ticket": found[3]}, headers=headers)
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [200, 401]
        assert answers[0].json()["clientId"] == "local"
        assert answers[0].json()["scopes"] == ["priority:high"]
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        os.close(ours)
