import json
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ops.process.invocation import program
from tests.ops.conftest import ONE_DECODER
from tests.ops.systems import DEADLINE_S, PHOTOLOG, System, jpeg, photolog, run, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

ROLES = ("valkey", "projector", "worker-1", "archiver", "webhooks", "gateway")


@pytest.fixture(scope="module")
def shared_system(module_system: System) -> System:
    """A system for these tests alone, which kill its processes and read its whole output."""
    return module_system


def _upload(system: System, picture: bytes) -> dict[str, str]:
    file = system.data.parent / "a.jpg"
    file.write_bytes(picture)
    done = system.photolog("upload", "--wait", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_start_shows_address_folder_sign_in_upload_and_how_to_stop(
    shared_system: System,
) -> None:
    assert f"{program()} link --data {shared_system.data}" in shared_system.welcome
    assert str(shared_system.data) in shared_system.welcome
    assert f"{program()} upload --data" in shared_system.welcome
    assert "Ctrl-C" in shared_system.welcome
    assert (shared_system.data / "url").read_text() == shared_system.url

    answer = httpx.get(f"{shared_system.url}/api/photos", headers=shared_system.login())
    assert answer.json()["items"] == []


def test_data_is_unreadable_for_other_users(shared_system: System) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(shared_system.data) == 0o700
    assert mode(shared_system.data / "secret") == 0o600
    assert mode(shared_system.data / "webhook-key") == 0o600
    assert mode(shared_system.data / "valkey" / "valkey.sock") == 0o700
    assert mode(shared_system.data / "valkey") == 0o700


def test_every_killed_role_is_restarted_and_photos_continue(shared_system: System) -> None:
    before = {role: shared_system.pid_of(role) for role in ROLES}
    assert None not in before.values()

    for pid in before.values():
        os.kill(pid or 0, signal.SIGKILL)

    for role, pid in before.items():
        wait_until(lambda r=role, p=pid: shared_system.pid_of(r) not in (None, p), f"a new {role}")
    assert _upload(shared_system, jpeg())["status"] == "completed"
    output = shared_system.log.read_text()
    for role in ROLES:
        assert f"{role} was killed by SIGKILL" in output


def test_callers_wait_while_the_gateway_restarts(shared_system: System) -> None:
    os.kill(shared_system.pid_of("gateway") or 0, signal.SIGKILL)

    answer = httpx.get(f"{shared_system.url}/health/live", timeout=DEADLINE_S)

    assert answer.status_code == 200


def test_a_second_system_on_the_same_folder_names_the_process_of_the_first(
    shared_system: System,
) -> None:
    second = photolog("up", "--data", str(shared_system.data), "--port", "0")

    assert second.returncode == 1
    assert (
        f"already runs on {shared_system.data}, as process {shared_system.process.pid}"
        in second.stderr
    )
    assert "Traceback" not in second.stderr


def test_sigterm_ends_everything_in_order_with_status_0_despite_a_watcher(
    system: System,
) -> None:
    assert len(system.alive()) >= 5
    events = f"{system.url}/api/events?room=client"
    with httpx.stream("GET", events, headers=system.login(), timeout=DEADLINE_S) as watching:
        frames = watching.iter_bytes()
        assert b"ready" in next(frames)

        assert system.stop(signal.SIGTERM) == 0

        assert b"".join(frames) == b""
    assert system.alive() == set()
    assert "Traceback" not in system.log.read_text()
    assert not (system.data / "url").exists()
    assert not (system.data / "valkey" / "valkey.sock").exists()
    assert "did not end within" not in system.log.read_text()
    assert "bye bye" in (system.data / "valkey" / "valkey.log").read_text()


def test_a_signal_stops_a_system_that_is_not_ready_yet(data: Path) -> None:
    with subprocess.Popen(
        [*PHOTOLOG, "up", "--data", str(data), "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as up:
        wait_until((data / "valkey" / "valkey.sock").exists, "something runs")

        up.terminate()

        assert up.communicate(timeout=DEADLINE_S)[0] == "Photolog has stopped.\n"
    assert up.returncode == 0


def test_everything_in_the_data_folder_belongs_to_its_user_alone(shared_system: System) -> None:
    _upload(shared_system, jpeg())
    shared_system.photolog("projections", "rebuild").check_returncode()

    kept = {"blobs", "read-model", "valkey", "originals", "appendonlydir", "current", "secret"}
    open_to_others: list[str] = []
    for path in shared_system.data.rglob("*"):
        kept.discard(path.name)
        with suppress(FileNotFoundError):  # a draft that is gone
            if path.lstat().st_mode & 0o077:
                open_to_others.append(str(path.relative_to(shared_system.data)))
    assert open_to_others == []
    assert kept == set()


def test_a_killed_supervisor_ends_all_processes_and_nothing_is_lost(data: Path) -> None:
    picture = jpeg()
    with System(data, settings={"decoders": "1"}) as system:
        photo = _upload(system, picture)
        assert system.stop(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: not system.alive(), "all processes end")

        system.start()

        again = _upload(system, picture)
        assert again["photoId"] == photo["photoId"]
        assert again["duplicate"]


def test_a_second_ctrl_c_kills_at_once(data: Path) -> None:
    with System(data, settings=ONE_DECODER | {"drain_s": "3600"}) as system:
        gateway = system.pid_of("gateway") or 0
        os.kill(gateway, signal.SIGSTOP)  # so that it ignores SIGTERM

        system.process.send_signal(signal.SIGINT)
        wait_until(lambda: not (system.data / "url").exists(), "the end begins")
        system.process.send_signal(signal.SIGINT)

        system.process.wait(DEADLINE_S)
        wait_until(lambda: not system.alive(), "all processes end")


def test_a_port_in_use_is_named_with_its_setting(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        up = run("up", "--data", str(data), "--port", str(port))

    assert up.exit_code == 1
    assert f"PHOTOLOG_PORT: port {port} of 127.0.0.1 is in use" in up.stderr


def test_an_impossible_data_folder_is_named_with_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    up = run("up", "--data", str(file / "data"), "--port", "0")

    assert up.exit_code == 1
    assert f"PHOTOLOG_DATA: cannot use the folder {file}/data" in up.stderr


def test_a_damaged_log_ends_the_start_with_valkeys_message(data: Path) -> None:
    folder = data / "valkey" / "appendonlydir"
    folder.mkdir(parents=True)
    manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n"
    (folder / "appendonly.aof.manifest").write_text(manifest)
    (folder / "appendonly.aof.1.incr.aof").write_bytes(b"*nonsense\r\n" * 10)

    up = photolog("up", "--data", str(data), "--port", "0")

    assert up.returncode == 1
    assert "Bad file format" in up.stderr
    assert "Valkey ended 5 times" in up.stderr
    assert "Traceback" not in up.stderr


def test_files_in_the_place_of_folders_end_the_start_with_a_reason(data: Path) -> None:
    data.mkdir()
    (data / "blobs").write_text("")

    up = run("up", "--data", str(data), "--port", "0")

    assert up.exit_code == 1
    assert f"cannot use the folder {data}/blobs" in up.stderr


def test_metrics_ports_that_are_too_high_are_rejected_with_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOLOG_METRICS_PORT", "65534")

    up = run("up", "--data", str(tmp_path / "data"), "--port", "0", "--workers", "1")

    assert up.exit_code == 1
    assert "PHOTOLOG_METRICS_PORT must be at most " in up.stderr
