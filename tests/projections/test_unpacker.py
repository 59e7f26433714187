"""The second process of a rebuild ends with the first one, however that ends."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from projections.unpacker import Ended, Unpacker
from projections.unpacking import Unpack
from store.archive.segment import encode
from store.errors import Corrupt
from store.log.archived import Sealed
from store.log.position import LAST_SEQ, Position
from tests.store.archive.segments import LOG_ID, entries

DEADLINE_S = 20.0

START = (0, 0)
END = (2**53, LAST_SEQ)

WORK = """
import anyio
from projections.unpacker import Unpacker

async def run():
    with Unpacker() as unpacker:
        await unpacker.begin([])
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(run)
"""


def segment() -> Sealed:
    found = entries(20)
    data = encode(found, log_id=LOG_ID, partition=0, previous=None)
    return Sealed("one", data, "", Position.of_entry(0, found[-1].entry_id))


def test_it_ends_with_a_process_that_is_killed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    process.kill()

    # Both have the other end of this pipe.
    assert process.communicate(timeout=DEADLINE_S)[1] == b""


async def test_it_ends_with_the_block() -> None:
    with Unpacker() as unpacker:
        await unpacker.begin([])
        process = unpacker.process
        assert process is not None
        assert process.poll() is None

    assert process.poll() is not None
    with pytest.raises(Ended):
        await unpacker.send(Unpack(b"", START, END))
    with pytest.raises(Ended):
        await unpacker.receive(segment())


async def test_it_knows_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOLOG_S3_SECRET_KEY", "a secret")
    with Unpacker() as unpacker:
        await unpacker.begin([])
        await unpacker.send(Unpack(b"no segment", START, END))
        with pytest.raises(Corrupt):  # it has started
            await unpacker.receive(segment())
        assert unpacker.process is not None
        environment = Path(f"/proc/{unpacker.process.pid}/environ").read_bytes()

    assert b"PATH=" in environment
    assert b"a secret" not in environment


async def test_bytes_that_are_no_segment_are_reported() -> None:
    sealed = segment()
    with Unpacker() as unpacker:
        await unpacker.begin([])
        await unpacker.send(Unpack(b"no segment", START, END))
        with pytest.raises(Corrupt, match="segment one"):
            await unpacker.receive(sealed)

        await unpacker.send(Unpack(sealed.data, START, END))
        with pytest.raises(Corrupt, match="differ from its index"):
            await unpacker.receive(sealed)


async def test_a_start_that_was_cancelled_can_be_repeated() -> None:
    with Unpacker() as unpacker:
        with anyio.move_on_after(0.0):
            await unpacker.start()
        unpacker.stop()

        with anyio.fail_after(DEADLINE_S):
            await unpacker.begin([])

        assert unpacker.process is not None
