"""An outage is logged once, and so is its end."""

import logging

import pytest

from store.errors import Unavailable
from store.outage import Outage

logger = logging.getLogger("photolog.test")
AWAY = Unavailable("no answer")


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "photolog.test")


def test_each_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logger, "it waits", "it continues")

    outage.over()
    for _ in range(2):
        outage.note(AWAY)
        outage.note(Unavailable("calls are paused"))
        outage.over()
        outage.over()

    assert caplog.messages == 2 * ["it waits: no answer", "it continues"]


def test_a_long_outage_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(logger, "it waits", remind_s=0.0)

    outage.note(AWAY)
    outage.note(AWAY)

    assert caplog.messages == 2 * ["it waits: no answer"]


async def test_the_pauses_of_an_outage_double_up_to_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("anyio.sleep", sleep)
    outage = Outage(logger, "it waits", first_s=1.0)

    for _ in range(4):
        await outage.wait(AWAY, longest_s=5.0)
    await outage.wait(AWAY)
    await outage.wait(AWAY, least_s=30.0)
    outage.over()
    await outage.wait(AWAY, longest_s=5.0)

    assert pauses == [1.0, 2.0, 4.0, 5.0, 1.0, 30.0, 1.0]
