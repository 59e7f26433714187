"""The window of one webhook: the events that wait, and which of them may be sent now.

Events of one photo are delivered in order, those of different photos side by side. An event that
fails is retried later, and keeps back only those of its photo; the window has a bounded number of
events, so a webhook never gets further ahead of one that fails than that. A receiver that fails
again and again gets one request at a time.

The window makes the progress that is stored: the position up to which everything was delivered, and
what was delivered beyond it. It knows no clock and no network.
"""

from collections.abc import Iterable, Iterator, Sequence

from domain.webhooks.webhooks import Webhook
from projections.models.history import HistoryEntry
from store.log.position import Position
from store.webhooks.progress import Progress, Reached, Retry

SIZE = 32
"""Events of one webhook that are looked at together."""

FAILURES_IN_A_ROW = 4
"""Failures after which a receiver gets one request at a time."""

FIRST_PAUSE_S = 5.0
GROWTH = 4
"""How many times longer each pause is than the one before."""


class Item:
    """An event of the window."""

    def __init__(self, entry: HistoryEntry, retry: Retry | None, *, delivered: bool) -> None:
        self.entry = entry
        self.name = str(entry.position)
        self.retry = retry
        self.delivered = delivered
        self.in_flight = False

    @property
    def attempt(self) -> int:
        """The number of the next attempt, from 1."""
        return 1 + (self.retry.attempts if self.retry else 0)


class Window:
    """The events of one webhook that wait.

    ``scanned`` is how far each partition was read. ``failures`` counts those since the last
    success. Retries from before the webhook was created, enabled or replayed do not count.
    """

    def __init__(self, webhook: Webhook, progress: Progress | None) -> None:
        known = progress or Progress()
        self._replays: dict[int, int] = {}
        self._low: dict[int, Position] = {}
        self.scanned: dict[int, Position] = {}
        for start in webhook.starts:
            position = Position.parse(start.after)
            reached = known.reached.get(position.partition)
            if reached is not None and reached.replays == start.replays:
                position = Position(position.partition, reached.ms, reached.seq)
            self._replays[position.partition] = start.replays
            self._low[position.partition] = self.scanned[position.partition] = position
        since_ms = int(webhook.retried_since.timestamp() * 1000)
        continues = self._continues(known)
        self._delivered = frozenset(known.delivered if continues else ())
        self._retries = {
            name: retry
            for name, retry in known.retries.items()
            if continues and retry.first_ms >= since_ms
        }
        self._items: dict[int, list[Item]] = {partition: [] for partition in self._low}
        self.failures = 0

    def _continues(self, progress: Progress) -> bool:
        """Return whether no partition was begun again since the progress was made."""
        return all(
            partition in progress.reached and progress.reached[partition].replays == replays
            for partition, replays in self._replays.items()
        )

    @property
    def items(self) -> list[Item]:
        """The events that are not delivered, the oldest first."""
        waiting = (each for items in self._items.values() for each in items if not each.delivered)
        return sorted(waiting, key=lambda each: each.entry.position[1:])

    @property
    def room(self) -> int:
        """How many more events the window takes."""
        return max(0, SIZE - sum(len(items) for items in self._items.values()))

    @property
    def in_flight(self) -> int:
        return sum(each.in_flight for items in self._items.values() for each in items)

    def extend(self, entries: Iterable[HistoryEntry], scanned: Position) -> None:
        """Add the wanted events up to ``scanned`` of one partition, in order."""
        items = self._items[scanned.partition]
        for entry in entries:
            name = str(entry.position)
            items.append(Item(entry, self._retries.get(name), delivered=name in self._delivered))
        self.scanned[scanned.partition] = scanned
        self._advance(scanned.partition)

    def rewind(self, to: Position) -> None:
        """Begin a partition again at an earlier position: the log has lost events since."""
        self._items[to.partition] = []
        self._low[to.partition] = self.scanned[to.partition] = to

    def due(self, now_ms: int, concurrency: int) -> Item | None:
        """Return the next event to send now; None if none may be sent."""
        ready = (each for each in self._ready(concurrency) if _due_ms(each) <= now_ms)
        return next(ready, None)

    def next_due_ms(self, concurrency: int) -> int | None:
        """Return when the next event may be sent; None if one in flight has to end before that."""
        return min(map(_due_ms, self._ready(concurrency)), default=None)

    def _ready(self, concurrency: int) -> Iterator[Item]:
        """Yield the events that only their time may keep back, the oldest first."""
        if self.in_flight >= (1 if self.failures >= FAILURES_IN_A_ROW else concurrency):
            return
        photos: set[str] = set()
        for item in self.items:
            if item.entry.photo_id not in photos and not item.in_flight:
                yield item
            photos.add(item.entry.photo_id)

    def delivered(self, item: Item) -> None:
        item.delivered, item.in_flight, self.failures = True, False, 0
        self._advance(item.entry.position.partition)

    def failed(self, item: Item, retry: Retry) -> None:
        item.retry, item.in_flight = retry, False
        self.failures += 1

    def progress(self) -> Progress:
        """Return the progress to store, without what is known of the last attempt."""
        all_items = [each for items in self._items.values() for each in items]
        waiting = self.items
        return Progress(
            reached={
                partition: Reached(ms=low.ms, seq=low.seq, replays=self._replays[partition])
                for partition, low in self._low.items()
            },
            delivered=tuple(each.name for each in all_items if each.delivered),
            retries={
                each.name: each.retry
                for each in all_items
                if each.retry is not None and not each.delivered
            },
            waiting_since_ms=waiting[0].entry.position.ms if waiting else 0,
        )

    def _advance(self, partition: int) -> None:
        items = self._items[partition]
        while items and items[0].delivered:
            self._low[partition] = items.pop(0).entry.position
        if not items:
            self._low[partition] = self.scanned[partition]


def retry_of(
    item: Item, now_ms: int, *, longest_s: float, least_s: float = 0.0, spread: float = 1.0
) -> Retry:
    """Return the retry after another failed attempt.

    Pauses grow up to ``longest_s``; ``spread`` from 0 to 1 takes off up to a fifth of them, and the
    receiver may ask for ``least_s``.
    """
    attempts = item.attempt
    pause_s = min(longest_s, FIRST_PAUSE_S * GROWTH ** min(attempts - 1, 10))
    pause_s = max(pause_s * (0.8 + 0.2 * spread), min(least_s, longest_s))
    first_ms = item.retry.first_ms if item.retry else now_ms
    return Retry(first_ms=first_ms, attempts=attempts, due_ms=now_ms + int(pause_s * 1000))


def wanted(
    webhook: Webhook, page: Sequence[HistoryEntry], room: int
) -> tuple[list[HistoryEntry], Position | None]:
    """Return up to ``room`` events of the page that the webhook gets, and how far that has looked.

    The position is None for an empty page.
    """
    found: list[HistoryEntry] = []
    last: Position | None = None
    for entry in page:
        if webhook.wants(entry.type, entry.client_id):
            if len(found) == room:
                break
            found.append(entry)
        last = entry.position
    return found, last


def _due_ms(item: Item) -> int:
    return item.retry.due_ms if item.retry else 0
