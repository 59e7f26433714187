"""A compromised decoder cannot escape its sandbox, and honest decoding still works in it."""

import platform
import socket
import subprocess
import sys
import zlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from domain.photo.results import ORIGINAL, MetadataResult
from handlers.decoder import landlock, seccomp
from handlers.decoder.pool import DecoderPool
from handlers.decoder.settings import Sandbox
from handlers.registry import STAGES
from handlers.stage import Output, StageFailure
from tests.handlers.hostile_stages import ATTACKS, LIES, Tried
from tests.handlers.imaging.metadata.files import (
    Entry,
    chunk,
    dataset,
    exif_segment,
    iptc_segment,
    jpeg,
    png,
    tiff,
    xmp,
    xmp_segment,
)
from tests.handlers.pictures import encoded, gradient
from tests.servers import LONG

REGISTRY = "tests.handlers.hostile_stages:TABLE"

OF_THE_SAME_USER = Sandbox(user="")
"""The harder case: file permissions then protect nothing from a decoder."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox exists only on Linux")

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
"""Also stopped by limits and dropped privileges, or meaningless without a filter."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """A data folder that a decoder must not reach, and a module that gives its path to attacks."""
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
async def confined(targets: Path) -> AsyncGenerator[DecoderPool]:
    assert targets.exists()
    async with DecoderPool(count=1, registry=REGISTRY, sandbox=OF_THE_SAME_USER) as pool:
        yield pool


async def run(pool: DecoderPool, stage: str, photo: Path, of: str = "") -> Output:
    affinity = of or f"{stage} {photo}"  # a new photo, so that the file is sent
    return await pool.run(stage=stage, affinity=affinity, source=photo, timeout_s=30)


async def refusal(pool: DecoderPool, attack: str, photo: Path) -> str | None:
    """Run the attack; return how it was stopped, None if it succeeded."""
    try:
        result = (await run(pool, attack, photo)).result
    except StageFailure as failure:
        return failure.code
    assert isinstance(result, Tried)
    return result.refused


@on_linux
@pytest.mark.parametrize("attack", NAMES)
async def test_no_attack_by_a_decoder_succeeds(
    confined: DecoderPool, targets: Path, attack: str
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
async def test_the_same_attacks_succeed_without_a_sandbox(targets: Path) -> None:
    """Otherwise the test above could pass because an attack does not work."""
    nothing = Sandbox(seccomp=False, landlock=False, user="")
    async with DecoderPool(count=1, registry=REGISTRY, sandbox=nothing) as pool:
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
        pytest.skip("this kernel has no Landlock with network rules")
    alone = Sandbox(seccomp=False, user="")

    async with DecoderPool(count=1, registry=REGISTRY, sandbox=alone) as pool:
        assert pool.confinement.missing[:1] == ("seccomp",)
        assert await refusal(pool, attack, targets) == "PermissionError"


@pytest.mark.parametrize("lie", LIES)
async def test_an_invalid_answer_is_rejected(
    confined: DecoderPool, targets: Path, lie: str
) -> None:
    with pytest.raises(StageFailure) as failed:
        await run(confined, lie, targets)

    assert failed.value.code == LIES[lie][0]
    assert (await run(confined, "validation", targets)).result is not None


def some_of_each_format(photos: Path) -> list[Path]:
    """Return the smallest file of each folder and format; with LONG_TESTS all files."""
    files = [each for each in sorted(photos.glob("*/*.*")) if each.parent.name != "hostile"]
    if LONG:
        return files
    files.sort(key=lambda each: each.stat().st_size, reverse=True)
    return [*{(each.parent, each.suffix): each for each in files}.values()]


@pytest.mark.parametrize("sandbox", [Sandbox(), OF_THE_SAME_USER])
async def test_all_formats_are_decoded_in_the_sandbox(photos: Path, sandbox: Sandbox) -> None:
    originals = [name for name, stage in STAGES.items() if stage.needs == ORIGINAL]

    async with DecoderPool(count=1, sandbox=sandbox) as pool:
        for file in some_of_each_format(photos):
            for stage in originals:
                assert (await run(pool, stage, file, of=file.name)).result is not None
        assert not pool.restarts
        if sys.platform == "linux":
            assert {"seccomp", "no-new-privileges"} <= set(pool.confinement.active)


ODD_METADATA = {
    "texts of every character set": jpeg(
        exif_segment(tiff({0x010E: Entry(2, 6, "Größe".encode("latin-1") + b"\0")})),
        xmp_segment(xmp(dc_title="Größe").decode().replace("\ufeff", "").encode("utf-16")),
        iptc_segment(dataset(1, 90, b"\x1b-L") + dataset(2, 120, "Москва".encode("iso8859-5"))),
    ),
    "an encoding that is not loaded": jpeg(
        xmp_segment(b'<?xml version="1.0" encoding="cp037"?><x:xmpmeta></x:xmpmeta>')
    ),
    "an entity": jpeg(
        xmp_segment(b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + xmp(dc_title="&b;"))
    ),
    "a deep packet": jpeg(xmp_segment(xmp("<dc:a>" * 9_000))),
    "a bomb": png(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1 << 26)))),
}


@pytest.mark.parametrize("data", ODD_METADATA.values(), ids=ODD_METADATA)
async def test_odd_metadata_neither_leaves_the_sandbox_nor_ends_it(
    tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "photo"
    file.write_bytes(data)

    async with DecoderPool(count=1, sandbox=OF_THE_SAME_USER) as pool:
        output = await run(pool, "metadata", file)
        assert isinstance(output.result, MetadataResult)
        assert output.result.width == 16
        assert not pool.restarts


async def test_decoding_continues_and_reports_what_the_kernel_lacks(
    targets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with DecoderPool(count=1, sandbox=Sandbox(seccomp=False, landlock=False)) as pool:
        assert (await run(pool, "validation", targets)).result is not None

        assert {"seccomp", "landlock"} <= set(pool.confinement.missing)
    assert "seccomp" in caplog.text


def test_a_machine_without_tables_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    assert not seccomp.install(alone=True, limits_itself=False)


@on_linux
def test_the_filter_applies_to_all_threads() -> None:
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
