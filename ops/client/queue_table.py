"""Show the queues as tables for people: stages, workers, partitions."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.client.queues import LogMemory, Partition, Queue, Queues, Worker
from ops.client.text_table import table as aligned
from ops.event_format import limits, plural, printable, sized

UNKNOWN = "–"

NUMBERS = ("High", "Normal", "Low", "Clients", "In progress", "Delayed", "Oldest")


FULL = 120
"""The narrowest terminal for the table with all columns."""

BARS = " ▁▂▃▄▅▆▇█"
SPARK = 12
"""The width of a line of the last hour."""


def table(queues: Queues, columns: int = FULL, hour: "Hour" = None) -> RenderableType:
    """Return tables of the tasks that wait, and of how fast tasks came and left recently.

    They fit a terminal with so many ``columns``, from 80 on. ``hour`` has the tasks that waited in
    the last hour, by stage, oldest first.
    """
    stages = _full(queues, hour) if columns >= FULL else _narrow(queues, hour)
    parts: list[RenderableType] = [stages, *_notes(queues), Text(), _workers(queues.workers)]
    if len(queues.partitions) > 1 or any(not each.answers for each in queues.partitions):
        parts += [Text(), _partitions(queues.partitions)]
    return Group(*parts)


Hour = Mapping[str, Sequence[int]] | None


def _full(queues: Queues, hour: Hour) -> Table:
    found = Table(box=None, pad_edge=False, header_style="bold")
    over = "" if queues.rates_over_ms is None else f" ({age(queues.rates_over_ms)})"
    found.add_column("Stage")
    for heading in (*NUMBERS, f"In/s{over}", f"Out/s{over}", "Failed"):
        found.add_column(heading, justify="right")
    _add_hour(found, hour)
    found.add_column()
    for queue in queues.stages:
        *cells, state = _row(queue)
        found.add_row(*cells, *_hour_of(queue, hour), state)
    return found


def _narrow(queues: Queues, hour: Hour) -> Table:
    """Return the table without the lanes and clients; a stage's state is a line of its own."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    found.add_column("Stage", no_wrap=True)
    for heading in ("Waiting", "Delayed", "Run", "Oldest", "In/s", "Out/s", "Failed"):
        found.add_column(heading, justify="right", no_wrap=True)
    _add_hour(found, hour)
    for queue in queues.stages:
        name, *_, oldest, came, left, failed, state = _row(queue)
        tasks = [_number(each) for each in (queue.waiting, queue.delayed, queue.in_progress)]
        found.add_row(name, *tasks, oldest, came, left, failed, *_hour_of(queue, hour))
        if state.plain:
            found.add_row(Text("  ") + state)
    return found


def _add_hour(found: Table, hour: Hour) -> None:
    if hour is not None:
        found.add_column("Last hour", no_wrap=True)


def _hour_of(queue: Queue, hour: Hour) -> list[Text]:
    return [] if hour is None else [Text(spark(hour.get(queue.stage, ())))]


def spark(values: Sequence[int]) -> str:
    """Return a line of bars, each the largest value of its part; the largest of all is full."""
    if not values:
        return ""
    parts = min(SPARK, len(values))
    cuts = [len(values) * each // parts for each in range(parts + 1)]
    largest = [max(values[start:end]) for start, end in pairwise(cuts)]
    top = max(1, *largest)
    return "".join(BARS[-(-each * (len(BARS) - 1) // top)] for each in largest)


def age(age_ms: int | None) -> str:
    """Return the age in a suitable unit."""
    if age_ms is None:
        return UNKNOWN
    seconds = age_ms // 1000
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} s"


def _row(queue: Queue) -> list[Text]:
    waiting = [queue.lanes[lane].waiting for lane in ("high", "normal", "low")]
    clients = sum(lane.clients for lane in queue.lanes.values())
    numbers = [_number(each) for each in (*waiting, clients, queue.in_progress, queue.delayed)]
    return [
        Text(printable(queue.stage)),
        *numbers,
        Text(age(queue.oldest_age_ms)),
        Text(_rate(queue.in_per_s)),
        Text(_rate(queue.out_per_s)),
        _number(queue.dead_letters, "red"),
        _state(queue),
    ]


def _number(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _rate(per_s: float | None) -> str:
    """Return the rate with enough digits to distinguish a low rate from none."""
    if per_s is None:
        return UNKNOWN
    return f"{per_s:,.1f}" if per_s == 0 or per_s >= 1 else f"{per_s:.2f}"


def _state(queue: Queue) -> Text:
    state = Text()
    if queue.paused:
        state.append("draining" if queue.state == "draining" else "paused", "yellow")
        if queue.paused_until:
            state.append(f" until {printable(queue.paused_until[:16].replace('T', ' '))}")
    if queue.limit and (limit := limits(msgspec.to_builtins(queue.limit))):
        state.append(f"{', ' if queue.paused else ''}{limit}")
    return state


def _notes(queues: Queues) -> list[Text]:
    notes: list[Text] = []
    if silent := queues.silent:
        named = ", ".join(str(each.partition) for each in silent)
        them = (
            "it does not answer: partition"
            if len(silent) == 1
            else "they do not answer: partitions"
        )
        notes.append(Text(f"Not counted, because {them} {named}.", "red"))
    if queues.all_paused is None:
        notes.append(Text("Which stages are paused or limited is unknown.", "red"))
    if queues.all_paused:
        notes.append(Text("All stages are paused.", "yellow"))
    if queues.concurrency is not None:
        notes.append(Text(f"Each worker runs {plural(queues.concurrency, 'task')} at once."))
    if (memory := queues.log_memory) is not None:
        notes.append(Text(_memory(memory)))
    return notes


def _memory(memory: LogMemory) -> str:
    used = f"The log's server uses {sized(memory.used_bytes)} of memory"
    if not memory.max_bytes:
        return f"{used}; it has no limit."
    return f"{used}, at most {sized(memory.max_bytes)}."


def _workers(workers: list[Worker]) -> RenderableType:
    if not workers:
        return Text("No worker is known.", "yellow")
    rows: list[tuple[object, ...]] = []
    for worker in workers:
        name = worker.name
        if not worker.doing:
            rows.append((name, "idle", "", "", age(worker.silent_ms)))
        for doing in worker.doing:
            photo, attempt = doing.photo_id, str(doing.attempt)
            rows.append((name, doing.stage, photo, attempt, age(doing.silent_ms)))
            name = ""
    return aligned(("Worker", "Doing", "Photo", "Attempt", "Silent for"), rows)


def _partitions(partitions: list[Partition]) -> RenderableType:
    """Show which server holds each partition, and which dispatchers read it."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Partition", "Server", "To plan", "Read by"):
        right = heading in ("Partition", "To plan")
        found.add_column(heading, justify="right" if right else "left")
    for each in partitions:
        readers = ", ".join(printable(reader.name) for reader in each.readers)
        found.add_row(
            str(each.partition),
            Text(printable(each.server) if each.server else UNKNOWN),
            UNKNOWN if each.to_plan is None else _number(each.to_plan),
            Text(readers or "nobody", "" if readers else "yellow")
            if each.answers
            else Text("does not answer", "red"),
        )
    return found
