"""``photolog watch``"""

import anyio
import click
import httpx
import msgspec

from ops.cli.server import with_server
from ops.client.client import Server, checked, connected
from ops.client.event_stream import Frame, frames
from ops.client.text_table import Layout, columns
from ops.event_format import Shown, printable, say, say_json, what

SILENCE_S = 60.0
"""The server sends something more often than this."""

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
PASSING = frozenset({429, 502, 503, 504})

HEADINGS = ("Time", "Event", "Photo", "What")
WIDTHS = (19, 32, 36)
"""The widths of the columns of an event."""

NAMES_MAX = 10_000
"""The names of this many photos are remembered, those of the latest uploads."""


class _Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first message: ``recovered`` if no event after ``lastEventId`` is missing."""

    recovered: bool
    position: str


class _Watch:
    """Shows one room, across any number of connections."""

    def __init__(self, room: str, after: str | None, *, as_json: bool) -> None:
        self._room = room
        self._after = after
        self._as_json = as_json
        self._names: dict[str, str] = {}

    async def run(self, server: Server) -> None:
        async with connected(server.url, server.token, read_timeout_s=SILENCE_S) as client:
            pause_s, met = FIRST_PAUSE_S, False
            while True:
                try:
                    if await self._follow(client):
                        pause_s, met = FIRST_PAUSE_S, True
                except httpx.TransportError:
                    if not met:
                        raise
                if pause_s == FIRST_PAUSE_S:
                    say("The connection was lost; reconnecting …", err=True)
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, LAST_PAUSE_S)

    async def _follow(self, client: httpx.AsyncClient) -> bool:
        """Show events until the connection ends; return False if it could not be made."""
        headers = {"Last-Event-ID": self._after} if self._after else {}
        headers["Accept"] = "text/event-stream"
        async with client.stream(
            "GET", "/api/events", params={"room": self._room}, headers=headers
        ) as response:
            if response.status_code in PASSING:
                return False
            if not response.is_success:
                await response.aread()
                checked(response)
            try:
                async for frame in frames(response.aiter_bytes()):
                    self._show(frame)
            except httpx.TransportError:
                pass
            return True

    def _show(self, frame: Frame) -> None:
        if frame.event == "ready":
            start = msgspec.json.decode(frame.data, type=_Start)
            if self._after is not None and not start.recovered:
                say(f"Events before {start.position} may be missing.", err=True)
            say(f"Watching {self._room} from {start.position}", err=True)
        elif frame.event == "message":
            event = msgspec.json.decode(frame.data, type=Shown)
            say_json(frame.data) if self._as_json else say(self._lines(event))
        self._after = frame.id or self._after

    def _lines(self, event: Shown) -> str:
        """Return the event in a line, or more in a narrow terminal.

        It has the name of the photo if its upload was seen here.
        """
        name = self._names.get(event.photo_id)
        if event.type == "photo.uploaded":
            self._names[event.photo_id] = printable(event.data["originalFilename"])
            if len(self._names) > NAMES_MAX:
                del self._names[next(iter(self._names))]
        content = ", ".join(text for text in (name, what(event)) if text)
        row = (event.time, event.type, event.photo_id, content)
        return "\n".join(Layout.of(HEADINGS, [row], columns(), WIDTHS).lines(row))


@click.command()
@click.argument("room", default="client", required=False)
@click.option("--after", metavar="POSITION", help="Start after this position instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@with_server
def command(server: Server, room: str, after: str | None, as_json: bool) -> None:
    """Show the events of a room as they happen, until Ctrl-C.

    ROOM is client (your own; the default), client:ID, session:ID, photo:ID or global. A client sees
    only its own events; with --role operator you see all. After a lost connection it resumes where
    it stopped.
    """
    anyio.run(_Watch(room, after, as_json=as_json).run, server)
