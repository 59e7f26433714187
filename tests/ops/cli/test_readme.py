"""Every command that the README shows, run as it stands there.

Two things stand in for what a test cannot use: ``uv run`` is the environment the tests run in, and
the port is a free one.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.systems import DEADLINE_S, System, jpeg

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text("utf-8")
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
UP = "pip install uv && uv run --no-dev photolog up"
TESTS = "pip install uv && uv run pytest"
ENDLESS = {" watch ": ("Watching ", "photo.uploaded"), "/api/events": ("event: ready",)}
"""What does not end by itself, and what its first lines have in them."""

LONG = {
    "uv run --no-dev photolog bench": "uv run --no-dev photolog bench --rounds 1 upload",
}
"""What takes minutes, and the part of it that a test has time for."""

UV = 'uv() { shift; if [ "$1" = --no-dev ]; then shift; fi; exec "$@"; }'
"""Runs in the environment of the tests what ``uv run`` would run in its own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader is: there is a photo."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "photo.jpg").write_bytes(jpeg())
    return folder


@pytest.fixture(scope="module")
def photo_id(shared_system: System, folder: Path) -> str:
    """One of the client that the commands act for."""
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
def test_a_command_of_the_readme_does_its_work(
    line: str, shared_system: System, folder: Path, photo_id: str, token: str
) -> None:
    script = LONG.get(line, line).replace("http://127.0.0.1:3000", shared_system.url)
    script = script.replace("PHOTO_ID", photo_id)
    first_lines = next((said for part, said in ENDLESS.items() if part in line), ())
    if " watch " in line:
        script = f"{script} --after 0:0-0"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PHOTOLOG_DATA": str(shared_system.data),
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
