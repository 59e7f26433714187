"""Run every command that the README shows.

Two things are replaced, which a test cannot use: ``uv run`` runs in the environment of the tests,
and the port is a free one. A line that is one command of Photolog, and ends by itself, runs in this
process; the others run in a shell.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.systems import DEADLINE_S, System, jpeg, run

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text("utf-8")
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
UP = "pip install uv && uv run --no-dev photolog up"
TESTS = "pip install uv && uv run pytest"
ENDLESS = {" watch ": ("Watching ", "photo.uploaded"), "/api/events?": ("event: ready",)}
"""Parts of commands that do not end by themselves, and what their first lines contain."""

LONG = {
    "uv run --no-dev photolog bench": (
        "uv run --no-dev photolog bench --rounds 1 --photos pictures recipe"
    ),
}
"""Commands that take minutes, and a shorter one that a test runs instead: it waits for neither a
system nor a disk."""

ADDRESS = "address.txt"
"""What one command writes and the next one reads: the latter is run after the former."""

COMMAND = ["uv", "run", "--no-dev", "photolog"]

UV = 'uv() { shift; if [ "$1" = --no-dev ]; then shift; fi; exec "$@"; }'
"""Runs in the environment of the tests what ``uv run`` runs in its own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current folder of the reader, with a photo, and a folder with another to import."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "photo.jpg").write_bytes(jpeg())
    (folder / "pictures").mkdir()
    (folder / "pictures" / "photo.jpg").write_bytes(jpeg())
    for name in ("a.jpg", "photolog-data/blobs/b.jpg", "photolog-data/valkey/c", "notes.txt"):
        path = folder / "card" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg() if name.endswith(".jpg") else b"no photo")
    (folder / "card" / "photolog-data" / "secret").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def photo_id(shared_system: System, folder: Path) -> str:
    """A photo of the client that the commands act for."""
    done = shared_system.photolog("upload", "--json", "--wait", str(folder / "photo.jpg"))
    found = re.search(r'"photoId":"([^"]+)"', done.stdout)
    assert found is not None, done.stdout + done.stderr
    return found[1]


@pytest.fixture(scope="module")
def token(shared_system: System) -> str:
    return shared_system.photolog("token", "--client", "alice").stdout.strip()


def test_the_first_two_commands_start_everything_and_run_the_tests() -> None:
    assert LINES[:2] == [UP, TESTS]


@pytest.mark.parametrize("line", LINES[2:])
def test_a_command_of_the_readme_succeeds(
    line: str,
    shared_system: System,
    folder: Path,
    photo_id: str,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = LONG.get(line, line)
    if f"$(cat {ADDRESS})" in line:
        script = "\n".join([*(each for each in LINES if f"> {ADDRESS}" in each), script])
    script = script.replace("http://127.0.0.1:3000", shared_system.url)
    script = script.replace("PHOTO_ID", photo_id).replace("FOLDER", "card")
    words = shlex.split(script)
    if words[: len(COMMAND)] == COMMAND and "watch" not in words and "bench" not in words:
        monkeypatch.chdir(folder)
        own = {"PHOTOLOG_DATA": str(shared_system.data), "XDG_STATE_HOME": str(folder / ".state")}
        done = run(*words[len(COMMAND) :], **own)
        assert done.exit_code == 0, f"{script}: {done.output}"
        if "import" in words:  # the photo of the folder alone
            assert done.stderr.endswith("\n1 skipped, 1 uploaded\n")
        return
    first_lines = next((said for part, said in ENDLESS.items() if part in line), ())
    if " watch " in line:
        script = f"{script} --after 0:0-0"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PHOTOLOG_DATA": str(shared_system.data),
        "PHOTOLOG_DECODERS": "1",
        "TOKEN": token,
    }
    with subprocess.Popen(
        ["bash", "-e", "-c", f"{UV}\n{script}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    ) as bash:
        if first_lines:
            assert bash.stdout is not None
            for said in first_lines:
                assert said in bash.stdout.readline()
            os.killpg(bash.pid, signal.SIGTERM)
            return
        said, _ = bash.communicate(timeout=DEADLINE_S)

    assert bash.returncode == 0, f"{shlex.quote(script)}: {said}"
    assert '"code":' not in said
    assert "Traceback" not in said
