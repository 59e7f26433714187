"""The computed capacity, and the run that checks it: Redis does not grow with the library."""

from pathlib import Path

import pytest

from domain.photo.events import FIRST_PREV
from domain.photo.state import evolve
from ops.bench import hash_sizes
from ops.bench.capacity import IN_MEMORY, fill_bounded
from ops.bench.capacity_model import Rates, hashes_bytes, limit_of, needs
from ops.bench.cloned_log import ClonedLog
from ops.bench.recorded import Clones
from ops.bench.server import serving
from store.log import codec
from store.log.chain import chain
from store.log.hash_splitting import MOST
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.redis.connection import connect
from tests.conftest import CONTEXT
from tests.domain.stories import COMPLETED, STARTED, UPLOADED, stage_completed

RATES = Rates(
    events=10,
    stream_bytes=8_000,
    state_bytes=1_500,
    root_bytes=100,
    bucket_bytes=150,
    field_bytes=70,
    archive_bytes=1_000,
    model_bytes=10_000,
    redis_s=1e-4,
    seal_s=1e-5,
    fold_s=1e-5,
    decode_s=0.5,
    serve_s=0.1,
)

PHOTOS, BOUND = 4_000, 8_000_000


def model() -> list[Recorded]:
    """Return the events of one photo at rest."""
    stages = [stage_completed(each) for each in ("thumbnails", "optimization")]
    chained = chain(
        [UPLOADED, STARTED, *stages, COMPLETED],
        version=0,
        digest=FIRST_PREV,
        client_id="alice",
        session_id=None,
        context=CONTEXT,
    )
    return [
        Recorded(position=Position(0, number, 0), event=each, body=body)
        for number, (each, body) in enumerate(zip(chained.events, chained.bodies, strict=True), 1)
    ]


@pytest.fixture(scope="module")
def clones() -> Clones:
    return Clones(model())


def test_a_year_of_photos_is_spread_over_its_seconds_and_its_peak() -> None:
    found = needs(RATES, 365 * 86_400)

    assert (found.uploads, found.appends) == (4.0, 40.0)
    assert found.decoder_cores == pytest.approx(2.0)
    assert found.redis_cores == pytest.approx(0.004)


def test_only_content_hashes_and_read_models_grow_with_the_library() -> None:
    small, large = needs(RATES, 10**6), needs(RATES, 10**9)

    assert large.redis_bytes == pytest.approx(1_000 * small.redis_bytes)
    assert large.hashes_bytes == 1e11
    of_a_day = 10**9 / 365 * 4 * 9_500
    assert large.redis_bytes == pytest.approx(1e11 + of_a_day)
    assert large.rebuild_s == pytest.approx(1e5)
    assert large.groups == 2


def test_large_clients_share_their_buckets_among_more_photos() -> None:
    found = needs(RATES, 10**9)

    assert hashes_bytes(RATES, 10**9, of_client=MOST) == found.hashes_bytes
    assert hashes_bytes(RATES, 10**9, of_client=40_960) == pytest.approx(85e9)
    assert found.large_hashes_bytes == pytest.approx(70e9 + 1_000 * 4_096 * 150)


@pytest.mark.parametrize(
    ("photos", "limit"),
    [(10**6, "nothing"), (10**8, "decoders"), (2 * 10**8, "Redis"), (10**9, "read model")],
)
def test_the_first_limit_is_named(photos: int, limit: str) -> None:
    assert limit_of(needs(RATES, photos)) == limit


def test_each_clone_is_another_photo_with_a_chain_of_its_own(clones: Clones) -> None:
    one, other = clones.photos(2)

    assert len({one.photo_id, other.photo_id, UPLOADED.photo_id}) == 3
    assert len({one.sha256, other.sha256, UPLOADED.sha256}) == 3
    assert not {*one.chained.bodies} & {*other.chained.bodies}
    for clone in (one, other):
        photo, digest = None, FIRST_PREV
        for body in clone.chained.bodies:
            event = codec.decode_event(body)
            assert event.metadata.prev == digest
            digest, photo = codec.digest(body), evolve(photo, event)
        assert digest == clone.chained.digest
        assert photo is not None
        assert (photo.photo_id, photo.sha256) == (clone.photo_id, clone.sha256)
        assert codec.encode_photo(photo) == clone.state


async def test_a_cloned_log_has_what_uploads_leave_in_redis(clones: Clones) -> None:
    with serving("--appendonly", "no") as server:
        redis = connect(server.url)
        cloned = ClonedLog(await Log.open(redis), clones)
        sizes = await cloned.fill(400)
        [example, _] = cloned.examples

        loaded = await cloned.log.load(example.photo_id, clones.client_id)
        held = await cloned.log.holders_of([example.sha256], clones.client_id)
        recorded = [each async for each in cloned.log.scan(0)]
        await redis.aclose()

    assert loaded.digest == example.chained.digest
    assert held == {example.sha256: example.photo_id}
    assert tuple(each.body for each in recorded[: len(model())]) == example.chained.bodies
    assert len(recorded) == 400 * len(model())
    assert sizes.stream > sum(len(each.body) for each in recorded)
    assert sizes.states > 400 * len(example.state)


async def test_content_hashes_are_measured_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_sizes, "SMALL", 2 * MOST)
    monkeypatch.setattr(hash_sizes, "LARGE", 4 * MOST)
    monkeypatch.setattr(hash_sizes, "ROOTS", 1)
    with serving("--appendonly", "no") as server:
        found = await hash_sizes.hash_sizes(server.url)

    # A digest in bytes, and the id of a photo; the server uses a little more or less beside them.
    assert 0.9 * (32 + 36) < found.field < found.root < 200
    assert 50 < found.bucket < 300


async def test_redis_holds_a_library_that_is_far_larger_than_its_memory(
    tmp_path: Path, clones: Clones
) -> None:
    assert PHOTOS * sum(len(each.body) for each in model()) > BOUND

    with serving(*IN_MEMORY, "--maxmemory", str(BOUND)) as server:
        ran = await fill_bounded(server, clones, PHOTOS, BOUND, tmp_path)

    assert ran.peak_bytes <= BOUND
    assert (ran.end_bytes - ran.empty_bytes) / PHOTOS < 1_000
    assert ran.evicted > 0.8 * PHOTOS
    assert ran.loaded == PHOTOS // 200
