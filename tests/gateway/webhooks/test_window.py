"""The window of a webhook: order for each photo, retries, and the progress that is stored."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.webhooks.webhooks import Secret, Start, Webhook
from gateway.webhooks.window import FAILURES_IN_A_ROW, SIZE, Item, Window, retry_of, wanted
from projections.models.history import HistoryEntry
from store.log.position import Position
from store.webhooks.progress import Progress, Reached, Retry

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_MS = int(NOON.timestamp() * 1000) + 1_000


def webhook(*starts: Start, types: tuple[str, ...] = ()) -> Webhook:
    return Webhook(
        url="https://example.com/",
        types=types,
        description="",
        client_id=None,
        created_at=NOON,
        retried_since=NOON,
        secrets=(Secret(id="s", digest="d"),),
        contributors=(),
        starts=starts or (Start(after="0:0-0"),),
    )


def entry(number: int, photo: str = "p", *, partition: int = 0, type_: str = "t") -> HistoryEntry:
    return HistoryEntry(
        position=Position(partition, number, 0),
        client_id="alice",
        session_id=None,
        photo_id=photo,
        type=type_,
        body=b"{}",
    )


def window(*entries: HistoryEntry, progress: Progress | None = None) -> Window:
    made = Window(webhook(), progress)
    if entries:
        made.extend(entries, entries[-1].position)
    return made


def send(made: Window, concurrency: int = 4) -> Item | None:
    item = made.due(NOW_MS, concurrency)
    if item is not None:
        item.in_flight = True
    return item


def fail(made: Window, item: Item) -> Retry:
    retry = retry_of(item, NOW_MS, longest_s=3600)
    made.failed(item, retry)
    return retry


def low(made: Window, partition: int = 0) -> int:
    return made.progress().reached[partition].ms


def test_events_of_one_photo_wait_for_each_other_and_those_of_others_do_not() -> None:
    made = window(entry(1, "a"), entry(2, "a"), entry(3, "b"))

    first, second = send(made), send(made)
    assert first is not None
    assert second is not None
    assert (first.name, second.name) == ("0:1-0", "0:3-0")
    assert send(made) is None

    made.delivered(first)
    third = send(made)
    assert third is not None
    assert third.name == "0:2-0"


def test_a_failed_event_keeps_back_its_photo_until_its_retry_and_no_other() -> None:
    made = window(entry(1, "a"), entry(2, "a"), entry(3, "b"))
    first = send(made)
    assert first is not None
    retry = fail(made, first)

    other = send(made)
    assert other is not None
    assert other.name == "0:3-0"
    made.delivered(other)
    assert send(made) is None
    assert made.next_due_ms(4) == retry.due_ms
    assert made.due(retry.due_ms, 4) is first


def test_the_position_stays_before_what_is_not_delivered() -> None:
    made = window(entry(1, "a"), entry(2, "b"), entry(3, "c"))
    items = [send(made) for _ in range(3)]
    for item in items[1:]:
        assert item is not None
        made.delivered(item)

    progress = made.progress()
    assert progress.reached == {0: Reached(ms=0, seq=0)}
    assert progress.delivered == ("0:2-0", "0:3-0")
    assert progress.waiting_since_ms == 1
    assert items[0] is not None
    made.delivered(items[0])
    assert (low(made), made.progress().delivered) == (3, ())


def test_a_window_continues_from_stored_progress_without_sending_twice() -> None:
    made = window(entry(1, "a"), entry(2, "b"), entry(3, "c"))
    first, second = send(made), send(made)
    assert first is not None
    assert second is not None
    retry = fail(made, first)
    made.delivered(second)

    again = window(entry(1, "a"), entry(2, "b"), entry(3, "c"), progress=made.progress())

    third = send(again)
    assert third is not None
    assert third.name == "0:3-0"
    assert send(again) is None
    assert again.due(retry.due_ms, 4) is not None
    assert again.progress().retries == {"0:1-0": retry}


def test_a_replay_forgets_the_progress_of_its_partition() -> None:
    progress = Progress(
        reached={0: Reached(ms=9, seq=0), 1: Reached(ms=9, seq=0)}, delivered=("0:10-0",)
    )
    starts = Start(after="0:3-0", replays=1), Start(after="1:0-0")

    made = Window(webhook(*starts), progress)

    assert (low(made, 0), low(made, 1)) == (3, 9)
    assert made.progress().delivered == ()


def test_retries_from_before_the_webhook_was_enabled_begin_again() -> None:
    old = Retry(first_ms=NOW_MS - 10_000, attempts=50, due_ms=NOW_MS + 3_600_000)
    progress = Progress(reached={0: Reached(ms=0, seq=0)}, retries={"0:1-0": old})

    item = send(window(entry(1), progress=progress))

    assert item is not None
    assert item.attempt == 1


def test_a_receiver_that_keeps_failing_gets_one_request_at_a_time() -> None:
    made = window(*(entry(number, f"p{number}") for number in range(1, 9)))
    for _ in range(FAILURES_IN_A_ROW):
        item = send(made)
        assert item is not None
        fail(made, item)

    probe = send(made)
    assert probe is not None
    assert send(made) is None
    assert made.next_due_ms(4) is None
    made.delivered(probe)
    assert send(made) is not None
    assert send(made) is not None


def test_a_window_has_a_bounded_number_of_events() -> None:
    page = [entry(number, f"p{number}") for number in range(1, 100)]
    made = window()

    found, scanned = wanted(webhook(), page, made.room)
    assert scanned is not None
    made.extend(found, scanned)

    assert (len(found), scanned.ms, made.room) == (SIZE, SIZE, 0)


def test_unwanted_events_move_the_position_on() -> None:
    of_type = webhook(types=("wanted",))
    page = [entry(1), entry(2, type_="wanted"), entry(3), entry(4)]
    made = Window(of_type, None)

    found, scanned = wanted(of_type, page, made.room)
    assert scanned is not None
    made.extend(found, scanned)
    assert low(made) == 0
    item = send(made)
    assert item is not None
    made.delivered(item)

    assert (item.name, low(made)) == ("0:2-0", 4)


def test_pauses_grow_up_to_the_longest_and_heed_the_receiver() -> None:
    item = Item(entry(1), None, delivered=False)
    pauses: list[int] = []
    for _ in range(8):
        item.retry = retry_of(item, NOW_MS, longest_s=3600)
        pauses.append((item.retry.due_ms - NOW_MS) // 1000)

    assert pauses == [5, 20, 80, 320, 1280, 3600, 3600, 3600]
    assert item.retry is not None
    assert (item.retry.first_ms, item.retry.attempts) == (NOW_MS, 8)
    first = Item(entry(1), None, delivered=False)
    asked = retry_of(first, NOW_MS, longest_s=3600, least_s=60)
    assert asked.due_ms - NOW_MS == 60_000
    assert retry_of(first, NOW_MS, longest_s=30, least_s=1e6).due_ms - NOW_MS == 30_000


@settings(max_examples=200)
@given(
    photos=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    fates=st.lists(st.sampled_from(["deliver", "fail", "restart"]), max_size=60),
)
def test_whatever_happens_each_photo_is_delivered_in_order_and_completely(
    photos: list[str], fates: list[str]
) -> None:
    entries = [entry(number, photo) for number, photo in enumerate(photos, start=1)]
    delivered: list[tuple[str, int]] = []
    made, now_ms = window(*entries), NOW_MS
    for fate in [*fates, *["deliver"] * len(photos)]:
        now_ms += 3_600_000
        item = made.due(now_ms, 3)
        if fate == "restart":
            progress = made.progress()
            rest = [each for each in entries if each.position.ms > progress.reached[0].ms]
            made = window(*rest, progress=progress)
        elif item is not None and fate == "deliver":
            delivered.append((item.entry.photo_id, item.entry.position.ms))
            made.delivered(item)
        elif item is not None:
            made.failed(item, retry_of(item, now_ms, longest_s=3600))

    for photo in set(photos):
        wanted_order = [each.position.ms for each in entries if each.photo_id == photo]
        assert [ms for of, ms in delivered if of == photo] == wanted_order
    assert low(made) == len(photos)
