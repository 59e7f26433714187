"""The command loop on its own: when it loads again, retries and gives up."""

from collections.abc import Sequence

import pytest

from domain.photo.events import FIRST_PREV
from store.errors import Unavailable
from store.log.chain import Chained, chained_for
from store.log.command_loop import CONFLICTS_AT_ONCE, run
from store.log.outcome import Loaded
from tests.conftest import CONTEXT
from tests.store.commands import upload

NO_EVENTS = Chained(events=(), bodies=(), digest=FIRST_PREV)
EVENTS = chained_for(upload(), "alice", Loaded(), CONTEXT, None, may_be_done=False)


class Steps:
    """Loads, decides and appends as scripted, and notes each step."""

    def __init__(
        self,
        decisions: Sequence[Chained | Exception],
        results: Sequence[str | Exception | None] = (),
    ) -> None:
        self.notes: list[str] = []
        self._decisions = iter(decisions)
        self._results = iter(results)

    async def run(
        self, *, known: str | None = None, every_load_is_safe: bool = False, patience_s: float = 5.0
    ) -> str:
        return await run(
            self.load,
            self.decide,
            self.append,
            known=known,
            every_load_is_safe=every_load_is_safe,
            doubt=lambda: self.notes.append("doubt"),
            subject="this photo",
            patience_s=patience_s,
        )

    async def load(self, safe: bool) -> str:
        self.notes.append("load safe" if safe else "load")
        return "state"

    def decide(self, _state: str, may_be_done: bool) -> Chained:
        self.notes.append("decide, may be done" if may_be_done else "decide")
        decision = next(self._decisions)
        if isinstance(decision, Exception):
            raise decision
        return decision

    async def append(self, _state: str, _chained: Chained) -> str | None:
        self.notes.append("append")
        result = next(self._results)
        if isinstance(result, Exception):
            raise result
        return result


async def test_events_are_appended_on_a_state_that_is_not_safe() -> None:
    steps = Steps([EVENTS], ["done"])

    assert await steps.run() == "done"
    assert steps.notes == ["load", "decide", "append"]


async def test_a_known_state_saves_the_first_load_alone() -> None:
    steps = Steps([EVENTS, EVENTS], [None, "done"])

    assert await steps.run(known="state") == "done"
    assert steps.notes == ["decide", "append", "load", "decide", "append"]


async def test_a_decision_without_events_counts_only_on_a_safe_state() -> None:
    steps = Steps([NO_EVENTS, NO_EVENTS], ["unchanged"])

    assert await steps.run() == "unchanged"
    assert steps.notes == ["load", "decide", "load safe", "decide", "append"]


async def test_a_rejection_counts_only_on_a_safe_state() -> None:
    steps = Steps([ValueError("stale"), ValueError("safe")])

    with pytest.raises(ValueError, match="safe"):
        await steps.run()
    assert steps.notes == ["load", "decide", "load safe", "decide"]


async def test_without_replicas_to_wait_for_one_load_is_enough() -> None:
    steps = Steps([ValueError("safe")])

    with pytest.raises(ValueError, match="safe"):
        await steps.run(every_load_is_safe=True)
    assert steps.notes == ["load", "decide"]


async def test_after_a_lost_reply_the_command_may_be_done() -> None:
    steps = Steps([EVENTS, EVENTS], [Unavailable("lost"), "done"])

    assert await steps.run() == "done"
    assert steps.notes == [
        "load",
        "decide",
        "append",
        "doubt",
        "load",
        "decide, may be done",
        "append",
    ]


async def test_without_patience_a_lost_reply_is_not_retried() -> None:
    steps = Steps([EVENTS], [Unavailable("lost")])

    with pytest.raises(Unavailable, match="lost"):
        await steps.run(patience_s=0.0)
    assert steps.notes[-1] == "doubt"


async def test_endless_conflicts_end_with_the_patience() -> None:
    tries = CONFLICTS_AT_ONCE + 1
    steps = Steps([EVENTS] * tries, [None] * tries)

    with pytest.raises(Unavailable, match="too many concurrent updates to this photo"):
        await steps.run(patience_s=0.0)
    assert steps.notes.count("append") == tries
