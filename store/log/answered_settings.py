"""How much of its answers a process remembers, and the defaults."""

import msgspec


class AnsweredSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers one process remembers, divided equally among its partitions, and how often
    it checks that the log still has them."""

    answers_remembered: int = 10_000
    answers_checked_s: float = 2.0
