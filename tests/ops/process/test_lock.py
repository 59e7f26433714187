import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ops.process.lock import StartFailed, alone, base_url, listen, locked, named, reachable


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_one_holder_locks_a_folder_at_a_time(data: Path) -> None:
    message = f"as process {os.getpid()}"
    with locked(data), pytest.raises(StartFailed, match=message), locked(data):
        pass
    with locked(data):
        pass


def test_processes_of_a_killed_supervisor_still_hold_the_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.process.lock.TAKEOVER_S", 0.1)
    data.mkdir()
    with (data / "lock").open("w") as left:
        left.write(str(_dead_pid()))
        left.flush()
        fcntl.flock(left, fcntl.LOCK_EX)

        with pytest.raises(StartFailed, match="of a killed Photolog still use"), locked(data):
            pass

    with locked(data):
        assert (data / "lock").read_text() == str(os.getpid())


def test_a_name_is_used_again_once_its_process_has_ended(data: Path) -> None:
    with named(data, "log-archive") as first, named(data, "log-archive") as second:
        assert (first, second) == ("log-archive-1", "log-archive-2")
    with named(data, "log-archive") as third:
        assert third == first


def test_a_command_that_runs_alone_in_a_folder_refuses_another_one(data: Path) -> None:
    with (
        alone(data, "log-import", "photolog log import"),
        pytest.raises(StartFailed, match="another `photolog log import` runs on"),
        alone(data, "log-import", "photolog log import"),
    ):
        pass
    with alone(data, "log-import", "photolog log import") as name:
        assert name == "log-import"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1", "::"])
def test_this_machine_reaches_a_listening_socket(host: str) -> None:
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener:
        with socket.create_connection(reachable(listener), timeout=5):
            pass
        assert base_url(listener).startswith(("http://127.0.0.1:", "http://[::1]:"))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("no.such.host.invalid", "PHOTOLOG_HOST: no.such.host.invalid has no address"),
        ("203.0.113.1", "PHOTOLOG_HOST, PHOTOLOG_PORT: cannot listen on port 0 of 203.0.113.1"),
    ],
)
def test_an_address_of_another_machine_is_named_with_its_setting(host: str, message: str) -> None:
    with pytest.raises(StartFailed) as error:
        listen(host, 0)

    assert str(error.value).startswith(message)
