"""The checker finds wrong and missing deliveries to a watcher."""

import copy
from typing import Any

import pytest

from tests.system.checker import Entry, Findings
from tests.system.ledger import UPLOAD_AND_PROCESSING, Ledger
from tests.system.watchers import Watcher


def wire(entry: Entry) -> dict[str, Any]:
    return copy.deepcopy(entry.event) | {"id": entry.position}


@pytest.fixture
async def found(ledger: Ledger) -> Findings:
    """Two photos of alice."""
    for _ in range(2):
        await ledger.process(await ledger.upload())
    return await ledger.examined()


@pytest.fixture
def watcher(found: Findings) -> Watcher:
    """A watcher that has seen everything correctly."""
    seen = [wire(entry) for entry in found.entries[0]]
    return Watcher("w", "client:alice", begin={"0": "0:0-0"}, seen=seen)


def mistake(what: str, count: int, *positions: str) -> list[str]:
    return [f"w in client:alice {what}: {count}, as {', '.join(positions)}"]


async def test_a_watcher_that_has_seen_all_finds_no_mistakes(
    found: Findings, watcher: Watcher
) -> None:
    assert len(watcher.seen) == 2 * UPLOAD_AND_PROCESSING
    assert watcher.mistakes(found.entries) == []


async def test_events_before_its_entry_are_not_missed(found: Findings, watcher: Watcher) -> None:
    watcher.begin = {"0": watcher.seen[2]["id"]}
    watcher.seen = watcher.seen[3:]

    assert watcher.mistakes(found.entries) == []


@pytest.mark.parametrize("number", [0, 7, -1])
async def test_a_missed_event_is_found(found: Findings, watcher: Watcher, number: int) -> None:
    missed = watcher.seen.pop(number)["id"]

    assert watcher.mistakes(found.entries) == mistake("missed events", 1, missed)


async def test_a_duplicate_event_is_found(found: Findings, watcher: Watcher) -> None:
    again = watcher.seen[3]
    watcher.seen.insert(3, again)

    assert watcher.mistakes(found.entries) == mistake(
        "received events more than once", 1, again["id"]
    )


async def test_events_out_of_order_are_found(found: Findings, watcher: Watcher) -> None:
    watcher.seen[3], watcher.seen[4] = watcher.seen[4], watcher.seen[3]

    assert watcher.mistakes(found.entries) == mistake(
        "received events out of order", 1, watcher.seen[4]["id"]
    )


async def test_an_event_that_the_log_does_not_have_is_found(
    found: Findings, watcher: Watcher
) -> None:
    made_up = copy.deepcopy(watcher.seen[-1]) | {"id": "0:99999999999999-0"}
    watcher.seen.append(made_up)

    assert watcher.mistakes(found.entries) == mistake(
        "received events that are not in the log", 1, made_up["id"]
    )


@pytest.mark.parametrize("name", ["prev", "photoVersion"])
async def test_another_event_than_the_one_at_its_position_is_found(
    found: Findings, watcher: Watcher, name: str
) -> None:
    watcher.seen[5]["metadata"][name] = "another"

    assert watcher.mistakes(found.entries) == mistake(
        "received events that are not in the log", 1, watcher.seen[5]["id"]
    )


async def test_an_event_of_another_room_is_found(found: Findings, watcher: Watcher) -> None:
    watcher.room = "client:bob"
    watcher.seen = watcher.seen[:1]

    [line] = watcher.mistakes(found.entries)

    assert "of other rooms" in line


async def test_a_resumption_that_was_not_recovered_is_found(
    found: Findings, watcher: Watcher
) -> None:
    watcher.note_start("0:7-0", {"recovered": True, "position": "0:7-0"})
    watcher.note_start("0:8-0", {"recovered": False, "position": "0:9-0"})

    problem = "w: resuming client:alice after 0:8-0 was not recovered (begins at 0:9-0)"
    assert watcher.mistakes(found.entries) == [problem]


async def test_a_room_of_all_has_each_partition_in_its_own_order(ledger: Ledger) -> None:
    await ledger.process(await ledger.upload())
    entries = (await ledger.examined()).entries
    other = [entry._replace(position=f"1:{entry.position[2:]}") for entry in entries[0]]
    seen = [wire(entry) for entry in [*other, *entries[0]]]
    watcher = Watcher("w", "global", begin={"0": "0:0-0", "1": "1:0-0"}, seen=seen)

    assert watcher.mistakes([*entries, other]) == []
