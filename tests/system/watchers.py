"""Clients that follow a room over SSE, resume with Last-Event-ID, and record the events received.

``mistakes`` compares the record with the log, as read by the checker.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import msgspec

from tests.system.checker import Entry

SILENCE_S = 20.0
"""Longer than the interval of the server's comments."""

AGAIN_S = 0.2
NAMED = 5


@dataclass
class Watcher:
    """``room`` is ``global`` or ``client:<id>``.

    ``begin`` is the position of its first entry, by partition; ``seen`` are the events in the
    order of arrival. ``refused`` are rejections of this client, which is allowed to enter, and
    resumptions that were not recovered.
    """

    name: str
    room: str
    begin: dict[str, str] = field(default_factory=dict[str, str])
    seen: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: list[str] = field(default_factory=list[str])
    connections: int = 0
    last_id: str | None = None

    async def follow(self, http: httpx.AsyncClient, chance: random.Random, leave_s: float) -> None:
        """Watch until cancelled, disconnecting every ``leave_s`` on average and resuming."""
        while True:
            with anyio.move_on_after(chance.uniform(0.5, 1.5) * leave_s):
                with suppress(httpx.TransportError):
                    await self._connect(http)
            await anyio.sleep(AGAIN_S)

    async def _connect(self, http: httpx.AsyncClient) -> None:
        asked_after = self.last_id
        headers = {"Last-Event-ID": asked_after} if asked_after is not None else {}
        timeout = httpx.Timeout(SILENCE_S)
        async with http.stream(
            "GET", "/api/events", params={"room": self.room}, headers=headers, timeout=timeout
        ) as stream:
            if stream.status_code != 200:
                await stream.aread()
                if stream.status_code != 503:
                    self.refused.append(f"{self.name}: {stream.status_code} {stream.text}")
                return
            self.connections += 1
            async for kind, frame_id, data in _frames(stream):
                self.last_id = frame_id
                if kind == "message":
                    self.seen.append(msgspec.json.decode(data))
                elif kind == "ready":
                    self.note_start(asked_after, msgspec.json.decode(data))

    def note_start(self, asked_after: str | None, ready: dict[str, Any]) -> None:
        """Record an entry into the room: the first one, or a resumption after ``asked_after``."""
        if asked_after is None:
            if not self.begin:
                self.begin = {each.partition(":")[0]: each for each in _positions(ready)}
        elif not ready["recovered"]:
            self.refused.append(
                f"{self.name}: resuming {self.room} after {asked_after} was not recovered"
                f" (begins at {ready['position']})"
            )

    def expected(self, entries: list[list[Entry]]) -> list[Entry]:
        """Return the events of the log that the watcher must see, by partition, in order."""
        return [
            entry
            for partition, of_partition in enumerate(entries)
            if (begin := self.begin.get(f"{partition}")) is not None
            for entry in of_partition
            if _order(entry.position) > _order(begin) and self._holds(entry)
        ]

    def mistakes(self, entries: list[list[Entry]]) -> list[str]:
        """Return the watcher's mistakes: events missed, duplicated, out of order or made up."""
        wrong = list(self.refused)
        logged = {entry.position: _told(entry.event) for of in entries for entry in of}
        expected = [entry.position for entry in self.expected(entries)]
        counts = Counter(event["id"] for event in self.seen)
        made_up = [event["id"] for event in self.seen if logged.get(event["id"]) != _told(event)]
        astray = [each for each in counts if each in logged and each not in set(expected)]
        missing = [each for each in expected if each not in counts]
        twice = [each for each, count in counts.items() if count > 1]
        for what, positions in (
            ("received events that are not in the log", made_up),
            ("received events of other rooms or from before its entry", astray),
            ("missed events", missing),
            ("received events more than once", twice),
            ("received events out of order", self._out_of_order()),
        ):
            if positions:
                first = ", ".join(positions[:NAMED])
                wrong.append(f"{self.name} in {self.room} {what}: {len(positions)}, as {first}")
        return wrong

    def _out_of_order(self) -> list[str]:
        newest: dict[str, tuple[int, int]] = {}
        wrong: list[str] = []
        for event in self.seen:
            partition = event["id"].partition(":")[0]
            if _order(event["id"]) < newest.get(partition, (0, 0)):
                wrong.append(event["id"])
            newest[partition] = max(_order(event["id"]), newest.get(partition, (0, 0)))
        return wrong

    def _holds(self, entry: Entry) -> bool:
        kind, _, client_id = self.room.partition(":")
        return kind == "global" or entry.event["metadata"]["clientId"] == client_id


async def _frames(stream: httpx.Response) -> AsyncIterator[tuple[str, str | None, str]]:
    """Yield kind, id and data of each complete frame."""
    kind, frame_id, data = "message", None, ""
    async for line in stream.aiter_lines():
        name, _, value = line.partition(": ")
        match name:
            case "":
                if data:
                    yield kind, frame_id, data
                kind, data = "message", ""
            case "event":
                kind = value
            case "id":
                frame_id = value
            case "data":
                data = value
            case _:
                pass


def _positions(ready: dict[str, Any]) -> list[str]:
    return ready["position"].split(",")


def _order(position: str) -> tuple[int, int]:
    ms, _, seq = position.partition(":")[2].partition("-")
    return int(ms), int(seq)


def _told(event: dict[str, Any]) -> tuple[Any, ...]:
    """Return what distinguishes an event from another one at the same position."""
    metadata = event["metadata"]
    return event["type"], event["data"].get("photoId"), metadata["photoVersion"], metadata["prev"]
