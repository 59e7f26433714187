"""The guide's commands for a recovery, run as written there.

The data folder is another one, and ``photolog up`` is stopped and started by the test where the
guide has ``systemctl``.
"""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.ops.deployment import blocks, section
from tests.ops.maintenance.test_backup import client, run, upload
from tests.ops.systems import System, wait_until

STOP, START = "systemctl stop photolog\n", "systemctl start photolog\n"

SETTINGS = {"decoders": "1"}


def histories(system: System, photo_ids: list[str]) -> dict[str, str]:
    return {each: system.photolog("history", "--json", each).stdout for each in photo_ids}


def is_processed(system: System, photo_id: str) -> bool:
    done = system.photolog("history", photo_id)
    return done.returncode == 0 and "processing.completed" in done.stdout


@pytest.mark.parametrize("has_read_model", [True, False])
def test_a_system_whose_redis_is_gone_is_recovered(
    data: Path, tmp_path: Path, has_read_model: bool
) -> None:
    _, rest = blocks(section("Recover"))[0].split(STOP)
    recovery, check = rest.split(START)
    with System(data, settings=SETTINGS) as system:
        login = system.login()
        sealed = [upload(system, login) for _ in range(2)]
        for each in sealed:
            wait_until(lambda each=each: is_processed(system, each), "it is processed")
        assert system.photolog("log", "archive").returncode == 0
        later = upload(system, login)
        wait_until(lambda: is_processed(system, later), "it is processed")
        before = histories(system, [*sealed, later])
        system.stop(signal.SIGKILL)
        wait_until(lambda: not system.alive(), "everything has ended")
    if not has_read_model:
        shutil.rmtree(data / "read-model")

    done = run(recovery, data=data, backup=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    kept = [*sealed, later] if has_read_model else sealed
    with System(data, settings=SETTINGS) as again:
        checked = run(check, data=data, backup=tmp_path)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        for each in kept:
            wait_until(lambda each=each: is_processed(again, each), "the read model has it")
        assert histories(again, kept) == {each: before[each] for each in kept}
        with client(again, again.login()) as http:
            for each in kept:
                assert http.get(f"/api/photos/{each}/original").is_success
                assert http.get(f"/api/photos/{each}/thumbnails/150").is_success
            assert http.get(f"/api/photos/{later}").is_success == has_read_model
        if has_read_model:
            assert "nothing is known to be lost" in done.stdout
        else:
            assert "no recovered event names it" in done.stdout
            found = again.photolog("reconcile", "--older-than", "1s")
            assert " 1 orphaned" in found.stdout
        new = upload(again, again.login())
        wait_until(lambda: is_processed(again, new), "new photos are processed")
        assert json.loads(again.photolog("verify", "--json").stdout)["breaks"] == []
        rebuilt = again.photolog("projections", "verify")
        assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
