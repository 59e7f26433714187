"""A clock that a test moves."""


class Clock:
    """Gives seconds; stands still until it is moved. ``looks`` counts how often it was asked."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now_s
