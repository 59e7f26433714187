"""The loop that every command goes through: load the state, decide, append, retry on conflict."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from store.errors import Unavailable
from store.log.chain import Chained

PATIENCE_S = 10.0
"""How long a command is retried while Redis does not answer."""

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0

CONFLICTS_AT_ONCE = 10
"""Conflicts after which a command pauses before each further try."""

S = TypeVar("S")
R = TypeVar("R")


async def run(
    load: Callable[[bool], Awaitable[S]],
    decide: Callable[[S, bool], Chained],
    append: Callable[[S, Chained], Awaitable[R | None]],
    *,
    known: S | None = None,
    every_load_is_safe: bool,
    doubt: Callable[[], None],
    subject: str,
    patience_s: float,
) -> R:
    """Load, decide, append; start over if another command came between.

    | step | what it does |
    |---|---|
    | ``load(safe)`` | returns the state, with ``safe`` only once no failover can take it back |
    | ``decide(state, may_be_done)`` | returns the events, or raises if it rejects the command |
    | ``append(state, chained)`` | returns the result, or None on a conflict |

    The first decision is on ``known``, if given, which may be out of date. An append is checked
    against the log, so it may rest on a state that is not safe. Nothing checks a rejection or an
    empty decision: either counts only on a safe state, which is loaded for it.

    ``may_be_done`` says that the reply to an earlier append was lost. ``doubt`` is called whenever
    Redis does not answer. ``subject`` names, in an error, what the command changes.

    Raises:
        Unavailable: Redis did not answer within ``patience_s``, or too many other commands came
            between; the outcome is unknown.
    """
    give_up = time.monotonic() + patience_s
    pause_s, conflicts = FIRST_PAUSE_S, 0
    state, wants_safe, is_safe = known, False, False
    is_sent = may_be_done = False
    while True:
        try:
            if state is None:
                state = await load(wants_safe)
                is_safe = wants_safe or every_load_is_safe
            chained = _decided(decide, state, is_safe=is_safe, may_be_done=may_be_done)
            if chained is None:
                state, wants_safe = None, True
                continue
            is_sent = True
            result = await append(state, chained)
            is_sent = False
            if result is not None:
                return result
            conflicts += 1
        except Unavailable:
            doubt()
            may_be_done = may_be_done or is_sent
            if time.monotonic() + pause_s > give_up:
                raise
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        if conflicts > CONFLICTS_AT_ONCE:
            if time.monotonic() > give_up:
                raise Unavailable(f"too many concurrent updates to {subject}; retry later")
            await anyio.sleep(pause_s)
        state = None


def _decided(
    decide: Callable[[S, bool], Chained], state: S, *, is_safe: bool, may_be_done: bool
) -> Chained | None:
    """Return what was decided; None if it counts only on a safe state, and this one is not."""
    try:
        chained = decide(state, may_be_done)
    except Exception:  # a requirement has errors of its own
        if is_safe:
            raise
        return None
    return chained if chained.events or is_safe else None
