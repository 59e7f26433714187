"""A command that is killed at any step loses and doubles nothing, and the next run finishes it.

Nothing is left over then: the data folder has as many files as after a run that was not killed.
"""

import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.pipeline.job_stages import current_stages
from ops.maintenance import log_ownership
from ops.maintenance.audit import audit
from projections import fold
from projections.rebuild import rebuild
from store.blobs.folder import FolderBlobs
from store.log.log import Log
from store.log.position import Position
from store.redis.connection import Client, connect
from store.sqlite.connection import open_reader
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.forked import Commands, Ended, chosen, kills
from tests.ops.maintenance.recoveries import events, project, reopened
from tests.projections.conftest import live_rows
from tests.servers import valkey
from tests.store.archive.segments import archive_all, dispatch_all
from tests.store.commands import completed, upload

KILLS = kills(4)

PREFIX = "photolog"


@pytest.fixture(scope="module")
def commands() -> Generator[Commands]:
    with Commands() as running:
        yield running


class Machine:
    """A server and a data folder, which can be put back as they were."""

    def __init__(self, redis: Client, url: str, folder: Path, commands: Commands) -> None:
        self.redis: Any = redis
        self.data = folder / "data"
        self.scratch = folder / "scratch"
        self._kept = folder / "kept"
        self._commands = commands
        self._environment = {
            "PHOTOLOG_REDIS_URL": url,
            "PHOTOLOG_DATA": str(self.data),
            "PHOTOLOG_ARCHIVE_SEGMENT_ENTRIES": "8",
            "PHOTOLOG_ARCHIVE_KEEP_S": "0.001",
            "PHOTOLOG_ARCHIVE_KEEP_STATES_S": "0.001",
            "TMPDIR": str(self.scratch),
        }
        self._dumped: dict[bytes, bytes] = {}
        self.scratch.mkdir()

    @property
    def blobs(self) -> FolderBlobs:
        return FolderBlobs(self.data / "blobs", "test")

    @property
    def generations(self) -> Generations:
        return Generations(self.data / "read-model")

    async def log(self) -> Log:
        return await reopened(self.redis, PREFIX, self.blobs)

    async def keep(self) -> None:
        self._dumped = {key: await self.redis.dump(key) async for key in self.redis.scan_iter()}
        shutil.copytree(self.data, self._kept)

    async def put_back(self) -> None:
        await self.redis.flushall()
        for key, dumped in self._dumped.items():
            await self.redis.restore(key, 0, dumped)
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self._kept, self.data)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    async def empty(self) -> None:
        """Leave nothing but the server and a folder for data."""
        await self.redis.flushall()
        shutil.rmtree(self.data)
        self.data.mkdir()

    def run(self, *words: str, at: int = 0) -> Ended:
        return self._commands.run(*words, at=at, environment=self._environment)


@pytest.fixture
async def machine(own_folder: Path, tmp_path: Path, commands: Commands) -> AsyncGenerator[Machine]:
    """A log of two partitions, partly archived and trimmed, with originals and read models."""
    with valkey(own_folder, "--appendfsync", "no") as url:
        redis = connect(url)
        machine = Machine(redis, url, tmp_path, commands)
        log = await Log.open(redis, prefix=PREFIX, partitions=2)
        await log_ownership.check(log, machine.blobs, setting="PHOTOLOG_DATA")
        await work(log, machine.blobs, photos=3)
        await dispatch_all(log)
        await archive_all(log, machine.blobs, keep_s=0.0)
        await project(log, machine.generations)
        await rebuild(log, machine.generations)
        await work(log, machine.blobs, photos=2)
        yield machine
        await redis.aclose()


Hook = Callable[[Machine], Awaitable[None]]


async def nothing(_: Machine) -> None:
    """Begin at once."""


async def work(log: Log, blobs: FolderBlobs, photos: int) -> None:
    """Let two clients, whose partitions differ, upload photos, which are at rest then."""
    for client_id in ("alice", "bob"):
        for _ in range(photos):
            command = upload(client_id=client_id)
            original = command.photo_id.encode()
            command = msgspec.structs.replace(command, file_size=len(original))
            await blobs.put(command.key, original)
            await log.execute(command, client_id=client_id, context=CONTEXT)
            for stage in current_stages(command.pipeline):
                done = completed(command, stage)
                await log.execute(done, client_id=client_id, context=CONTEXT)


class State(msgspec.Struct, frozen=True):
    """The state of a system after a command: kills of earlier runs must not change it."""

    events: dict[int, list[tuple[Position, bytes]]]
    rows: dict[str, list[tuple[Any, ...]]]
    files: Counter[str]


async def state(machine: Machine) -> State:
    log = await machine.log()
    assert (await audit(log)).breaks == []
    return State(
        events=await events(log),
        rows=usable_rows(machine.generations, log.log_id),
        files=files_in(machine.data, machine.scratch),
    )


def usable_rows(generations: Generations, log_id: str) -> dict[str, list[tuple[Any, ...]]]:
    live = generations.current()
    if live is None:
        return {}
    with closing(open_reader(live)) as db:
        assert fold.mismatch(db, log_id) is None
        assert fold.damage(db) is None
    return live_rows(generations)


def files_in(*folders: Path) -> Counter[str]:
    """Count the files in the folders; the names of generations stand for each other.

    An open file of SQLite has two others beside it, as one does whose process was killed.
    """
    names = (
        str(path.relative_to(folder))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not is_beside(path)
    )
    return Counter(re.sub(r"\b[0-9a-f]{12}\.sqlite", "N.sqlite", each) for each in names)


def is_beside(path: Path) -> bool:
    name = re.sub("-(wal|shm)$", "", path.name)
    return name != path.name and path.with_name(name).exists()


async def check(
    machine: Machine, *words: str, whole_meanwhile: bool = True, begin: Hook = nothing
) -> None:
    """Kill the command at some of its steps, let it run again, and compare what it has done.

    ``whole_meanwhile`` says whether log and read model can be used between the two. ``begin``
    prepares each run that is not the first one.
    """
    await machine.keep()
    before = await events(await machine.log()) if whole_meanwhile else {}
    whole = machine.run(*words)
    assert whole.status == 0, whole.output
    expected = await state(machine)
    wrong: list[str] = []
    killed = 0

    for at in chosen(len(whole.steps), KILLS):
        await machine.put_back()
        ended = machine.run(*words, at=at)
        killed += ended.was_killed
        where = f"killed at {at}, {'before' if at % 2 else 'after'} {ended.steps[-1]}"
        if whole_meanwhile:
            found = await state(machine)
            if found.events != before or found.rows != expected.rows:
                wrong.append(f"{where}: the log or the read model has changed")
        await begin(machine)
        again = machine.run(*words)
        if again.status != 0:
            wrong.append(f"{where}: {again.output}")
        else:
            wrong += [f"{where}: {each}" for each in differences(await state(machine), expected)]

    assert killed > 0
    assert not wrong, "\n".join(wrong)


def differences(found: State, expected: State) -> list[str]:
    return [
        *(["other events"] if found.events != expected.events else []),
        *(["other rows"] if found.rows != expected.rows else []),
        *(f"left {each}" for each in found.files - expected.files),
        *(f"no {each}" for each in expected.files - found.files),
    ]


async def free(machine: Machine) -> None:
    """End the lease of the archiver that was killed, which nobody waits for here."""
    for partition in (0, 1):
        await machine.redis.delete((await machine.log()).keys.archiving(partition))


async def test_sealing_and_trimming(machine: Machine) -> None:
    await dispatch_all(await machine.log())
    await check(machine, "log", "archive", begin=free)


async def test_a_verification_of_the_log(machine: Machine) -> None:
    await check(machine, "verify", "--originals")


async def test_a_verification_of_the_read_model(machine: Machine) -> None:
    await check(machine, "projections", "verify")


async def test_a_rebuild(machine: Machine) -> None:
    await project(await machine.log(), machine.generations)
    await check(machine, "projections", "rebuild")


async def test_a_rollback(machine: Machine) -> None:
    await project(await machine.log(), machine.generations)
    await check(machine, "projections", "rollback")


async def test_a_rollback_to_a_kept_generation(machine: Machine) -> None:
    async def is_kept(machine: Machine) -> None:
        assert len(machine.generations.kept()) == 1

    await project(await machine.log(), machine.generations)
    assert machine.run("projections", "rebuild", "--force").status == 0
    await check(machine, "projections", "rollback", begin=is_kept)


async def test_an_export(machine: Machine) -> None:
    async def remove(machine: Machine) -> None:
        (machine.data / "export.tar").unlink(missing_ok=True)

    await check(machine, "log", "export", "--blobs", str(machine.data / "export.tar"), begin=remove)


@pytest.mark.parametrize("partitions", [1, 2, 5])
async def test_an_import(machine: Machine, tmp_path: Path, partitions: int) -> None:
    file = str(tmp_path / "export.tar")
    assert machine.run("log", "export", "--blobs", file).status == 0
    await machine.empty()
    words = "log", "import", "--partitions", str(partitions), file
    await check(machine, *words, whole_meanwhile=False)


async def test_a_recovery(machine: Machine) -> None:
    await project(await machine.log(), machine.generations)
    await machine.redis.flushall()
    await check(machine, "log", "recover", "--yes", whole_meanwhile=False)
