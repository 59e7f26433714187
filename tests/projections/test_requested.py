"""A rebuild that an operator requests: the projector does it and records its progress."""

import anyio
import pytest

from domain.pipeline.rebuilds import RebuildCompleted, RebuildProgressed, RequestRebuild
from projections import fold, requested
from projections.projector import Projector
from projections.verify import verify
from store.log.control import ControlLog
from store.log.log import Log
from store.sqlite.generations import Generations
from tests.conftest import CONTEXT
from tests.projections.conftest import DEADLINE_S, execute, reached, running, until
from tests.projections.stories import SCRIPT
from tests.projections.test_kept_generations import live


async def types(log: Log) -> list[str]:
    """Return how the types of the events about rebuilds end."""
    found = [each.event.type async for each in log.scan(0)]
    return [each.rpartition(".")[2] for each in found if each.startswith("projections.")]


async def ask(log: Log) -> None:
    await ControlLog(log).execute(RequestRebuild(reason="a new disk"), CONTEXT)


async def test_the_projector_rebuilds_on_request_and_records_it(
    log: Log, projector: Projector, generations: Generations
) -> None:
    await execute(log, *SCRIPT)
    async with running(projector):
        await reached(log, generations)
        old = live(generations)
        await ask(log)
        await until(lambda: live(generations) != old, "the rebuild")
        await until_recorded(log, "completed")
        await reached(log, generations)

    assert (await verify(log, generations)).equal
    events = [each.event.data async for each in log.scan(0)]
    (done,) = [each for each in events if isinstance(each, RebuildCompleted)]
    assert (done.generation, done.differing) == (live(generations).name, ())


async def test_a_log_with_an_objection_is_not_folded_again(
    log: Log, generations: Generations
) -> None:
    async def broken(_: Log) -> str:
        return "the log is broken"

    await execute(log, *SCRIPT)
    async with running(Projector(log, generations, objection=broken)):
        await reached(log, generations)
        old = live(generations)
        await ask(log)
        await until_recorded(log, "failed")

    assert live(generations) == old


async def test_progress_is_recorded_in_steps(
    log: Log, projector: Projector, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "BATCH", 1)
    monkeypatch.setattr(requested, "LOOK_S", 0.001)
    for _ in range(3):
        await execute(log, *SCRIPT)
    await projector.catch_up()

    await requested.rebuild_as_requested(log, generations, requested.no_objection)

    events = [each.event.data async for each in log.scan(0)]
    steps = [each for each in events if isinstance(each, RebuildProgressed)]
    percents = [step.percent for step in steps]
    assert percents == sorted(percents)
    assert all(step.events > 0 and 0 < step.percent < 100 for step in steps)
    assert (await types(log))[-1] == "completed"


async def until_recorded(log: Log, ending: str) -> None:
    with anyio.fail_after(DEADLINE_S):
        while ending not in await types(log):
            await anyio.sleep(0.01)
