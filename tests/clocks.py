"""A clock that a test moves."""


class Clock:
    """Gives seconds; stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s
