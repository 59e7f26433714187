"""A clock that a test moves."""


class Clock:
    """Return seconds that change only when a test moves them; ``looks`` counts the calls."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now_s
