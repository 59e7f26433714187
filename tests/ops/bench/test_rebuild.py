"""The measured rebuild: a process of its own says what it took, at its begin and at its end."""

from pathlib import Path

from ops.bench.cloned_log import fill
from ops.bench.rebuild import rebuild_apart
from ops.bench.server import serving
from tests.ops.bench.test_capacity import model


def test_a_rebuild_tells_the_rates_of_its_first_and_last_tenth(tmp_path: Path) -> None:
    with serving("--appendonly", "no") as server:
        events = fill(server.url, 2_000, model())
        data = {"PHOTOLOG_REDIS_URL": server.url, "PHOTOLOG_DATA": str(tmp_path)}

        done = rebuild_apart(data, tmp_path)

    assert events == 2_000 * len(model())
    assert min(done.first, done.last, done.peak_bytes) > 0
