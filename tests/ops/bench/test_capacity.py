"""The computed capacity, and the run that checks it: Redis does not grow with the library."""

from pathlib import Path

import pytest

from domain.photo.events import FIRST_PREV
from ops.bench.capacity import fill_bounded
from ops.bench.capacity_model import Rates, limit_of, needs
from ops.bench.recorded import Clones
from ops.bench.server import serving
from store.log.chain import chain
from store.log.position import Position
from store.log.stream import Recorded
from tests.conftest import CONTEXT
from tests.domain.stories import COMPLETED, STARTED, UPLOADED, stage_completed

RATES = Rates(
    events=10,
    stream_bytes=8_000,
    state_bytes=1_500,
    hash_bytes=100,
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


@pytest.mark.parametrize(
    ("photos", "limit"),
    [(10**6, "nothing"), (10**8, "decoders"), (2 * 10**8, "Redis"), (10**9, "read model")],
)
def test_the_first_limit_is_named(photos: int, limit: str) -> None:
    assert limit_of(needs(RATES, photos)) == limit


async def test_redis_holds_a_library_that_is_far_larger_than_its_memory(tmp_path: Path) -> None:
    photo = model()
    assert PHOTOS * sum(len(each.body) for each in photo) > BOUND

    with serving("--appendonly", "no", "--maxmemory", str(BOUND)) as server:
        ran = await fill_bounded(server, Clones(photo), PHOTOS, BOUND, tmp_path)

    assert (max(ran.peak_bytes) - ran.empty_bytes) / PHOTOS < 1_000
    assert ran.evicted > 0.8 * PHOTOS
    assert ran.loaded == PHOTOS // 200
