"""The guide's commands for backup and restore, run as written there.

Two things stand in for what a test cannot use: the folders are others, and ``photolog up`` is
started by the test where the guide has ``systemctl``.
"""

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from tests.ops.deployment import blocks, section
from tests.ops.systems import DEADLINE_S, System, jpeg

START = "systemctl start photolog\n"

PAUSE_S = 0.2
"""Between two uploads during the backup: they shall not take its processor."""

AUDIT = """\
set -- $(grep '^anchor ' "$BACKUP/anchor")
photolog verify --data "$BACKUP" --anchor "$2" --upto "$5"
"""


def test_a_backup_of_a_running_system_is_restored_completely(
    system: System, tmp_path: Path
) -> None:
    backup, restored = tmp_path / "backup", system.data.parent / "restored"
    login = system.login()
    photo_ids = [upload(system, login) for _ in range(3)]
    enough = threading.Event()

    def go_on() -> None:
        while not enough.wait(PAUSE_S):
            upload(system, login)

    busy = threading.Thread(target=go_on)
    busy.start()
    try:
        rewrite(system)
        done = run(*blocks(section("Back up")), data=system.data, backup=backup)
    finally:
        enough.set()
        busy.join()
    assert done.returncode == 0, done.stdout + done.stderr
    system.stop()

    audited = run(AUDIT, data=system.data, backup=backup)
    assert audited.returncode == 0, audited.stdout + audited.stderr

    copy, check = blocks(section("Restore"))[0].split(START)
    done = run(copy, data=restored, backup=backup)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (restored / "read-model").exists()
    with System(restored, settings={"decoders": "1"}) as again:
        done = run(check, data=restored, backup=backup)
        assert done.returncode == 0, done.stdout + done.stderr
        anchor = (backup / "anchor").read_text().splitlines()[-1]
        assert re.fullmatch(r"anchor [0-9a-f]{64}  up to 0:\d+-\d+", anchor)
        assert f"\n{anchor}\n" in done.stdout
        assert " 0 of them missing" in done.stdout
        with client(again, again.login()) as http:
            for photo_id in photo_ids:
                assert http.get(f"/api/photos/{photo_id}/original").is_success

        other = "f" if anchor[7] != "f" else "0"
        (backup / "anchor").write_text(f"anchor {other}{anchor[8:]}\n")
        assert run(check, data=restored, backup=backup).returncode != 0


def upload(system: System, login: dict[str, str]) -> str:
    """Upload a photo, and return its id."""
    with client(system, login) as http:
        answer = http.post("/api/photos/upload", files={"file": ("a.jpg", jpeg())})
    assert answer.status_code == 201, answer.text
    return answer.json()["photoId"]


def client(system: System, login: dict[str, str]) -> httpx.Client:
    return httpx.Client(base_url=system.url, headers=login, timeout=DEADLINE_S)


def rewrite(system: System) -> None:
    """Make the server begin to rewrite its file."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(str(system.data / "valkey" / "valkey.sock"))
        connection.sendall(b"BGREWRITEAOF\r\n")
        assert connection.recv(100).startswith(b"+Background")


def run(*scripts: str, data: Path, backup: Path) -> "subprocess.CompletedProcess[str]":
    """Run the commands with these folders instead of those that they name."""
    folders = f"DATA={data}\nBACKUP={backup}\n"
    script = re.sub(r"^(DATA|BACKUP)=.*\n", "", "".join(scripts), flags=re.MULTILINE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", folders + script],
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_S,
        env={**os.environ, "PATH": path},
    )
