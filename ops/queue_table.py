"""The queues as people read them: a line a stage, then a line a worker."""

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.lines import limits, printable
from ops.operating import Partition, Queue, Queues, Worker

UNKNOWN = "–"

HEADINGS = (
    *("Stage", "High", "Normal", "Low", "In progress", "Delayed", "Oldest"),
    *("In/s", "Out/s", "Failed", ""),
)
FIRST_AND_LAST = (0, len(HEADINGS) - 1)


def table(queues: Queues, before: Queues | None) -> RenderableType:
    """What waits now; the rates are those since ``before``."""
    stages = Table(box=None, pad_edge=False, header_style="bold")
    for at, heading in enumerate(HEADINGS):
        stages.add_column(heading, justify="left" if at in FIRST_AND_LAST else "right")
    earlier = {each.stage: each for each in before.stages} if before else {}
    seconds = (queues.time - before.time).total_seconds() if before else 0.0
    for queue in queues.stages:
        stages.add_row(*_row(queue, earlier.get(queue.stage), seconds))
    parts: list[RenderableType] = [stages, *_notes(queues), Text(), _workers(queues.workers)]
    if len(queues.partitions) > 1 or any(not each.answers for each in queues.partitions):
        parts += [Text(), _partitions(queues.partitions)]
    return Group(*parts)


def age(age_ms: int | None) -> str:
    """In the unit that fits."""
    if age_ms is None:
        return UNKNOWN
    seconds = age_ms // 1000
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} s"


def _row(queue: Queue, before: Queue | None, seconds: float) -> list[Text]:
    waiting = [queue.lanes[lane].waiting for lane in ("high", "normal", "low")]
    numbers = [_number(number) for number in (*waiting, queue.in_progress, queue.delayed)]
    added = _rate(queue.added, before and before.added, seconds)
    taken = _rate(queue.taken, before and before.taken, seconds)
    return [
        Text(printable(queue.stage)),
        *numbers,
        Text(age(queue.oldest_age_ms)),
        Text(added),
        Text(taken),
        _number(queue.dead_letters, "red"),
        _state(queue),
    ]


def _number(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _rate(now: int, before: int | None, seconds: float) -> str:
    """Unknown where there is no look before, or where lanes were lost in between."""
    if before is None or seconds <= 0 or now < before:
        return UNKNOWN
    return f"{(now - before) / seconds:,.1f}"


def _state(queue: Queue) -> Text:
    said = Text()
    if queue.paused:
        said.append("paused", "yellow")
    if queue.limit and (limit := limits(msgspec.to_builtins(queue.limit))):
        said.append(f"{', ' if queue.paused else ''}{limit}")
    return said


def _notes(queues: Queues) -> list[Text]:
    notes: list[Text] = []
    if silent := queues.silent:
        named = ", ".join(str(each.partition) for each in silent)
        notes.append(Text(f"Not counted, for they do not answer: partitions {named}.", "red"))
    if queues.all_paused is None:
        notes.append(Text("What is paused and limited is not known.", "red"))
    if queues.all_paused:
        notes.append(Text("All stages are paused.", "yellow"))
    if queues.concurrency is not None:
        notes.append(Text(f"Each worker runs {queues.concurrency:,} tasks at once."))
    return notes


def _workers(workers: list[Worker]) -> RenderableType:
    if not workers:
        return Text("No worker has been seen.", "yellow")
    found = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Worker", "Doing", "Photo", "Attempt", "Silent for"):
        found.add_column(heading, justify="left" if heading != "Attempt" else "right")
    for worker in workers:
        name = printable(worker.name)
        if not worker.doing:
            found.add_row(Text(name), Text("nothing", "dim"), "", "", age(worker.silent_ms))
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
    """Which server has each, and which dispatchers read it."""
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
