"""What a decoder that has been taken over can still do, and that honest decoding goes on."""

import platform
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from handlers.decoder import landlock, seccomp
from handlers.decoder.pool import Children
from handlers.decoder.sandbox import Sandbox
from handlers.registry import ORIGINAL, STAGES
from handlers.stage import Output, StageFailure
from tests.handlers.hostile_stages import ATTACKS, LIES, Tried
from tests.handlers.pictures import encoded, gradient

REGISTRY = "tests.handlers.hostile_stages:TABLE"

OF_THE_SAME_USER = Sandbox(user="")
"""The harder case: permissions of files then keep nothing from a decoder."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox but Linux's")

NAMES = [attack.__name__ for attack in ATTACKS]
POINTLESS_WITHOUT = {
    *(
        "trace_the_worker",
        "become_dumpable",
        "write_into_the_photo",
        "call_by_another_architecture",
    ),
    *("run_a_program", "execute_a_descriptor", "load_a_bpf_program", "set_up_io_uring"),
    *("delete_the_secret", "write_a_file", "raise_the_file_limit", "set_up_userfaultfd"),
    *("leave_the_namespaces", "open_beside_the_photo", "open_the_workers_memory"),
    *("read_the_workers_environment", "limit_the_worker", "read_the_workers_memory"),
}
"""Refused by limits and lost privileges too, or of no meaning without a filter."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A data folder with all that a decoder must not reach, and where an attack finds it."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "secret").write_text("s" * 43)
    (folder / "secret.bak").write_text("s" * 43)
    photos = folder / "blobs"
    photos.mkdir()
    (photos / "photo.png").write_bytes(encoded(gradient(200, 100), "PNG"))
    modules = tmp_path_factory.mktemp("modules")
    with socket.socket(socket.AF_UNIX) as log, socket.create_server(("127.0.0.1", 0)) as tcp:
        log.bind(f"{folder}/s")
        log.listen()
        (modules / "attack_targets.py").write_text(
            f"SECRET = {f'{folder}/secret'!r}\nFOLDER = {str(folder)!r}\n"
            f"SOCKET = {f'{folder}/s'!r}\nPORT = {tcp.getsockname()[1]}\n"
        )
        sys.path.insert(0, str(modules))
        yield photos / "photo.png"
        sys.path.remove(str(modules))


@pytest.fixture(scope="module")
async def confined(targets: Path) -> AsyncGenerator[Children]:
    assert targets.exists()
    async with Children(count=1, registry=REGISTRY, sandbox=OF_THE_SAME_USER) as pool:
        yield pool


async def run(pool: Children, stage: str, photo: Path, of: str = "") -> Output:
    affinity = of or f"{stage} {photo}"  # so that the file is handed over anew
    return await pool.run(stage=stage, affinity=affinity, source=photo, timeout_s=30)


async def refusal(pool: Children, attack: str, photo: Path) -> str | None:
    """How the attack was stopped; None if it came through."""
    try:
        result = (await run(pool, attack, photo)).result
    except StageFailure as failure:
        return failure.code
    assert isinstance(result, Tried)
    return result.refused


@on_linux
@pytest.mark.parametrize("attack", NAMES)
async def test_no_attack_of_a_decoder_comes_through(
    confined: Children, targets: Path, attack: str
) -> None:
    before = sorted(path.name for path in targets.parent.parent.iterdir())

    assert await refusal(confined, attack, targets) in {
        "PermissionError",
        "forbidden-call",
        "OSError",
    }

    assert sorted(path.name for path in targets.parent.parent.iterdir()) == before
    assert (await run(confined, "validation", targets)).result is not None


@on_linux
async def test_the_same_attacks_come_through_where_nothing_confines(targets: Path) -> None:
    """So that the test above does not pass because an attack is a bad one."""
    nothing = Sandbox(seccomp=False, landlock=False, user="")
    async with Children(count=1, registry=REGISTRY, sandbox=nothing) as pool:
        stopped = {
            name: how
            for name in NAMES
            if name not in POINTLESS_WITHOUT
            and (how := await refusal(pool, name, targets)) is not None
        }

    assert not stopped


@on_linux
@pytest.mark.parametrize("attack", ["open_the_secret", "list_the_data_folder", "connect_over_tcp"])
async def test_landlock_alone_closes_the_file_system_and_tcp(targets: Path, attack: str) -> None:
    if landlock.version() < 4:
        pytest.skip("this kernel has no Landlock, or one that knows no network")
    alone = Sandbox(seccomp=False, user="")

    async with Children(count=1, registry=REGISTRY, sandbox=alone) as pool:
        assert pool.confinement.missing[:1] == ("seccomp",)
        assert await refusal(pool, attack, targets) == "PermissionError"


@pytest.mark.parametrize("lie", LIES)
async def test_an_answer_that_no_stage_gives_is_not_believed(
    confined: Children, targets: Path, lie: str
) -> None:
    with pytest.raises(StageFailure) as failed:
        await run(confined, lie, targets)

    assert failed.value.code == LIES[lie][0]
    assert (await run(confined, "validation", targets)).result is not None


@pytest.mark.parametrize("sandbox", [Sandbox(), OF_THE_SAME_USER])
async def test_all_formats_are_decoded_within(photos: Path, sandbox: Sandbox) -> None:
    files = [each for each in sorted(photos.glob("*/*.*")) if each.parent.name != "hostile"]
    originals = [name for name, stage in STAGES.items() if stage.needs == ORIGINAL]

    async with Children(count=1, sandbox=sandbox) as pool:
        for file in files:
            for stage in originals:
                assert (await run(pool, stage, file, of=file.name)).result is not None
        assert not pool.restarts
        if sys.platform == "linux":
            assert {"seccomp", "no-new-privileges"} <= set(pool.confinement.active)


async def test_where_the_kernel_offers_less_decoding_goes_on_and_it_is_told(
    targets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Children(count=1, sandbox=Sandbox(seccomp=False, landlock=False)) as pool:
        assert (await run(pool, "validation", targets)).result is not None

        assert {"seccomp", "landlock"} <= set(pool.confinement.missing)
    assert "seccomp" in caplog.text


def test_a_machine_without_tables_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    assert not seccomp.install(alone=True, limits_itself=False)


@on_linux
def test_the_filter_is_that_of_all_threads() -> None:
    program = """
import ctypes, threading
from handlers.decoder import seccomp
closed, found = threading.Event(), []
def look():
    closed.wait()
    try:
        open("/etc/hostname")
    except OSError as error:
        found.append(type(error).__name__)
thread = threading.Thread(target=look)
thread.start()
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
assert seccomp.install(alone=False, limits_itself=False)
closed.set()
thread.join()
assert found == ["PermissionError"], found
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
