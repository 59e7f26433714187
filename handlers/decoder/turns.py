"""Track the decoder time of clients, by which they take turns for a worker's decoders.

The client that has used the least time is next. A client that arrives starts at the least usage of
the others: nobody saves up time while away, and nobody pays for work that delayed no one.

These turns order the tasks that this worker has claimed; ``store.queue.turns`` decides which tasks
it claims.
"""

from collections import Counter


class ClientUsage:
    """Decoder time by client, for the clients that have tasks here."""

    def __init__(self) -> None:
        self._used_s: dict[str, float] = {}
        self._expected_s: dict[str, float] = {}
        self._tasks: Counter[str] = Counter()

    def add(self, client: str) -> None:
        """Add a waiting task of the client."""
        if client not in self._tasks:
            floor = min((self._used_s[each] for each in self._tasks), default=0.0)
            # Forget the clients without tasks that would start at the floor anyway.
            self._used_s = {
                each: used
                for each, used in self._used_s.items()
                if each in self._tasks or used > floor
            }
            self._used_s.setdefault(client, floor)
        self._tasks[client] += 1

    def remove(self, client: str) -> None:
        """Remove a task of the client that has ended, or is no longer waited for."""
        self._tasks[client] -= 1
        if not self._tasks[client]:
            del self._tasks[client]
        if not self._tasks:
            self._used_s.clear()

    def begin(self, client: str, expected_s: float) -> None:
        """Charge the client for a task that a decoder begins, by its expected time."""
        self._expected_s[client] = self._expected_s.get(client, 0.0) + expected_s

    def end(self, client: str, expected_s: float, took_s: float) -> None:
        """Replace the expected time of a task that a decoder has ended by the time it took."""
        self._expected_s[client] -= expected_s
        if self._expected_s[client] <= 1e-9:  # sums of floats
            del self._expected_s[client]
        if client in self._used_s:
            self._used_s[client] += took_s

    def used_s(self, client: str) -> float:
        """Return the time that the client has used, including its running tasks' expected time."""
        return self._used_s.get(client, 0.0) + self._expected_s.get(client, 0.0)
