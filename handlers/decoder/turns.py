"""Whose turn it is among the clients whose tasks wait for a decoder.

Clients take turns by the decoder time that they have used: next is the one that used least. One
that comes anew begins where the least of the others stands: nobody saves up time by being away,
and nobody pays for work that hindered no one.
"""

from collections import Counter


class ClientUsage:
    def __init__(self) -> None:
        self._used_s: dict[str, float] = {}
        self._expected_s: dict[str, float] = {}
        self._tasks: Counter[str] = Counter()

    def add(self, client: str) -> None:
        """A task of the client waits."""
        if client not in self._tasks:
            floor = min((self._used_s[each] for each in self._tasks), default=0.0)
            # Those that are away and would begin at the floor anyway are forgotten.
            self._used_s = {
                each: used
                for each, used in self._used_s.items()
                if each in self._tasks or used > floor
            }
            self._used_s.setdefault(client, floor)
        self._tasks[client] += 1

    def remove(self, client: str) -> None:
        """A task of the client has ended, or waits no more."""
        self._tasks[client] -= 1
        if not self._tasks[client]:
            del self._tasks[client]
        if not self._tasks:
            self._used_s.clear()

    def begin(self, client: str, expected_s: float) -> None:
        """A decoder begins a task of the client, which is expected to take so long."""
        self._expected_s[client] = self._expected_s.get(client, 0.0) + expected_s

    def end(self, client: str, expected_s: float, took_s: float) -> None:
        """The decoder is done with it: what counts now is how long it took."""
        self._expected_s[client] -= expected_s
        if self._expected_s[client] <= 1e-9:  # sums of floats
            del self._expected_s[client]
        if client in self._used_s:
            self._used_s[client] += took_s

    def used_s(self, client: str) -> float:
        """What the client has used, with what its tasks under way are expected to."""
        return self._used_s.get(client, 0.0) + self._expected_s.get(client, 0.0)
