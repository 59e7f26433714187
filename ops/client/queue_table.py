"""Show the queues as tables for people: stages, workers, partitions."""

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.client.queues import LogMemory, Partition, Queue, Queues, Worker
from ops.event_format import limits, printable

UNKNOWN = "–"

NUMBERS = ("High", "Normal", "Low", "Clients", "In progress", "Delayed", "Oldest")


def table(queues: Queues) -> RenderableType:
    """Return tables of the tasks that wait, and of how fast tasks came and left recently."""
    stages = Table(box=None, pad_edge=False, header_style="bold")
    over = "" if queues.rates_over_ms is None else f" ({age(queues.rates_over_ms)})"
    stages.add_column("Stage")
    for heading in (*NUMBERS, f"In/s{over}", f"Out/s{over}", "Failed"):
        stages.add_column(heading, justify="right")
    stages.add_column()
    for queue in queues.stages:
        stages.add_row(*_row(queue))
    parts: list[RenderableType] = [stages, *_notes(queues), Text(), _workers(queues.workers)]
    if len(queues.partitions) > 1 or any(not each.answers for each in queues.partitions):
        parts += [Text(), _partitions(queues.partitions)]
    return Group(*parts)


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
    if queue.limit and (limit := limits(msgspec.to_builtins(queue.limit))):
        state.append(f"{', ' if queue.paused else ''}{limit}")
    return state


def _notes(queues: Queues) -> list[Text]:
    notes: list[Text] = []
    if silent := queues.silent:
        named = ", ".join(str(each.partition) for each in silent)
        notes.append(Text(f"Not counted, because they do not answer: partitions {named}.", "red"))
    if queues.all_paused is None:
        notes.append(Text("Which stages are paused or limited is unknown.", "red"))
    if queues.all_paused:
        notes.append(Text("All stages are paused.", "yellow"))
    if queues.concurrency is not None:
        notes.append(Text(f"Each worker runs {queues.concurrency:,} tasks at once."))
    if (memory := queues.log_memory) is not None:
        notes.append(Text(_memory(memory)))
    return notes


def _memory(memory: LogMemory) -> str:
    used = f"The log's server uses {memory.used_bytes / 1e6:,.1f} MB of memory"
    if not memory.max_bytes:
        return f"{used}; it has no limit."
    return f"{used}, at most {memory.max_bytes / 1e6:,.1f} MB."


def _workers(workers: list[Worker]) -> RenderableType:
    if not workers:
        return Text("No worker is known.", "yellow")
    found = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Worker", "Doing", "Photo", "Attempt", "Silent for"):
        found.add_column(heading, justify="left" if heading != "Attempt" else "right")
    for worker in workers:
        name = printable(worker.name)
        if not worker.doing:
            found.add_row(Text(name), Text("idle", "dim"), "", "", age(worker.silent_ms))
        for doing in worker.doing:
            found.add_row(
                Text(name),
                Text(printable(doing.stage)),
                Text(printable(doing.photo_id)),
                str(doing.attempt),
                age(doing.silent_ms),
            )
            name = ""
    return found


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
