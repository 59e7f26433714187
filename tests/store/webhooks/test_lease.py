"""The lease on the delivery of webhooks, and what only its holder may note."""

from store.log.log import Log
from store.webhooks.lease import LEASE_S, PARTITION, Lease, Report, read_report
from store.webhooks.progress import (
    KEPT_S,
    Delivery,
    Notes,
    Progress,
    Reached,
    Retry,
    forget,
    read_deliveries,
    read_progress,
)

PROGRESS = Progress(
    reached={0: Reached(ms=5, seq=1, replays=2)},
    delivered=("0:7-0",),
    retries={"0:6-0": Retry(first_ms=1, attempts=2, due_ms=3)},
    waiting_since_ms=6,
)


def delivery(number: int) -> Delivery:
    return Delivery(
        position=f"0:{number}-0",
        type="photo.uploaded",
        attempt=1,
        at_ms=number,
        duration_ms=1,
        outcome="delivered",
        status=200,
        answer="ok",
    )


async def test_one_process_has_the_lease_until_it_gives_it_back_or_it_expires(log: Log) -> None:
    first, second = Lease(log, "first"), Lease(log, "second")

    assert await first.take(Report(behind_ms=7))
    assert not await second.take(Report())
    assert await first.take(Report(behind_ms=8))
    assert await read_report(log) == Report(behind_ms=8)
    assert 0 < await log.redis.pttl(log.keys.webhooks(PARTITION)) <= LEASE_S * 1000

    await second.give_back()
    assert not await second.take(Report())
    await first.give_back()
    assert await read_report(log) is None
    assert await second.take(Report())


async def test_only_the_holder_notes_progress_and_deliveries(log: Log) -> None:
    first, second = Lease(log, "first"), Lease(log, "second")
    notes = Notes(log, "first", deliveries_kept=10)
    assert not await notes.note("w", PROGRESS, delivery(1))

    await first.take(Report())
    assert await notes.note("w", PROGRESS, delivery(2))
    await log.redis.pexpire(log.keys.webhooks(PARTITION), 0)
    await second.take(Report())
    assert not await notes.note("w", Progress(), delivery(3))

    assert await read_progress(log, ["w", "unknown"]) == {"w": PROGRESS}
    assert await read_deliveries(log, "w", 10) == [delivery(2)]
    assert await log.redis.pttl(log.keys.webhook(PARTITION, "w")) > (KEPT_S - 60) * 1000


async def test_the_list_of_deliveries_is_bounded_and_the_newest_come_first(log: Log) -> None:
    await Lease(log, "first").take(Report())
    notes = Notes(log, "first", deliveries_kept=3)
    for number in range(1, 6):
        await notes.note("w", PROGRESS, delivery(number))

    assert await read_deliveries(log, "w", 10) == [delivery(5), delivery(4), delivery(3)]
    assert await read_deliveries(log, "w", 1) == [delivery(5)]

    await forget(log, "w")
    assert await read_deliveries(log, "w", 10) == []
    assert await read_progress(log, ["w"]) == {}


async def test_the_progress_of_many_webhooks_is_read_together(log: Log) -> None:
    await Lease(log, "first").take(Report())
    notes = Notes(log, "first", deliveries_kept=3)
    names = [f"w{number}" for number in range(250)]
    for name in (names[0], names[120], names[-1]):
        await notes.note(name, PROGRESS)

    assert set(await read_progress(log, names)) == {names[0], names[120], names[-1]}
